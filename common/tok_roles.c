// SPDX-License-Identifier: MIT
/* tok_roles.c: which tokens begin and end texts, and which are control tokens.
 *
 * Files say this in keys, but many leave keys out or call a chat token an ordinary one; llama.cpp
 * therefore also knows tokens by their names and makes them control tokens.  The ids of a text
 * depend on that, so the same names are known here. */

#include "common/tokenizer_internal.h"

#include <string.h>

/* Tokens that are control tokens for their names, unless the file has the key. */
struct role {
    const char *key; // NULL: always
    bool ends;       // a generation ends with it
    const char *names[24];
};

static const struct role roles[] = {
    {NULL,
     true,
     {"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<end_of_turn>",
      "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>",
      "<end_of_utterance>", "<｜end▁of▁sentence｜>"}},
    {"tokenizer.ggml.fim_pre_token_id",
     false,
     {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>"}},
    {"tokenizer.ggml.fim_suf_token_id",
     false,
     {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>"}},
    {"tokenizer.ggml.fim_mid_token_id",
     false,
     {"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>"}},
    {"tokenizer.ggml.fim_pad_token_id",
     true,
     {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"}},
    {"tokenizer.ggml.fim_rep_token_id",
     true,
     {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
    {"tokenizer.ggml.fim_sep_token_id", true, {"<|file_sep|>"}},
};

/* *id stays as it is when the key is absent. */
static err read_id(const struct tokenizer *t, const struct gguf *g, const char *key, int32_t *id) {
    uint32_t value = UINT32_MAX;
    if (!gguf_find(g, key)) return ERR_OK;
    TRY(gguf_get_u32(g, key, &value));
    if (value >= t->vocab.count) {
        return FAIL(ERR_MODEL, "%s is %u, but the vocabulary has %zu tokens", key, value,
                    t->vocab.count);
    }
    *id = (int32_t)value;
    return ERR_OK;
}

static err load_ids(struct tokenizer *t, const struct gguf *g) {
    int32_t eot = -1, eom = -1;
    TRY(read_id(t, g, "tokenizer.ggml.bos_token_id", &t->bos));
    TRY(read_id(t, g, "tokenizer.ggml.eos_token_id", &t->eos));
    TRY(read_id(t, g, "tokenizer.ggml.unknown_token_id", &t->unknown));
    TRY(read_id(t, g, "tokenizer.ggml.eot_token_id", &eot));
    TRY(read_id(t, g, "tokenizer.ggml.eom_token_id", &eom));
    const int32_t ends[] = {t->eos, eot, eom};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        if (ends[i] >= 0) t->vocab.tokens[ends[i]].attributes |= TOKEN_END;
    }
    return ERR_OK;
}

static err load_role(struct tokenizer *t, const struct gguf *g, const struct role *role) {
    if (role->key && gguf_find(g, role->key)) {
        int32_t id = -1;
        TRY(read_id(t, g, role->key, &id));
        if (role->ends) t->vocab.tokens[id].attributes |= TOKEN_END;
        return ERR_OK;
    }
    for (const char *const *name = role->names; *name; name++) {
        int32_t id = tok_vocab_find(&t->vocab, *name, strlen(*name));
        if (id < 0) continue;
        t->vocab.tokens[id].attributes |= TOKEN_CONTROL;
        if (role->ends) t->vocab.tokens[id].attributes |= TOKEN_END;
    }
    return ERR_OK;
}

/* Phi-3's special tokens, all but three, eat the white space behind them.  No key says so, only
 * the model's name. */
static err load_stripping(struct tokenizer *t, const struct gguf *g) {
    struct gguf_str name = {0};
    TRY(gguf_get_str(g, "general.name", &name));
    bool is_phi3 = false;
    for (size_t i = 0; i + 4 <= name.length && !is_phi3; i++) {
        size_t left = name.length - i;
        is_phi3 = strncasecmp(name.data + i, "phi3", 4) == 0 ||
                  (left >= 5 && strncasecmp(name.data + i, "phi-3", 5) == 0);
    }
    if (!is_phi3) return ERR_OK;
    for (size_t i = 0; i < t->vocab.count; i++) {
        struct tok_token *token = &t->vocab.tokens[i];
        struct gguf_str text = {token->text, token->length};
        if (!(token->attributes & (TOKEN_CONTROL | TOKEN_USER_DEFINED | TOKEN_UNKNOWN))) continue;
        if (gguf_str_is(text, "<unk>") || gguf_str_is(text, "<s>") ||
            gguf_str_is(text, "<|endoftext|>")) {
            continue;
        }
        token->attributes |= TOKEN_STRIPS_RIGHT;
    }
    return ERR_OK;
}

err tok_roles_load(struct tokenizer *t, const struct gguf *g) {
    TRY(load_ids(t, g));
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) TRY(load_role(t, g, &roles[i]));
    TRY(load_stripping(t, g));
    TRY(gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &t->adds_bos));
    TRY(gguf_get_bool(g, "tokenizer.ggml.add_eos_token", &t->adds_eos));
    TRY(gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", &t->adds_space_prefix));
    if (t->bos < 0) t->adds_bos = false;
    if (t->eos < 0) t->adds_eos = false;
    return ERR_OK;
}
