// SPDX-License-Identifier: MIT
/* test_inspect.c: what `lockstep inspect` says about odd files: bytes that are no text, numbers
 * that JSON does not know, models that cannot be served, vocabularies without a model. */

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/cli/inspect.h"
#include "tests/unit/common/gguf_builder.h"

static struct gguf *open_built(const struct gguf_builder *b) {
    struct buf bytes;
    struct gguf *g = NULL;
    gguf_builder_finish(b, &bytes);
    if (gguf_builder_open(&g, &bytes) != ERR_OK) fail_msg("%s", error_message());
    buf_deinit(&bytes);
    return g;
}

/* The JSON text, parsed by a strict parser. */
static json_t *parsed(const struct gguf *g) {
    struct buf out;
    json_error_t why;
    buf_init(&out, 0);
    inspect_put_json(g, &out);
    json_t *root = json_loadb(out.data, out.length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (!root) fail_msg("line %d: %s", why.line, why.text);
    buf_deinit(&out);
    return root;
}

static json_t *value_of(const json_t *root, const char *key) {
    size_t i;
    const json_t *entry;
    json_array_foreach(json_object_get(root, "metadata"), i, entry) {
        if (strcmp(json_string_value(json_object_get(entry, "key")), key) == 0)
            return json_object_get(entry, "value");
    }
    fail_msg("no key %s", key);
    return NULL;
}

static void test_odd_values(void **state) {
    (void)state;
    struct gguf_builder b;
    const uint64_t huge = UINT64_MAX;
    gguf_builder_init(&b);
    gguf_builder_str(&b, "text", "a\x1b[31m\xFF\xC3\xA9");
    gguf_builder_f32(&b, "nan", NAN);
    gguf_builder_f32(&b, "tiny", 1e-5f);
    gguf_builder_key(&b, "huge", GGUF_U64);
    buf_append(&b.kvs, &huge, sizeof huge);
    gguf_builder_array(&b, "numbers", GGUF_I8, 20);
    for (int i = 0; i < 20; i++) buf_putc(&b.kvs, (char)(i - 10));
    struct gguf *g = open_built(&b);
    json_t *root = parsed(g);
    assert_string_equal(json_string_value(value_of(root, "text")), "a\x1b[31m\xEF\xBF\xBD\xC3\xA9");
    assert_string_equal(json_string_value(value_of(root, "nan")), "nan");
    assert_true(json_real_value(value_of(root, "tiny")) == 1e-5); // the shortest form
    assert_string_equal(json_string_value(value_of(root, "huge")), "18446744073709551615");
    assert_int_equal(json_array_size(value_of(root, "numbers")), 8);
    assert_int_equal(json_integer_value(json_array_get(value_of(root, "numbers"), 7)), -3);
    assert_true(json_is_true(json_object_get(root, "vocab_only")));
    assert_true(json_is_null(json_object_get(root, "model")));
    assert_true(json_is_null(json_object_get(root, "problem")));
    assert_true(json_is_null(json_object_get(root, "tokenizer")));
    json_decref(root);

    struct buf text;
    buf_init(&text, 0);
    inspect_put_text(g, &text);
    for (size_t i = 0; i < text.length; i++) // nothing that a terminal would obey
        assert_true(text.data[i] == '\n' || (unsigned char)text.data[i] >= 0x20);
    assert_non_null(strstr(text.data, "a vocabulary only"));
    assert_non_null(strstr(text.data, "i8[20]           -10, -9, -8, -7, -6, -5, -4, -3, ...\n"));
    buf_deinit(&text);
    gguf_close(g);
    gguf_builder_deinit(&b);
}

static void test_model_that_cannot_be_served(void **state) {
    (void)state;
    struct gguf_builder b;
    gguf_builder_small(&b); // IQ2_XS, and hardly a key that a llama needs
    gguf_builder_str(&b, "tokenizer.ggml.model", "gpt2");
    gguf_builder_array(&b, "tokenizer.ggml.tokens", GGUF_STRING, 2);
    gguf_builder_put_string(&b.kvs, "one");
    gguf_builder_put_string(&b.kvs, "two");
    gguf_builder_u32(&b, "tokenizer.ggml.bos_token_id", 1);
    gguf_builder_u32(&b, "tokenizer.ggml.eos_token_id", 7); // beyond the vocabulary
    struct gguf *g = open_built(&b);
    json_t *root = parsed(g);
    assert_true(json_is_null(json_object_get(root, "model")));
    assert_non_null(strstr(json_string_value(json_object_get(root, "problem")), "is missing"));

    const json_t *tokenizer = json_object_get(root, "tokenizer");
    assert_int_equal(json_integer_value(json_object_get(tokenizer, "tokens")), 2);
    const json_t *bos = json_object_get(tokenizer, "bos"), *eos = json_object_get(tokenizer, "eos");
    assert_string_equal(json_string_value(json_object_get(bos, "piece")), "two");
    assert_int_equal(json_integer_value(json_object_get(eos, "id")), 7);
    assert_true(json_is_null(json_object_get(eos, "piece")));
    assert_true(json_is_null(json_object_get(tokenizer, "padding")));

    const json_t *types = json_object_get(root, "types"),
                 *tensors = json_object_get(root, "tensors");
    assert_int_equal(json_array_size(types), 3);
    const json_t *exotic = json_array_get(types, 2), *t = json_array_get(tensors, 2);
    assert_string_equal(json_string_value(json_object_get(exotic, "type")), "IQ2_XS");
    assert_true(json_is_false(json_object_get(exotic, "supported")));
    assert_string_equal(json_string_value(json_object_get(t, "name")), "exotic");
    assert_int_equal(json_integer_value(json_object_get(t, "bytes")), 2 * 74);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(t, "dims"), 0)), 256);
    json_decref(root);

    struct buf text;
    buf_init(&text, 0);
    inspect_put_text(g, &text);
    assert_non_null(strstr(text.data, "This model cannot be served: "));
    assert_non_null(strstr(text.data, "148 bytes (not supported)"));
    assert_non_null(strstr(text.data, "256 x 2"));
    buf_deinit(&text);
    gguf_close(g);
    gguf_builder_deinit(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_odd_values),
        cmocka_unit_test(test_model_that_cannot_be_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
