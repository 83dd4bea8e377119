/* tokenizer.h: text to token ids and back, from the vocabulary in a GGUF file.
 *
 * Two models: SentencePiece-style BPE with scores and byte fallback (tokenizer.ggml.model "llama",
 * tok_spm.c) and byte-level BPE with merges ("gpt2", tok_bpe.c) whose pre-tokenizer
 * (tokenizer.ggml.pre) is a row of a table: default, gpt-2, llama-bpe, qwen2.
 * Encoding takes linear or n log n time and a flat stack on any input.
 * A tokenizer is immutable after creation: any thread, several at once. */
// SPDX-License-Identifier: MIT
#ifndef COMMON_TOKENIZER_H
#define COMMON_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/gguf.h"

struct tokenizer;

/* A growable list of ids.  Zero-initialise; release with token_list_deinit. */
struct token_list {
    int32_t *ids;
    size_t count, capacity;
};
void token_list_push(struct token_list *l, int32_t id);
void token_list_deinit(struct token_list *l);

enum {
    TOKENIZE_ADD_SPECIAL = 1,  // BOS/EOS where the file says so (add_bos_token, add_eos_token)
    TOKENIZE_PARSE_SPECIAL = 2 // names of control tokens in the text become those tokens
};

/* Copies what it needs; `g` may be closed afterwards.  ERR_MODEL names an unknown tokenizer model
 * or pre-tokenizer, missing keys, arrays of different lengths, merges that name no token. */
MUST_USE err tokenizer_create(struct tokenizer **out, const struct gguf *g);
void tokenizer_free(struct tokenizer *t);

/* Appends the ids of text[0..n) (any bytes; invalid UTF-8 is encoded byte by byte as llama.cpp
 * does) to `out`. */
MUST_USE err tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, int flags,
                              struct token_list *out);

size_t tokenizer_vocab_size(const struct tokenizer *t);
/* The token's spelling in the file (not decoded), length 0 for an id outside the vocabulary. */
struct gguf_str tokenizer_spelling(const struct tokenizer *t, int32_t id);
/* Appends the bytes that the token stands for: not whole UTF-8 in general; a leading space of
 * SentencePiece words is kept.  Control tokens append their spelling only if `special`. */
void tokenizer_decode_piece(const struct tokenizer *t, int32_t id, bool special, struct buf *out);
/* Appends the text of ids[0..n) as llama.cpp detokenises it (SentencePiece's first space that
 * add_space_prefix put there is removed). */
void tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n, bool special,
                      struct buf *out);

bool tokenizer_is_control(const struct tokenizer *t, int32_t id);
/* End of generation: EOS, EOT, and the tokens that chat models end a turn with. */
bool tokenizer_is_end(const struct tokenizer *t, int32_t id);
int32_t tokenizer_bos(const struct tokenizer *t); // -1: none
int32_t tokenizer_eos(const struct tokenizer *t); // -1: none
bool tokenizer_adds_bos(const struct tokenizer *t);
const char *tokenizer_model_name(const struct tokenizer *t); // "llama" or "gpt2"
const char *tokenizer_pre_name(const struct tokenizer *t);   // "qwen2", "" for SentencePiece

#endif
