// SPDX-License-Identifier: MIT
/* tok_vocab.c: the tokens of a vocabulary and the look-up of a spelling.
 *
 * All spellings are copied into one block and found through one table with open addressing that
 * holds ids only: the memory is the file's size plus some thirty bytes per token.  As in llama.cpp
 * an empty spelling becomes [EMPTY_id] and of equal spellings the last is found. */

#include "common/tokenizer_internal.h"

#include <stdio.h>
#include <string.h>

#include "common/mem.h"

/* FNV-1a with a final mix, as the table uses the low bits. */
uint64_t tok_vocab_hash(const void *bytes, size_t n) {
    const unsigned char *b = bytes;
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < n; i++) h = (h ^ b[i]) * 1099511628211u;
    h ^= h >> 32;
    h *= 0x9E3779B97F4A7C15u;
    return h ^ h >> 29;
}

/* The slot that holds the spelling or could. */
static size_t find_slot(const struct tok_vocab *v, const char *text, size_t length) {
    size_t slot = tok_vocab_hash(text, length) & (v->n_slots - 1);
    for (;; slot = (slot + 1) & (v->n_slots - 1)) {
        int32_t id = v->slots[slot];
        if (id < 0) return slot;
        const struct tok_token *token = &v->tokens[id];
        if (token->length == length && memcmp(token->text, text, length) == 0) return slot;
    }
}

int32_t tok_vocab_find(const struct tok_vocab *v, const char *text, size_t length) {
    if (length == 0 || length > v->max_length) return -1;
    return v->slots[find_slot(v, text, length)];
}

/* The values of tokenizer.ggml.token_type. */
static uint8_t attributes_of_type(int32_t type) {
    static const uint8_t attributes[] = {
        0,         TOKEN_NORMAL, TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_USER_DEFINED, 0 /* unused */,
        TOKEN_BYTE};
    bool known = type >= 0 && (size_t)type < sizeof attributes;
    return known ? attributes[type] : 0;
}

static err check_count(const struct gguf_array *a, const char *key, size_t count) {
    if (!a || a->count == count) return ERR_OK;
    return FAIL(ERR_MODEL, "%s has %zu elements, tokenizer.ggml.tokens has %zu", key, a->count,
                count);
}

static size_t empty_spelling(char out[32], size_t id) {
    return (size_t)snprintf(out, 32, "[EMPTY_%zu]", id);
}

static err allocate(struct tok_vocab *v, const struct gguf_array *names) {
    size_t bytes = 0;
    for (size_t i = 0; i < names->count; i++) {
        char empty[32];
        size_t length = names->strings[i].length;
        if (length == 0) length = empty_spelling(empty, i);
        if (length > INT32_MAX) {
            return FAIL(ERR_MODEL, "token %zu of the vocabulary is %zu bytes long", i, length);
        }
        if (!mem_add(bytes, length, &bytes)) {
            return FAIL(ERR_MODEL, "the vocabulary's spellings are too long");
        }
    }
    v->count = names->count;
    v->n_slots = 2;
    while (v->n_slots < 2 * v->count) v->n_slots *= 2;
    v->text = mem_try_zalloc(bytes, 1);
    v->tokens = mem_try_zalloc(v->count, sizeof *v->tokens);
    v->slots = mem_try_zalloc(v->n_slots, sizeof *v->slots);
    if (!v->text || !v->tokens || !v->slots) {
        return FAIL(ERR_MEMORY, "no memory for a vocabulary of %zu tokens", v->count);
    }
    memset(v->slots, 0xFF, v->n_slots * sizeof *v->slots);
    return ERR_OK;
}

err tok_vocab_load(struct tok_vocab *v, const struct gguf *g, bool needs_scores) {
    const struct gguf_array *names, *types, *scores;
    TRY(gguf_get_array(g, "tokenizer.ggml.tokens", GGUF_STRING, &names));
    TRY(gguf_get_array(g, "tokenizer.ggml.token_type", GGUF_I32, &types));
    TRY(gguf_get_array(g, "tokenizer.ggml.scores", GGUF_F32, &scores));
    if (!names || names->count == 0) {
        return FAIL(ERR_MODEL, "the file has no vocabulary (tokenizer.ggml.tokens is missing or "
                               "empty)");
    }
    if (names->count > INT32_MAX) {
        return FAIL(ERR_MODEL, "tokenizer.ggml.tokens has %zu tokens", names->count);
    }
    TRY(check_count(types, "tokenizer.ggml.token_type", names->count));
    TRY(check_count(scores, "tokenizer.ggml.scores", names->count));
    if (needs_scores && !scores) {
        return FAIL(ERR_MODEL, "a vocabulary of the kind \"llama\" needs tokenizer.ggml.scores");
    }
    TRY(allocate(v, names));

    char *end = v->text;
    for (size_t i = 0; i < v->count; i++) {
        struct tok_token *token = &v->tokens[i];
        char empty[32];
        const char *name = names->strings[i].data;
        size_t length = names->strings[i].length;
        if (length == 0) name = empty, length = empty_spelling(empty, i);
        memcpy(end, name, length);
        *token = (struct tok_token){.text = end, .length = (uint32_t)length};
        end += length;
        if (length > v->max_length) v->max_length = length;

        int32_t type = 1;
        if (types) memcpy(&type, types->data + i * sizeof type, sizeof type);
        if (scores) memcpy(&token->score, scores->data + i * sizeof(float), sizeof(float));
        token->attributes = attributes_of_type(type);
        v->slots[find_slot(v, token->text, length)] = (int32_t)i;
    }
    return ERR_OK;
}

void tok_vocab_deinit(struct tok_vocab *v) {
    mem_free(v->tokens);
    mem_free(v->text);
    mem_free(v->slots);
}

const char *tok_vocab_printable(struct gguf_str s, char *out, size_t size) {
    size_t n = 0;
    for (size_t i = 0; i < s.length && n + 1 < size; i++) {
        if (s.data[i] >= ' ' && s.data[i] <= '~') out[n++] = s.data[i];
    }
    out[n] = '\0';
    return out;
}
