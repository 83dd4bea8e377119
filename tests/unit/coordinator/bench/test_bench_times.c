// SPDX-License-Identifier: MIT
/* test_bench_times.c: questions about kernels and collectives, and what their answers mean. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/bench/bench_times.h"

#define NEAR(a, b) assert_float_equal((float)(a), (float)(b), (float)((b)*1e-5 + 1e-9))

/* ---- the pretended engine: it remembers what it was asked ---- */

struct engine {
    struct measure_ask asked[16];
    size_t n_asked;
};

err engine_measure(struct engine *e, const struct measure_ask *ask) {
    assert_true(e->n_asked < 16);
    e->asked[e->n_asked++] = *ask;
    return ERR_OK;
}

err engine_submit(struct engine *e, const int32_t *prompt, size_t n_prompt,
                  const struct request_params *p, const struct request_sink *sink, void *sink_ctx,
                  uint64_t *id) {
    (void)e, (void)prompt, (void)n_prompt, (void)p, (void)sink, (void)sink_ctx, (void)id;
    return FAIL(ERR_INTERNAL, "nothing is to be computed");
}

struct result {
    uint32_t n_answered, n_done;
};

static void on_answered(void *ctx, uint32_t index, uint32_t n) {
    struct result *r = ctx;
    assert_int_equal(index, r->n_answered++);
    assert_int_equal(n, 2);
}

static void on_done(void *ctx, err code, const char *message) {
    struct result *r = ctx;
    (void)message;
    assert_int_equal(code, ERR_OK);
    r->n_done++;
}

static struct bench_times_options options(enum measure_what what, struct bench_timings *t,
                                          struct result *r) {
    return (struct bench_times_options){.what = what,
                                        .reps = 5,
                                        .read_memory = 4096,
                                        .ranks = 2,
                                        .threads = 3,
                                        .timings = t,
                                        .answered = on_answered,
                                        .done = on_done,
                                        .ctx = r};
}

static const struct bench_limits limits = {40, 1000, 250}, higher = {44, 1050, 260};

static void test_arithmetic(void **state) {
    (void)state;
    const struct measure_time decode = {.name = "matmul_q",
                                        .type = "Q4_0",
                                        .rows = 1000,
                                        .cols = 1000,
                                        .count = 1,
                                        .bytes = 88000,
                                        .ops = 2000000,
                                        .reps = 5,
                                        .median_ns = 4000,
                                        .min_ns = 3000,
                                        .max_ns = 5000};
    struct bench_timing t = bench_timing_of(&decode, &limits, &higher);
    NEAR(t.us.median, 4);
    NEAR(t.us.min, 3);
    NEAR(t.us.max, 5);
    NEAR(t.gb_per_s, 22);
    NEAR(t.gops, 500);
    assert_string_equal(t.limit, "read"); // 2000 ns at 44 GB/s, 1905 at 1050 GOPS
    NEAR(t.of_limit, 0.5);
    assert_true(t.steady);
    struct measure_time batch = decode;
    batch.count = 8;
    batch.ops *= 8;
    batch.median_ns = 20000;
    t = bench_timing_of(&batch, &limits, &higher);
    assert_string_equal(t.limit, "int8");
    NEAR(t.of_limit, 16000.0 / 1050 * 1000 / 20000);
    batch.type = "F16";
    t = bench_timing_of(&batch, &limits, &(struct bench_limits){40, 1200, 260});
    assert_string_equal(t.limit, "f32");
    NEAR(t.of_limit, 16000.0 / 260 * 1000 / 20000);
    assert_false(t.steady);
    batch.type = "";
    batch.ops = 0;
    t = bench_timing_of(&batch, &limits, &limits);
    assert_string_equal(t.limit, "read");
}

static struct measure_answer limits_answer(double read) {
    return (struct measure_answer){.size = 2, .limits = {read * 1e9, 1e12, 2e11, 1, 1, ""}};
}

static void test_kernels(void **state) {
    (void)state;
    struct engine e = {.n_asked = 0};
    struct bench_timings t = {0};
    struct result r = {0};
    struct bench_times_options o = options(MEASURE_KERNELS, &t, &r);
    struct bench_times *b = bench_times_start(&e, &o);
    struct measure_time times[2] = {{"matmul_q", "Q8_0", 1, 2, 3, 400, 0, 5, 10, 9, 11},
                                    {"add", "", 0, 2, 1, 100, 0, 5, 10, 9, 11}};
    for (uint32_t i = 0; i < 2; i++) {
        struct measure_answer l = limits_answer(40),
                              a = {.size = 2, .n_indexes = 2, .n_times = 1 + i, .times = times};
        bench_times_measured(b, &l);
        bench_times_measured(b, &a);
        assert_int_equal(t.n, i); // waits for the limits after it
    }
    struct measure_answer last = limits_answer(20); // half: the last rows are not steady
    bench_times_measured(b, &last);
    assert_true(r.n_done == 1 && r.n_answered == 2);
    static const enum measure_what asked[] = {MEASURE_LIMITS, MEASURE_KERNELS, MEASURE_LIMITS,
                                              MEASURE_KERNELS, MEASURE_LIMITS};
    assert_int_equal(e.n_asked, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(e.asked[i].what, asked[i]);
        assert_int_equal(e.asked[i].memory_bytes, 4096);
    }
    assert_true(e.asked[1].index == 0 && e.asked[3].index == 1 && e.asked[1].reps == 5);
    assert_int_equal(t.n, 3);
    assert_true(t.v[0].steady && !t.v[1].steady && t.v[0].ranks == 2 && t.v[0].threads == 3);
    assert_string_equal(t.v[2].name, "add");
    NEAR(t.v[0].of_limit, 1); // 400 bytes in 10 ns at 40 GB/s
    struct buf text;
    buf_init(&text, 0);
    bench_times_table(&text, MEASURE_KERNELS, &t);
    assert_non_null(strstr(text.data, "2 ranks x 3 threads"));
    assert_non_null(strstr(text.data, "100% read\n"));
    buf_deinit(&text);
    bench_timings_deinit(&t);
    bench_times_free(b);
}

static void test_collectives(void **state) {
    (void)state;
    struct engine e = {.n_asked = 0};
    struct bench_timings t = {0};
    struct result r = {0};
    struct bench_times_options o = options(MEASURE_COLLECTIVES, &t, &r);
    struct bench_times *b = bench_times_start(&e, &o);
    struct measure_time time = {"gather", "", 0, 0, 0, 8192, 0, 1000, 4096, 4000, 4200};
    struct measure_answer a = {.size = 2, .n_indexes = 2, .n_times = 1, .times = &time};
    bench_times_measured(b, &a);
    time.name = "scatter";
    bench_times_measured(b, &a);
    assert_true(r.n_done == 1 && r.n_answered == 2 && e.n_asked == 2 && t.n == 2);
    assert_true(e.asked[0].what == MEASURE_COLLECTIVES && e.asked[1].index == 1);
    NEAR(t.v[0].mb_per_s, 2000);
    struct buf text;
    buf_init(&text, 0);
    bench_times_table(&text, MEASURE_COLLECTIVES, &t);
    assert_non_null(strstr(text.data, "# all-reduce, gather, 2 ranks\n# Size "));
    assert_non_null(strstr(text.data, "# all-reduce, scatter, 2 ranks\n"));
    buf_deinit(&text);
    bench_timings_deinit(&t);
    bench_times_free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arithmetic),
        cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_collectives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
