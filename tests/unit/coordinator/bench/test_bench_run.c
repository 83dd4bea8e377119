// SPDX-License-Identifier: MIT
/* test_bench_run.c: the order in which samples are taken, over a pretended engine.
 *
 * The pretended engine does everything at once: a request goes as far as it may when the test turns
 * the wheel, and answers to measurements say what the test wants. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/mem.h"
#include "coordinator/bench/bench_run.h"

#define MAX_REQUESTS 8

struct pretended {
    struct request_params params;
    const struct request_sink *sink;
    void *ctx;
    size_t n_prompt;
    int32_t first; // of the prompt
    bool open, paused;
};

struct engine {
    struct model model;
    struct cluster_info info;
    struct pretended requests[MAX_REQUESTS];
    uint32_t n_open;
    enum measure_what asked;
    bool measuring;
    struct measure_rank ranks[2];
    struct measure_limits limits;
    char log[512]; // what happened, one letter each
};

static void note(struct engine *e, const char *what) {
    strncat(e->log, what, sizeof e->log - strlen(e->log) - 1);
}

const struct cluster_info *engine_info(const struct engine *e) {
    return &e->info;
}

err engine_submit(struct engine *e, const int32_t *prompt, size_t n_prompt,
                  const struct request_params *p, const struct request_sink *sink, void *sink_ctx,
                  uint64_t *id) {
    assert_true(e->n_open < MAX_REQUESTS && !e->measuring);
    for (size_t i = 0; i < n_prompt; i++) assert_in_range(prompt[i], 0, 99);
    *id = e->n_open;
    e->requests[e->n_open++] = (struct pretended){.params = *p,
                                                  .sink = sink,
                                                  .ctx = sink_ctx,
                                                  .n_prompt = n_prompt,
                                                  .first = prompt[0],
                                                  .open = true,
                                                  .paused = p->pause_at != REQUEST_NO_PAUSE};
    note(e, p->max_tokens == 1 ? "p" : "d");
    return ERR_OK;
}

void engine_resume(struct engine *e, uint64_t id) {
    assert_true(e->requests[id].open && e->requests[id].paused);
    e->requests[id].paused = false;
}

err engine_measure(struct engine *e, const struct measure_ask *ask) {
    assert_false(e->measuring);
    assert_int_equal(ask->memory_bytes, 4096);
    e->asked = ask->what;
    e->measuring = true;
    note(e, ask->what == MEASURE_LIMITS ? "L" : "C");
    return ERR_OK;
}

/* Everything that can happen happens.  False when nothing did. */
static bool turn(struct engine *e, struct bench_run *r, err end_error) {
    if (e->measuring) {
        struct measure_answer a = {.size = 2, .ranks = e->ranks};
        if (e->asked == MEASURE_LIMITS) a.limits = e->limits;
        e->measuring = false;
        bench_run_measured(r, &a);
        return true;
    }
    bool any = false;
    for (uint32_t i = 0; i < e->n_open; i++) any |= e->requests[i].open && !e->requests[i].paused;
    if (any) {
        struct engine_step step = {.sent_ns = clock_ns(), .received_ns = clock_ns()};
        for (int i = 0; i < 2; i++) bench_run_step(r, &step);
        for (int i = 0; i < 2; i++) { // rank 1 computes longer
            e->ranks[i].steps += 2;
            e->ranks[i].compute_ns += (uint64_t)(10 + i);
            e->ranks[i].wait_ns += (uint64_t)(5 - i);
            e->ranks[i].wire_ns += 3;
            e->ranks[i].allreduce_calls += 4;
            e->ranks[i].allreduce_bytes += 400;
        }
        uint32_t n = e->n_open;
        e->n_open = 0;
        for (uint32_t i = 0; i < n; i++) {
            const struct request_usage usage = {0};
            const struct pretended *q = &e->requests[i];
            q->sink->end(q->ctx, &usage, end_error, "the end");
        }
    }
    bench_run_idle(r);
    return e->measuring || e->n_open > 0;
}

struct result {
    size_t sampled[8], n_sampled;
    int n_done;
    err code;
};

static void on_sampled(void *ctx, size_t i) {
    struct result *r = ctx;
    r->sampled[r->n_sampled++] = i;
}

static void on_done(void *ctx, err code, const char *message) {
    struct result *r = ctx;
    (void)message;
    r->n_done++;
    r->code = code;
}

static struct bench_case cases[] = {{BENCH_PREFILL, 1, 5, 7}, {BENCH_DECODE, 3, 0, 4}};
static const struct bench_cases list = {.cases = cases, .n_cases = 2};

/* A run of the cases over an engine that does as it is told. */
struct bed {
    struct engine e;
    struct result result;
    struct bench_series series[2];
    struct bench_run *run;
};

static void begin(struct bed *b, uint32_t wanted) {
    *b = (struct bed){.e = {.model = {.shape = {.n_vocab = 100}},
                            .ranks = {{.cpu = ""}, {.cpu = ""}},
                            .limits = {4e10, 1e12, 2e11, 1, 1, ""}}};
    b->e.info = (struct cluster_info){.model = &b->e.model, .size = 2, .max_step_tokens = 512};
    b->run = bench_run_start(&b->e, &(struct bench_run_options){.cases = &list,
                                                                .series = b->series,
                                                                .wanted = wanted,
                                                                .costs = {.quantized = true},
                                                                .read_memory = 4096,
                                                                .sampled = on_sampled,
                                                                .done = on_done,
                                                                .ctx = &b->result});
}

static void end(struct bed *b) {
    bench_run_free(b->run);
    for (int i = 0; i < 2; i++) bench_series_deinit(&b->series[i]);
}

static void test_order(void **state) {
    (void)state;
    struct bed b;
    begin(&b, 2);
    while (turn(&b.e, b.run, ERR_OK)) {
    }
    // two to warm up; then limits, a sample, limits, … the cases in turn
    assert_string_equal(b.e.log, "pddd"
                                 "L"
                                 "pCL"
                                 "dddCL"
                                 "pCL"
                                 "dddCL");
    assert_true(b.result.n_done == 1 && b.result.code == ERR_OK && b.result.n_sampled == 4);
    assert_true(b.result.sampled[0] == 0 && b.result.sampled[1] == 1 && b.result.sampled[2] == 0);
    assert_true(b.series[0].n == 2 && b.series[1].n == 2);
    const struct bench_sample *s = &b.series[1].v[1];
    assert_true(s->wall_ns > 0 && s->steps == 2);
    assert_true(s->compute_ns == 11 && s->wait_ns == 4 && s->wire_ns == 3); // of rank 1
    assert_true(s->allreduce_calls == 4 && s->allreduce_bytes == 400);
    assert_true(s->before.read_gb_per_s == 40 && s->after.int8_gops == 1000);
    assert_int_equal(b.series[0].v[0].chunks, 2);
    end(&b);
}

/* Samples that do not count are taken again, but not for ever. */
static void test_again(void **state) {
    (void)state;
    struct bed b;
    begin(&b, 1);
    for (int i = 0; turn(&b.e, b.run, ERR_OK); i++)
        b.e.limits.int8_ops_per_s *= 1.05; // twice a sample
    assert_true(b.result.n_done == 1 && b.result.code == ERR_OK);
    assert_int_equal(b.series[0].n, 2); // twice what is wanted
    end(&b);
}

static void test_requests(void **state) {
    (void)state;
    struct bed b;
    begin(&b, 2);
    assert_int_equal(b.e.requests[0].n_prompt, 7); // warming up, from nothing
    assert_true(b.e.requests[0].params.pause_at == REQUEST_NO_PAUSE);
    for (int i = 0; i < 3; i++) turn(&b.e, b.run, ERR_OK);
    assert_int_equal(b.e.n_open, 1);
    assert_int_equal(b.e.requests[0].n_prompt, 12); // 5 before, 7 on the clock
    assert_int_equal(b.e.requests[0].params.pause_at, 5);
    assert_true(b.e.requests[0].params.ignore_eos);
    for (int i = 0; i < 4; i++) turn(&b.e, b.run, ERR_OK);
    assert_int_equal(b.e.n_open, 3);
    assert_int_not_equal(b.e.requests[0].first, b.e.requests[1].first); // no prompt twice
    for (int i = 0; i < 3; i++) {
        assert_int_equal(b.e.requests[i].n_prompt, 1);
        assert_int_equal(b.e.requests[i].params.pause_at, 1);
        assert_int_equal(b.e.requests[i].params.max_tokens, 6);
    }
    end(&b);
}

static void test_failure(void **state) {
    (void)state;
    struct bed b;
    begin(&b, 2);
    turn(&b.e, b.run, ERR_RANK_LOST);
    assert_true(b.result.n_done == 1 && b.result.code == ERR_RANK_LOST);
    bench_run_idle(b.run); // nothing more happens
    assert_false(b.e.measuring);
    assert_int_equal(b.result.n_done, 1);
    end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
