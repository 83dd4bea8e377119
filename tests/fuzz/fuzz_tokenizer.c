// SPDX-License-Identifier: MIT
/* fuzz_tokenizer.c: vocabularies and texts made of whatever libFuzzer finds.
 *
 *   control byte | tokens: type byte and spelling, one a line | 0xFF | merges | 0xFF | text
 *
 * A merge is two bytes, the numbers of the tokens that it joins, and what they make is added to the
 * vocabulary; or, if the control byte says so, a line that may be anything.  Whatever the file, it
 * is refused with a sentence or every id is one of the vocabulary's; and when each byte has a
 * token and no token is special, decoding must give the text back. */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/tokenizer.h"
#include "common/utf8.h"
#include "tests/unit/common/gguf_builder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum {
    CONTROL_SPM = 1,
    CONTROL_RULES = 6, // two bits: which pre-tokenizer
    CONTROL_PARSE = 8,
    CONTROL_PHI3 = 16,
    CONTROL_ALL_BYTES = 32, // 256 tokens, one for each byte, and all tokens are normal
    CONTROL_RAW_MERGES = 64,
    CONTROL_ADD = 128
};

#define MAX_TOKENS 1024

struct item {
    const char *bytes;
    size_t length;
};

struct vocabulary {
    struct item tokens[MAX_TOKENS];
    int32_t types[MAX_TOKENS];
    size_t count;
    struct buf merges; // elements of the GGUF array
    size_t n_merges;
    char *owned[MAX_TOKENS]; // spellings made here
    size_t n_owned;
};

/* Up to `end_byte`, which is passed over; all that is left when it does not occur. */
static struct item take(struct item *rest, char end_byte) {
    const char *end = rest->length ? memchr(rest->bytes, end_byte, rest->length) : NULL;
    size_t length = end ? (size_t)(end - rest->bytes) : rest->length;
    struct item taken = {rest->bytes, length};
    size_t passed = length + (end != NULL);
    *rest = (struct item){rest->bytes + passed, rest->length - passed};
    return taken;
}

static void put_item(struct buf *out, struct item s) {
    uint64_t length = s.length;
    buf_append(out, &length, sizeof length);
    buf_append(out, s.bytes, s.length);
}

static void add_token(struct vocabulary *v, struct item spelling, int32_t type) {
    if (v->count == MAX_TOKENS) return;
    v->tokens[v->count] = spelling;
    v->types[v->count++] = type;
}

static void add_owned(struct vocabulary *v, struct item left, struct item right) {
    if (v->count == MAX_TOKENS || v->n_owned == MAX_TOKENS) return;
    char *both = mem_alloc(left.length + right.length);
    if (left.length) memcpy(both, left.bytes, left.length);
    if (right.length) memcpy(both + left.length, right.bytes, right.length);
    v->owned[v->n_owned++] = both;
    add_token(v, (struct item){both, left.length + right.length}, 1);
}

/* GPT-2's spellings of the bytes, or SentencePiece's. */
static void add_bytes(struct vocabulary *v, bool spm) {
    uint32_t next = 256;
    for (uint32_t byte = 0; byte < 256; byte++) {
        bool printable = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
        char text[8];
        size_t length = spm ? (size_t)snprintf(text, sizeof text, "<0x%02X>", byte)
                            : utf8_encode(printable ? byte : next++, text);
        add_owned(v, (struct item){text, length}, (struct item){"", 0});
        if (spm) v->types[v->count - 1] = 6;
    }
}

static void add_merges(struct vocabulary *v, struct item block, bool raw) {
    while (block.length > 0) {
        if (raw) {
            put_item(&v->merges, take(&block, '\n'));
            v->n_merges++;
            continue;
        }
        if (block.length < 2 || v->count == 0 || v->count == MAX_TOKENS) return;
        struct item left = v->tokens[(uint8_t)block.bytes[0] % v->count];
        struct item right = v->tokens[(uint8_t)block.bytes[1] % v->count];
        uint64_t length = left.length + 1 + right.length;
        block = (struct item){block.bytes + 2, block.length - 2};
        buf_append(&v->merges, &length, sizeof length);
        buf_append(&v->merges, left.bytes, left.length);
        buf_putc(&v->merges, ' ');
        buf_append(&v->merges, right.bytes, right.length);
        v->n_merges++;
        add_owned(v, left, right);
    }
}

static err create(struct tokenizer **t, const struct vocabulary *v, uint8_t control) {
    static const char *const rules[] = {"default", "gpt-2", "llama-bpe", "qwen2"};
    struct gguf_builder b;
    struct buf bytes;
    gguf_builder_init(&b);
    gguf_builder_str(&b, "general.name", control & CONTROL_PHI3 ? "phi3" : "x");
    gguf_builder_str(&b, "tokenizer.ggml.model", control & CONTROL_SPM ? "llama" : "gpt2");
    gguf_builder_str(&b, "tokenizer.ggml.pre", rules[(control & CONTROL_RULES) >> 1]);
    gguf_builder_array(&b, "tokenizer.ggml.tokens", GGUF_STRING, v->count);
    for (size_t i = 0; i < v->count; i++) put_item(&b.kvs, v->tokens[i]);
    gguf_builder_array(&b, "tokenizer.ggml.token_type", GGUF_I32, v->count);
    buf_append(&b.kvs, v->types, v->count * sizeof v->types[0]);
    gguf_builder_array(&b, "tokenizer.ggml.scores", GGUF_F32, v->count);
    for (size_t i = 0; i < v->count; i++) {
        float score = (float)(i * 7919 % 64) - 32.0f;
        buf_append(&b.kvs, &score, sizeof score);
    }
    gguf_builder_array(&b, "tokenizer.ggml.merges", GGUF_STRING, v->n_merges);
    buf_append(&b.kvs, v->merges.data, v->merges.length);
    gguf_builder_finish(&b, &bytes);

    char path[64];
    struct gguf *g;
    int fd = gguf_builder_memory_file(&bytes, path);
    err e = gguf_open(&g, path);
    if (e == ERR_OK) {
        e = tokenizer_create(t, g);
        gguf_close(g);
    }
    close(fd);
    buf_deinit(&bytes);
    gguf_builder_deinit(&b);
    return e;
}

static void check_text(const struct tokenizer *t, struct item text, uint8_t control) {
    struct token_list ids = {0};
    struct buf back;
    buf_init(&back, 0);
    int flags = (control & CONTROL_PARSE ? TOKENIZE_PARSE_SPECIAL : 0) |
                (control & CONTROL_ADD ? TOKENIZE_ADD_SPECIAL : 0);
    CHECK(tokenizer_encode(t, text.bytes, text.length, flags, &ids) == ERR_OK);
    for (size_t i = 0; i < ids.count; i++) {
        CHECK(ids.ids[i] >= 0 && (size_t)ids.ids[i] < tokenizer_vocab_size(t));
    }
    tokenizer_decode(t, ids.ids, ids.count, true, &back);
    if (control & CONTROL_ALL_BYTES && flags == 0 && !(control & CONTROL_SPM)) {
        CHECK(back.length == text.length);
        CHECK(text.length == 0 || memcmp(back.data, text.bytes, text.length) == 0);
    }
    buf_deinit(&back);
    token_list_deinit(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (n == 0) return 0;
    uint8_t control = data[0];
    struct item rest = {(const char *)data + 1, n - 1};
    struct item names = take(&rest, '\xFF'), merges = take(&rest, '\xFF');
    struct vocabulary *v = mem_zalloc(sizeof *v);
    buf_init(&v->merges, 0);
    if (control & CONTROL_ALL_BYTES) add_bytes(v, control & CONTROL_SPM);
    while (names.length > 0) {
        struct item line = take(&names, '\n');
        int32_t type = line.length && !(control & CONTROL_ALL_BYTES) ? line.bytes[0] - '0' : 1;
        size_t skip = line.length > 0;
        add_token(v, (struct item){line.bytes + skip, line.length - skip}, type);
    }
    add_merges(v, merges, control & CONTROL_RAW_MERGES);

    struct tokenizer *t;
    if (create(&t, v, control) == ERR_OK) {
        check_text(t, rest, control);
        tokenizer_free(t);
    } else {
        CHECK(error_message()[0] != '\0');
    }
    for (size_t i = 0; i < v->n_owned; i++) mem_free(v->owned[i]);
    buf_deinit(&v->merges);
    mem_free(v);
    return 0;
}
