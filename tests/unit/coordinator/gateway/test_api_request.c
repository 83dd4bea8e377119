// SPDX-License-Identifier: MIT
/* test_api_request.c: bodies of completions: what is taken, and what is refused with which name. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "coordinator/gateway/api_request.h"
#include "coordinator/gateway/chat.h"
#include "tests/unit/coordinator/gateway/group_tokenizer.h"

#define MODEL "demo-q8_0"

/* The body's bytes in memory of their own size, so that ASan sees a step beyond the end. */
static bool parse_bytes(struct api_request *r, bool chat, const char *body, size_t n,
                        struct api_error *e) {
    char *copy = test_malloc(n + 1);
    memmove(copy + 1, body, n);
    *e = (struct api_error){0};
    bool ok = api_request_parse(r, chat, copy + 1, n, tokenizer, NULL, MODEL, e);
    test_free(copy);
    return ok;
}

static void parse(struct api_request *r, bool chat, const char *body) {
    struct api_error e;
    if (!parse_bytes(r, chat, body, strlen(body), &e))
        fail_msg("%s\nwas refused: %d %s: %s", body, e.status, e.param, e.message);
}

/* `fields` goes into a completion with a prompt, or a chat with a message. */
static void parse_with(struct api_request *r, bool chat, const char *fields) {
    char body[2000];
    snprintf(body, sizeof body,
             chat ? "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],%s}"
                  : "{\"prompt\":\"hi\",%s}",
             fields);
    parse(r, chat, body);
}

static void refuse_bytes(bool chat, const char *body, size_t n, const char *param) {
    struct api_request r;
    struct api_error e;
    if (parse_bytes(&r, chat, body, n, &e)) fail_msg("%.500s\nwas taken", body);
    if (strcmp(e.param, param) != 0 || e.status != 400)
        fail_msg("%.500s\nwas refused with %d '%s' (%s), expected is 400 '%s'", body, e.status,
                 e.param, e.message, param);
    assert_true(strlen(e.message) > 10);
    // a message names its parameter, and the request holds nothing
    if (*param && !strstr(e.message, param)) fail_msg("'%s' does not name %s", e.message, param);
    assert_null(r.stop);
    assert_null(r.bias);
}

static void refuse(bool chat, const char *body, const char *param) {
    refuse_bytes(chat, body, strlen(body), param);
}

static void refuse_with(bool chat, const char *fields, const char *param) {
    char body[2000];
    snprintf(body, sizeof body,
             chat ? "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],%s}"
                  : "{\"prompt\":\"hi\",%s}",
             fields);
    refuse(chat, body, param);
}

static void expect_prompt(const struct api_request *r, size_t index, const char *text) {
    struct token_list wanted = {0};
    assert_int_equal(tokenizer_encode(tokenizer, text, strlen(text),
                                      TOKENIZE_ADD_SPECIAL | TOKENIZE_PARSE_SPECIAL, &wanted),
                     ERR_OK);
    assert_in_range(index, 0, r->n_prompts - 1);
    assert_int_equal(r->prompts[index].count, wanted.count);
    assert_memory_equal(r->prompts[index].ids, wanted.ids, wanted.count * sizeof *wanted.ids);
    token_list_deinit(&wanted);
}

/* ---- what is taken ---- */

static void defaults_are_the_api_s(void **state) {
    (void)state;
    struct api_request r;
    parse(&r, false, "{\"prompt\":\"Call me\"}");
    assert_int_equal(r.n_prompts, 1);
    expect_prompt(&r, 0, "Call me");
    assert_false(r.stream || r.echo || r.include_usage || r.chat);
    assert_int_equal(r.params.max_tokens, 16);
    assert_int_equal(r.params.n, 1);
    assert_float_equal(r.params.sampling.temperature, 1, 0);
    assert_float_equal(r.params.sampling.top_p, 1, 0);
    assert_float_equal(r.params.sampling.min_p, 0, 0);
    assert_int_equal(r.params.sampling.top_k, 0);
    assert_float_equal(r.params.repeat_penalty, 1, 0);
    assert_int_equal(r.params.n_stops, 0);
    assert_int_equal(r.params.n_bias, 0);
    assert_false(r.params.want_logprobs || r.params.want_prompt || r.params.ignore_eos);
    api_request_deinit(&r);

    parse(&r, true, "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
    assert_true(r.chat);
    assert_true(r.params.max_tokens > 1000000); // as far as the context goes
    expect_prompt(&r, 0, "User: hi\n\nAssistant:");
    assert_int_equal(r.params.n_stops, 1);
    assert_string_equal(r.params.stops[0], CHAT_PLAIN_STOP);
    api_request_deinit(&r);
}

static void every_field_arrives(void **state) {
    (void)state;
    struct api_request r;
    parse_with(&r, false,
               "\"model\":\"" MODEL
               "\",\"stream\":true,\"stream_options\":{\"include_usage\":true},"
               "\"max_tokens\":7,\"temperature\":0.5,\"top_p\":0.9,\"top_k\":40,\"min_p\":0.05,"
               "\"n\":3,\"seed\":42,\"presence_penalty\":-1.5,\"frequency_penalty\":2,"
               "\"repeat_penalty\":1.1,\"logprobs\":5,\"echo\":true,\"ignore_eos\":true,"
               "\"user\":\"me\"");
    assert_true(r.stream && r.include_usage && r.echo && r.params.ignore_eos);
    assert_int_equal(r.params.max_tokens, 7);
    assert_int_equal(r.params.n, 3);
    assert_float_equal(r.params.sampling.temperature, 0.5, 1e-6);
    assert_float_equal(r.params.sampling.top_p, 0.9, 1e-6);
    assert_int_equal(r.params.sampling.top_k, 40);
    assert_float_equal(r.params.sampling.min_p, 0.05, 1e-6);
    assert_int_equal(r.params.sampling.seed, 42);
    assert_float_equal(r.params.presence_penalty, -1.5, 1e-6);
    assert_float_equal(r.params.frequency_penalty, 2, 1e-6);
    assert_float_equal(r.params.repeat_penalty, 1.1, 1e-6);
    assert_true(r.params.want_logprobs && r.params.want_prompt);
    assert_int_equal(r.params.top_n, 5);
    assert_int_equal(r.params.prompt_top_n, 5);
    api_request_deinit(&r);

    parse_with(&r, true,
               "\"max_completion_tokens\":9,\"max_tokens\":3,\"logprobs\":true,"
               "\"top_logprobs\":20");
    assert_int_equal(r.params.max_tokens, 9); // the newer name counts
    assert_true(r.params.want_logprobs);
    assert_int_equal(r.params.top_n, 20);
    api_request_deinit(&r);

    parse_with(&r, false, "\"logprobs\":0"); // the tokens' own, no alternatives
    assert_true(r.params.want_logprobs);
    assert_int_equal(r.params.top_n, 0);
    api_request_deinit(&r);

    parse_with(&r, false, "\"top_k\":-1,\"seed\":-7,\"max_tokens\":1000000000000");
    assert_int_equal(r.params.sampling.top_k, 0);
    assert_true(r.params.sampling.seed == (uint64_t)-7);
    assert_true(r.params.max_tokens > 1000000);
    api_request_deinit(&r);
}

static void null_is_the_default(void **state) {
    (void)state;
    struct api_request r;
    const char *nulls =
        "\"model\":null,\"stream\":null,\"stream_options\":null,\"max_tokens\":null,"
        "\"max_completion_tokens\":null,\"temperature\":null,\"top_p\":null,\"top_k\":null,"
        "\"min_p\":null,\"n\":null,\"stop\":null,\"seed\":null,\"presence_penalty\":null,"
        "\"frequency_penalty\":null,\"repeat_penalty\":null,\"logit_bias\":null,"
        "\"logprobs\":null,\"top_logprobs\":null,\"echo\":null,\"ignore_eos\":null,\"user\":null";
    parse_with(&r, false, nulls);
    assert_int_equal(r.params.max_tokens, 16);
    assert_false(r.params.want_logprobs);
    assert_float_equal(r.params.sampling.temperature, 1, 0);
    api_request_deinit(&r);
    parse_with(&r, true, nulls);
    assert_false(r.params.want_logprobs);
    api_request_deinit(&r);
    parse_with(&r, false, "\"stream_options\":{\"include_usage\":null}");
    assert_false(r.include_usage);
    api_request_deinit(&r);
}

static void unknown_fields_are_ignored(void **state) {
    (void)state;
    struct api_request r;
    parse_with(&r, false,
               "\"best_of\":1,\"suffix\":\"x\",\"metadata\":{\"a\":[1,{}]},\"\":0,"
               "\"top_logprobs\":\"not a field of completions\"");
    api_request_deinit(&r);
    parse_with(&r, true,
               "\"store\":false,\"parallel_tool_calls\":true,\"echo\":\"of no meaning\","
               "\"stream_options\":{\"other\":1}");
    api_request_deinit(&r);
}

static void nobody_chose_a_seed(void **state) {
    (void)state;
    struct api_request a, b;
    parse(&a, false, "{\"prompt\":\"x\"}");
    parse(&b, false, "{\"prompt\":\"x\"}");
    assert_true(a.params.sampling.seed != b.params.sampling.seed);
    api_request_deinit(&a);
    api_request_deinit(&b);
}

static void stop_is_a_string_or_several(void **state) {
    (void)state;
    struct api_request r;
    parse_with(&r, false, "\"stop\":\"one\"");
    assert_int_equal(r.params.n_stops, 1);
    assert_string_equal(r.params.stops[0], "one");
    api_request_deinit(&r);
    parse_with(&r, false, "\"stop\":[\"a\",\"\",\"b\\n\",\"\\u00e9\"]");
    assert_int_equal(r.params.n_stops, 3); // what would stop at nothing stops nothing
    assert_string_equal(r.params.stops[1], "b\n");
    assert_string_equal(r.params.stops[2], "\xC3\xA9");
    api_request_deinit(&r);
    parse_with(&r, false, "\"stop\":[]");
    assert_int_equal(r.params.n_stops, 0);
    api_request_deinit(&r);
    parse_with(&r, true, "\"stop\":[\"a\",\"b\",\"c\",\"d\"]"); // no room for our own
    assert_int_equal(r.params.n_stops, 4);
    assert_string_equal(r.params.stops[3], "d");
    api_request_deinit(&r);
}

static void biases_are_read(void **state) {
    (void)state;
    struct api_request r;
    parse_with(&r, false, "\"logit_bias\":{\"5\":-100,\"2047\":1.5}");
    assert_int_equal(r.params.n_bias, 2);
    for (size_t i = 0; i < 2; i++) {
        bool first = r.params.bias[i].token == 5;
        assert_int_equal(r.params.bias[i].token, first ? 5 : 2047);
        assert_float_equal(r.params.bias[i].bias, first ? -100 : 1.5, 0);
    }
    api_request_deinit(&r);
    parse_with(&r, false, "\"logit_bias\":{}");
    assert_int_equal(r.params.n_bias, 0);
    api_request_deinit(&r);
}

static void prompts_have_four_forms(void **state) {
    (void)state;
    struct api_request r;
    parse(&r, false, "{\"prompt\":[\"one\",\"two words\"]}");
    assert_int_equal(r.n_prompts, 2);
    expect_prompt(&r, 0, "one");
    expect_prompt(&r, 1, "two words");
    api_request_deinit(&r);

    parse(&r, false, "{\"prompt\":[5,6,2047]}");
    assert_int_equal(r.n_prompts, 1);
    assert_int_equal(r.prompts[0].count, 3);
    assert_int_equal(r.prompts[0].ids[2], 2047);
    api_request_deinit(&r);

    parse(&r, false, "{\"prompt\":[[5,6],[7]]}");
    assert_int_equal(r.n_prompts, 2);
    assert_int_equal(r.prompts[0].count, 2);
    assert_int_equal(r.prompts[1].ids[0], 7);
    api_request_deinit(&r);

    parse(&r, false, "{\"prompt\":[\"one\",[7]]}");
    assert_int_equal(r.n_prompts, 2);
    api_request_deinit(&r);
}

static void strings_hold_any_text(void **state) {
    (void)state;
    struct api_request r;
    parse(&r, false, "{\"prompt\":\"a\\u0000b \\ud83d\\ude00 \xE4\xB8\xAD\"}");
    struct buf text;
    buf_init(&text, 0);
    tokenizer_decode(tokenizer, r.prompts[0].ids, r.prompts[0].count, false, &text);
    static const char wanted[] = "a\0b \xF0\x9F\x98\x80 \xE4\xB8\xAD";
    assert_int_equal(text.length, sizeof wanted - 1);
    assert_memory_equal(text.data, wanted, text.length);
    buf_deinit(&text);
    api_request_deinit(&r);
}

static void messages_become_a_prompt(void **state) {
    (void)state;
    struct api_request r;
    parse(&r, true,
          "{\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},"
          "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"How \"},"
          "{\"type\":\"text\",\"text\":\"are you?\"}],\"name\":\"x\"},"
          "{\"role\":\"assistant\",\"content\":null},{\"role\":\"tool\",\"content\":\"\"},"
          "{\"role\":\"developer\"}]}");
    expect_prompt(&r, 0,
                  "System: Be brief.\n\nUser: How are you?\n\nAssistant: \n\nTool: \n\n"
                  "System: \n\nAssistant:");
    api_request_deinit(&r);
}

/* ---- what is refused ---- */

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
        cmocka_unit_test(defaults_are_the_api_s),
        cmocka_unit_test(every_field_arrives),
        cmocka_unit_test(null_is_the_default),
        cmocka_unit_test(unknown_fields_are_ignored),
        cmocka_unit_test(nobody_chose_a_seed),
        cmocka_unit_test(stop_is_a_string_or_several),
        cmocka_unit_test(biases_are_read),
        cmocka_unit_test(prompts_have_four_forms),
        cmocka_unit_test(strings_hold_any_text),
        cmocka_unit_test(messages_become_a_prompt),
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
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
