// SPDX-License-Identifier: MIT
/* test_api_request.c: bodies of completions that are taken, and what arrives. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "coordinator/gateway/chat.h"
#include "tests/unit/coordinator/gateway/request_bodies.h"

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
    tokenizer_decode(request_tokenizer(), r.prompts[0].ids, r.prompts[0].count, false, &text);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_the_api_s), cmocka_unit_test(every_field_arrives),
        cmocka_unit_test(null_is_the_default),    cmocka_unit_test(unknown_fields_are_ignored),
        cmocka_unit_test(nobody_chose_a_seed),    cmocka_unit_test(stop_is_a_string_or_several),
        cmocka_unit_test(biases_are_read),        cmocka_unit_test(prompts_have_four_forms),
        cmocka_unit_test(strings_hold_any_text),  cmocka_unit_test(messages_become_a_prompt),
    };
    return cmocka_run_group_tests(tests, open_request_tests, close_request_tests);
}
