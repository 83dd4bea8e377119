// SPDX-License-Identifier: MIT
/* test_tokenizer.c: real vocabularies.  llama.cpp's own test texts and ids, ids of further texts
 * with special tokens that llama.cpp gave, round trips of random text, and what a megabyte of one
 * character costs.  The files are in $LOCKSTEP_SHARED/data/vocab. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <pthread.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/tokenizer.h"
#include "common/utf8.h"

enum { GPT2, LLAMA_BPE, LLAMA_SPM, PHI3, QWEN2, N_VOCABS };
static const char *const vocab_names[N_VOCABS] = {"gpt-2", "llama-bpe", "llama-spm", "phi-3",
                                                  "qwen2"};
static struct tokenizer *tokenizers[N_VOCABS];

static const char *shared_path(char path[4096], const char *name, const char *suffix) {
    snprintf(path, 4096, "%s/data/vocab/%s%s", getenv("LOCKSTEP_SHARED"), name, suffix);
    return path;
}

static int open_vocabularies(void **state) {
    (void)state;
    for (size_t i = 0; i < N_VOCABS; i++) {
        char path[4096];
        struct gguf *g;
        if (gguf_open(&g, shared_path(path, vocab_names[i], ".gguf")) != ERR_OK ||
            tokenizer_create(&tokenizers[i], g) != ERR_OK) {
            print_error("%s: %s\n", path, error_message());
            return -1;
        }
        gguf_close(g);
    }
    return 0;
}

static int close_vocabularies(void **state) {
    (void)state;
    for (size_t i = 0; i < N_VOCABS; i++) tokenizer_free(tokenizers[i]);
    return 0;
}

static struct token_list encode(int vocab, const char *text, size_t n, int flags) {
    struct token_list ids = {0};
    assert_int_equal(tokenizer_encode(tokenizers[vocab], text, n, flags, &ids), ERR_OK);
    return ids;
}

static void put_ids(struct buf *out, const int32_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++) buf_printf(out, " %d", ids[i]);
}

static void check_ids(int vocab, const char *text, size_t n, int flags, const char *expected) {
    struct token_list ids = encode(vocab, text, n, flags);
    struct buf got;
    buf_init(&got, 0);
    put_ids(&got, ids.ids, ids.count);
    if (strcmp(got.data ? got.data : "", expected) != 0) {
        fail_msg("%s: \"%.*s\":\n  got     %s\n  expected%s", vocab_names[vocab], (int)n, text,
                 got.data, expected);
    }
    buf_deinit(&got);
    token_list_deinit(&ids);
}

static char *read_file(const char *path) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    struct buf b;
    buf_init(&b, 0);
    for (int c; (c = getc(f)) != EOF;) buf_putc(&b, (char)c);
    fclose(f);
    return b.data;
}

static void test_llama_cpp_texts(void **state) {
    (void)state;
    static const char separator[] = "\n__ggml_vocab_test__\n";
    for (int vocab = 0; vocab < N_VOCABS; vocab++) {
        char path[4096];
        char *texts = read_file(shared_path(path, vocab_names[vocab], ".inp"));
        char *lines = read_file(shared_path(path, vocab_names[vocab], ".out"));
        char *text = texts, *rest = lines;
        int checked = 0;
        for (char *end; (end = strstr(text, separator)); text = end + strlen(separator)) {
            check_ids(vocab, text, (size_t)(end - text), 0, strsep(&rest, "\n"));
            checked++;
        }
        assert_int_equal(checked, 46);
        mem_free(texts);
        mem_free(lines);
    }
}

/* What llama.cpp makes of them, without and with parse_special (NULL: the same). */
static const struct {
    int vocab;
    const char *text, *plain, *special;
} pinned[] = {
    {GPT2, "a<|endoftext|>b", " 64 27 91 437 1659 5239 91 29 65", " 64 50256 65"},
    {GPT2, "<|endoftext|><|endoftext|> x",
     " 27 91 437 1659 5239 91 6927 91 437 1659 5239 91 29 2124", " 50256 50256 2124"},
    {LLAMA_BPE, "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>",
     " 27 91 2527 8932 851 91 29 882 27 91 408 8932 851 91 1363 13347 27 91 68 354 851 91 29",
     " 128006 882 128007 271 13347 128009"},
    {LLAMA_BPE,
     "12345 Hello\u00a0\u2003world \xC2\x85"
     "x",
     " 4513 1774 22691 4194 116503 14957 220 116360 87", NULL},
    {LLAMA_BPE, "I'LL we'Ve \u017f '\u017f", " 40 6 4178 584 6 43712 27006 123 364 129 123", NULL},
    {LLAMA_SPM, "a</s>  b<s>c<unk>",
     " 263 829 29879 29958 29871 289 29966 29879 29958 29883 29966 2960 29958",
     " 263 2 259 289 1 274 0"},
    {LLAMA_SPM, "  two  ", " 259 1023 259", NULL},
    {LLAMA_SPM, "\u65e5\u672c<0x0A>\u2581x",
     " 29871 30325 30346 29966 29900 29916 29900 29909 29958 921", NULL},
    {PHI3, "<|user|>\n Hi <|end|>\n\t <|assistant|> ok",
     " 529 29989 1792 29989 29958 13 6324 529 29989 355 29989 29958 13 12 529 29989 465 22137 "
     "29989 29958 3431",
     " 32010 6324 29871 32007 32001 3431"},
    {PHI3, "a</s>  b", " 263 829 29879 29958 29871 289", " 263 2 289"},
    {PHI3, "<|endoftext|>  x<|end|>  ",
     " 529 29989 355 974 726 29989 29958 29871 921 29966 29989 355 29989 29958 259",
     " 32000 259 921 32007"},
    {QWEN2, "<|im_start|>user\nHi<|im_end|>",
     " 27 91 318 4906 91 29 872 198 13048 27 91 318 6213 91 29", " 151644 872 198 13048 151645"},
    {QWEN2, "<tool_call>x</tool_call><|fim_prefix|><|file_sep|>",
     " 151657 87 151658 27 91 69 318 13974 91 1784 91 1192 54775 91 29",
     " 151657 87 151658 151659 151664"},
    {QWEN2, "1234567 \u0939\u093f\u0928\u094d\u0926\u0940\u200b",
     " 16 17 18 19 20 21 22 84310 42311 101 30484 99 43647 15692", NULL},
};

static void test_special_names(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof pinned / sizeof pinned[0]; i++) {
        size_t n = strlen(pinned[i].text);
        const char *special = pinned[i].special ? pinned[i].special : pinned[i].plain;
        check_ids(pinned[i].vocab, pinned[i].text, n, 0, pinned[i].plain);
        check_ids(pinned[i].vocab, pinned[i].text, n, TOKENIZE_PARSE_SPECIAL, special);
    }
}

static void test_added_tokens(void **state) {
    (void)state;
    check_ids(GPT2, "", 0, TOKENIZE_ADD_SPECIAL, "");
    check_ids(QWEN2, "Hi", 2, TOKENIZE_ADD_SPECIAL, " 13048");
    check_ids(LLAMA_BPE, "Hi", 2, TOKENIZE_ADD_SPECIAL, " 128000 13347");
    check_ids(LLAMA_SPM, "Hi", 2, TOKENIZE_ADD_SPECIAL, " 1 6324");
    check_ids(LLAMA_SPM, "", 0, TOKENIZE_ADD_SPECIAL, " 1");
}

static void check_decoded(int vocab, const int32_t *ids, size_t n, bool special,
                          const char *expected) {
    struct buf text;
    buf_init(&text, 0);
    tokenizer_decode(tokenizers[vocab], ids, n, special, &text);
    assert_string_equal(text.data ? text.data : "", expected);
    buf_deinit(&text);
}

static void test_decoding(void **state) {
    (void)state;
    const int32_t llama[] = {1, 6324, 2, 29991}, hello[] = {6324, 29991}, newline[] = {13, 6324};
    check_decoded(LLAMA_SPM, llama, 4, false, " Hi!");
    check_decoded(LLAMA_SPM, llama, 4, true, "<s> Hi</s>!");
    check_decoded(LLAMA_SPM, hello, 2, false, "Hi!");
    check_decoded(LLAMA_SPM, newline, 2, false, "\n Hi");
    const int32_t qwen[] = {151644, 13048, 151657, 151645, -1, 151665, INT32_MAX};
    check_decoded(QWEN2, qwen, 7, false, "Hi<tool_call>");
    check_decoded(QWEN2, qwen, 7, true, "<|im_start|>Hi<tool_call><|im_end|>");

    struct buf piece;
    buf_init(&piece, 0);
    tokenizer_decode_piece(tokenizers[LLAMA_SPM], 6324, false, &piece);
    tokenizer_decode_piece(tokenizers[LLAMA_SPM], 3 + 0xE2, false, &piece); // <0xE2>
    tokenizer_decode_piece(tokenizers[GPT2], 220, false, &piece);
    assert_string_equal(piece.data, " Hi\xE2 ");
    buf_deinit(&piece);
}

static void test_roles(void **state) {
    (void)state;
    const struct tokenizer *llama3 = tokenizers[LLAMA_BPE], *qwen = tokenizers[QWEN2];
    assert_int_equal(tokenizer_vocab_size(llama3), 128256);
    assert_int_equal(tokenizer_bos(llama3), 128000);
    assert_int_equal(tokenizer_eos(llama3), 128001);
    assert_true(tokenizer_adds_bos(llama3));
    assert_true(tokenizer_is_end(llama3, 128001));
    assert_true(tokenizer_is_end(llama3, 128009));
    assert_false(tokenizer_is_end(llama3, 128000));
    assert_true(tokenizer_is_control(llama3, 128000));
    assert_false(tokenizer_is_control(llama3, 100));
    assert_string_equal(tokenizer_model_name(llama3), "gpt2");
    assert_string_equal(tokenizer_pre_name(llama3), "llama-bpe");

    assert_int_equal(tokenizer_bos(qwen), -1);
    assert_false(tokenizer_adds_bos(qwen));
    assert_true(tokenizer_is_end(qwen, 151643));
    assert_true(tokenizer_is_end(qwen, 151645));
    assert_false(tokenizer_is_end(qwen, 151644));
    assert_false(tokenizer_is_end(qwen, -1));
    assert_false(tokenizer_is_end(qwen, 151665));
    assert_true(gguf_str_is(tokenizer_spelling(qwen, 151645), "<|im_end|>"));
    assert_int_equal(tokenizer_spelling(qwen, 151665).length, 0);

    assert_true(tokenizer_is_end(tokenizers[PHI3], 32007));
    assert_true(tokenizer_is_end(tokenizers[LLAMA_SPM], 2));
    assert_string_equal(tokenizer_model_name(tokenizers[PHI3]), "llama");
    assert_string_equal(tokenizer_pre_name(tokenizers[PHI3]), "");
}

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static size_t random_utf8(uint64_t *seed, char *text, size_t size) {
    static const uint32_t limits[] = {0x80, 0x80, 0x800, 0x3000, 0x10000, 0x110000};
    size_t n = 0, want = next_random(seed) % size;
    while (n + 4 <= want) {
        uint32_t limit = limits[next_random(seed) % (sizeof limits / sizeof limits[0])];
        uint32_t code_point = (uint32_t)(next_random(seed) % limit);
        if (code_point == 0x2581) continue; // SentencePiece's space
        n += utf8_encode(code_point, text + n);
    }
    return n;
}

static size_t random_bytes(uint64_t *seed, char *text, size_t size) {
    size_t n = next_random(seed) % size;
    for (size_t i = 0; i < n; i++) text[i] = (char)next_random(seed);
    return n;
}

static void check_round_trip(int vocab, const char *text, size_t n) {
    struct token_list ids = encode(vocab, text, n, 0);
    struct buf back;
    buf_init(&back, 0);
    tokenizer_decode(tokenizers[vocab], ids.ids, ids.count, false, &back);
    if (back.length != n || (n > 0 && memcmp(back.data, text, n) != 0)) {
        struct buf shown;
        buf_init(&shown, 0);
        buf_append_json(&shown, text, n);
        buf_puts(&shown, "\" became \"");
        buf_append_json(&shown, back.data ? back.data : "", back.length);
        fail_msg("%s: \"%s\"", vocab_names[vocab], shown.data);
    }
    buf_deinit(&back);
    token_list_deinit(&ids);
}

static void test_round_trips(void **state) {
    (void)state;
    uint64_t seed = 42;
    for (int round = 0; round < 3000; round++) {
        char text[400];
        int vocab = round % N_VOCABS;
        size_t n = random_utf8(&seed, text, sizeof text);
        check_round_trip(vocab, text, n);
        n = random_bytes(&seed, text, sizeof text);
        check_round_trip(vocab, text, n);
    }
}

/* CPU time of this thread for `n` bytes of a repeated pattern. */
static double encode_seconds(int vocab, const char *pattern, size_t n) {
    char *text = mem_alloc(n);
    for (size_t i = 0; i < n; i++) text[i] = pattern[i % strlen(pattern)];
    struct timespec a, b;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
    struct token_list ids = encode(vocab, text, n, TOKENIZE_PARSE_SPECIAL);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
    token_list_deinit(&ids);
    mem_free(text);
    return (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
}

/* Four times the text must not take eight times as long; a busy machine gets five tries. */
static bool grows_gently(int vocab, const char *pattern, char failure[200]) {
    for (int round = 0; round < 5; round++) {
        double quarter = encode_seconds(vocab, pattern, 250000);
        double whole = encode_seconds(vocab, pattern, 1000000);
        if (whole < 8 * quarter) return true;
        snprintf(failure, 200, "%s: \"%s\": 250 kB took %.4f s, 1 MB %.4f s", vocab_names[vocab],
                 pattern, quarter, whole);
    }
    return false;
}

static void *encode_bombs(void *failure) {
    static const char *const patterns[] = {"a", " ",  "\n",   "\u4e2d", "\u0301",
                                           "1", "<|", "\xFF", "</s>"};
    for (int vocab = 0; vocab < N_VOCABS; vocab++) {
        for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
            if (!grows_gently(vocab, patterns[i], failure)) return (void *)patterns[i];
        }
    }
    return NULL;
}

/* In a thread whose stack would not hold one frame per character. */
static void test_bombs(void **state) {
    (void)state;
    pthread_t thread;
    void *bomb;
    pthread_attr_t attributes;
    char failure[200] = "";
    pthread_attr_init(&attributes);
    assert_int_equal(pthread_attr_setstacksize(&attributes, 256 * 1024), 0);
    assert_int_equal(pthread_create(&thread, &attributes, encode_bombs, failure), 0);
    assert_int_equal(pthread_join(thread, &bomb), 0);
    pthread_attr_destroy(&attributes);
    if (bomb) fail_msg("%s", failure);
}

int main(void) {
    char path[4096];
    if (!getenv("LOCKSTEP_SHARED") || access(shared_path(path, "gpt-2", ".gguf"), R_OK) != 0) {
        fprintf(stderr, "skipped: no vocabularies in $LOCKSTEP_SHARED/data/vocab\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_llama_cpp_texts), cmocka_unit_test(test_special_names),
        cmocka_unit_test(test_added_tokens),    cmocka_unit_test(test_decoding),
        cmocka_unit_test(test_roles),           cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_bombs),
    };
    return cmocka_run_group_tests(tests, open_vocabularies, close_vocabularies);
}
