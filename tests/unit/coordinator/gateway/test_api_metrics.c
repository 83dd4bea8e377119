// SPDX-License-Identifier: MIT
/* test_api_metrics.c: what completions leave in GET /metrics and in the access log. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/unit/coordinator/gateway/fake_client.h"
#include "tests/unit/coordinator/gateway/fake_engine.h"
#include "tests/unit/coordinator/gateway/group_tokenizer.h"

struct world {
    struct engine engine;
    struct gateway gateway;
    struct cluster_rank ranks[2];
};

static void open_world(struct world *w) {
    *w = (struct world){.gateway = {.engine = &w->engine, .model_id = "demo"}};
    fake_engine_init(&w->engine, tokenizer);
    request_metrics_init(&w->gateway.metrics);
    w->ranks[0] = (struct cluster_rank){.host = "one", .up = true};
    w->ranks[1] = (struct cluster_rank){.host = "two",
                                        .stats = {.weight_bytes = 7, .kv_bytes = 8},
                                        .totals = {.steps = 4,
                                                   .compute_ns = 2500000000,
                                                   .wait_ns = 1000000,
                                                   .wire_ns = 3,
                                                   .allreduce_bytes = 99}};
    w->engine.info.ranks = w->ranks;
    w->engine.info.epoch = 3;
}

static void close_world(struct world *w) {
    fake_engine_deinit(&w->engine);
}

/* Every line must be there. */
static void expect_lines(struct world *w, const char *const *lines) {
    struct fake_client c;
    fake_client_send(&c, &w->gateway, HTTP_METHOD_GET, "/metrics", NULL);
    assert_int_equal(c.status, 200);
    assert_string_equal(c.content_type.data, "text/plain; version=0.0.4; charset=utf-8");
    for (; *lines; lines++) {
        char line[200];
        snprintf(line, sizeof line, "\nlockstep:%s\n", *lines);
        if (!strstr(c.body.data, line)) fail_msg("there is no line '%s':\n%s", *lines, c.body.data);
    }
    fake_client_close(&c);
}

static void an_idle_server(void **state) {
    (void)state;
    struct world w;
    open_world(&w);
    w.engine.counts = (struct engine_counts){.running = 2,
                                             .waiting = 5,
                                             .kv_blocks = 8,
                                             .kv_blocks_used = 2,
                                             .prefix_cache_queries = 90,
                                             .prefix_cache_hits = 60,
                                             .preempted = 3};
    expect_lines(&w, (const char *const[]){"num_requests_running 2",
                                           "num_requests_waiting 5",
                                           "kv_cache_usage_perc 0.25",
                                           "prefix_cache_queries_total 90",
                                           "prefix_cache_hits_total 60",
                                           "num_preemptions_total 3",
                                           "prompt_tokens_total 0",
                                           "generation_tokens_total 0",
                                           "time_to_first_token_seconds_count 0",
                                           "epoch 3",
                                           "rank_up{rank=\"0\",host=\"one\"} 1",
                                           "rank_up{rank=\"1\",host=\"two\"} 0",
                                           "weights_bytes{rank=\"1\",host=\"two\"} 7",
                                           "kv_bytes{rank=\"1\",host=\"two\"} 8",
                                           "allreduce_bytes_total{rank=\"1\",host=\"two\"} 99",
                                           "step_compute_seconds_sum{rank=\"1\",host=\"two\"} 2.5",
                                           "step_compute_seconds_count{rank=\"1\",host=\"two\"} 4",
                                           "step_wait_seconds_sum{rank=\"1\",host=\"two\"} 0.001",
                                           "step_wire_seconds_sum{rank=\"1\",host=\"two\"} 3e-09",
                                           NULL});
    close_world(&w);
}

/* Before the ranks are there, and afterwards. */
static void a_server_without_ranks(void **state) {
    (void)state;
    struct world w;
    open_world(&w);
    w.engine.state = ENGINE_STARTING;
    struct fake_client c;
    fake_client_send(&c, &w.gateway, HTTP_METHOD_GET, "/metrics", NULL);
    assert_int_equal(c.status, 200);
    assert_non_null(strstr(c.body.data, "\nlockstep:kv_cache_usage_perc 0\n"));
    assert_null(strstr(c.body.data, "rank_up"));
    fake_client_close(&c);
    close_world(&w);
}

static void complete_ones(void **state) {
    (void)state;
    struct world w;
    open_world(&w);
    struct fake_client c;
    struct access_line line = {0};
    fake_client_send(&c, &w.gateway, HTTP_METHOD_POST, "/v1/completions",
                     "{\"prompt\":[[1,2,3],[4,5]],\"n\":2,\"stream\":true}");
    fake_text(&w.engine, 0, 0, " Call me Ishmael.");
    uint32_t n = w.engine.requests[0].n_tokens;
    assert_true(n >= 3);
    fake_text(&w.engine, 0, 1, " Call me Ishmael.");
    exchange_describe(c.exchange, &line);
    assert_memory_equal(line.id, "cmpl-", 5);
    assert_true(line.prompt_tokens == 5 && line.generated_tokens == 2 * n);
    assert_string_equal(line.finish, "abort"); // if the client left now
    fake_finish(&w.engine, 0, 0, FINISH_STOP);
    fake_finish(&w.engine, 0, 1, FINISH_LENGTH);
    w.engine.requests[0].n_tokens += 2; // an end of text for each choice, which is never shown
    fake_end(&w.engine, 0, ERR_OK, "");
    line = (struct access_line){0};
    exchange_describe(c.exchange, &line);
    assert_string_equal(line.finish, "stop");
    assert_int_equal(line.generated_tokens, 2 * n + 2);

    char tokens[64], gaps[64];
    snprintf(tokens, sizeof tokens, "generation_tokens_total %u", 2 * n + 2);
    snprintf(gaps, sizeof gaps, "inter_token_latency_seconds_count %u", 2 * n - 2);
    expect_lines(&w,
                 (const char *const[]){
                     "prompt_tokens_total 3", tokens, gaps,
                     "request_success_total{finished_reason=\"stop\"} 1",
                     "request_success_total{finished_reason=\"length\"} 1",
                     "time_to_first_token_seconds_count 2", "e2e_request_latency_seconds_count 1",
                     "request_queue_time_seconds_count 1", "request_queue_time_seconds_sum 0.002",
                     "request_queue_time_seconds_bucket{le=\"0.001\"} 0",
                     "request_queue_time_seconds_bucket{le=\"0.005\"} 1", NULL});
    fake_client_leave(&c); // the second prompt's choices
    expect_lines(&w, (const char *const[]){"request_success_total{finished_reason=\"abort\"} 2",
                                           "prompt_tokens_total 3", NULL});
    fake_client_close(&c);
    close_world(&w);
}

static void failed_ones(void **state) {
    (void)state;
    struct world w;
    open_world(&w);
    struct fake_client c;
    fake_client_send(&c, &w.gateway, HTTP_METHOD_POST, "/v1/completions", "{\"prompt\":\"a\"}");
    fake_end(&w.engine, 0, ERR_RANK_LOST, "rank 1 was lost");
    fake_client_close(&c);
    fake_client_send(&c, &w.gateway, HTTP_METHOD_POST, "/v1/completions", "{\"prompt\":7}");
    assert_int_equal(c.status, 400); // never a request of the engine
    fake_client_close(&c);
    expect_lines(&w, (const char *const[]){"request_success_total{finished_reason=\"error\"} 1",
                                           "request_success_total{finished_reason=\"abort\"} 0",
                                           "e2e_request_latency_seconds_count 0", NULL});
    close_world(&w);
}

static void prompts_as_text(void **state) {
    (void)state;
    struct world w;
    open_world(&w);
    struct fake_client c;
    struct buf text;
    buf_init(&text, 0);
    fake_client_send(&c, &w.gateway, HTTP_METHOD_POST, "/v1/completions",
                     "{\"prompt\":[\"Call me\",\"Ishmael.\"]}");
    exchange_put_prompts(c.exchange, &text);
    assert_string_equal(text.data, "Call me\nIshmael.");
    buf_deinit(&text);
    fake_client_leave(&c);
    fake_client_close(&c);
    close_world(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_server),  cmocka_unit_test(a_server_without_ranks),
        cmocka_unit_test(complete_ones),   cmocka_unit_test(failed_ones),
        cmocka_unit_test(prompts_as_text),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
