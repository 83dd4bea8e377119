// SPDX-License-Identifier: MIT
/* test_api_tokens.c: POST /tokenize and /detokenize: forms, round trips, refusals. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "tests/unit/coordinator/gateway/fake_client.h"
#include "tests/unit/coordinator/gateway/fake_engine.h"
#include "tests/unit/coordinator/gateway/group_tokenizer.h"

static struct engine engine;
static struct gateway gateway = {.engine = &engine, .model_id = "demo"};

/* The answer as JSON, the caller's. */
static json_t *ask(const char *path, const char *body, int status) {
    struct fake_client c;
    fake_client_send(&c, &gateway, HTTP_METHOD_POST, path, body);
    json_t *root = fake_client_json(&c);
    if (c.status != status) fail_msg("%s %.200s: %d %.300s", path, body, c.status, c.body.data);
    fake_client_close(&c);
    return root;
}

static void expect_tokens(const char *body, const char *text, int flags) {
    struct token_list wanted = {0};
    assert_int_equal(tokenizer_encode(tokenizer, text, strlen(text), flags, &wanted), ERR_OK);
    json_t *root = ask("/tokenize", body, 200), *tokens = json_object_get(root, "tokens");
    assert_int_equal(json_array_size(tokens), wanted.count);
    for (size_t i = 0; i < wanted.count; i++)
        assert_int_equal(json_integer_value(json_array_get(tokens, i)), wanted.ids[i]);
    json_decref(root);
    token_list_deinit(&wanted);
}

static void text_becomes_tokens(void **state) {
    (void)state;
    expect_tokens("{\"content\":\"Call me\"}", "Call me", TOKENIZE_PARSE_SPECIAL);
    expect_tokens("{\"content\":\"Call me\",\"add_special\":true}", "Call me",
                  TOKENIZE_PARSE_SPECIAL | TOKENIZE_ADD_SPECIAL);
    expect_tokens("{\"content\":\"<s>x\",\"parse_special\":false}", "<s>x", 0);
    expect_tokens("{\"content\":\"\",\"unheard_of\":1,\"add_special\":null}", "",
                  TOKENIZE_PARSE_SPECIAL);
}

/* A character that no token of the demo model holds is two tokens of a byte. */
static void pieces_are_text_or_bytes(void **state) {
    (void)state;
    json_t *root = ask("/tokenize", "{\"content\":\"Call \\u05d0\",\"with_pieces\":true}", 200);
    json_t *tokens = json_object_get(root, "tokens"), *one;
    struct buf text;
    size_t i, n_bytes = 0;
    buf_init(&text, 0);
    json_array_foreach(tokens, i, one) {
        json_t *piece = json_object_get(one, "piece");
        assert_true(json_is_integer(json_object_get(one, "id")));
        if (json_is_string(piece)) buf_puts(&text, json_string_value(piece));
        for (size_t k = 0; k < json_array_size(piece); k++, n_bytes++)
            buf_putc(&text, (char)json_integer_value(json_array_get(piece, k)));
    }
    assert_non_null(strstr(text.data, "Call \xD7\x90"));
    assert_int_equal(n_bytes, 2);
    buf_deinit(&text);
    json_decref(root);
}

static void there_and_back(void **state) {
    (void)state;
    static const char *const texts[] = {"Call me Ishmael.", " two  spaces ", "\\u05d0\\u0000\\n",
                                        ""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char body[200];
        snprintf(body, sizeof body, "{\"content\":\"%s\"}", texts[i]);
        json_t *wanted = json_loads(body, JSON_ALLOW_NUL, NULL);
        json_t *tokens = ask("/tokenize", body, 200);
        char *dump = json_dumps(tokens, 0);
        json_t *content = ask("/detokenize", dump, 200);
        assert_true(json_equal(content, wanted));
        free(dump);
        json_decref(tokens);
        json_decref(content);
        json_decref(wanted);
    }
}

static void refuse(const char *path, const char *body, int status, const char *param) {
    json_t *root = ask(path, body, status), *error = json_object_get(root, "error");
    const char *named = json_string_value(json_object_get(error, "param"));
    assert_string_equal(named ? named : "", param);
    assert_true(json_string_length(json_object_get(error, "message")) > 10);
    json_decref(root);
}

static void refusals_name_the_field(void **state) {
    (void)state;
    refuse("/tokenize", "{}", 400, "content");
    refuse("/tokenize", "{\"content\":1}", 400, "content");
    refuse("/tokenize", "{\"content\":\"x\",\"with_pieces\":1}", 400, "with_pieces");
    refuse("/tokenize", "{\"content\":\"x\",\"add_special\":\"yes\"}", 400, "add_special");
    refuse("/tokenize", "{\"content\":\"x\",\"parse_special\":[]}", 400, "parse_special");
    refuse("/tokenize", "[]", 400, "");
    refuse("/tokenize", "{\"content\":\"\\ud800\"}", 400, "content");
    refuse("/detokenize", "{", 400, "");
    refuse("/detokenize", "{}", 400, "tokens");
    refuse("/detokenize", "{\"tokens\":\"x\"}", 400, "tokens");
    static const char *const ids[] = {"-1", "2048", "1.5", "\"1\"", "[1]", "9223372036854775807"};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        char body[100];
        snprintf(body, sizeof body, "{\"tokens\":[1,%s]}", ids[i]);
        refuse("/detokenize", body, 400, "tokens");
    }
}

static void both_are_bounded(void **state) {
    (void)state;
    struct buf body;
    buf_init(&body, 0);
    buf_puts(&body, "{\"content\":\"");
    for (size_t i = 0; i <= 1 << 20; i++) buf_putc(&body, 'a');
    buf_puts(&body, "\"}");
    refuse("/tokenize", body.data, 400, "content");
    buf_clear(&body);
    buf_puts(&body, "{\"tokens\":[300");
    for (size_t i = 0; i < 1 << 20; i++) buf_puts(&body, ",300");
    buf_puts(&body, "]}");
    refuse("/detokenize", body.data, 400, "tokens");
    buf_deinit(&body);
}

static void the_model_must_be_known(void **state) {
    (void)state;
    engine.state = ENGINE_STARTING;
    refuse("/tokenize", "{\"content\":\"x\"}", 503, "");
    refuse("/detokenize", "{\"tokens\":[1]}", 503, "");
    engine.state = ENGINE_READY;
}

static int setup(void **state) {
    int failed = open_tokenizer(state);
    fake_engine_init(&engine, tokenizer);
    return failed;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_becomes_tokens), cmocka_unit_test(pieces_are_text_or_bytes),
        cmocka_unit_test(there_and_back),      cmocka_unit_test(refusals_name_the_field),
        cmocka_unit_test(both_are_bounded),    cmocka_unit_test(the_model_must_be_known),
    };
    return cmocka_run_group_tests(tests, setup, close_tokenizer);
}
