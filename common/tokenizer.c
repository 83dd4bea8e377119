// SPDX-License-Identifier: MIT
/* tokenizer.c: creation of a tokenizer and its public functions.
 *
 * Encoding goes in three steps: tok_special.c cuts the text at the names of special tokens,
 * pretokenize.c (byte-level BPE only) cuts the rest into words, and the model (tok_bpe.c or
 * tok_spm.c) joins the symbols of a word.  A tokenizer is not changed after its creation; all
 * scratch memory belongs to the call. */

#include "common/tokenizer.h"

#include <string.h>

#include "common/mem.h"
#include "common/tokenizer_internal.h"

/* A text's offsets fit 32 bits, also when every space becomes three bytes. */
#define MAX_TEXT_BYTES ((size_t)1 << 30)

void token_list_push(struct token_list *l, int32_t id) {
    if (l->count == l->capacity) {
        l->capacity = l->capacity ? 2 * l->capacity : 64;
        l->ids = mem_realloc(l->ids, l->capacity * sizeof *l->ids);
    }
    l->ids[l->count++] = id;
}

void token_list_deinit(struct token_list *l) {
    mem_free(l->ids);
    *l = (struct token_list){0};
}

static err load(struct tokenizer *t, const struct gguf *g) {
    struct gguf_str model = {0};
    TRY(gguf_get_str(g, "tokenizer.ggml.model", &model));
    if (!model.data) return FAIL(ERR_MODEL, "the file has no tokenizer (tokenizer.ggml.model)");
    t->is_bpe = gguf_str_is(model, "gpt2");
    if (!t->is_bpe && !gguf_str_is(model, "llama")) {
        char shown[64];
        return FAIL(ERR_MODEL,
                    "the tokenizer \"%s\" (tokenizer.ggml.model) is not supported; supported are "
                    "\"gpt2\" and \"llama\"",
                    tok_vocab_printable(model, shown, sizeof shown));
    }
    t->bos = t->eos = t->unknown = -1;
    TRY(tok_vocab_load(&t->vocab, g, !t->is_bpe));
    if (t->is_bpe) {
        TRY(tok_bpe_load(t, g));
    } else {
        tok_spm_load(t);
    }
    TRY(tok_roles_load(t, g));
    return tok_special_load(&t->special, &t->vocab);
}

err tokenizer_create(struct tokenizer **out, const struct gguf *g) {
    struct tokenizer *t = mem_zalloc(sizeof *t);
    err e = load(t, g);
    if (e != ERR_OK) {
        tokenizer_free(t);
        return e;
    }
    *out = t;
    return ERR_OK;
}

void tokenizer_free(struct tokenizer *t) {
    if (!t) return;
    tok_special_deinit(&t->special);
    tok_bpe_deinit(&t->bpe);
    tok_vocab_deinit(&t->vocab);
    mem_free(t);
}

err tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, int flags,
                     struct token_list *out) {
    if (n > MAX_TEXT_BYTES) {
        return FAIL(ERR_REQUEST, "a text of %zu bytes is too long to be tokenized (at most %zu)", n,
                    MAX_TEXT_BYTES);
    }
    struct tok_fragments fragments = {0};
    tok_special_split(&t->special, &t->vocab, text, n, flags & TOKENIZE_PARSE_SPECIAL, &fragments);

    if (flags & TOKENIZE_ADD_SPECIAL && t->adds_bos) token_list_push(out, t->bos);
    bool after_special = true;
    for (size_t i = 0; i < fragments.count; i++) {
        struct tok_fragment f = fragments.items[i];
        if (f.id >= 0) {
            token_list_push(out, f.id);
        } else if (t->is_bpe) {
            tok_bpe_encode(t, text + f.begin, f.end - f.begin, out);
        } else {
            bool prefix = t->adds_space_prefix && after_special;
            tok_spm_encode(t, text + f.begin, f.end - f.begin, prefix, out);
        }
        after_special = f.id >= 0;
    }
    if (flags & TOKENIZE_ADD_SPECIAL && t->adds_eos) token_list_push(out, t->eos);
    mem_free(fragments.items);
    return ERR_OK;
}

static const struct tok_token *token_at(const struct tokenizer *t, int32_t id) {
    return id >= 0 && (size_t)id < t->vocab.count ? &t->vocab.tokens[id] : NULL;
}

size_t tokenizer_vocab_size(const struct tokenizer *t) {
    return t->vocab.count;
}

struct gguf_str tokenizer_spelling(const struct tokenizer *t, int32_t id) {
    const struct tok_token *token = token_at(t, id);
    return token ? (struct gguf_str){token->text, token->length} : (struct gguf_str){"", 0};
}

void tokenizer_decode_piece(const struct tokenizer *t, int32_t id, bool special, struct buf *out) {
    const struct tok_token *token = token_at(t, id);
    if (!token) return;
    const uint8_t hidden = TOKEN_CONTROL | TOKEN_UNKNOWN;
    if (token->attributes & hidden && !special) return;
    if (token->attributes & (hidden | TOKEN_USER_DEFINED)) {
        buf_append(out, token->text, token->length);
    } else if (t->is_bpe && token->attributes & TOKEN_NORMAL) {
        tok_bpe_decode(t, token, out);
    } else if (!t->is_bpe && token->attributes & (TOKEN_NORMAL | TOKEN_BYTE)) {
        tok_spm_decode(token, out);
    }
}

void tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n, bool special,
                      struct buf *out) {
    size_t i = 0;
    if (n > 0 && t->adds_space_prefix) { // the first token's space was not in the text
        struct buf first;
        buf_init(&first, 0);
        tokenizer_decode_piece(t, ids[i++], special, &first);
        size_t skip = first.length > 0 && first.data[0] == ' ';
        if (first.length > skip) buf_append(out, first.data + skip, first.length - skip);
        buf_deinit(&first);
    }
    for (; i < n; i++) tokenizer_decode_piece(t, ids[i], special, out);
}

bool tokenizer_is_control(const struct tokenizer *t, int32_t id) {
    const struct tok_token *token = token_at(t, id);
    return token && token->attributes & TOKEN_CONTROL;
}

bool tokenizer_is_end(const struct tokenizer *t, int32_t id) {
    const struct tok_token *token = token_at(t, id);
    return token && token->attributes & TOKEN_END;
}

int32_t tokenizer_bos(const struct tokenizer *t) {
    return t->bos;
}

int32_t tokenizer_eos(const struct tokenizer *t) {
    return t->eos;
}

bool tokenizer_adds_bos(const struct tokenizer *t) {
    return t->adds_bos;
}

const char *tokenizer_model_name(const struct tokenizer *t) {
    return t->is_bpe ? "gpt2" : "llama";
}

const char *tokenizer_pre_name(const struct tokenizer *t) {
    return t->is_bpe ? t->bpe.rules->names[0] : "";
}
