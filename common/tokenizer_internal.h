/* tokenizer_internal.h: what the files of the tokenizer share.  Nobody else includes it.
 *
 *   tokenizer.c    creation, the public functions
 *   tok_vocab.c    the tokens and the look-up of a spelling
 *   tok_roles.c    BOS, EOS, which tokens are control tokens or end a text
 *   tok_heap.c     a priority queue
 *   tok_special.c  finds the names of special tokens in a text
 *   tok_merge.c    the engine: joins neighbours, best pair first
 *   tok_bpe.c, tok_spm.c  the two models: what a pair is worth, what a symbol becomes */
// SPDX-License-Identifier: MIT
#ifndef COMMON_TOKENIZER_INTERNAL_H
#define COMMON_TOKENIZER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/pretokenize.h"
#include "common/tokenizer.h"

/* A token can be several of these: names of control tokens that the file calls user-defined are
 * both. */
enum {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 4,
    TOKEN_USER_DEFINED = 8,
    TOKEN_BYTE = 16,
    TOKEN_END = 32,         // ends a generation
    TOKEN_STRIPS_RIGHT = 64 // eats the white space behind it in the text
};

struct tok_token {
    const char *text; // inside vocab.text
    uint32_t length;
    float score;
    uint8_t attributes;
};

struct tok_vocab {
    struct tok_token *tokens; // [count]
    size_t count, max_length;
    char *text;     // all spellings, one after the other
    int32_t *slots; // open addressing by spelling: ids, -1 is free
    size_t n_slots; // a power of two
};

/* Reads tokens, token_type and scores.  ERR_MODEL, ERR_MEMORY. */
MUST_USE err tok_vocab_load(struct tok_vocab *v, const struct gguf *g, bool needs_scores);
void tok_vocab_deinit(struct tok_vocab *v);
/* The token of that spelling (the last of several), -1 when there is none. */
int32_t tok_vocab_find(const struct tok_vocab *v, const char *text, size_t length);
uint64_t tok_vocab_hash(const void *bytes, size_t n);
/* A string from the file for a message: its printable ASCII, cut to `size`. Returns `out`. */
const char *tok_vocab_printable(struct gguf_str s, char *out, size_t size);

/* A pair of neighbours that may be joined. */
struct tok_bpe_merge {
    int32_t left, right; // left is -1 in a free slot
    uint32_t rank;       // lower is better
    int32_t joined;
};

struct tok_bpe {
    const struct pretokenizer *rules;
    struct tok_bpe_merge *merges; // [n_merges] open addressing by (left, right)
    size_t n_merges;              // a power of two
    uint16_t byte_symbol[256];    // the character that stands for a byte in spellings
    int16_t symbol_byte[324];     // and back, -1: stands for none
};

/* The names of special tokens in alphabetical order, so that all those that begin with the bytes
 * read so far are neighbours. */
struct tok_special {
    int32_t *ids; // [count]
    size_t count;
    uint32_t *order;            // [vocab.count] a special token's place: longest first, then by id
    size_t first_byte[256 + 1]; // ids[first_byte[c] .. first_byte[c + 1]) begin with c
    bool any_user_defined;
};

struct tokenizer {
    bool is_bpe;
    struct tok_vocab vocab;
    struct tok_special special;
    struct tok_bpe bpe;
    int32_t byte_ids[256]; // the token of a byte alone, -1: none
    int32_t bos, eos, unknown;
    bool adds_bos, adds_eos, adds_space_prefix;
};

MUST_USE err tok_roles_load(struct tokenizer *t, const struct gguf *g);

/* Candidates; the smallest key comes out first. */
struct tok_heap_item {
    uint64_t key;
    uint32_t length; // of the text that the candidate covers
    int32_t id;      // of the token that it would become
};
struct tok_heap {
    struct tok_heap_item *items; // [count]
    size_t count, capacity;
};
void tok_heap_push(struct tok_heap *h, struct tok_heap_item item);
struct tok_heap_item tok_heap_pop(struct tok_heap *h); // not empty
void tok_heap_deinit(struct tok_heap *h);

/* A piece of a text: a special token, or (id -1) plain text. */
struct tok_fragment {
    size_t begin, end;
    int32_t id;
};
struct tok_fragments {
    struct tok_fragment *items; // release with mem_free
    size_t count, capacity;
};

MUST_USE err tok_special_load(struct tok_special *s, const struct tok_vocab *v);
void tok_special_deinit(struct tok_special *s);
void tok_special_split(const struct tok_special *s, const struct tok_vocab *v, const char *text,
                       size_t n, bool parse_special, struct tok_fragments *out);

/* A word while its neighbours are being joined: a list over an array. */
struct tok_symbol {
    uint32_t begin, length;  // bytes of the text; length 0: joined to its left neighbour
    uint32_t previous, next; // TOK_MERGE_NONE at the ends
    int32_t id;              // -1: no token
};
#define TOK_MERGE_NONE UINT32_MAX

struct tok_merge {
    struct tok_symbol *symbols; // [count]
    size_t count, capacity;
    struct tok_heap heap; // pairs that may be joined: (priority, left symbol)
};

/* Says what joining two neighbours is worth (lower is better) and makes; false: never join. */
typedef bool tok_merge_rule(const struct tokenizer *t, const char *text,
                            const struct tok_symbol *left, const struct tok_symbol *right,
                            uint32_t *priority, int32_t *joined);

void tok_merge_deinit(struct tok_merge *m);
void tok_merge_clear(struct tok_merge *m);
void tok_merge_add(struct tok_merge *m, size_t begin, size_t length, int32_t id);
/* Joins until nothing can be joined.  n log n in the number of symbols. */
void tok_merge_run(struct tok_merge *m, tok_merge_rule *rule, const struct tokenizer *t,
                   const char *text);

MUST_USE err tok_bpe_load(struct tokenizer *t, const struct gguf *g);
void tok_bpe_deinit(struct tok_bpe *b);
void tok_bpe_encode(const struct tokenizer *t, const char *text, size_t n, struct token_list *out);
void tok_bpe_decode(const struct tokenizer *t, const struct tok_token *token, struct buf *out);

void tok_spm_load(struct tokenizer *t);
/* `prefix`: a space is put before the text. */
void tok_spm_encode(const struct tokenizer *t, const char *text, size_t n, bool prefix,
                    struct token_list *out);
void tok_spm_decode(const struct tok_token *token, struct buf *out);

#endif
