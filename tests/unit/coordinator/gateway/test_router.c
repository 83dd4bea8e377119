// SPDX-License-Identifier: MIT
/* test_router.c: every path with every method, and what operators are told in every state. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "coordinator/gateway/router.h"
#include "tests/unit/coordinator/gateway/fake_client.h"
#include "tests/unit/coordinator/gateway/fake_engine.h"
#include "tests/unit/coordinator/gateway/group_tokenizer.h"

struct world {
    struct engine engine;
    struct gateway gateway;
};

static void open_world(struct world *w) {
    *w = (struct world){
        .gateway = {
            .engine = &w->engine, .model_id = "demo", .created_s = 1700000000, .page = true}};
    fake_engine_init(&w->engine, tokenizer);
}

static int status_of(struct world *w, enum http_method method, const char *path) {
    struct fake_client c;
    fake_client_send(&c, &w->gateway, method, path, NULL);
    int status = c.status;
    fake_client_close(&c);
    return status;
}

static void expect_error(const struct fake_client *c, int status, const char *type,
                         const char *code) {
    assert_int_equal(c->status, status);
    json_t *root = fake_client_json(c), *error = json_object_get(root, "error");
    assert_true(json_string_length(json_object_get(error, "message")) > 10);
    assert_string_equal(json_string_value(json_object_get(error, "type")), type);
    assert_non_null(json_object_get(error, "param"));
    if (code) assert_string_equal(json_string_value(json_object_get(error, "code")), code);
    json_decref(root);
}

static void paths_and_methods(void **state) {
    (void)state;
    struct world w;
    open_world(&w);
    static const char *const to_get[] = {"/v1/models", "/v1/models/demo", "/health", "/ready", "/"};
    for (size_t i = 0; i < sizeof to_get / sizeof *to_get; i++) {
        assert_int_equal(status_of(&w, HTTP_METHOD_GET, to_get[i]), 200);
        assert_int_equal(status_of(&w, HTTP_METHOD_HEAD, to_get[i]), 200);
        assert_int_equal(status_of(&w, HTTP_METHOD_POST, to_get[i]), 405);
        assert_int_equal(status_of(&w, HTTP_METHOD_OTHER, to_get[i]), 405);
    }
    static const char *const to_post[] = {"/v1/completions", "/v1/chat/completions", "/tokenize",
                                          "/detokenize", "/apply-template"};
    for (size_t i = 0; i < sizeof to_post / sizeof *to_post; i++) {
        assert_int_equal(status_of(&w, HTTP_METHOD_POST, to_post[i]), 400); // no body
        assert_int_equal(status_of(&w, HTTP_METHOD_GET, to_post[i]), 405);
        assert_int_equal(status_of(&w, HTTP_METHOD_HEAD, to_post[i]), 405);
    }
    // names are encoded by some clients, and may hold what must be
    snprintf(w.gateway.model_id, sizeof w.gateway.model_id, "an org/mod%%l");
    assert_int_equal(status_of(&w, HTTP_METHOD_GET, "/v1/models/an%20org%2Fmod%25l"), 200);
    assert_int_equal(status_of(&w, HTTP_METHOD_GET, "/v1/models/an%20org/mod%l"), 200);
    assert_int_equal(status_of(&w, HTTP_METHOD_GET, "/v1/models/an%20org%2Fmod%25"), 404);
    assert_int_equal(status_of(&w, HTTP_METHOD_GET, "/v1/models/an%20org%2Fmod%25l%00"), 404);
    assert_int_equal(status_of(&w, HTTP_METHOD_GET, "/v1/models/an%2"), 404);
    static const char *const nowhere[] = {"*",        "/v1",        "/v1/models/",
                                          "/health/", "/healthy",   "/v1/completions/x",
                                          "//health", "/V1/models", ""};
    for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
        assert_int_equal(status_of(&w, HTTP_METHOD_GET, nowhere[i]), 404);
        assert_int_equal(status_of(&w, HTTP_METHOD_POST, nowhere[i]), 404);
    }
    fake_engine_deinit(&w.engine);
}

static void refusals_are_error_objects(void **state) {
    (void)state;
    struct world w;
    struct fake_client c;
    open_world(&w);
    fake_client_send(&c, &w.gateway, HTTP_METHOD_GET, "/no\"where\xFF", NULL);
    expect_error(&c, 404, "invalid_request_error", "not_found");
    fake_client_close(&c);
    fake_client_send(&c, &w.gateway, HTTP_METHOD_GET, "/v1/completions", NULL);
    expect_error(&c, 405, "invalid_request_error", "method_not_allowed");
    assert_string_equal(c.extra.data, "Allow: POST\r\n");
    fake_client_close(&c);
    fake_client_send(&c, &w.gateway, HTTP_METHOD_POST, "/health", "{}");
    assert_string_equal(c.extra.data, "Allow: GET, HEAD\r\n");
    fake_client_close(&c);
    fake_client_send(&c, &w.gateway, HTTP_METHOD_GET, "/v1/models/gpt-4", NULL);
    expect_error(&c, 404, "invalid_request_error", "model_not_found");
    fake_client_close(&c);
    fake_engine_deinit(&w.engine);
}

static int status_with(struct world *w, enum http_method method, const char *path,
                       const char *authorization, const char *says) {
    struct fake_client c;
    fake_client_send_with(&c, &w->gateway, method, path, NULL, authorization, "");
    int status = c.status;
    if (status == 401) expect_error(&c, 401, "invalid_request_error", "invalid_api_key");
    if (says && !strstr(c.extra.data, says)) fail_msg("'%s' has no %s", c.extra.data, says);
    fake_client_close(&c);
    return status;
}

static void keys_are_asked_for(void **state) {
    (void)state;
    struct world w;
    open_world(&w);
    assert_int_equal(status_with(&w, HTTP_METHOD_GET, "/v1/models", "Bearer x", NULL), 200);
    assert_int_equal(api_keys_add(&w.gateway.keys, "secret", "test"), ERR_OK);
    assert_int_equal(status_with(&w, HTTP_METHOD_GET, "/v1/models", "Bearer secret", NULL), 200);
    assert_int_equal(status_with(&w, HTTP_METHOD_GET, "/v1/models", "",
                                 "WWW-Authenticate: Bearer realm=\"lockstep\"\r\n"),
                     401);
    assert_int_equal(
        status_with(&w, HTTP_METHOD_GET, "/v1/models", "Bearer other", "error=\"invalid_token\""),
        401);
    // whatever it is, and also where there is nothing
    static const char *const closed[] = {"/v1/completions", "/v1/chat/completions", "/tokenize",
                                         "/metrics",        "/v1/models/demo",      "/nothing"};
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++) {
        assert_int_equal(status_with(&w, HTTP_METHOD_POST, closed[i], "Bearer secre", NULL), 401);
        assert_int_equal(status_with(&w, HTTP_METHOD_GET, closed[i], "", NULL), 401);
        assert_int_equal(status_with(&w, HTTP_METHOD_OPTIONS, closed[i], "", NULL), 401);
    }
    assert_int_equal(status_with(&w, HTTP_METHOD_GET, "/health", "", NULL), 200);
    assert_int_equal(status_with(&w, HTTP_METHOD_GET, "/ready", "Bearer other", NULL), 200);
    api_keys_deinit(&w.gateway.keys);
    fake_engine_deinit(&w.engine);
}

static void browsers_may_ask_first(void **state) {
    (void)state;
    static const char *const origins[] = {"https://a.org"};
    struct world w;
    struct fake_client c;
    open_world(&w);
    assert_int_equal(api_keys_add(&w.gateway.keys, "secret", "test"), ERR_OK);
    w.gateway.cors = (struct cors){.origins = origins, .n = 1};
    static const struct {
        const char *path, *origin, *says;
        int status;
    } cases[] = {
        {"/v1/completions", "https://a.org", "Access-Control-Allow-Methods: POST, OPTIONS", 204},
        {"/v1/models", "https://a.org", "Access-Control-Allow-Methods: GET, HEAD, OPTIONS", 204},
        {"/nothing", "https://a.org", NULL, 404},
        {"/v1/models", "https://b.org", "WWW-Authenticate", 401},
        {"/v1/models", "", "WWW-Authenticate", 401},
        {"/health", "https://b.org", "Allow: GET, HEAD", 405},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake_client_send_with(&c, &w.gateway, HTTP_METHOD_OPTIONS, cases[i].path, NULL, "",
                              cases[i].origin);
        assert_int_equal(c.status, cases[i].status);
        if (cases[i].says) assert_non_null(strstr(c.extra.data, cases[i].says));
        if (c.status == 204) assert_int_equal(c.body.length, 0);
        fake_client_close(&c);
    }
    api_keys_deinit(&w.gateway.keys);
    fake_engine_deinit(&w.engine);
}

/* A page cannot have a server work for it by what browsers send without asking. */
static void pages_must_say_that_it_is_json(void **state) {
    (void)state;
    struct world w;
    struct fake_client c;
    open_world(&w);
    for (int page = 0; page < 2; page++) {
        fake_client_send_with(&c, &w.gateway, HTTP_METHOD_POST, "/v1/completions", NULL, "",
                              page ? "https://a.org" : "");
        expect_error(&c, page ? 415 : 400, "invalid_request_error", NULL);
        fake_client_close(&c);
    }
    fake_client_send_with(&c, &w.gateway, HTTP_METHOD_POST, "/v1/completions", "{\"prompt\":\"x\"}",
                          "", "https://a.org"); // asked first
    assert_int_equal(w.engine.n_requests, 1);
    fake_client_leave(&c);
    fake_client_close(&c);
    fake_engine_deinit(&w.engine);
}

static void models_are_listed(void **state) {
    (void)state;
    struct world w;
    struct fake_client c;
    open_world(&w);
    fake_client_send(&c, &w.gateway, HTTP_METHOD_GET, "/v1/models", NULL);
    json_t *root = fake_client_json(&c);
    assert_string_equal(json_string_value(json_object_get(root, "object")), "list");
    assert_int_equal(json_array_size(json_object_get(root, "data")), 1);
    json_t *model = json_array_get(json_object_get(root, "data"), 0);
    assert_string_equal(json_string_value(json_object_get(model, "id")), "demo");
    assert_string_equal(json_string_value(json_object_get(model, "object")), "model");
    assert_non_null(json_object_get(model, "owned_by"));
    assert_int_equal(json_integer_value(json_object_get(model, "created")), 1700000000);
    assert_int_equal(json_integer_value(json_object_get(model, "context_length")), 256);
    json_decref(root);
    fake_client_close(&c);

    w.engine.state = ENGINE_STARTING; // what the file will say is not known yet
    fake_client_send(&c, &w.gateway, HTTP_METHOD_GET, "/v1/models/demo", NULL);
    root = fake_client_json(&c);
    assert_string_equal(json_string_value(json_object_get(root, "id")), "demo");
    assert_null(json_object_get(root, "context_length"));
    json_decref(root);
    fake_client_close(&c);
    fake_engine_deinit(&w.engine);
}

static void expect_state(struct world *w, const char *path, int status, const char *name) {
    struct fake_client c;
    fake_client_send(&c, &w->gateway, HTTP_METHOD_GET, path, NULL);
    assert_int_equal(c.status, status);
    json_t *root = fake_client_json(&c);
    assert_string_equal(json_string_value(json_object_get(root, "status")), name);
    assert_int_equal(json_integer_value(json_object_get(root, "kv_blocks_used")), 5);
    if (status == 503) assert_string_equal(c.extra.data, "Retry-After: 1\r\n");
    json_decref(root);
    fake_client_close(&c);
}

static void health_and_readiness_in_every_state(void **state) {
    (void)state;
    static const struct {
        enum engine_state state;
        bool draining;
        int health, ready;
        const char *name;
    } cases[] = {
        {ENGINE_STARTING, false, 200, 503, "loading"},
        {ENGINE_READY, false, 200, 200, "ok"},
        {ENGINE_READY, true, 200, 503, "draining"},
        {ENGINE_DRAINING, true, 200, 503, "draining"},
        {ENGINE_FAILED, false, 503, 503, "ranks_lost"},
        {ENGINE_STOPPED, true, 503, 503, "stopped"},
    };
    struct world w;
    open_world(&w);
    w.engine.counts.kv_blocks_used = 5;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        w.engine.state = cases[i].state;
        w.gateway.draining = cases[i].draining;
        expect_state(&w, "/health", cases[i].health, cases[i].name);
        expect_state(&w, "/ready", cases[i].ready, cases[i].name);
    }
    fake_engine_deinit(&w.engine);
}

static void completions_wait_for_the_model(void **state) {
    (void)state;
    static const struct {
        enum engine_state state;
        bool draining;
        const char *type, *code;
    } cases[] = {
        {ENGINE_STARTING, false, "server_error", "loading"},
        {ENGINE_READY, true, "server_error", "draining"},
        {ENGINE_DRAINING, false, "server_error", "draining"},
        {ENGINE_FAILED, false, "engine_lost", "engine_lost"},
        {ENGINE_STOPPED, false, "server_error", "draining"},
    };
    struct world w;
    struct fake_client c;
    open_world(&w);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        w.engine.state = cases[i].state;
        w.gateway.draining = cases[i].draining;
        fake_client_send(&c, &w.gateway, HTTP_METHOD_POST, "/v1/completions",
                         "{\"prompt\":\"x\",\"stream\":true}");
        expect_error(&c, 503, cases[i].type, cases[i].code);
        assert_string_equal(c.extra.data, "Retry-After: 1\r\n");
        fake_client_close(&c);
    }
    fake_engine_deinit(&w.engine);
}

static void errors_have_statuses(void **state) {
    (void)state;
    assert_int_equal(gateway_status_of(ERR_CONTEXT).status, 400);
    assert_int_equal(gateway_status_of(ERR_REQUEST).status, 400);
    assert_int_equal(gateway_status_of(ERR_BUSY).status, 429);
    assert_int_equal(gateway_status_of(ERR_RANK_LOST).status, 503);
    for (int e = ERR_OK + 1; e < ERR_COUNT; e++) { // 500 never on purpose
        assert_int_not_equal(gateway_status_of((err)e).status, 500);
        assert_non_null(gateway_status_of((err)e).type);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_and_methods),
        cmocka_unit_test(refusals_are_error_objects),
        cmocka_unit_test(keys_are_asked_for),
        cmocka_unit_test(browsers_may_ask_first),
        cmocka_unit_test(pages_must_say_that_it_is_json),
        cmocka_unit_test(models_are_listed),
        cmocka_unit_test(health_and_readiness_in_every_state),
        cmocka_unit_test(completions_wait_for_the_model),
        cmocka_unit_test(errors_have_statuses),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
