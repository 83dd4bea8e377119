// SPDX-License-Identifier: MIT
/* test_api_reply.c: the JSON of answers, read back with jansson. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "coordinator/gateway/api_reply.h"
#include "tests/unit/coordinator/gateway/group_tokenizer.h"

static const struct reply_head text_head = {.id = "cmpl-1",
                                            .created_s = 1700000000,
                                            .model_id = "a \"model\"",
                                            .fingerprint = "build-plan"};
static const struct reply_head chat_chunk_head = {.chat = true,
                                                  .stream = true,
                                                  .id = "chatcmpl-1",
                                                  .created_s = 1700000000,
                                                  .model_id = "m",
                                                  .fingerprint = "f"};

static const struct request_usage usage = {.prompt_tokens = 10,
                                           .completion_tokens = 5,
                                           .cached_tokens = 3,
                                           .queue_ns = 1500000,
                                           .prefill_ns = 20000000,
                                           .decode_ns = 40000000};

/* Strict: duplicate keys are an error too. */
static json_t *read_back(struct buf *out) {
    json_error_t where;
    json_t *root =
        json_loadb(out->data, out->length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &where);
    if (!root) fail_msg("%s\nin: %s", where.text, out->data);
    if (strchr(out->data, '\n')) fail_msg("a line break would end the event: %s", out->data);
    buf_deinit(out);
    return root;
}

static const char *string_at(json_t *o, const char *key) {
    json_t *v = json_object_get(o, key);
    if (!json_is_string(v)) fail_msg("%s is no string", key);
    return json_string_value(v);
}

static int32_t token_of(const char *text) {
    struct token_list ids = {0};
    assert_int_equal(tokenizer_encode(tokenizer, text, strlen(text), 0, &ids), ERR_OK);
    assert_int_equal(ids.count, 1);
    int32_t id = ids.ids[0];
    token_list_deinit(&ids);
    return id;
}

static void a_whole_completion(void **state) {
    (void)state;
    struct reply_choice c[2];
    for (size_t i = 0; i < 2; i++) reply_choice_init(&c[i]);
    buf_puts(&c[0].text, "a \"quote\",\n a \\ and \xE4\xB8\xAD");
    c[0].reason = FINISH_STOP;
    c[1].reason = FINISH_LENGTH;
    struct buf out;
    buf_init(&out, 0);
    reply_put_whole(&out, &text_head, c, 2, false, &usage);
    json_t *root = read_back(&out);
    assert_string_equal(string_at(root, "id"), "cmpl-1");
    assert_string_equal(string_at(root, "object"), "text_completion");
    assert_string_equal(string_at(root, "model"), "a \"model\"");
    assert_string_equal(string_at(root, "system_fingerprint"), "build-plan");
    assert_int_equal(json_integer_value(json_object_get(root, "created")), 1700000000);
    json_t *choices = json_object_get(root, "choices");
    assert_int_equal(json_array_size(choices), 2);
    json_t *first = json_array_get(choices, 0), *second = json_array_get(choices, 1);
    assert_string_equal(string_at(first, "text"), "a \"quote\",\n a \\ and \xE4\xB8\xAD");
    assert_string_equal(string_at(first, "finish_reason"), "stop");
    assert_true(json_is_null(json_object_get(first, "logprobs")));
    assert_int_equal(json_integer_value(json_object_get(second, "index")), 1);
    assert_string_equal(string_at(second, "text"), "");
    assert_string_equal(string_at(second, "finish_reason"), "length");
    json_t *u = json_object_get(root, "usage");
    assert_int_equal(json_integer_value(json_object_get(u, "prompt_tokens")), 10);
    assert_int_equal(json_integer_value(json_object_get(u, "completion_tokens")), 5);
    assert_int_equal(json_integer_value(json_object_get(u, "total_tokens")), 15);
    json_t *details = json_object_get(u, "prompt_tokens_details");
    assert_int_equal(json_integer_value(json_object_get(details, "cached_tokens")), 3);
    json_t *timings = json_object_get(root, "timings");
    assert_float_equal(json_number_value(json_object_get(timings, "queue_ms")), 1.5, 1e-6);
    assert_float_equal(json_number_value(json_object_get(timings, "prompt_ms")), 20, 1e-6);
    // three of the ten were found in the cache
    assert_int_equal(json_integer_value(json_object_get(timings, "cache_n")), 3);
    assert_int_equal(json_integer_value(json_object_get(timings, "prompt_n")), 7);
    assert_float_equal(json_number_value(json_object_get(timings, "prompt_per_second")), 350, 1e-6);
    assert_float_equal(json_number_value(json_object_get(timings, "prompt_per_token_ms")), 20.0 / 7,
                       1e-3);
    // four tokens after the first in 40 ms
    assert_float_equal(json_number_value(json_object_get(timings, "predicted_per_token_ms")), 10,
                       1e-6);
    assert_float_equal(json_number_value(json_object_get(timings, "predicted_per_second")), 100,
                       1e-6);
    json_decref(root);
    for (size_t i = 0; i < 2; i++) reply_choice_deinit(&c[i]);
}

static void a_whole_chat(void **state) {
    (void)state;
    struct reply_head head = chat_chunk_head;
    head.stream = false;
    struct reply_choice c;
    reply_choice_init(&c);
    buf_puts(&c.text, "hi");
    c.reason = FINISH_STOP;
    struct buf out;
    buf_init(&out, 0);
    const struct request_usage none = {0};
    reply_put_whole(&out, &head, &c, 1, false, &none);
    json_t *root = read_back(&out);
    assert_string_equal(string_at(root, "object"), "chat.completion");
    json_t *message =
        json_object_get(json_array_get(json_object_get(root, "choices"), 0), "message");
    assert_string_equal(string_at(message, "role"), "assistant");
    assert_string_equal(string_at(message, "content"), "hi");
    json_t *timings = json_object_get(root, "timings"); // no time, no division by it
    assert_float_equal(json_number_value(json_object_get(timings, "predicted_per_second")), 0, 0);
    json_decref(root);
    reply_choice_deinit(&c);
}

static json_t *chunk(const struct reply_head *head, const char *text, bool first,
                     enum finish_reason reason, bool null_usage) {
    struct buf out;
    buf_init(&out, 0);
    reply_put_chunk(&out, head, 3, text, strlen(text), NULL, first, reason, null_usage);
    return read_back(&out);
}

static void chunks_of_a_chat(void **state) {
    (void)state;
    json_t *root = chunk(&chat_chunk_head, "", true, FINISH_NONE, false);
    assert_string_equal(string_at(root, "object"), "chat.completion.chunk");
    assert_null(json_object_get(root, "usage"));
    json_t *choice = json_array_get(json_object_get(root, "choices"), 0);
    assert_int_equal(json_integer_value(json_object_get(choice, "index")), 3);
    assert_string_equal(string_at(json_object_get(choice, "delta"), "role"), "assistant");
    assert_true(json_is_null(json_object_get(choice, "finish_reason")));
    json_decref(root);

    root = chunk(&chat_chunk_head, "te\"xt", false, FINISH_NONE, true);
    assert_true(json_is_null(json_object_get(root, "usage")));
    choice = json_array_get(json_object_get(root, "choices"), 0);
    assert_string_equal(string_at(json_object_get(choice, "delta"), "content"), "te\"xt");
    assert_null(json_object_get(json_object_get(choice, "delta"), "role"));
    json_decref(root);

    root = chunk(&chat_chunk_head, "", false, FINISH_LENGTH, false);
    choice = json_array_get(json_object_get(root, "choices"), 0);
    assert_int_equal(json_object_size(json_object_get(choice, "delta")), 0);
    assert_string_equal(string_at(choice, "finish_reason"), "length");
    json_decref(root);
}

static void chunks_of_a_completion(void **state) {
    (void)state;
    json_t *root = chunk(&text_head, "abc", false, FINISH_NONE, false);
    assert_string_equal(string_at(root, "object"), "text_completion");
    json_t *choice = json_array_get(json_object_get(root, "choices"), 0);
    assert_string_equal(string_at(choice, "text"), "abc");
    assert_true(json_is_null(json_object_get(choice, "finish_reason")));
    json_decref(root);
}

static void the_usage_chunk_has_no_choices(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 0);
    reply_put_usage_chunk(&out, &chat_chunk_head, &usage);
    json_t *root = read_back(&out);
    assert_true(json_is_array(json_object_get(root, "choices")));
    assert_int_equal(json_array_size(json_object_get(root, "choices")), 0);
    json_t *u = json_object_get(root, "usage");
    assert_int_equal(json_integer_value(json_object_get(u, "total_tokens")), 15);
    json_decref(root);
}

/* Three tokens: one with alternatives, one that is half a character, one without a probability. */
static void add_tokens(struct reply_choice *c, bool chat) {
    int32_t world = token_of(" world");
    struct buf bytes;
    buf_init(&bytes, 0);
    int32_t half = 0; // the first token that is no whole UTF-8
    for (;; half++) {
        buf_clear(&bytes);
        tokenizer_decode_piece(tokenizer, half, false, &bytes);
        if (bytes.length == 1 && (unsigned char)bytes.data[0] == 0xE4) break;
    }
    buf_deinit(&bytes);
    const struct top_entry top[] = {{world, -0.25f}, {half, -INFINITY}, {world, -3}};
    const struct token_entry entries[] = {
        {.token = world,
         .logprob = -0.25f,
         .piece = " world",
         .piece_bytes = 6,
         .top = top,
         .n_top = 3},
        {.token = half, .logprob = -1, .piece = "\xE4", .piece_bytes = 1},
        {.token = world,
         .logprob = NAN,
         .piece = " world",
         .piece_bytes = 6,
         .top = top,
         .n_top = 3}};
    for (size_t i = 0; i < 3; i++) reply_add_token(c, chat, tokenizer, &entries[i]);
}

static void logprobs_of_a_completion(void **state) {
    (void)state;
    struct reply_choice c;
    struct buf out;
    buf_init(&out, 0);
    reply_choice_init(&c);
    add_tokens(&c, false);
    reply_put_whole(&out, &text_head, &c, 1, true, &usage);
    json_t *root = read_back(&out);
    json_t *l = json_object_get(json_array_get(json_object_get(root, "choices"), 0), "logprobs");
    json_t *tokens = json_object_get(l, "tokens"), *own = json_object_get(l, "token_logprobs"),
           *top = json_object_get(l, "top_logprobs"), *offset = json_object_get(l, "text_offset");
    assert_int_equal(json_array_size(tokens), 3);
    assert_string_equal(json_string_value(json_array_get(tokens, 0)), " world");
    assert_string_equal(json_string_value(json_array_get(tokens, 1)), "\xEF\xBF\xBD");
    assert_float_equal(json_number_value(json_array_get(own, 0)), -0.25, 0);
    assert_true(json_is_null(json_array_get(own, 2)));
    json_t *alternatives = json_array_get(top, 0);
    assert_int_equal(json_object_size(alternatives), 2); // the second " world" is the same key
    assert_float_equal(json_number_value(json_object_get(alternatives, " world")), -0.25, 0);
    assert_float_equal(json_number_value(json_object_get(alternatives, "bytes:\\xe4")), -9999, 0);
    assert_int_equal(json_object_size(json_array_get(top, 1)), 0);
    assert_true(json_is_null(json_array_get(top, 2)));
    const json_int_t offsets[] = {0, 6, 7};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(json_integer_value(json_array_get(offset, i)), offsets[i]);
    json_decref(root);
    reply_choice_deinit(&c);
}

static void logprobs_of_a_chat(void **state) {
    (void)state;
    struct reply_choice c;
    struct buf out;
    buf_init(&out, 0);
    reply_choice_init(&c);
    add_tokens(&c, true);
    reply_put_chunk(&out, &chat_chunk_head, 0, "x", 1, &c, false, FINISH_NONE, false);
    json_t *root = read_back(&out);
    json_t *l = json_object_get(json_array_get(json_object_get(root, "choices"), 0), "logprobs");
    json_t *content = json_object_get(l, "content");
    assert_int_equal(json_array_size(content), 3);
    json_t *first = json_array_get(content, 0), *second = json_array_get(content, 1);
    assert_string_equal(string_at(first, "token"), " world");
    assert_int_equal(json_array_size(json_object_get(first, "bytes")), 6);
    json_t *alternatives = json_object_get(first, "top_logprobs");
    assert_int_equal(json_array_size(alternatives), 3);
    assert_string_equal(string_at(json_array_get(alternatives, 0), "token"), " world");
    assert_float_equal(
        json_number_value(json_object_get(json_array_get(alternatives, 1), "logprob")), -9999, 0);
    json_t *bytes = json_object_get(second, "bytes");
    assert_int_equal(json_array_size(bytes), 1);
    assert_int_equal(json_integer_value(json_array_get(bytes, 0)), 0xE4);
    json_decref(root);

    buf_init(&out, 0);
    reply_choice_clear_logprobs(&c); // the next chunk does not say it again
    reply_put_chunk(&out, &chat_chunk_head, 0, "x", 1, &c, false, FINISH_NONE, false);
    root = read_back(&out);
    l = json_object_get(json_array_get(json_object_get(root, "choices"), 0), "logprobs");
    assert_int_equal(json_array_size(json_object_get(l, "content")), 0);
    json_decref(root);
    reply_choice_deinit(&c);
}

static void characters_are_code_points(void **state) {
    (void)state;
    assert_int_equal(reply_count_characters("", 0), 0);
    assert_int_equal(reply_count_characters("a\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80", 10), 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_completion),
        cmocka_unit_test(a_whole_chat),
        cmocka_unit_test(chunks_of_a_chat),
        cmocka_unit_test(chunks_of_a_completion),
        cmocka_unit_test(the_usage_chunk_has_no_choices),
        cmocka_unit_test(logprobs_of_a_completion),
        cmocka_unit_test(logprobs_of_a_chat),
        cmocka_unit_test(characters_are_code_points),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
