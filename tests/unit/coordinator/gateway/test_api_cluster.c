// SPDX-License-Identifier: MIT
/* test_api_cluster.c: GET /cluster says what the engine, the plan and the ranks say. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/common/fake_model.h"
#include "tests/unit/coordinator/gateway/fake_client.h"
#include "tests/unit/coordinator/gateway/fake_engine.h"

struct world {
    struct engine engine;
    struct gateway gateway;
    struct model *model;
    struct plan plan;
    struct cluster_rank ranks[2];
};

static void open_world(struct world *w) {
    *w = (struct world){.gateway = {.engine = &w->engine, .model_id = "a \"name\""}};
    fake_engine_init(&w->engine, NULL);
    request_metrics_init(&w->gateway.metrics);
    w->model = fake_model_create(&(struct fake_shape){.n_layers = 2,
                                                      .dim = 64,
                                                      .n_heads = 4,
                                                      .n_kv_heads = 2,
                                                      .head_dim = 16,
                                                      .n_ff = 96,
                                                      .n_vocab = 320,
                                                      .type = DTYPE_Q8_0,
                                                      .down_type = DTYPE_Q8_0});
    plan_init(&w->plan, 2);
    w->plan.ranks[1] =
        (struct plan_rank){.heads = {3, 4}, .kv_heads = {1, 2}, .ffn = {64, 96}, .vocab = {9, 320}};
    w->ranks[0] = (struct cluster_rank){.host = "one", .up = true, .threads = 2};
    w->ranks[1] = (struct cluster_rank){
        .host = "two",
        .isa = "avx2",
        .cpus = "0-3,8",
        .cpu_ns = 1500000000,
        .stats = {.weight_bytes = 7, .kv_bytes = 8, .peak_rss_bytes = UINT64_C(1) << 40},
        .totals = {.steps = 4,
                   .compute_ns = 2500000000,
                   .wait_ns = 1000000,
                   .wire_ns = 3,
                   .allreduce_bytes = 99}};
    w->engine.info.model = w->model;
    w->engine.info.plan = &w->plan;
    w->engine.info.ranks = w->ranks;
    w->engine.info.mpi = "Open MPI v4.1.4";
    w->engine.info.epoch = 3;
}

static void close_world(struct world *w) {
    fake_engine_deinit(&w->engine);
    fake_model_free(w->model);
    plan_deinit(&w->plan);
}

static json_t *ask(struct world *w) {
    struct fake_client c;
    fake_client_send(&c, &w->gateway, HTTP_METHOD_GET, "/cluster", NULL);
    assert_int_equal(c.status, 200);
    assert_string_equal(c.content_type.data, "application/json");
    json_t *root = fake_client_json(&c);
    fake_client_close(&c);
    return root;
}

/* Numbers at these places of an object, "a.b" below a. */
static void expect_numbers(const json_t *root, const char *object, size_t n,
                           const char *const keys[], const double values[]) {
    const json_t *o = *object ? json_object_get(root, object) : root;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_object_get(o, keys[i]);
        if (!json_is_number(v) || json_number_value(v) != values[i])
            fail_msg("%s.%s is %.9g, expected %.9g", object, keys[i], json_number_value(v),
                     values[i]);
    }
}

static void expect_range(const json_t *rank, const char *key, int begin, int end) {
    const json_t *range = json_object_get(rank, key);
    assert_int_equal(json_integer_value(json_array_get(range, 0)), begin);
    assert_int_equal(json_integer_value(json_array_get(range, 1)), end);
}

static void counts_and_model(void **state) {
    (void)state;
    struct world w;
    open_world(&w);
    w.engine.counts = (struct engine_counts){.running = 2,
                                             .waiting = 5,
                                             .kv_blocks = 8,
                                             .kv_blocks_used = 3,
                                             .cancelled = 1,
                                             .preempted = 6,
                                             .prefix_cache_queries = 90,
                                             .prefix_cache_hits = 60};
    w.gateway.metrics.prompt_tokens = 11;
    w.gateway.metrics.generated_tokens = 12;
    json_t *root = ask(&w);
    assert_string_equal(json_string_value(json_object_get(root, "status")), "ok");
    expect_numbers(root, "requests", 3, (const char *const[]){"running", "waiting", "cancelled"},
                   (const double[]){2, 5, 1});
    expect_numbers(root, "kv", 3, (const char *const[]){"blocks", "blocks_used", "block_tokens"},
                   (const double[]){8, 3, 32});
    expect_numbers(root, "prefix_cache", 2, (const char *const[]){"queries", "hits"},
                   (const double[]){90, 60});
    expect_numbers(root, "tokens", 2, (const char *const[]){"prompt", "generated"},
                   (const double[]){11, 12});
    const json_t *rate = json_object_get(json_object_get(root, "tokens"), "per_second");
    assert_int_equal(json_array_size(rate), TOKEN_RATE_SECONDS);
    expect_numbers(root, "", 2, (const char *const[]){"preempted", "epoch"},
                   (const double[]){6, 3});
    const json_t *model = json_object_get(root, "model");
    assert_string_equal(json_string_value(json_object_get(model, "id")), "a \"name\"");
    assert_true(json_is_false(json_object_get(model, "chat_template")));
    expect_numbers(
        root, "model", 9,
        (const char *const[]){"layers", "dim", "heads", "kv_heads", "head_dim", "ffn", "vocab",
                              "context", "parameters"},
        (const double[]){2, 64, 4, 2, 16, 96, 320, 256, (double)model_parameters(w.model)});
    json_decref(root);
    close_world(&w);
}

static void ranks(void **state) {
    (void)state;
    struct world w;
    open_world(&w);
    json_t *root = ask(&w);
    const json_t *all = json_object_get(root, "ranks");
    assert_int_equal(json_array_size(all), 2);
    assert_true(json_is_true(json_object_get(json_array_get(all, 0), "up")));
    const json_t *r = json_array_get(all, 1);
    assert_true(json_is_false(json_object_get(r, "up")));
    assert_string_equal(json_string_value(json_object_get(r, "host")), "two");
    assert_string_equal(json_string_value(json_object_get(r, "cpus")), "0-3,8");
    expect_range(r, "heads", 3, 4);
    expect_range(r, "kv_heads", 1, 2);
    expect_range(r, "ffn", 64, 96);
    expect_range(r, "vocab", 9, 320);
    expect_numbers(r, "", 9,
                   (const char *const[]){"weights_bytes", "kv_bytes", "peak_rss_bytes",
                                         "cpu_seconds", "steps", "compute_seconds", "wait_seconds",
                                         "wire_seconds", "allreduce_bytes"},
                   (const double[]){7, 8, 1099511627776, 1.5, 4, 2.5, 0.001, 3e-9, 99});
    json_decref(root);
    close_world(&w);
}

static void before_there_are_ranks(void **state) {
    (void)state;
    struct world w;
    open_world(&w);
    w.engine.state = ENGINE_STARTING;
    json_t *root = ask(&w);
    assert_string_equal(json_string_value(json_object_get(root, "status")), "loading");
    assert_true(json_is_null(json_object_get(root, "model")));
    assert_true(json_is_null(json_object_get(root, "ranks")));
    json_decref(root);
    close_world(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_and_model),
        cmocka_unit_test(ranks),
        cmocka_unit_test(before_there_are_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
