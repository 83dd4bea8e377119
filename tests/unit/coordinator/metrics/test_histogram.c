// SPDX-License-Identifier: MIT
/* test_histogram.c: which bucket a time falls into. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "coordinator/metrics/histogram.h"

static void bounds_belong_to_the_bucket_below(void **state) {
    (void)state;
    static const uint64_t bounds[] = {10, 20, 40};
    struct histogram h;
    histogram_init(&h, bounds, 3);
    const uint64_t times[] = {0, 10, 11, 20, 21, 40, 41, UINT32_MAX};
    for (size_t i = 0; i < 8; i++) histogram_observe(&h, times[i], 1);
    for (size_t i = 0; i < 4; i++) assert_int_equal(h.counts[i], 2);
    assert_int_equal(h.count, 8);
    assert_true(h.sum_ns == (uint64_t)143 + UINT32_MAX);
}

static void the_same_time_more_than_once(void **state) {
    (void)state;
    static const uint64_t bounds[] = {10};
    struct histogram h;
    histogram_init(&h, bounds, 1);
    histogram_observe(&h, 7, 3);
    histogram_observe(&h, 7, 0);
    assert_true(h.count == 3 && h.counts[0] == 3 && h.counts[1] == 0 && h.sum_ns == 21);
}

static void without_bounds(void **state) {
    (void)state;
    struct histogram h;
    histogram_init(&h, NULL, 0);
    histogram_observe(&h, 5, 1);
    assert_true(h.count == 1 && h.counts[0] == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_belong_to_the_bucket_below),
        cmocka_unit_test(the_same_time_more_than_once),
        cmocka_unit_test(without_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
