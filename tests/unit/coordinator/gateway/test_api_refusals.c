// SPDX-License-Identifier: MIT
/* test_api_refusals.c: bodies of completions that are refused, and with which name. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "tests/unit/coordinator/gateway/request_bodies.h"

static void wrong_types_are_named(void **state) {
    (void)state;
    static const char *const names[] = {
        "temperature",    "top_p", "min_p", "presence_penalty", "frequency_penalty",
        "repeat_penalty", "top_k", "n",     "max_tokens",       "seed"};
    static const char *const values[] = {"\"1\"", "true", "[]", "{}"};
    char fields[100];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
            snprintf(fields, sizeof fields, "\"%s\":%s", names[i], values[k]);
            refuse_with(false, fields, names[i]);
            refuse_with(true, fields, names[i]);
        }
    }
    static const char *const integers[] = {"top_k", "n", "max_tokens", "seed"};
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        snprintf(fields, sizeof fields, "\"%s\":1.5", integers[i]);
        refuse_with(false, fields, integers[i]);
    }
    static const char *const switches[] = {"stream", "ignore_eos"};
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++) {
        snprintf(fields, sizeof fields, "\"%s\":1", switches[i]);
        refuse_with(false, fields, switches[i]);
        snprintf(fields, sizeof fields, "\"%s\":\"true\"", switches[i]);
        refuse_with(true, fields, switches[i]);
    }
    refuse_with(false, "\"echo\":1", "echo");
    refuse_with(false, "\"logprobs\":true", "logprobs"); // a number in completions
    refuse_with(true, "\"logprobs\":5", "logprobs");     // a switch in chats
    refuse_with(true, "\"logprobs\":true,\"top_logprobs\":\"5\"", "top_logprobs");
    refuse_with(true, "\"max_completion_tokens\":\"5\"", "max_completion_tokens");
    refuse_with(false, "\"max_completion_tokens\":-1", "max_completion_tokens");
    refuse_with(true, "\"tools\":5", "tools"); // also where no template sees them
    refuse_with(true, "\"chat_template_kwargs\":[]", "chat_template_kwargs");
    refuse_with(true, "\"add_generation_prompt\":1", "add_generation_prompt");
    refuse_with(false, "\"stream_options\":true", "stream_options");
    refuse_with(false, "\"stream_options\":{\"include_usage\":1}", "stream_options");
    refuse_with(false, "\"user\":1", "user");
    refuse_with(false, "\"model\":1", "model");
    refuse_with(false, "\"stop\":1", "stop");
    refuse_with(false, "\"stop\":[\"a\",1]", "stop");
    refuse_with(false, "\"stop\":{\"a\":\"b\"}", "stop");
    refuse_with(false, "\"stop\":[null]", "stop");
    refuse_with(false, "\"logit_bias\":[]", "logit_bias");
    refuse_with(false, "\"logit_bias\":{\"5\":\"1\"}", "logit_bias");
    refuse_with(false, "\"logit_bias\":{\"5\":null}", "logit_bias");
}

static void out_of_range_is_named(void **state) {
    (void)state;
    static const struct {
        const char *fields, *name;
    } cases[] = {
        {"\"temperature\":-0.1", "temperature"},
        {"\"temperature\":2.1", "temperature"},
        {"\"temperature\":1e300", "temperature"},
        {"\"top_p\":-1", "top_p"},
        {"\"top_p\":1.01", "top_p"},
        {"\"min_p\":-1", "min_p"},
        {"\"min_p\":1.01", "min_p"},
        {"\"presence_penalty\":2.5", "presence_penalty"},
        {"\"frequency_penalty\":-2.5", "frequency_penalty"},
        {"\"repeat_penalty\":0", "repeat_penalty"},
        {"\"repeat_penalty\":-1", "repeat_penalty"},
        {"\"top_k\":-2", "top_k"},
        {"\"top_k\":2000000000", "top_k"},
        {"\"n\":0", "n"},
        {"\"n\":-1", "n"},
        {"\"n\":17", "n"},
        {"\"n\":1000000000", "n"},
        {"\"n\":9223372036854775807", "n"},
        {"\"max_tokens\":-1", "max_tokens"},
        {"\"max_tokens\":0", "max_tokens"},
        {"\"max_tokens\":-9223372036854775808", "max_tokens"},
        {"\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\"]", "stop"},
        {"\"stop\":\"a\\u0000b\"", "stop"},
        {"\"logit_bias\":{\"2048\":1}", "logit_bias"},
        {"\"logit_bias\":{\"-1\":1}", "logit_bias"},
        {"\"logit_bias\":{\"x\":1}", "logit_bias"},
        {"\"logit_bias\":{\" 5\":1}", "logit_bias"},
        {"\"logit_bias\":{\"+5\":1}", "logit_bias"},
        {"\"logit_bias\":{\"\":1}", "logit_bias"},
        {"\"logit_bias\":{\"5x\":1}", "logit_bias"},
        {"\"logit_bias\":{\"99999999999999999999\":1}", "logit_bias"},
        {"\"logit_bias\":{\"5\":101}", "logit_bias"},
        {"\"logit_bias\":{\"5\":-101}", "logit_bias"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        refuse_with(false, cases[i].fields, cases[i].name);
        refuse_with(true, cases[i].fields, cases[i].name);
    }
    refuse_with(true, "\"max_completion_tokens\":0", "max_completion_tokens");
    refuse_with(true, "\"max_completion_tokens\":-1", "max_completion_tokens");
    refuse_with(false, "\"logprobs\":-1", "logprobs");
    refuse_with(false, "\"logprobs\":21", "logprobs");
    refuse_with(true, "\"logprobs\":true,\"top_logprobs\":21", "top_logprobs");
    refuse_with(true, "\"logprobs\":true,\"top_logprobs\":-1", "top_logprobs");
    refuse_with(true, "\"top_logprobs\":2", "top_logprobs"); // needs logprobs

    char fields[400];
    snprintf(fields, sizeof fields, "\"stop\":\"%0257d\"", 0);
    refuse_with(false, fields, "stop");
    snprintf(fields, sizeof fields, "\"stop\":\"%0256d\"", 0);
    struct api_request r;
    parse_with(&r, false, fields);
    api_request_deinit(&r);
}

static void nothing_is_generated_only_with_echo(void **state) {
    (void)state;
    struct api_request r;
    parse_with(&r, false, "\"max_tokens\":0,\"echo\":true,\"logprobs\":1");
    assert_int_equal(r.params.max_tokens, 0);
    api_request_deinit(&r);
}

static void too_many_biases_are_refused(void **state) {
    (void)state;
    struct buf body;
    buf_init(&body, 0);
    buf_puts(&body, "{\"prompt\":\"x\",\"logit_bias\":{");
    for (int i = 0; i <= REQUEST_MAX_BIAS; i++) buf_printf(&body, "%s\"%d\":1", i ? "," : "", i);
    buf_puts(&body, "}}");
    refuse_bytes(false, body.data, body.length, "logit_bias");
    buf_deinit(&body);
}

static void bad_prompts_are_refused(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "{}",
        "{\"prompt\":null}",
        "{\"prompt\":1}",
        "{\"prompt\":true}",
        "{\"prompt\":{}}",
        "{\"prompt\":[]}",
        "{\"prompt\":\"\"}",
        "{\"prompt\":[\"a\",\"\"]}",
        "{\"prompt\":[[]]}",
        "{\"prompt\":[[1],[]]}",
        "{\"prompt\":[\"a\",1]}",
        "{\"prompt\":[1,\"a\"]}",
        "{\"prompt\":[1,[2]]}",
        "{\"prompt\":[null]}",
        "{\"prompt\":[1.5]}",
        "{\"prompt\":[1,2.5]}",
        "{\"prompt\":[-1]}",
        "{\"prompt\":[2048]}",
        "{\"prompt\":[9223372036854775807]}",
        "{\"prompt\":[4294967296]}",
        "{\"prompt\":[[[1]]]}",
        "{\"prompt\":[\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\","
        "\"\",\"\"]}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) refuse(false, bodies[i], "prompt");
}

static void bad_messages_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *messages, *param;
    } cases[] = {
        {"null", "messages"},
        {"1", "messages"},
        {"\"hi\"", "messages"},
        {"{}", "messages"},
        {"[]", "messages"},
        {"[1]", "messages"},
        {"[null]", "messages"},
        {"[{}]", "messages"},
        {"[{\"role\":1,\"content\":\"x\"}]", "messages"},
        {"[{\"role\":\"king\",\"content\":\"x\"}]", "messages"},
        {"[{\"role\":\"user\",\"content\":1}]", "messages[0].content"},
        {"[{\"role\":\"user\",\"content\":{}}]", "messages[0].content"},
        {"[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"user\",\"content\":[\"x\"]}]",
         "messages[1].content"},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]", "messages[0].content"},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]", "messages[0].content"},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":1}]}]",
         "messages[0].content"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[300];
        snprintf(body, sizeof body, "{\"messages\":%s}", cases[i].messages);
        refuse(true, body, cases[i].param);
    }
    refuse(true, "{}", "messages");
}

static void another_model_is_not_found(void **state) {
    (void)state;
    struct api_request r;
    struct api_error e;
    const char *body = "{\"prompt\":\"x\",\"model\":\"gpt-4\"}";
    assert_false(parse_bytes(&r, false, body, strlen(body), &e));
    assert_int_equal(e.status, 404);
    assert_string_equal(e.param, "model");
    assert_string_equal(e.code, "model_not_found");
    assert_non_null(strstr(e.message, "gpt-4"));
    assert_non_null(strstr(e.message, MODEL));
}

static void malformed_json_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *body, *param; // that the parser had come to
    } bodies[] = {
        {"", ""},
        {"{", ""},
        {"null", ""},
        {"[]", ""},
        {"\"prompt\"", ""},
        {"1", ""},
        {"{\"prompt\":\"x\"", ""},
        {"{\"prompt\":\"x\"} x", ""},
        {"{\"prompt\":\"x\",}", ""},
        {"{'prompt':'x'}", ""},
        {"{prompt:\"x\"}", ""},
        {"{\"prompt\":\"x\",\"prompt\":\"y\"}", ""}, // a key twice
        {"{\"prompt\":\"x\",\"n\":1,\"n\":1}", ""},
        {"{\"prompt\":\"x\",\"temperature\":1e999}", "temperature"}, // no such number
        {"{\"prompt\":\"x\",\"temperature\":-1e999}", "temperature"},
        {"{\"prompt\":\"x\",\"temperature\":NaN}", "temperature"},
        {"{\"prompt\":\"x\",\"temperature\":Infinity}", "temperature"},
        {"{\"prompt\":\"x\",\"seed\":18446744073709551616}", "seed"},
        {"{\"prompt\":\"x\",\"n\":01}", "n"},
        {"{\"prompt\":\"x\",\"n\":0x1}", "n"},
        {"{\"prompt\":\"\\ud800\"}", "prompt"}, // lone surrogates
        {"{\"prompt\":\"\\udc00x\"}", "prompt"},
        {"{\"prompt\":\"\\ud800\\u0041\"}", "prompt"},
        {"{\"prompt\":\"\xED\xA0\x80\"}", "prompt"}, // one as UTF-8
        {"{\"prompt\":\"\xC0\xAF\"}", "prompt"},     // overlong
        {"{\"prompt\":\"\xFF\"}", "prompt"},
        {"{\"prompt\":\"\xE4\xB8\"}", "prompt"}, // half a character
        {"{\"prompt\":\"\n\"}", "prompt"},       // a bare line break
        {"\xEF\xBB\xBF{\"prompt\":\"x\"}", ""},  // a byte order mark
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        refuse(false, bodies[i].body, bodies[i].param);
    static const char nul[] = "{\"prompt\":\"a\0b\"}";
    refuse_bytes(false, nul, sizeof nul - 1, "prompt");
    static const char nul_behind[] = "{\"prompt\":\"a\"}\0";
    refuse_bytes(false, nul_behind, sizeof nul_behind - 1, "");
}

static void depth_is_bounded(void **state) {
    (void)state;
    static const char *const openings[] = {"[", "{\"a\":"};
    for (size_t i = 0; i < 2; i++) {
        struct buf body;
        buf_init(&body, 0);
        buf_puts(&body, "{\"prompt\":");
        for (int k = 0; k < 100000; k++) buf_puts(&body, openings[i]);
        refuse_bytes(false, body.data, body.length, "prompt");
        buf_deinit(&body);
    }
}

/* A body of bytes is not one of values, each of which costs memory. */
static void values_are_counted(void **state) {
    (void)state;
    static const struct {
        const char *value;
        int n_allowed;
    } cases[] = {
        {"1", API_BODY_MAX_VALUES - 3}, // beside the object, the prompt and the array
        {"[]", API_BODY_MAX_NESTS - 2},
        {"{}", API_BODY_MAX_NESTS - 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int more = 0; more < 2; more++) {
            struct buf body;
            struct api_request r;
            struct api_error e;
            buf_init(&body, 0);
            buf_puts(&body, "{\"prompt\":\"[{,\\\"[{,\",\"x\":["); // text is no value
            for (int k = 0; k < cases[i].n_allowed + more; k++) {
                if (k) buf_putc(&body, ',');
                buf_puts(&body, cases[i].value);
            }
            buf_puts(&body, "]}");
            bool taken = parse_bytes(&r, false, body.data, body.length, &e);
            if (taken) api_request_deinit(&r);
            if (taken == (more == 1) || strcmp(more ? "x" : "", e.param) != 0)
                fail_msg("%d of %s: %s", cases[i].n_allowed + more, cases[i].value, e.message);
            buf_deinit(&body);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_types_are_named),
        cmocka_unit_test(out_of_range_is_named),
        cmocka_unit_test(nothing_is_generated_only_with_echo),
        cmocka_unit_test(too_many_biases_are_refused),
        cmocka_unit_test(bad_prompts_are_refused),
        cmocka_unit_test(bad_messages_are_refused),
        cmocka_unit_test(another_model_is_not_found),
        cmocka_unit_test(malformed_json_is_refused),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(values_are_counted),
    };
    return cmocka_run_group_tests(tests, open_request_tests, close_request_tests);
}
