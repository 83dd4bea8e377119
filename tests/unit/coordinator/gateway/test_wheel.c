// SPDX-License-Identifier: MIT
/* test_wheel.c: entries come off the wheel when their time has come, not before, and once. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdint.h>
#include <stdlib.h>

#include "coordinator/gateway/wheel.h"

#define SECOND  ((uint64_t)1000 * 1000 * 1000)
#define HORIZON (WHEEL_SLOTS * WHEEL_TICK_NS)

static size_t advance(struct wheel *w, uint64_t now_ns) {
    size_t n = 0;
    wheel_advance(w, now_ns);
    while (wheel_take(w)) n++;
    return n;
}

static void an_entry_comes_after_its_time(void **state) {
    (void)state;
    struct wheel w;
    struct wheel_entry e = {0};
    wheel_init(&w, 5 * SECOND);
    assert_int_equal(wheel_next_ns(&w), UINT64_MAX);
    wheel_set(&w, &e, 7 * SECOND);
    assert_true(wheel_holds(&e));
    assert_int_equal(advance(&w, 7 * SECOND - 1), 0);
    uint64_t next = wheel_next_ns(&w);
    assert_in_range(next, 7 * SECOND, 7 * SECOND + WHEEL_TICK_NS);
    assert_int_equal(advance(&w, next), 1);
    assert_false(wheel_holds(&e));
    assert_int_equal(wheel_next_ns(&w), UINT64_MAX);
    assert_int_equal(advance(&w, 100 * SECOND), 0);
}

static void an_entry_moves_and_leaves(void **state) {
    (void)state;
    struct wheel w;
    struct wheel_entry a = {0}, b = {0};
    wheel_init(&w, 0);
    wheel_set(&w, &a, 3 * SECOND);
    wheel_set(&w, &b, 3 * SECOND);
    wheel_set(&w, &a, 9 * SECOND);
    assert_int_equal(advance(&w, 4 * SECOND), 1);
    wheel_set(&w, &b, 9 * SECOND);
    wheel_remove(&b);
    wheel_remove(&b);
    assert_int_equal(advance(&w, 10 * SECOND), 1);
}

/* What is set to a time that has passed comes with the next advance, not with this one: whoever
 * sets it again and again does not stop the others. */
static void what_is_late_comes_next(void **state) {
    (void)state;
    struct wheel w;
    struct wheel_entry a = {0}, b = {0};
    wheel_init(&w, SECOND);
    wheel_set(&w, &a, 0);
    assert_int_equal(wheel_next_ns(&w), 0);
    wheel_advance(&w, SECOND);
    assert_ptr_equal(wheel_take(&w), &a);
    wheel_set(&w, &a, 0);
    wheel_set(&w, &b, 0);
    assert_null(wheel_take(&w));
    wheel_advance(&w, SECOND);
    wheel_remove(&a); // while it is due
    assert_ptr_equal(wheel_take(&w), &b);
    assert_null(wheel_take(&w));
}

static void what_is_far_comes_early(void **state) {
    (void)state;
    struct wheel w;
    struct wheel_entry e = {0};
    wheel_init(&w, 0);
    wheel_set(&w, &e, 10 * HORIZON);
    assert_int_equal(advance(&w, HORIZON / 2), 0);
    assert_int_equal(advance(&w, HORIZON + WHEEL_TICK_NS), 1);
    wheel_set(&w, &e, 10 * HORIZON);
    assert_int_equal(advance(&w, 20 * HORIZON), 1); // the wheel was turned many times at once
    wheel_set(&w, &e, 20 * HORIZON + SECOND);
    assert_int_equal(advance(&w, 20 * HORIZON), 0);
    assert_int_equal(advance(&w, 20 * HORIZON + 2 * SECOND), 1);
}

/* Against a plain array: everything comes once, at most a tick late. */
static void thousands_come_in_time(void **state) {
    (void)state;
    enum { N = 2000 };
    static struct wheel w;
    static struct wheel_entry entries[N];
    uint64_t now = SECOND;
    wheel_init(&w, now);
    srand(1);
    for (size_t i = 0; i < N; i++)
        wheel_set(&w, &entries[i], now + (uint64_t)rand() % (HORIZON - 2 * WHEEL_TICK_NS));
    size_t left = N;
    while (left) {
        now += (uint64_t)rand() % SECOND;
        wheel_advance(&w, now);
        for (struct wheel_entry *e; (e = wheel_take(&w)); left--) assert_true(e->at_ns <= now);
        for (size_t i = 0; i < N; i++)
            if (wheel_holds(&entries[i])) assert_true(entries[i].at_ns + WHEEL_TICK_NS > now);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_comes_after_its_time),
        cmocka_unit_test(an_entry_moves_and_leaves),
        cmocka_unit_test(what_is_late_comes_next),
        cmocka_unit_test(what_is_far_comes_early),
        cmocka_unit_test(thousands_come_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
