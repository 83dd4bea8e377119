// SPDX-License-Identifier: MIT
/* test_turnover.c: when a client that was refused should come back. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "coordinator/scheduling/turnover.h"

#define MS ((uint64_t)1000000)

static void free_places_say_nothing(void **state) {
    (void)state;
    struct turnover t = {0};
    for (uint64_t now = MS; now < 100 * MS; now += MS) {
        turnover_admit(&t, now);
        turnover_wait(&t, 0, now);
    }
    assert_int_equal(turnover_expect_ns(&t, 5, 200 * MS), 0);
}

static void the_present_wait_counts(void **state) {
    (void)state;
    struct turnover t = {0};
    turnover_wait(&t, 2, 10 * MS);
    turnover_wait(&t, 3, 20 * MS); // since the first had to wait
    assert_int_equal(turnover_expect_ns(&t, 1, 50 * MS), 40 * MS);
    assert_int_equal(turnover_expect_ns(&t, 3, 50 * MS), 120 * MS);
    turnover_wait(&t, 0, 60 * MS); // they all left
    assert_int_equal(turnover_expect_ns(&t, 3, 90 * MS), 0);
}

static void places_that_become_free_are_measured(void **state) {
    (void)state;
    struct turnover t = {0};
    uint64_t now = MS;
    turnover_wait(&t, 100, now);
    for (int i = 0; i < 60; i++) { // four at once every 200 ms: 50 ms each
        now += 200 * MS;
        for (int k = 0; k < 4; k++) turnover_admit(&t, now);
        turnover_wait(&t, 100, now);
    }
    uint64_t expected = turnover_expect_ns(&t, 10, now);
    assert_in_range(expected, 350 * MS, 650 * MS);
    // and when nothing moves any more it is at least what one has waited by now
    assert_int_equal(turnover_expect_ns(&t, 10, now + 7000 * MS), 7000 * MS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(free_places_say_nothing),
        cmocka_unit_test(the_present_wait_counts),
        cmocka_unit_test(places_that_become_free_are_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
