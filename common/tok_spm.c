// SPDX-License-Identifier: MIT
/* tok_spm.c: SentencePiece-style BPE, the tokenizer of Llama 1 and 2, Mistral, Phi-3
 * (tokenizer.ggml.model "llama").
 *
 * Spaces are spelled U+2581 "▁"; a word is the whole text.  Characters are joined as long as what
 * they make is a token, the token with the highest score first; a character that is no token
 * becomes its bytes, <0xE2>, and so does every byte that is no part of valid UTF-8.  Kudo and
 * Richardson 2018, "SentencePiece". */

#include "common/tokenizer_internal.h"

#include <stdio.h>
#include <string.h>

#include "common/utf8.h"

static const char space_mark[] = "\xE2\x96\x81";
enum { SPACE_MARK_BYTES = 3 };

void tok_spm_load(struct tokenizer *t) {
    t->adds_bos = t->adds_space_prefix = true;
    if (t->vocab.count > 0) t->unknown = 0;
    if (t->vocab.count > 1) t->bos = 1;
    if (t->vocab.count > 2) t->eos = 2;
    for (unsigned byte = 0; byte < 256; byte++) {
        char spelling[8];
        int length = snprintf(spelling, sizeof spelling, "<0x%02X>", byte);
        int32_t id = tok_vocab_find(&t->vocab, spelling, (size_t)length);
        if (id < 0) id = tok_vocab_find(&t->vocab, (const char[]){(char)byte}, 1);
        t->byte_ids[byte] = id;
    }
}

/* Scores in the order of numbers, the best first: the bits of a float are ordered like an integer,
 * those of negative ones backwards. */
static uint32_t priority_of(float score) {
    uint32_t bits;
    score += 0.0f; // -0 is 0
    memcpy(&bits, &score, sizeof bits);
    uint32_t ascending = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return ~ascending;
}

static bool merge_rule(const struct tokenizer *t, const char *text, const struct tok_symbol *left,
                       const struct tok_symbol *right, uint32_t *priority, int32_t *joined) {
    int32_t id = tok_vocab_find(&t->vocab, text + left->begin, left->length + right->length);
    if (id < 0) return false;
    *priority = priority_of(t->vocab.tokens[id].score);
    *joined = id;
    return true;
}

static void encode_marked(const struct tokenizer *t, const char *text, size_t n,
                          struct token_list *out) {
    struct tok_merge m = {0};
    for (size_t i = 0, width; i < n; i += width) {
        width = utf8_sequence(text + i, n - i, NULL);
        if (width == 0) width = 1;
        tok_merge_add(&m, i, width, tok_vocab_find(&t->vocab, text + i, width));
    }
    tok_merge_run(&m, merge_rule, t, text);
    for (uint32_t i = 0; i != TOK_MERGE_NONE; i = m.symbols[i].next) {
        const struct tok_symbol *s = &m.symbols[i];
        if (s->id >= 0) {
            token_list_push(out, s->id);
            continue;
        }
        for (size_t k = 0; k < s->length; k++) {
            int32_t id = t->byte_ids[(unsigned char)text[s->begin + k]];
            token_list_push(out, id >= 0 ? id : t->unknown);
        }
    }
    tok_merge_deinit(&m);
}

void tok_spm_encode(const struct tokenizer *t, const char *text, size_t n, bool prefix,
                    struct token_list *out) {
    struct buf marked;
    buf_init(&marked, 0);
    if (prefix) buf_append(&marked, space_mark, SPACE_MARK_BYTES);
    for (size_t i = 0; i < n; i++) {
        if (text[i] == ' ') {
            buf_append(&marked, space_mark, SPACE_MARK_BYTES);
        } else {
            buf_putc(&marked, text[i]);
        }
    }
    if (marked.length > 0) encode_marked(t, marked.data, marked.length, out);
    buf_deinit(&marked);
}

static int hex_digit(char c) {
    static const char digits[] = "0123456789ABCDEF";
    const char *found = c ? strchr(digits, c >= 'a' && c <= 'f' ? c - ('a' - 'A') : c) : NULL;
    return found ? (int)(found - digits) : -1;
}

void tok_spm_decode(const struct tok_token *token, struct buf *out) {
    const char *s = token->text;
    if (token->attributes & TOKEN_BYTE && token->length == 6 && memcmp(s, "<0x", 3) == 0 &&
        hex_digit(s[3]) >= 0 && hex_digit(s[4]) >= 0) {
        buf_putc(out, (char)(hex_digit(s[3]) * 16 + hex_digit(s[4])));
        return;
    }
    for (size_t i = 0; i < token->length;) {
        if (token->length - i >= SPACE_MARK_BYTES &&
            memcmp(s + i, space_mark, SPACE_MARK_BYTES) == 0) {
            buf_putc(out, ' ');
            i += SPACE_MARK_BYTES;
        } else {
            buf_putc(out, s[i++]);
        }
    }
}
