// SPDX-License-Identifier: MIT
/* test_ask.c: the requests that are sent, read by a JSON parser; prompts of the wanted length. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/load/ask.h"
#include "coordinator/load/pseudo_text.h"

static struct target target;

static struct ask_form form_of(bool chat) {
    assert_int_equal(target_parse(&target, "http://h:81/base"), ERR_OK);
    return (struct ask_form){
        .target = &target, .model = "a \"model\"", .chat = chat, .temperature = 0.5, .seed = 3};
}

/* The body as JSON; its length must be what the head says. */
static json_t *body_of(const struct buf *request) {
    const char *body = strstr(request->data, "\r\n\r\n"), *length;
    assert_non_null(body);
    body += 4;
    length = strstr(request->data, "Content-Length: ");
    assert_non_null(length);
    assert_int_equal(atoi(length + 16), request->data + request->length - body);
    json_t *o = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(o);
    return o;
}

static void a_completion(void **state) {
    (void)state;
    struct ask_form f = form_of(false);
    struct buf out;
    buf_init(&out, 0);
    f.api_key = "k1";
    ask_put_completion(&out, &f, 0, 5, 64);
    assert_memory_equal(out.data, "POST /base/v1/completions HTTP/1.1\r\nHost: h:81\r\n", 48);
    assert_non_null(strstr(out.data, "\r\nAuthorization: Bearer k1\r\n"));
    json_t *o = body_of(&out);
    const char *model, *prompt;
    int max_tokens, stream, usage, ignore_eos;
    double temperature;
    assert_int_equal(json_unpack(o, "{s:s, s:s, s:i, s:F, s:b, s:{s:b}, s:b !}", "model", &model,
                                 "prompt", &prompt, "max_tokens", &max_tokens, "temperature",
                                 &temperature, "stream", &stream, "stream_options", "include_usage",
                                 &usage, "ignore_eos", &ignore_eos),
                     0);
    assert_string_equal(model, "a \"model\"");
    assert_true(max_tokens == 64 && temperature == 0.5 && stream && usage && ignore_eos);
    size_t spaces = 0;
    for (const char *c = prompt; *c; c++) spaces += *c == ' ';
    assert_int_equal(spaces, 4);
    json_decref(o);
    buf_deinit(&out);
}

static void a_chat(void **state) {
    (void)state;
    struct ask_form f = form_of(true);
    struct buf out;
    buf_init(&out, 0);
    f.may_stop = true;
    ask_put_completion(&out, &f, 0, 5, 64);
    assert_memory_equal(out.data, "POST /base/v1/chat/completions HTTP/1.1\r\n", 41);
    assert_null(strstr(out.data, "Authorization"));
    json_t *o = body_of(&out);
    const char *role, *content;
    assert_int_equal(
        json_unpack(o, "{s:[{s:s, s:s !} !]}", "messages", "role", &role, "content", &content), 0);
    assert_string_equal(role, "user");
    assert_null(json_object_get(o, "ignore_eos"));
    json_decref(o);
    buf_deinit(&out);
}

static const char *prompt_of(struct buf *out, const struct ask_form *f, uint64_t number) {
    buf_clear(out);
    ask_put_completion(out, f, number, 20, 1);
    return strstr(out->data, "\"prompt\":\"") + 10;
}

/* The same for the same numbers; else different from the first words on, but for the prefix. */
static void prompts_differ(void **state) {
    (void)state;
    struct ask_form f = form_of(false), g = f;
    struct buf a, b;
    buf_init(&a, 0);
    buf_init(&b, 0);
    assert_string_equal(prompt_of(&a, &f, 7), prompt_of(&b, &f, 7));
    for (uint64_t i = 0; i < 200; i++)
        assert_memory_not_equal(prompt_of(&a, &f, i), prompt_of(&b, &f, i + 1), 40);
    g.seed = 4;
    assert_memory_not_equal(prompt_of(&a, &f, 7), prompt_of(&b, &g, 7), 40);

    f.prefix_words = 50;
    const char *x = prompt_of(&a, &f, 1), *y = prompt_of(&b, &f, 2);
    size_t spaces = 0, i = 0;
    for (; x[i] == y[i]; i++) spaces += x[i] == ' ';
    assert_in_range(spaces, 50, 53);
    buf_deinit(&a);
    buf_deinit(&b);
}

static void words_for_tokens(void **state) {
    (void)state;
    struct ask_fit fit = ask_fit_make(10, 45, 20, 65); // 2 tokens each, 25 around them
    assert_true(fit.per_word == 2 && fit.fixed == 25);
    assert_int_equal(ask_words_for(&fit, 125, false), 50);
    assert_int_equal(ask_words_for(&fit, 125, true), 63);
    assert_int_equal(ask_words_for(&fit, 5, false), 1); // shorter than what is around it
    // A server that makes no sense may not make a prompt longer than its tokens.
    fit = ask_fit_make(10, 50, 20, 50);
    assert_true(fit.per_word == 2.5 && fit.fixed == 0);
    fit = ask_fit_make(1000, 0, 1000000, 1);
    assert_int_equal(ask_words_for(&fit, 128, false), 128);
    fit = ask_fit_make(4, 0, 8, 0);
    assert_int_equal(ask_words_for(&fit, 128, false), 128);
    fit = ask_fit_make(4, 4294967295u, 8, 4294967295u);
    assert_int_equal(ask_words_for(&fit, 128, false), 1);
}

static void a_document(void **state) {
    (void)state;
    struct ask_form f = form_of(false);
    struct buf out;
    buf_init(&out, 0);
    ask_put_get(&out, &f, "/v1/models");
    assert_string_equal(out.data, "GET /base/v1/models HTTP/1.1\r\nHost: h:81\r\n"
                                  "User-Agent: lockstep-load\r\n\r\n");
    buf_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_completion),   cmocka_unit_test(a_chat),
        cmocka_unit_test(prompts_differ), cmocka_unit_test(words_for_tokens),
        cmocka_unit_test(a_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
