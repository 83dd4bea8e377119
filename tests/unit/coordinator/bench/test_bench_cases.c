// SPDX-License-Identifier: MIT
/* test_bench_cases.c: every combination is a row, no half is timed twice, and what they need. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/bench/bench_cases.h"

static struct options lists(void) {
    return (struct options){.batch = {3, {1, 8, 32}},
                            .ctx_depth = {2, {0, 4096}},
                            .prefill = {2, {128, 512}},
                            .generate = {1, {64}}};
}

static void test_combinations(void **state) {
    (void)state;
    struct options o = lists();
    struct bench_cases b;
    assert_int_equal(bench_cases_init(&b, &o), ERR_OK);
    assert_int_equal(b.n_rows, 3 * 2 * 2);
    assert_int_equal(b.n_cases, 2 * 2 + 3 * 2); // prefill by depth; decode by batch and depth
    for (size_t i = 0; i < b.n_rows; i++) {
        const struct bench_combination *r = &b.rows[i];
        const struct bench_case *p = &b.cases[r->prefill_case], *d = &b.cases[r->decode_case];
        assert_true(p->kind == BENCH_PREFILL && p->batch == 1 && p->depth == r->depth);
        assert_int_equal(p->tokens, r->prefill);
        assert_true(d->kind == BENCH_DECODE && d->batch == r->batch && d->depth == r->depth);
        assert_int_equal(d->tokens, 64);
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(r, &b.rows[k],
                                    offsetof(struct bench_combination, prefill_case));
    }
    bench_cases_deinit(&b);
    o.prefill.n = o.generate.n = o.batch.n = o.ctx_depth.n = OPTIONS_MAX_NUMBERS;
    assert_int_equal(bench_cases_init(&b, &o), ERR_USAGE);
    assert_non_null(strstr(error_message(), "65536 rows"));
    bench_cases_deinit(&b);
}

static void test_requests(void **state) {
    (void)state;
    const struct bench_case prefill = {BENCH_PREFILL, 1, 100, 28},
                            decode = {BENCH_DECODE, 8, 0, 64};
    const struct bench_case deep = {BENCH_DECODE, 8, 33, 64};
    assert_int_equal(bench_case_prompt(&prefill), 128);
    assert_int_equal(bench_case_pause(&prefill), 100);
    assert_int_equal(bench_case_generate(&prefill), 1);
    assert_int_equal(bench_case_prompt(&decode), 1); // there must be something
    assert_int_equal(bench_case_pause(&decode), 1);
    assert_int_equal(bench_case_generate(&decode), 66);
    assert_int_equal(bench_case_prompt(&deep), 33);
    assert_int_equal(bench_case_pause(&deep), 33);
}

static void test_needs(void **state) {
    (void)state;
    struct options o = lists();
    struct model_shape shape = {.n_ctx = 4096 + 513};
    struct bench_cases b;
    assert_int_equal(bench_cases_init(&b, &o), ERR_OK);
    assert_int_equal(bench_cases_context(&b), 4096 + 512 + 1);
    assert_int_equal(bench_cases_batch(&b), 32);
    assert_int_equal(bench_cases_kv_tokens(&b), 32 * (4096 + 96)); // 4096 + 66 in whole blocks
    assert_int_equal(bench_cases_check(&b, &o, &shape), ERR_OK);
    shape.n_ctx--;
    assert_int_equal(bench_cases_check(&b, &o, &shape), ERR_CONTEXT);
    assert_non_null(strstr(error_message(), "4609"));
    assert_non_null(strstr(error_message(), "4608"));
    o.ctx = 8192; // the user knows better
    assert_int_equal(bench_cases_check(&b, &o, &shape), ERR_OK);
    o.ctx = 1024;
    assert_int_equal(bench_cases_check(&b, &o, &shape), ERR_CONTEXT);
    assert_non_null(strstr(error_message(), "--ctx allows 1024"));
    bench_cases_deinit(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_combinations),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
