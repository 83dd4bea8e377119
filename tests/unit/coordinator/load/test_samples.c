// SPDX-License-Identifier: MIT
/* test_samples.c: exact percentiles by the nearest-rank definition. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "coordinator/load/samples.h"

#define MS 1000000u

static struct samples_summary summary_of(const unsigned *ms, size_t n) {
    struct samples s = {0};
    for (size_t i = 0; i < n; i++) samples_add(&s, (uint64_t)ms[i] * MS);
    struct samples_summary result = samples_summarize(&s);
    samples_deinit(&s);
    return result;
}

/* The example of the definition's Wikipedia article, "Percentile", nearest-rank method. */
static void a_known_example(void **state) {
    (void)state;
    struct samples_summary s = summary_of((const unsigned[]){50, 15, 40, 20, 35}, 5);
    assert_true(s.count == 5 && s.p50_ms == 35 && s.p95_ms == 50 && s.p99_ms == 50);
    assert_true(s.mean_ms == 32 && s.max_ms == 50);
}

static void a_hundred_and_one(void **state) {
    (void)state;
    unsigned ms[101];
    for (unsigned i = 0; i < 101; i++) ms[i] = (i * 37) % 101 + 1; // 1 to 101 in some order
    struct samples_summary s = summary_of(ms, 101);
    assert_true(s.p50_ms == 51 && s.p95_ms == 96 && s.p99_ms == 100 && s.max_ms == 101);
    for (unsigned i = 0; i < 100; i++) ms[i] = 100 - i;
    s = summary_of(ms, 100);
    assert_true(s.p50_ms == 50 && s.p95_ms == 95 && s.p99_ms == 99);
}

static void one_and_none(void **state) {
    (void)state;
    struct samples_summary s = summary_of((const unsigned[]){7}, 1);
    assert_true(s.p50_ms == 7 && s.p95_ms == 7 && s.p99_ms == 7 && s.mean_ms == 7);
    s = summary_of(NULL, 0);
    assert_true(s.count == 0 && s.p50_ms == 0 && s.max_ms == 0);
}

static void joined_and_cleared(void **state) {
    (void)state;
    struct samples a = {0}, b = {0};
    for (unsigned i = 0; i < 1000; i++) samples_add(i % 2 ? &a : &b, i * (uint64_t)MS);
    samples_add_all(&a, &b);
    assert_int_equal(a.count, 1000);
    assert_true(samples_summarize(&a).p50_ms == 499);
    samples_clear(&a);
    assert_int_equal(a.count, 0);
    samples_add(&a, 5);
    assert_true(a.ns[0] == 5);
    samples_deinit(&a);
    samples_deinit(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_known_example),
        cmocka_unit_test(a_hundred_and_one),
        cmocka_unit_test(one_and_none),
        cmocka_unit_test(joined_and_cleared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
