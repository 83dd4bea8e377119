// SPDX-License-Identifier: MIT
/* tok_bpe.c: byte-level BPE, the tokenizer of GPT-2, Llama 3 and Qwen (tokenizer.ggml.model
 * "gpt2").
 *
 * The vocabulary spells bytes as printable characters (GPT-2's table: a space is "Ġ").  Here text
 * stays bytes: every byte begins as the token of its character, and a merge is found by the ids of
 * the two tokens, so that no spelling is put together while encoding.  Sennrich et al. 2016,
 * "Neural Machine Translation of Rare Words with Subword Units"; Radford et al. 2019 for the bytes.
 *
 * Differences from llama.cpp: a byte that is not valid UTF-8 is encoded as itself and not as
 * U+FFFD; a byte for which the vocabulary has no token becomes the unknown token if there is one;
 * decoding does not take away spaces before punctuation.  So decode(encode(x)) = x. */

#include "common/tokenizer_internal.h"

#include <string.h>

#include "common/mem.h"
#include "common/utf8.h"

/* Bytes that are printable in Latin-1 stand for themselves, the others for U+0100, U+0101, … */
static void make_byte_symbols(struct tok_bpe *b) {
    uint16_t next = 256;
    memset(b->symbol_byte, 0xFF, sizeof b->symbol_byte);
    for (unsigned byte = 0; byte < 256; byte++) {
        bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
        b->byte_symbol[byte] = printable ? (uint16_t)byte : next++;
        b->symbol_byte[b->byte_symbol[byte]] = (int16_t)byte;
    }
}

static size_t merge_slot(const struct tok_bpe *b, int32_t left, int32_t right) {
    const int32_t pair[2] = {left, right};
    size_t slot = tok_vocab_hash(pair, sizeof pair) & (b->n_merges - 1);
    for (;; slot = (slot + 1) & (b->n_merges - 1)) {
        const struct tok_bpe_merge *m = &b->merges[slot];
        if (m->left < 0 || (m->left == left && m->right == right)) return slot;
    }
}

/* One line of tokenizer.ggml.merges: two spellings with a space between. */
static err add_merge(struct tokenizer *t, struct gguf_str line, size_t rank, char *joined) {
    const char *space = line.length > 1 ? memchr(line.data + 1, ' ', line.length - 1) : NULL;
    if (!space) {
        return FAIL(ERR_MODEL, "tokenizer.ggml.merges[%zu] has no space between two tokens", rank);
    }
    size_t left_length = (size_t)(space - line.data), right_length = line.length - left_length - 1;
    int32_t left = tok_vocab_find(&t->vocab, line.data, left_length);
    int32_t right = tok_vocab_find(&t->vocab, space + 1, right_length);
    if (left < 0 || right < 0) {
        return FAIL(ERR_MODEL, "the %s half of tokenizer.ggml.merges[%zu] is no token",
                    left < 0 ? "first" : "second", rank);
    }
    memcpy(joined, line.data, left_length);
    memcpy(joined + left_length, space + 1, right_length);
    int32_t id = tok_vocab_find(&t->vocab, joined, left_length + right_length);
    if (id < 0) {
        return FAIL(ERR_MODEL, "tokenizer.ggml.merges[%zu] makes something that is no token", rank);
    }
    struct tok_bpe_merge *m = &t->bpe.merges[merge_slot(&t->bpe, left, right)];
    if (m->left < 0) { // of equal lines the first counts
        *m = (struct tok_bpe_merge){left, right, (uint32_t)rank, id};
    }
    return ERR_OK;
}

static err load_merges(struct tokenizer *t, const struct gguf *g) {
    const struct gguf_array *lines;
    TRY(gguf_get_array(g, "tokenizer.ggml.merges", GGUF_STRING, &lines));
    if (!lines) {
        return FAIL(ERR_MODEL, "a vocabulary of the kind \"gpt2\" needs tokenizer.ggml.merges");
    }
    if (lines->count > INT32_MAX) {
        return FAIL(ERR_MODEL, "tokenizer.ggml.merges has %zu lines", lines->count);
    }
    t->bpe.n_merges = 2;
    while (t->bpe.n_merges < 2 * lines->count) t->bpe.n_merges *= 2;
    t->bpe.merges = mem_try_zalloc(t->bpe.n_merges, sizeof *t->bpe.merges);
    char *joined = mem_try_zalloc(2, t->vocab.max_length);
    if (!t->bpe.merges || !joined) {
        mem_free(joined);
        return FAIL(ERR_MEMORY, "no memory for %zu merges", lines->count);
    }
    for (size_t i = 0; i < t->bpe.n_merges; i++) t->bpe.merges[i].left = -1;
    err e = ERR_OK;
    for (size_t i = 0; i < lines->count && e == ERR_OK; i++) {
        e = add_merge(t, lines->strings[i], i, joined);
    }
    mem_free(joined);
    return e;
}

static err unknown_rules(struct gguf_str name) {
    char shown[64];
    struct buf known;
    buf_init(&known, 0);
    pretokenize_list_names(&known);
    err e = FAIL(ERR_MODEL,
                 "the pre-tokenizer \"%s\" (tokenizer.ggml.pre) is not supported; supported are %s",
                 tok_vocab_printable(name, shown, sizeof shown), known.data);
    buf_deinit(&known);
    return e;
}

err tok_bpe_load(struct tokenizer *t, const struct gguf *g) {
    struct gguf_str name = {"default", 7};
    TRY(gguf_get_str(g, "tokenizer.ggml.pre", &name));
    t->bpe.rules = pretokenize_find(name.data, name.length);
    if (!t->bpe.rules) return unknown_rules(name);
    t->adds_bos = t->bpe.rules->adds_bos;

    make_byte_symbols(&t->bpe);
    for (unsigned byte = 0; byte < 256; byte++) {
        char spelling[4];
        size_t length = utf8_encode(t->bpe.byte_symbol[byte], spelling);
        t->byte_ids[byte] = tok_vocab_find(&t->vocab, spelling, length);
    }
    return load_merges(t, g);
}

void tok_bpe_deinit(struct tok_bpe *b) {
    mem_free(b->merges);
}

/* The token that is spelled as the bytes are, -1 if there is none.  `spelling` has room for
 * max_length + 1 bytes. */
static int32_t find_whole(const struct tokenizer *t, const char *word, size_t n, char *spelling) {
    size_t length = 0;
    for (size_t i = 0; i < n; i++) {
        if (length + 1 > t->vocab.max_length) return -1;
        char symbol[4];
        size_t width = utf8_encode(t->bpe.byte_symbol[(unsigned char)word[i]], symbol);
        memcpy(spelling + length, symbol, width);
        length += width;
    }
    return tok_vocab_find(&t->vocab, spelling, length);
}

static bool merge_rule(const struct tokenizer *t, const char *text, const struct tok_symbol *left,
                       const struct tok_symbol *right, uint32_t *priority, int32_t *joined) {
    (void)text;
    if (left->id < 0 || right->id < 0) return false;
    const struct tok_bpe_merge *m = &t->bpe.merges[merge_slot(&t->bpe, left->id, right->id)];
    *priority = m->rank;
    *joined = m->joined;
    return m->left >= 0;
}

static void encode_word(const struct tokenizer *t, const char *word, size_t n, struct tok_merge *m,
                        struct token_list *out) {
    tok_merge_clear(m);
    for (size_t i = 0; i < n; i++) tok_merge_add(m, i, 1, t->byte_ids[(unsigned char)word[i]]);
    tok_merge_run(m, merge_rule, t, word);
    for (uint32_t i = 0; i != TOK_MERGE_NONE; i = m->symbols[i].next) {
        int32_t id = m->symbols[i].id >= 0 ? m->symbols[i].id : t->unknown;
        if (id >= 0) token_list_push(out, id);
    }
}

void tok_bpe_encode(const struct tokenizer *t, const char *text, size_t n, struct token_list *out) {
    const struct pretokenizer *rules = t->bpe.rules;
    uint8_t *classes = mem_alloc(n);
    char *spelling = mem_alloc(t->vocab.max_length + 1);
    struct tok_merge merge = {0};
    pretokenize_classify(text, n, classes);
    const struct pretokenize_text scanned = {.bytes = text, .classes = classes};
    for (size_t begin = 0, end; begin < n; begin = end) {
        end = rules->next(rules, &scanned, begin, n);
        int32_t whole =
            rules->whole_words ? find_whole(t, text + begin, end - begin, spelling) : -1;
        if (whole >= 0) {
            token_list_push(out, whole);
        } else {
            encode_word(t, text + begin, end - begin, &merge, out);
        }
    }
    tok_merge_deinit(&merge);
    mem_free(spelling);
    mem_free(classes);
}

void tok_bpe_decode(const struct tokenizer *t, const struct tok_token *token, struct buf *out) {
    for (size_t i = 0; i < token->length;) {
        uint32_t symbol = 0;
        size_t width = utf8_sequence(token->text + i, token->length - i, &symbol);
        size_t n_symbols = sizeof t->bpe.symbol_byte / sizeof t->bpe.symbol_byte[0];
        if (width > 0 && symbol < n_symbols && t->bpe.symbol_byte[symbol] >= 0) {
            buf_putc(out, (char)t->bpe.symbol_byte[symbol]);
        } else { // no spelling of a byte: as it stands
            width = width > 0 ? width : 1;
            buf_append(out, token->text + i, width);
        }
        i += width;
    }
}
