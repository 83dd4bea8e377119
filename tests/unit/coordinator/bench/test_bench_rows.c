// SPDX-License-Identifier: MIT
/* test_bench_rows.c: the numbers of a row against those worked out by hand. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/bench/bench_rows.h"
#include "coordinator/cluster/planner.h"
#include "tests/unit/common/fake_model.h"

#define NEAR(a, b) assert_float_equal((float)(a), (float)(b), (float)((b)*1e-5 + 1e-9))

static void test_ranges(void **state) {
    (void)state;
    double odd[] = {3, 1, 2}, even[] = {4, 1, 3, 2}, one[] = {7};
    struct bench_range r = bench_range_of(odd, 3);
    assert_true(r.median == 2 && r.min == 1 && r.max == 3);
    r = bench_range_of(even, 4);
    assert_true(r.median == 2.5 && r.min == 1 && r.max == 4);
    r = bench_range_of(one, 1);
    assert_true(r.median == 7 && r.min == 7 && r.max == 7);
}

static struct bench_sample sample(double ms, struct bench_limits before,
                                  struct bench_limits after) {
    return (struct bench_sample){.wall_ns = (uint64_t)(ms * 1e6), .before = before, .after = after};
}

static void test_what_is_steady(void **state) {
    (void)state;
    const struct bench_case prefill = {BENCH_PREFILL, 1, 0, 8}, decode = {BENCH_DECODE, 1, 0, 8};
    const struct bench_case batch = {BENCH_DECODE, 8, 0, 8};
    const struct bench_costs quantized = {.quantized = true}, floats = {.quantized = false};
    const struct bench_limits base = {100, 1000, 200}, reading = {89, 1000, 200};
    const struct bench_limits bytes = {100, 1120, 200}, products = {100, 1000, 179};
    const struct {
        struct bench_limits after;
        bool prefill_q, prefill_f, decode_q, batch_q, batch_f;
    } cases[] = {
        {base, true, true, true, true, true},
        {{109, 1090, 219}, true, true, true, true, true},
        {reading, true, true, false, false, false},
        {bytes, false, true, true, false, true},
        {products, true, false, true, true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int turned = 0; turned < 2; turned++) { // up or down is the same
            struct bench_sample s =
                turned ? sample(1, cases[i].after, base) : sample(1, base, cases[i].after);
            assert_int_equal(bench_sample_steady(&prefill, &quantized, &s), cases[i].prefill_q);
            assert_int_equal(bench_sample_steady(&prefill, &floats, &s), cases[i].prefill_f);
            assert_int_equal(bench_sample_steady(&decode, &quantized, &s), cases[i].decode_q);
            assert_int_equal(bench_sample_steady(&batch, &quantized, &s), cases[i].batch_q);
            assert_int_equal(bench_sample_steady(&batch, &floats, &s), cases[i].batch_f);
        }
    }
}

/* TinyLlama's shape: the issue of every comparison says 1.94 G operations per token. */
static void test_costs(void **state) {
    (void)state;
    const struct fake_shape shape = {22,    2048,       32,         4,     64,   5632,
                                     32000, DTYPE_Q4_0, DTYPE_Q4_0, false, false};
    struct model *m = fake_model_create(&shape);
    struct plan plan;
    for (uint32_t n = 1; n <= 8; n *= 8) {
        const struct planner_options o = {.size = n, .ctx_planned = 64, .kv_elem_bytes = 2};
        assert_int_equal(planner_make(&plan, m, &o), ERR_OK);
        struct bench_costs c = bench_costs_of(m, &plan, 2);
        NEAR(c.layer_ops, 22 * 2.0 * (2048.0 * (2 * 2048 + 2 * 256) + 3.0 * 2048 * 5632));
        NEAR(c.head_ops, 2.0 * 2048 * 32000);
        assert_true(c.quantized);
        // every rank has norms of its own, and 8 ranks share 4 KV heads: K and V are there twice
        double matrices = (c.layer_ops + c.head_ops) / 2, norms = n * 45 * 2048 * 4.0;
        if (n == 8) matrices += 22 * 2.0 * 256 * 2048;
        NEAR(c.weight_bytes, matrices / 32 * 18 + norms);
        assert_int_equal(c.kv_bytes_per_token, (n == 8 ? 2 : 1) * 2 * 22 * 4 * 64 * 2);
        plan_deinit(&plan);
    }
    fake_model_free(m);
}

static const struct bench_limits limits = {40, 1000, 250}, higher = {42, 1050, 260};
static const struct bench_limits elsewhere = {20, 500, 125};

static struct bench_cases one_row(uint32_t batch, uint32_t depth) {
    static struct bench_case cases[2];
    static struct bench_combination row;
    cases[0] = (struct bench_case){BENCH_PREFILL, 1, depth, 100};
    cases[1] = (struct bench_case){BENCH_DECODE, batch, depth, 10};
    row = (struct bench_combination){batch, depth, 100, 10, 0, 1};
    return (struct bench_cases){cases, 2, &row, 1};
}

static void test_row(void **state) {
    (void)state;
    struct bench_cases b = one_row(4, 0);
    const struct bench_cluster cluster = {.ranks = 2,
                                          .threads = 3,
                                          .cores = 6,
                                          .peak_rss_bytes = 77,
                                          .file_bytes = 3000000000,
                                          .load_s = {2, 1, 4},
                                          .costs = {.weight_bytes = 500000000,
                                                    .kv_bytes_per_token = 1000,
                                                    .layer_ops = 1e9,
                                                    .head_ops = 5e9,
                                                    .quantized = true}};
    struct bench_series series[2] = {{0}};
    for (int i = 0; i < 3; i++) { // 500, 400 and 1000 tokens/s; the fastest does not count
        struct bench_sample s = sample(i == 0 ? 200 : i == 1 ? 250 : 100, limits, higher);
        if (i == 2) s.after = elsewhere;
        s.chunks = 3;
        bench_series_add(&series[0], &s);
    }
    struct bench_sample d = sample(125, higher, limits); // 10 steps of 4 sequences
    d.steps = 11;
    d.compute_ns = 110000000;
    d.wait_ns = 11000000;
    d.wire_ns = 5500000;
    d.allreduce_calls = 11 * 45;
    d.allreduce_bytes = 11 * 4 * 1000;
    bench_series_add(&series[1], &d);

    struct bench_row r = bench_row_of(&b, 0, &cluster, series);
    assert_int_equal(r.ranks, 2);
    assert_int_equal(r.threads, 3);
    assert_int_equal(r.batch, 4);
    assert_true(r.prefill_samples == 2 && r.prefill_dropped == 1 && r.steady);
    NEAR(r.prefill_tokens_per_s.median, 450);
    NEAR(r.prefill_tokens_per_s.min, 400);
    NEAR(r.prefill_tokens_per_s.max, 500);
    NEAR(r.prefill_gops, 450 * (1e9 + 5e9 / 100) / 1e9);
    NEAR(r.peak_gops, 1050);
    assert_int_equal(r.prefill_chunks, 3);
    assert_true(r.decode_samples == 1 && r.decode_dropped == 0);
    NEAR(r.decode_tokens_per_s.median, 320);
    NEAR(r.ms_per_token, 12.5);
    // prompt of 1 token, then positions 2 … 11 of 4 sequences, each looking at itself too
    NEAR(r.decode_gb_per_s, (5e8 + 4 * 7.5 * 1000) / 12.5e6);
    NEAR(r.read_bandwidth_gb_per_s, 42);
    NEAR(r.step_compute_ms, 10);
    NEAR(r.step_wait_ms, 1);
    NEAR(r.step_wire_ms, 0.5);
    NEAR(r.allreduce_calls_per_token, 45 / 4.0);
    NEAR(r.allreduce_bytes_per_token, 1000);
    NEAR(r.load_s, 2);
    NEAR(r.load_gb_per_s, 1.5);
    assert_int_equal(r.peak_rss_bytes, 77);
    bench_series_deinit(&series[0]);
    bench_series_deinit(&series[1]);
}

/* When nothing was steady everything counts, and the row says so. */
static void test_unsteady_row(void **state) {
    (void)state;
    struct bench_cases b = one_row(1, 50);
    const struct bench_cluster cluster = {.ranks = 1, .threads = 1, .cores = 1};
    struct bench_series series[2] = {{0}};
    struct bench_sample s = sample(10, limits, elsewhere);
    bench_series_add(&series[0], &s);
    bench_series_add(&series[1], &s);
    struct bench_row r = bench_row_of(&b, 0, &cluster, series);
    assert_false(r.steady);
    assert_true(r.prefill_samples == 1 && r.prefill_dropped == 0);
    NEAR(r.peak_gops, 250); // not quantised
    NEAR(r.read_bandwidth_gb_per_s, 40);
    bench_series_deinit(&series[0]);
    bench_series_deinit(&series[1]);
}

static void test_speedup(void **state) {
    (void)state;
    struct bench_row rows[] = {
        {.ranks = 2,
         .cores = 2,
         .batch = 1,
         .decode_tokens_per_s = {90},
         .prefill_tokens_per_s = {190}},
        {.ranks = 2,
         .cores = 2,
         .batch = 8,
         .decode_tokens_per_s = {300},
         .prefill_tokens_per_s = {190}},
        {.ranks = 1,
         .cores = 1,
         .batch = 1,
         .decode_tokens_per_s = {50},
         .prefill_tokens_per_s = {100}},
        {.ranks = 4,
         .cores = 4,
         .batch = 1,
         .decode_tokens_per_s = {100},
         .prefill_tokens_per_s = {400}},
    };
    bench_rows_compare(rows, 4);
    NEAR(rows[0].speedup, 1.8);
    NEAR(rows[0].efficiency, 0.9);
    NEAR(rows[0].prefill_speedup, 1.9);
    NEAR(rows[0].prefill_efficiency, 0.95);
    NEAR(rows[1].speedup, 1); // nothing else has a batch of 8
    NEAR(rows[1].efficiency, 1);
    NEAR(rows[2].speedup, 1);
    NEAR(rows[3].speedup, 2);
    NEAR(rows[3].efficiency, 0.5);
    NEAR(rows[3].prefill_efficiency, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),       cmocka_unit_test(test_what_is_steady),
        cmocka_unit_test(test_costs),        cmocka_unit_test(test_row),
        cmocka_unit_test(test_unsteady_row), cmocka_unit_test(test_speedup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
