// SPDX-License-Identifier: MIT
/* test_tok_vocab.c: small vocabularies that are written here: odd ones that must work and wrong
 * ones that must be refused with a sentence.  Needs no files. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/tokenizer.h"
#include "tests/unit/common/gguf_builder.h"

#define MAX_ITEMS 16

/* A vocabulary; what is NULL or 0 is not written. */
struct spec {
    const char *model, *pre, *name;
    const char *tokens[MAX_ITEMS]; // ends with NULL
    int32_t types[MAX_ITEMS];
    float scores[MAX_ITEMS];
    const char *merges[MAX_ITEMS]; // ends with NULL
    size_t n_types, n_scores;
    bool has_merges;
    const char *id_key;
    uint32_t id;
};

static size_t count_of(const char *const *items) {
    size_t n = 0;
    while (items[n]) n++;
    return n;
}

static void put_strings(struct gguf_builder *b, const char *key, const char *const *items) {
    gguf_builder_array(b, key, GGUF_STRING, count_of(items));
    for (; *items; items++) gguf_builder_put_string(&b->kvs, *items);
}

static err create(struct tokenizer **t, const struct spec *s) {
    struct gguf_builder b;
    struct buf bytes;
    gguf_builder_init(&b);
    gguf_builder_str(&b, "general.architecture", "llama");
    if (s->name) gguf_builder_str(&b, "general.name", s->name);
    if (s->model) gguf_builder_str(&b, "tokenizer.ggml.model", s->model);
    if (s->pre) gguf_builder_str(&b, "tokenizer.ggml.pre", s->pre);
    put_strings(&b, "tokenizer.ggml.tokens", s->tokens);
    if (s->n_types > 0) {
        gguf_builder_array(&b, "tokenizer.ggml.token_type", GGUF_I32, s->n_types);
        buf_append(&b.kvs, s->types, s->n_types * sizeof s->types[0]);
    }
    if (s->n_scores > 0) {
        gguf_builder_array(&b, "tokenizer.ggml.scores", GGUF_F32, s->n_scores);
        buf_append(&b.kvs, s->scores, s->n_scores * sizeof s->scores[0]);
    }
    if (s->has_merges) put_strings(&b, "tokenizer.ggml.merges", s->merges);
    if (s->id_key) gguf_builder_u32(&b, s->id_key, s->id);
    gguf_builder_finish(&b, &bytes);

    char path[64];
    int fd = gguf_builder_memory_file(&bytes, path);
    struct gguf *g;
    assert_int_equal(gguf_open(&g, path), ERR_OK);
    err e = tokenizer_create(t, g);
    gguf_close(g);
    close(fd);
    buf_deinit(&bytes);
    gguf_builder_deinit(&b);
    return e;
}

static void check_refused(const struct spec *s, const char *sentence) {
    struct tokenizer *t = NULL;
    assert_int_equal(create(&t, s), ERR_MODEL);
    if (!strstr(error_message(), sentence)) {
        fail_msg("\"%s\" does not say \"%s\"", error_message(), sentence);
    }
    assert_null(t);
}

static void check_ids(const struct tokenizer *t, const char *text, int flags,
                      const char *expected) {
    struct token_list ids = {0};
    struct buf got;
    buf_init(&got, 0);
    assert_int_equal(tokenizer_encode(t, text, strlen(text), flags, &ids), ERR_OK);
    for (size_t i = 0; i < ids.count; i++) buf_printf(&got, " %d", ids.ids[i]);
    assert_string_equal(got.data ? got.data : "", expected);
    buf_deinit(&got);
    token_list_deinit(&ids);
}

static const struct spec good_bpe = {.model = "gpt2",
                                     .pre = "gpt-2",
                                     .tokens = {"a", "b", "ab", "Ġ", "aba", "bab"},
                                     .merges = {"a b", "ab a"},
                                     .has_merges = true};

static void test_wrong_files_are_refused(void **state) {
    (void)state;
    struct spec s = good_bpe;
    s.model = NULL;
    check_refused(&s, "the file has no tokenizer");
    s.model = "t5\x1b[31m";
    check_refused(&s, "the tokenizer \"t5[31m\" (tokenizer.ggml.model) is not supported");
    s = good_bpe, s.pre = "tekken";
    check_refused(&s, "\"tekken\" (tokenizer.ggml.pre) is not supported; supported are default, ");
    s = good_bpe, s.tokens[0] = NULL;
    check_refused(&s, "tokenizer.ggml.tokens is missing or empty");
    s = good_bpe, s.n_types = 5;
    check_refused(&s, "tokenizer.ggml.token_type has 5 elements, tokenizer.ggml.tokens has 6");
    s = good_bpe, s.n_scores = 7;
    check_refused(&s, "tokenizer.ggml.scores has 7 elements, tokenizer.ggml.tokens has 6");
    s = good_bpe, s.has_merges = false;
    check_refused(&s, "needs tokenizer.ggml.merges");
    s = good_bpe, s.merges[1] = "ab";
    check_refused(&s, "tokenizer.ggml.merges[1] has no space");
    s.merges[1] = "";
    check_refused(&s, "tokenizer.ggml.merges[1] has no space");
    s.merges[1] = "x b";
    check_refused(&s, "the first half of tokenizer.ggml.merges[1] is no token");
    s.merges[1] = "a ";
    check_refused(&s, "the second half of tokenizer.ggml.merges[1] is no token");
    s.merges[1] = "b b";
    check_refused(&s, "tokenizer.ggml.merges[1] makes something that is no token");
    s = good_bpe, s.id_key = "tokenizer.ggml.eos_token_id", s.id = 6;
    check_refused(&s, "tokenizer.ggml.eos_token_id is 6, but the vocabulary has 6 tokens");
    s.id_key = "tokenizer.ggml.fim_pad_token_id", s.id = UINT32_MAX;
    check_refused(&s, "tokenizer.ggml.fim_pad_token_id is 4294967295");
    s = good_bpe, s.model = "llama";
    check_refused(&s, "needs tokenizer.ggml.scores");
}

static void test_merges_by_rank(void **state) {
    (void)state;
    struct tokenizer *t;
    assert_int_equal(create(&t, &good_bpe), ERR_OK);
    check_ids(t, "abab", 0, " 2 2");
    check_ids(t, "aba", 0, " 4");
    check_ids(t, "bab", 0, " 1 2");
    check_ids(t, "ab ab", 0, " 2 3 2");
    check_ids(t, "aXb", 0, " 0 1"); // no token for X, and no unknown token
    assert_int_equal(tokenizer_bos(t), -1);
    assert_int_equal(tokenizer_eos(t), -1);
    assert_false(tokenizer_adds_bos(t));
    tokenizer_free(t);

    struct spec s = good_bpe; // a whole word that is a token wins over merges
    s.pre = "llama3", s.id_key = "tokenizer.ggml.unknown_token_id", s.id = 5;
    assert_int_equal(create(&t, &s), ERR_OK);
    check_ids(t, "bab", 0, " 5");
    check_ids(t, "aXb", 0, " 0 5 1");
    assert_string_equal(tokenizer_pre_name(t), "llama-bpe");
    tokenizer_free(t);

    s = good_bpe, s.pre = NULL;
    assert_int_equal(create(&t, &s), ERR_OK);
    assert_string_equal(tokenizer_pre_name(t), "default");
    tokenizer_free(t);
}

static void test_doubles_and_empties(void **state) {
    (void)state;
    struct tokenizer *t;
    const struct spec s = {.model = "gpt2",
                           .pre = "gpt-2",
                           .tokens = {"a", "", "a", "b", "ab", "aa"},
                           .merges = {"a a", "a b", "a a"},
                           .has_merges = true};
    assert_int_equal(create(&t, &s), ERR_OK);
    assert_true(gguf_str_is(tokenizer_spelling(t, 1), "[EMPTY_1]"));
    check_ids(t, "a", 0, " 2");
    check_ids(t, "aab", 0, " 5 3");
    tokenizer_free(t);
}

/* Longest name first, then from left to right: "bcd" takes its place before "abc" can. */
static void test_special_order(void **state) {
    (void)state;
    struct tokenizer *t;
    const struct spec s = {
        .model = "gpt2",
        .pre = "gpt-2",
        .tokens = {"a", "b", "c", "d", "abc", "bcde", "bc", "ccc", "e", "<x>", "<y>"},
        .types = {1, 1, 1, 1, 4, 4, 4, 4, 1, 3, 2},
        .n_types = 11,
        .has_merges = true};
    assert_int_equal(create(&t, &s), ERR_OK);
    check_ids(t, "abcde", 0, " 0 5");
    check_ids(t, "abcd", 0, " 4 3");
    check_ids(t, "abcbc", 0, " 4 6");
    check_ids(t, "ccccc", 0, " 7 2 2");
    check_ids(t, "aabcdeabc", 0, " 0 0 5 4");
    check_ids(t, "bcbcdebc", 0, " 6 5 6");
    check_ids(t, "abccc", 0, " 4 2 2"); // abc and ccc are of one length: the first id
    check_ids(t, "<x>a<y>", 0, " 0");
    check_ids(t, "<x>a<y>", TOKENIZE_PARSE_SPECIAL, " 9 0 10");
    tokenizer_free(t);
}

static const struct spec good_spm = {
    .model = "llama",
    .tokens = {"<unk>", "<s>", "</s>", "▁", "a", "b", "ab", "ba", "▁a", "<0x41>", "<0xzz>", "c"},
    .types = {2, 3, 3, 1, 1, 1, 1, 1, 1, 6, 6, 5},
    .scores = {0, 0, 0, -9, -5, -5, -1, -2, -3, 0, 0, -7},
    .n_types = 12,
    .n_scores = 12};

static void test_scores(void **state) {
    (void)state;
    struct tokenizer *t;
    assert_int_equal(create(&t, &good_spm), ERR_OK);
    check_ids(t, "aba", 0, " 3 6 4");
    check_ids(t, "a a", 0, " 8 8");
    check_ids(t, "bba", 0, " 3 5 7");
    check_ids(t, "aA", 0, " 8 9");
    check_ids(t, "\xC3", 0, " 3 0"); // no byte token: unknown
    check_ids(t, "ac", TOKENIZE_ADD_SPECIAL, " 1 8 11");
    assert_int_equal(tokenizer_eos(t), 2);
    assert_true(tokenizer_is_end(t, 2));
    struct buf text;
    buf_init(&text, 0);
    tokenizer_decode(t, (const int32_t[]){8, 9, 10, 11}, 4, false, &text);
    assert_string_equal(text.data, "aA<0xzz>"); // an unused token stands for nothing
    buf_deinit(&text);
    tokenizer_free(t);

    struct spec s = good_spm; // a vocabulary too small for the usual BOS and EOS
    s.tokens[1] = NULL, s.n_types = s.n_scores = 1;
    assert_int_equal(create(&t, &s), ERR_OK);
    check_ids(t, "xy", TOKENIZE_ADD_SPECIAL, " 0 0 0 0 0");
    assert_int_equal(tokenizer_bos(t), -1);
    assert_false(tokenizer_adds_bos(t));
    tokenizer_free(t);
}

static void test_scores_that_are_no_numbers(void **state) {
    (void)state;
    struct spec s = good_spm;
    struct tokenizer *t;
    const uint32_t nan_bits = 0x7FC00000;
    memcpy(&s.scores[6], &nan_bits, sizeof nan_bits);
    s.scores[7] = -0.0f;
    assert_int_equal(create(&t, &s), ERR_OK);
    check_ids(t, "abba", 0, " 3 6 7");
    tokenizer_free(t);
}

static void test_stripping(void **state) {
    (void)state;
    struct spec s = good_spm;
    struct tokenizer *t;
    s.tokens[11] = "<|end|>";
    assert_int_equal(create(&t, &s), ERR_OK);
    check_ids(t, "<|end|>  a", TOKENIZE_PARSE_SPECIAL, " 11 3 3 8");
    tokenizer_free(t);
    s.name = "My PHI-3 mini";
    assert_int_equal(create(&t, &s), ERR_OK);
    check_ids(t, "<|end|> \n a", TOKENIZE_PARSE_SPECIAL, " 11 8");
    check_ids(t, "<|end|>  <|end|>", TOKENIZE_PARSE_SPECIAL, " 11 11");
    check_ids(t, "<s>  a", TOKENIZE_PARSE_SPECIAL, " 1 3 3 8");
    tokenizer_free(t);
}

static void test_long_token(void **state) {
    (void)state;
    enum { LENGTH = 1 << 20 };
    char *name = mem_zalloc(LENGTH + 1);
    memset(name, 'a', LENGTH);
    struct spec s = good_spm;
    struct tokenizer *t;
    s.tokens[11] = name;
    assert_int_equal(create(&t, &s), ERR_OK);
    check_ids(t, "aba", 0, " 3 6 4");
    tokenizer_free(t);
    s = good_bpe, s.tokens[5] = name, s.pre = "llama3";
    assert_int_equal(create(&t, &s), ERR_OK);
    check_ids(t, name, 0, " 5");
    tokenizer_free(t);
    mem_free(name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_files_are_refused),
        cmocka_unit_test(test_merges_by_rank),
        cmocka_unit_test(test_doubles_and_empties),
        cmocka_unit_test(test_special_order),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_scores_that_are_no_numbers),
        cmocka_unit_test(test_stripping),
        cmocka_unit_test(test_long_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
