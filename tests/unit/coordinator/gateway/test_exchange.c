// SPDX-License-Identifier: MIT
/* test_exchange.c: api_openai.c between a pretended client and a pretended engine. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "common/clock.h"
#include "tests/unit/coordinator/gateway/fake_client.h"
#include "tests/unit/coordinator/gateway/fake_engine.h"
#include "tests/unit/coordinator/gateway/group_tokenizer.h"

#define TEXT   "/v1/completions"
#define SECOND ((uint64_t)1000 * 1000 * 1000)
#define CHAT   "/v1/chat/completions"
#define HELLO  "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

struct world {
    struct engine engine;
    struct gateway gateway;
    struct fake_client client;
};

static void begin(struct world *w, const char *path, const char *body) {
    *w = (struct world){.gateway = {.engine = &w->engine,
                                    .limits.ping_ns = 5 * SECOND,
                                    .model_id = "demo",
                                    .id_prefix = 7}};
    fake_engine_init(&w->engine, tokenizer);
    fake_client_send(&w->client, &w->gateway, HTTP_METHOD_POST, path, body);
}

static void end(struct world *w) {
    fake_client_close(&w->client);
    fake_engine_deinit(&w->engine);
}

static json_t *choice_of(json_t *root, size_t i) {
    json_t *choice = json_array_get(json_object_get(root, "choices"), i);
    if (!choice) fail_msg("there is no choice %zu", i);
    return choice;
}

static const char *string_at(json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "(none)";
}

static void expect_error(struct world *w, int status, const char *type, const char *param,
                         const char *code) {
    assert_int_equal(w->client.status, status);
    json_t *root = fake_client_json(&w->client), *error = json_object_get(root, "error");
    assert_string_equal(string_at(error, "type"), type);
    assert_string_equal(string_at(error, "param"), param ? param : "(none)");
    assert_string_equal(string_at(error, "code"), code ? code : "(none)");
    json_decref(root);
}

/* ---- whole answers ---- */

static void a_whole_completion(void **state) {
    (void)state;
    struct world w;
    begin(&w, TEXT, "{\"prompt\":\"Call me\"}");
    assert_int_equal(w.engine.n_requests, 1);
    fake_text(&w.engine, 0, 0, " Ishmael.");
    assert_int_equal(w.client.status, 0); // nothing is said before the end
    fake_finish(&w.engine, 0, 0, FINISH_STOP);
    fake_end(&w.engine, 0, ERR_OK, "");
    assert_int_equal(w.client.status, 200);
    json_t *root = fake_client_json(&w.client);
    assert_memory_equal(string_at(root, "id"), "cmpl-", 5);
    assert_string_equal(string_at(root, "model"), "demo");
    assert_string_equal(string_at(choice_of(root, 0), "text"), " Ishmael.");
    assert_string_equal(string_at(choice_of(root, 0), "finish_reason"), "stop");
    json_t *usage = json_object_get(root, "usage");
    assert_int_equal(json_integer_value(json_object_get(usage, "prompt_tokens")),
                     w.engine.requests[0].prompt.count);
    assert_int_equal(json_integer_value(json_object_get(usage, "completion_tokens")),
                     w.engine.requests[0].n_tokens);
    json_decref(root);
    end(&w);
}

static void a_whole_chat(void **state) {
    (void)state;
    struct world w;
    begin(&w, CHAT, "{" HELLO "}");
    fake_text(&w.engine, 0, 0, " Hello!");
    fake_finish(&w.engine, 0, 0, FINISH_LENGTH);
    fake_end(&w.engine, 0, ERR_OK, "");
    json_t *root = fake_client_json(&w.client);
    assert_memory_equal(string_at(root, "id"), "chatcmpl-", 9);
    json_t *message = json_object_get(choice_of(root, 0), "message");
    assert_string_equal(string_at(message, "role"), "assistant");
    assert_string_equal(string_at(message, "content"), " Hello!");
    json_decref(root);
    end(&w);
}

static void choices_of_prompts_are_numbered_through(void **state) {
    (void)state;
    struct world w;
    begin(&w, TEXT, "{\"prompt\":[\"one\",\"two\"],\"n\":2}");
    assert_int_equal(w.engine.n_requests, 2);
    assert_int_equal(w.engine.requests[1].params.n, 2);
    // as they come from a batch: mixed, and the second prompt ends first
    fake_text(&w.engine, 1, 1, "d");
    fake_text(&w.engine, 0, 0, "a");
    fake_text(&w.engine, 1, 0, "c");
    fake_finish(&w.engine, 1, 0, FINISH_STOP);
    fake_finish(&w.engine, 1, 1, FINISH_LENGTH);
    fake_end(&w.engine, 1, ERR_OK, "");
    fake_text(&w.engine, 0, 1, "b");
    fake_text(&w.engine, 0, 0, "A");
    fake_finish(&w.engine, 0, 1, FINISH_STOP);
    fake_finish(&w.engine, 0, 0, FINISH_STOP);
    assert_false(w.client.done);
    fake_end(&w.engine, 0, ERR_OK, "");
    json_t *root = fake_client_json(&w.client);
    static const char *const texts[] = {"aA", "b", "c", "d"};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(json_integer_value(json_object_get(choice_of(root, i), "index")), i);
        assert_string_equal(string_at(choice_of(root, i), "text"), texts[i]);
    }
    assert_string_equal(string_at(choice_of(root, 3), "finish_reason"), "length");
    json_t *usage = json_object_get(root, "usage");
    assert_int_equal(json_integer_value(json_object_get(usage, "completion_tokens")), 5);
    assert_int_equal(json_integer_value(json_object_get(usage, "prompt_tokens")),
                     w.engine.requests[0].prompt.count + w.engine.requests[1].prompt.count);
    json_decref(root);
    end(&w);
}

static void ids_are_never_the_same(void **state) {
    (void)state;
    struct world w;
    begin(&w, TEXT, "{\"prompt\":\"x\",\"stream\":true}");
    struct fake_client other;
    fake_client_send(&other, &w.gateway, HTTP_METHOD_POST, TEXT,
                     "{\"prompt\":\"x\",\"stream\":true}");
    fake_text(&w.engine, 0, 0, "a");
    fake_text(&w.engine, 1, 0, "a");
    bool done;
    json_t *a = fake_client_event(&w.client, &done), *b = fake_client_event(&other, &done);
    assert_string_not_equal(string_at(a, "id"), string_at(b, "id"));
    json_decref(a);
    json_decref(b);
    fake_client_leave(&w.client);
    fake_client_leave(&other);
    fake_client_close(&other);
    end(&w);
}

/* ---- streams ---- */

static void a_streamed_chat(void **state) {
    (void)state;
    struct world w;
    bool done;
    begin(&w, CHAT, "{" HELLO ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
    assert_int_equal(w.client.status, 0); // not before the engine says something
    fake_text(&w.engine, 0, 0, " Hello");
    assert_int_equal(w.client.status, 200);
    assert_int_equal(w.client.length, -1);
    assert_string_equal(w.client.content_type.data, "text/event-stream");
    assert_non_null(strstr(w.client.extra.data, "Cache-Control: no-cache\r\n"));

    json_t *first = fake_client_event(&w.client, &done);
    json_t *delta = json_object_get(choice_of(first, 0), "delta");
    assert_string_equal(string_at(delta, "role"), "assistant");
    assert_string_equal(string_at(delta, "content"), "");
    struct buf text;
    buf_init(&text, 0);
    fake_text(&w.engine, 0, 0, " there");
    json_t *event;
    while ((event = fake_client_event(&w.client, &done))) {
        delta = json_object_get(choice_of(event, 0), "delta");
        assert_null(json_object_get(delta, "role")); // once
        buf_puts(&text, string_at(delta, "content"));
        assert_true(json_is_null(json_object_get(choice_of(event, 0), "finish_reason")));
        assert_true(json_is_null(json_object_get(event, "usage")));
        assert_string_equal(string_at(event, "id"), string_at(first, "id"));
        json_decref(event);
    }
    assert_string_equal(text.data, " Hello there");
    buf_deinit(&text);
    json_decref(first);

    fake_finish(&w.engine, 0, 0, FINISH_STOP);
    event = fake_client_event(&w.client, &done);
    assert_string_equal(string_at(choice_of(event, 0), "finish_reason"), "stop");
    json_decref(event);
    fake_end(&w.engine, 0, ERR_OK, "");
    event = fake_client_event(&w.client, &done);
    assert_int_equal(json_array_size(json_object_get(event, "choices")), 0);
    assert_true(json_is_array(json_object_get(event, "choices")));
    assert_true(json_is_object(json_object_get(event, "usage")));
    json_decref(event);
    assert_null(fake_client_event(&w.client, &done));
    assert_true(done && w.client.done);
    assert_int_equal(w.client.read, w.client.body.length); // [DONE] is the last
    end(&w);
}

static void a_stream_without_a_word(void **state) {
    (void)state;
    struct world w;
    bool done;
    begin(&w, CHAT, "{" HELLO ",\"stream\":true}");
    fake_finish(&w.engine, 0, 0, FINISH_STOP);
    fake_end(&w.engine, 0, ERR_OK, "");
    json_t *event = fake_client_event(&w.client, &done);
    assert_string_equal(string_at(json_object_get(choice_of(event, 0), "delta"), "role"),
                        "assistant");
    assert_null(json_object_get(event, "usage")); // not asked for
    json_decref(event);
    event = fake_client_event(&w.client, &done);
    assert_string_equal(string_at(choice_of(event, 0), "finish_reason"), "stop");
    assert_null(json_object_get(event, "usage"));
    assert_float_equal(
        json_number_value(json_object_get(json_object_get(event, "timings"), "prompt_ms")), 3,
        1e-6); // the last chunk has them
    json_decref(event);
    assert_null(fake_client_event(&w.client, &done));
    assert_true(done);
    end(&w);
}

static void streamed_choices_are_told_apart(void **state) {
    (void)state;
    struct world w;
    bool done;
    begin(&w, CHAT, "{" HELLO ",\"stream\":true,\"n\":3}");
    for (uint32_t i = 0; i < 3; i++) fake_text(&w.engine, 0, 2 - i, "abc");
    for (uint32_t i = 0; i < 3; i++) fake_finish(&w.engine, 0, i, FINISH_LENGTH);
    fake_end(&w.engine, 0, ERR_OK, "");
    int roles[3] = {0}, ends[3] = {0};
    json_t *event;
    while ((event = fake_client_event(&w.client, &done))) {
        json_t *choice = choice_of(event, 0);
        json_int_t index = json_integer_value(json_object_get(choice, "index"));
        assert_in_range(index, 0, 2);
        bool role = json_object_get(json_object_get(choice, "delta"), "role");
        roles[index] += role;
        if (!role) assert_int_equal(roles[index], 1); // comes first
        ends[index] += !json_is_null(json_object_get(choice, "finish_reason"));
        json_decref(event);
    }
    for (size_t i = 0; i < 3; i++) assert_true(roles[i] == 1 && ends[i] == 1);
    assert_true(done);
    end(&w);
}

static void a_streamed_completion_with_logprobs(void **state) {
    (void)state;
    struct world w;
    bool done;
    begin(&w, TEXT, "{\"prompt\":\"x\",\"stream\":true,\"logprobs\":2}");
    fake_text(&w.engine, 0, 0, "It was the best");
    fake_finish(&w.engine, 0, 0, FINISH_LENGTH);
    fake_end(&w.engine, 0, ERR_OK, "");
    size_t n_tokens = 0;
    uint64_t offset = 0;
    json_t *event;
    while ((event = fake_client_event(&w.client, &done))) {
        json_t *choice = choice_of(event, 0), *l = json_object_get(choice, "logprobs");
        if (json_is_null(json_object_get(choice, "finish_reason"))) {
            assert_int_equal(json_array_size(json_object_get(l, "tokens")), 1); // each once
            const char *token = json_string_value(json_array_get(json_object_get(l, "tokens"), 0));
            assert_string_equal(token, string_at(choice, "text"));
            assert_int_equal(
                json_integer_value(json_array_get(json_object_get(l, "text_offset"), 0)), offset);
            assert_int_equal(
                json_object_size(json_array_get(json_object_get(l, "top_logprobs"), 0)), 2);
            offset += strlen(token);
            n_tokens++;
        } else {
            assert_true(json_is_null(l));
        }
        json_decref(event);
    }
    assert_true(done);
    assert_int_equal(n_tokens, w.engine.requests[0].n_tokens);
    end(&w);
}

/* ---- echo ---- */

static void echo_comes_first(void **state) {
    (void)state;
    struct world w;
    begin(&w, TEXT, "{\"prompt\":[\"one\",\"two\"],\"n\":2,\"echo\":true}");
    for (uint32_t i = 0; i < 2; i++) {
        fake_text(&w.engine, i, 0, " x");
        fake_text(&w.engine, i, 1, " y");
        for (uint32_t k = 0; k < 2; k++) fake_finish(&w.engine, i, k, FINISH_LENGTH);
        fake_end(&w.engine, i, ERR_OK, "");
    }
    json_t *root = fake_client_json(&w.client);
    static const char *const texts[] = {"one x", "one y", "two x", "two y"};
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(string_at(choice_of(root, i), "text"), texts[i]);
    json_decref(root);
    end(&w);
}

/* The engine says what may follow a position; the answer has it beside the token at the position.
 */
static void expect_echo(json_t *choice, const struct engine *e, const char *prompt_text) {
    json_t *l = json_object_get(choice, "logprobs"), *own = json_object_get(l, "token_logprobs"),
           *top = json_object_get(l, "top_logprobs"), *tokens = json_object_get(l, "tokens"),
           *offsets = json_object_get(l, "text_offset");
    size_t n = e->requests[0].prompt.count;
    assert_true(n >= 4 && json_array_size(tokens) >= n);
    assert_true(json_is_null(json_array_get(own, 0)));
    assert_true(json_is_null(json_array_get(top, 0)));
    size_t offset = 0;
    for (size_t i = 0; i < n; i++) {
        const char *token = json_string_value(json_array_get(tokens, i));
        assert_int_equal(json_integer_value(json_array_get(offsets, i)), offset);
        assert_memory_equal(prompt_text + offset, token, strlen(token));
        offset += strlen(token);
        if (i == 0) continue;
        assert_float_equal(json_number_value(json_array_get(own, i)), -1 - (float)i / 8, 1e-5);
        struct buf name; // what was expected after position i - 1
        buf_init(&name, 0);
        tokenizer_decode_piece(tokenizer, 299 + (int32_t)i, true, &name);
        json_t *expected = json_object_get(json_array_get(top, i), name.data);
        if (!expected) fail_msg("'%s' is no alternative at position %zu", name.data, i);
        assert_float_equal(json_number_value(expected), -0.5, 1e-6);
        assert_int_equal(json_object_size(json_array_get(top, i)), 3);
        buf_deinit(&name);
    }
    assert_int_equal(offset, strlen(prompt_text));
}

#define PROMPT "It was the best of times"

static void echo_with_logprobs_is_aligned(void **state) {
    (void)state;
    struct world w;
    begin(&w, TEXT, "{\"prompt\":\"" PROMPT "\",\"echo\":true,\"logprobs\":3,\"n\":2}");
    fake_prompt(&w.engine, 0);
    for (uint32_t i = 0; i < 2; i++) fake_text(&w.engine, 0, i, ", it");
    for (uint32_t i = 0; i < 2; i++) fake_finish(&w.engine, 0, i, FINISH_LENGTH);
    fake_end(&w.engine, 0, ERR_OK, "");
    json_t *root = fake_client_json(&w.client);
    for (size_t i = 0; i < 2; i++) {
        json_t *choice = choice_of(root, i);
        assert_string_equal(string_at(choice, "text"), PROMPT ", it");
        expect_echo(choice, &w.engine, PROMPT);
        json_t *l = json_object_get(choice, "logprobs");
        size_t n = w.engine.requests[0].prompt.count;
        assert_int_equal(json_integer_value(json_array_get(json_object_get(l, "text_offset"), n)),
                         strlen(PROMPT));
        size_t total = n + w.engine.requests[0].n_tokens / 2;
        static const char *const arrays[] = {"tokens", "token_logprobs", "top_logprobs",
                                             "text_offset"};
        for (size_t k = 0; k < 4; k++)
            assert_int_equal(json_array_size(json_object_get(l, arrays[k])), total);
    }
    json_decref(root);
    end(&w);
}

static void streamed_echo_has_its_logprobs(void **state) {
    (void)state;
    struct world w;
    bool done;
    begin(&w, TEXT,
          "{\"prompt\":\"" PROMPT "\",\"echo\":true,\"logprobs\":3,\"max_tokens\":0,"
          "\"stream\":true}");
    fake_prompt(&w.engine, 0);
    fake_finish(&w.engine, 0, 0, FINISH_LENGTH);
    fake_end(&w.engine, 0, ERR_OK, "");
    json_t *event = fake_client_event(&w.client, &done);
    assert_string_equal(string_at(choice_of(event, 0), "text"), PROMPT);
    expect_echo(choice_of(event, 0), &w.engine, PROMPT);
    json_decref(event);
    event = fake_client_event(&w.client, &done);
    assert_string_equal(string_at(choice_of(event, 0), "finish_reason"), "length");
    json_decref(event);
    assert_null(fake_client_event(&w.client, &done));
    assert_true(done);
    end(&w);
}

static void echo_without_alternatives(void **state) {
    (void)state;
    struct world w;
    begin(&w, TEXT, "{\"prompt\":\"" PROMPT "\",\"echo\":true,\"logprobs\":0,\"max_tokens\":0}");
    fake_prompt(&w.engine, 0);
    fake_finish(&w.engine, 0, 0, FINISH_LENGTH);
    fake_end(&w.engine, 0, ERR_OK, "");
    json_t *root = fake_client_json(&w.client);
    json_t *l = json_object_get(choice_of(root, 0), "logprobs");
    assert_int_equal(json_array_size(json_object_get(l, "token_logprobs")),
                     w.engine.requests[0].prompt.count);
    assert_int_equal(json_object_size(json_array_get(json_object_get(l, "top_logprobs"), 1)), 0);
    json_decref(root);
    end(&w);
}

/* ---- what goes wrong ---- */

static void an_error_after_the_head_is_an_event(void **state) {
    (void)state;
    static const struct {
        err error;
        const char *type;
    } cases[] = {{ERR_RANK_LOST, "engine_lost"}, {ERR_CANCELLED, "server_error"}};
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        bool done;
        begin(&w, TEXT,
              "{\"prompt\":\"x\",\"stream\":true,"
              "\"stream_options\":{\"include_usage\":true}}");
        fake_text(&w.engine, 0, 0, "a");
        w.engine.state = ENGINE_FAILED;
        fake_end(&w.engine, 0, cases[i].error, "rank 1 on b was killed by signal 9");
        json_t *event = fake_client_event(&w.client, &done);
        assert_string_equal(string_at(choice_of(event, 0), "text"), "a");
        json_decref(event);
        event = fake_client_event(&w.client, &done);
        json_t *error = json_object_get(event, "error");
        assert_string_equal(string_at(error, "type"), cases[i].type);
        assert_string_equal(string_at(error, "message"), "rank 1 on b was killed by signal 9");
        json_decref(event);
        assert_null(fake_client_event(&w.client, &done));
        assert_false(done); // no [DONE]
        assert_true(w.client.done);
        assert_int_equal(w.client.status, 200);
        end(&w);
    }
}

static void an_error_before_the_head_is_a_status(void **state) {
    (void)state;
    static const char *const bodies[] = {"{\"prompt\":\"x\",\"stream\":true}",
                                         "{\"prompt\":\"x\"}"};
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        begin(&w, TEXT, bodies[i]);
        fake_end(&w.engine, 0, ERR_RANK_LOST, "rank 1 was lost");
        expect_error(&w, 503, "engine_lost", NULL, "engine_lost");
        end(&w);
    }
    struct world w; // a whole answer is cut off as late as it likes
    begin(&w, TEXT, "{\"prompt\":\"x\"}");
    fake_text(&w.engine, 0, 0, "text");
    fake_end(&w.engine, 0, ERR_RANK_LOST, "rank 1 was lost");
    expect_error(&w, 503, "engine_lost", NULL, "engine_lost");
    end(&w);
}

static void one_error_for_several_prompts(void **state) {
    (void)state;
    struct world w;
    bool done;
    begin(&w, TEXT, "{\"prompt\":[\"a\",\"b\",\"c\"],\"stream\":true}");
    fake_text(&w.engine, 0, 0, "x");
    fake_end(&w.engine, 2, ERR_RANK_LOST, "the first reason");
    assert_false(w.client.done);
    fake_end(&w.engine, 0, ERR_RANK_LOST, "the second");
    fake_end(&w.engine, 1, ERR_RANK_LOST, "the third");
    json_decref(fake_client_event(&w.client, &done));
    json_t *event = fake_client_event(&w.client, &done);
    assert_string_equal(string_at(json_object_get(event, "error"), "message"), "the first reason");
    json_decref(event);
    assert_null(fake_client_event(&w.client, &done));
    assert_false(done);
    end(&w);
}

static void refusals_have_their_status(void **state) {
    (void)state;
    static const struct {
        err error;
        int status;
        const char *type, *param, *code;
    } cases[] = {
        {ERR_CONTEXT, 400, "invalid_request_error", "prompt", "context_length_exceeded"},
        {ERR_BUSY, 429, "rate_limit_error", NULL, "queue_full"},
        {ERR_RANK_LOST, 503, "engine_lost", NULL, "engine_lost"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        // all or nothing: the third prompt is refused, the others are taken back
        struct world w = {.gateway = {.engine = &w.engine, .model_id = "demo"}};
        fake_engine_init(&w.engine, tokenizer);
        w.engine.refuse_at = 3;
        w.engine.refuse_with = cases[i].error;
        w.engine.retry_s = 17; // the estimate from its queue
        fake_client_send(&w.client, &w.gateway, HTTP_METHOD_POST, TEXT,
                         "{\"prompt\":[\"a\",\"b\",\"c\",\"d\"],\"stream\":true,\"echo\":true}");
        expect_error(&w, cases[i].status, cases[i].type, cases[i].param, cases[i].code);
        assert_int_equal(w.engine.n_requests, 2);
        assert_true(w.engine.requests[0].abandoned && w.engine.requests[1].abandoned);
        const char *extra = w.client.extra.length ? w.client.extra.data : "";
        assert_string_equal(extra, cases[i].status == 429   ? "Retry-After: 17\r\n"
                                   : cases[i].status == 503 ? "Retry-After: 1\r\n"
                                                            : "");
        end(&w);
    }
}

/* ---- the client leaves ---- */

static void leaving_abandons_the_work(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "{\"prompt\":[\"a\",\"b\"],\"n\":2}",
        "{\"prompt\":[\"a\",\"b\"],\"n\":2,\"stream\":true}",
        "{\"prompt\":[\"a\",\"b\"],\"n\":2,\"stream\":true,\"echo\":true,\"logprobs\":1}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        for (int progress = 0; progress < 4; progress++) {
            struct world w;
            begin(&w, TEXT, bodies[i]);
            bool prompt = w.engine.requests[0].params.want_prompt;
            if (progress >= 1 && prompt) fake_prompt(&w.engine, 0); // leaves in prefill
            if (progress >= 2) fake_text(&w.engine, 0, 0, "some text");
            if (progress >= 3) { // one of two has ended
                fake_finish(&w.engine, 0, 0, FINISH_STOP);
                fake_finish(&w.engine, 0, 1, FINISH_STOP);
                fake_end(&w.engine, 0, ERR_OK, "");
            }
            fake_client_leave(&w.client);
            assert_int_equal(w.engine.requests[0].abandoned, progress < 3);
            assert_true(w.engine.requests[1].abandoned);
            end(&w);
        }
    }
}

static void a_silent_stream_gets_pings(void **state) {
    (void)state;
    struct world w;
    bool done;
    begin(&w, TEXT, "{\"prompt\":\"x\",\"stream\":true}");
    uint64_t now = clock_ns(), next = exchange_tick(w.client.exchange, now);
    assert_int_equal(w.client.status, 0); // not so soon
    assert_in_range(next, now, now + 5 * SECOND);
    assert_int_equal(exchange_tick(w.client.exchange, next), next + 5 * SECOND);
    assert_int_equal(w.client.status, 200);
    assert_string_equal(w.client.body.data, ": ping\n\n");
    fake_end(&w.engine, 0, ERR_RANK_LOST, "rank 1 was lost"); // the head is out: an event
    json_t *event = fake_client_event(&w.client, &done);
    assert_non_null(json_object_get(event, "error"));
    json_decref(event);
    end(&w);

    begin(&w, TEXT, "{\"prompt\":\"x\"}"); // a whole answer has no place for one
    assert_int_equal(exchange_tick(w.client.exchange, now + 60 * SECOND), UINT64_MAX);
    assert_int_equal(w.client.status, 0);
    fake_client_leave(&w.client);
    end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_completion),
        cmocka_unit_test(a_whole_chat),
        cmocka_unit_test(choices_of_prompts_are_numbered_through),
        cmocka_unit_test(ids_are_never_the_same),
        cmocka_unit_test(a_streamed_chat),
        cmocka_unit_test(a_stream_without_a_word),
        cmocka_unit_test(streamed_choices_are_told_apart),
        cmocka_unit_test(a_streamed_completion_with_logprobs),
        cmocka_unit_test(echo_comes_first),
        cmocka_unit_test(echo_with_logprobs_is_aligned),
        cmocka_unit_test(streamed_echo_has_its_logprobs),
        cmocka_unit_test(echo_without_alternatives),
        cmocka_unit_test(an_error_after_the_head_is_an_event),
        cmocka_unit_test(an_error_before_the_head_is_a_status),
        cmocka_unit_test(one_error_for_several_prompts),
        cmocka_unit_test(refusals_have_their_status),
        cmocka_unit_test(leaving_abandons_the_work),
        cmocka_unit_test(a_silent_stream_gets_pings),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
