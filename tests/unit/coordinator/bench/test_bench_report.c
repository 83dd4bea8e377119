// SPDX-License-Identifier: MIT
/* test_bench_report.c: rows as JSON, CSV and a table. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/bench/bench_report.h"

struct thing {
    uint32_t count;
    uint64_t bytes;
    double ratio;
    bool good;
    struct bench_range spread;
    const char *name;
};

static const struct bench_column columns[] = {
    {"count", COLUMN_U32, offsetof(struct thing, count)},
    {"bytes", COLUMN_U64, offsetof(struct thing, bytes)},
    {"ratio", COLUMN_REAL, offsetof(struct thing, ratio)},
    {"spread", COLUMN_RANGE, offsetof(struct thing, spread)},
    {"good", COLUMN_FLAG, offsetof(struct thing, good)},
    {"name", COLUMN_TEXT, offsetof(struct thing, name)},
};
static const struct thing things[] = {{7, 1ull << 40, 0.25, true, {2, 1, 3}, "one"},
                                      {0, 0, 1e-9, false, {0, 0, 0}, "two"}};

static void test_json_and_csv(void **state) {
    (void)state;
    struct buf csv;
    buf_init(&csv, 0);
    json_t *a = bench_report_json(columns, 6, things, sizeof *things, 2);
    assert_int_equal(json_array_size(a), 2);
    json_t *one = json_array_get(a, 0);
    assert_int_equal(json_integer_value(json_object_get(one, "count")), 7);
    assert_true(json_integer_value(json_object_get(one, "bytes")) == 1ll << 40);
    assert_true(json_real_value(json_object_get(one, "ratio")) == 0.25);
    assert_true(json_is_true(json_object_get(one, "good")));
    assert_string_equal(json_string_value(json_object_get(one, "name")), "one");
    json_t *spread = json_object_get(one, "spread");
    assert_true(json_real_value(json_object_get(spread, "median")) == 2);
    assert_true(json_real_value(json_object_get(spread, "min")) == 1);
    assert_true(json_real_value(json_object_get(spread, "max")) == 3);
    bench_report_csv(&csv, a);
    assert_string_equal(csv.data,
                        "count,bytes,ratio,spread.median,spread.min,spread.max,good,name\n"
                        "7,1099511627776,0.25,2,1,3,true,one\n"
                        "0,0,1e-09,0,0,0,false,two\n");
    json_decref(a);
    buf_deinit(&csv);
}

/* The keys that are promised; others may follow. */
static void test_columns_of_a_row(void **state) {
    (void)state;
    static const char *const promised[] = {"ranks",
                                           "threads",
                                           "batch",
                                           "ctx_depth",
                                           "prefill_tokens",
                                           "decode_tokens",
                                           "prefill_tokens_per_s",
                                           "decode_tokens_per_s",
                                           "ms_per_token",
                                           "decode_gb_per_s",
                                           "read_bandwidth_gb_per_s",
                                           "prefill_gops",
                                           "peak_gops",
                                           "allreduce_calls_per_token",
                                           "allreduce_bytes_per_token",
                                           "step_compute_ms",
                                           "step_wait_ms",
                                           "step_wire_ms",
                                           "speedup",
                                           "efficiency",
                                           "peak_rss_bytes",
                                           "load_s",
                                           "load_gb_per_s"};
    struct bench_row row = {0};
    size_t n;
    const struct bench_column *c = bench_row_columns(&n);
    json_t *a = bench_report_json(c, n, &row, sizeof row, 1), *one = json_array_get(a, 0);
    assert_int_equal(json_object_size(one), n); // no key twice
    for (size_t i = 0; i < sizeof promised / sizeof *promised; i++)
        assert_non_null(json_object_get(one, promised[i]));
    json_decref(a);
}

static void test_table(void **state) {
    (void)state;
    struct bench_row rows[2] = {{.ranks = 1,
                                 .threads = 2,
                                 .batch = 8,
                                 .prefill_tokens_per_s = {123.4, 100, 150},
                                 .decode_tokens_per_s = {45.6, 40, 50},
                                 .decode_gb_per_s = 30,
                                 .read_bandwidth_gb_per_s = 40,
                                 .prefill_gops = 600,
                                 .peak_gops = 1000,
                                 .prefill_dropped = 3,
                                 .steady = true},
                                {.ranks = 2, .threads = 1}};
    struct buf text;
    buf_init(&text, 0);
    bench_report_table(&text, rows, 2);
    static const char *const says[] = {
        "1x2", "123.4 (100.0-150.0)", "45.6 (40.0-50.0)", "75%", "60%", "3 dropped", "2x1", " *\n"};
    for (size_t i = 0; i < sizeof says / sizeof *says; i++)
        if (!strstr(text.data, says[i])) fail_msg("'%s' is not in\n%s", says[i], text.data);
    buf_deinit(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_and_csv),
        cmocka_unit_test(test_columns_of_a_row),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
