// SPDX-License-Identifier: MIT
/* attend.c: see attend.h.
 *
 * A part is walked in spans of four blocks: first the scores of the whole span, then one step of
 * the softmax per query, then the values (softmax with a running maximum, Milakov and Gimelshein,
 * 2018).  All query heads of the KV head and all tokens of the task are rows of the same products,
 * so a block of the cache is read once for all of them:
 *
 *     span   | block | block | block | block |      scores [queries, span]
 *     K        q K^T   q K^T   q K^T   q K^T   ->   p = exp(scores - max)
 *     V        + p V   + p V   + p V   + p V   ->   out [queries, head_dim]
 *
 * The first block of a part does not add to out but begins it.
 *
 * Causality: positions ascend with the rows, so the queries that see a block are the last rows, and
 * those that see only its beginning (the block that holds their own position) get products of
 * their own over exactly the positions they may see.  What lies behind, be it a later token of the
 * chunk or the rest of an earlier tenant of the block, is never multiplied by a zero: that would
 * let its NaN through.  Scores are columns of their own, so those may be computed and left unread.
 */

#include "worker/compute/attend.h"

#include <math.h>

#define SPAN_BLOCKS 4
#define SPAN_TOKENS (SPAN_BLOCKS * KV_BLOCK_TOKENS)
#define TILES_AHEAD 2   // tiles are fetched into the cache so long before they are read
#define PART_TOKENS 512 // the least
#define CACHE_LINE  64

/* ---- memory ---- */

static size_t aligned(size_t bytes) {
    return (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
}

struct layout {
    size_t q, scores, out, states, end; // offsets in bytes
};

static struct layout layout_of(size_t queries, size_t head_dim) {
    struct layout l = {.q = 0};
    size_t rows = queries * head_dim * sizeof(float);
    l.scores = aligned(rows);
    l.out = l.scores + aligned(queries * SPAN_TOKENS * sizeof(float));
    l.states = l.out + aligned(2 * rows);
    l.end = l.states + aligned(2 * queries * sizeof(struct attn_state));
    return l;
}

size_t attend_scratch_bytes(size_t queries, size_t head_dim) {
    return layout_of(queries, head_dim).end;
}

void attend_place(struct attend_scratch *s, void *memory, size_t queries, size_t head_dim) {
    struct layout l = layout_of(queries, head_dim);
    char *at = memory;
    s->q = (void *)(at + l.q);
    s->scores = (void *)(at + l.scores);
    s->out = (void *)(at + l.out);
    s->states = (void *)(at + l.states);
    for (size_t i = 0; i < 2 * queries; i++) s->states[i].out = s->out + i * head_dim;
}

/* ---- parts ---- */

uint32_t attend_part_tokens(uint32_t position) {
    uint32_t tokens = PART_TOKENS;
    while (position / tokens >= ATTEND_MAX_PARTS) tokens *= 2;
    return tokens;
}

uint32_t attend_parts(uint32_t position) {
    return position / attend_part_tokens(position) + 1;
}

/* ---- one span of the past ---- */

static uint32_t last_position(const struct attend_task *t) {
    return t->position + (uint32_t)t->tokens - 1;
}

/* The first token that stands at `position` or behind it. */
static size_t first_token_at(const struct attend_task *t, uint32_t position) {
    return position > t->position ? position - t->position : 0;
}

/* The blocks of a span that the tokens see: [begin, end). */
struct span {
    uint32_t begin, end;
    bool first; // of its part: its first block is what the sums of values begin with
};

/* Tile i of a span in the order of reading: its keys, its values, what follows in this KV head, and
 * then the next KV head, which is often the same thread's next task. */
static const void *tile_at(const struct attend_task *t, const struct span *span, uint32_t i) {
    uint32_t blocks = span->end - span->begin, last = last_position(t) / KV_BLOCK_TOKENS;
    uint32_t block = span->begin + (i < blocks ? i : i - blocks), head = t->kv_head;
    if (i >= blocks && i < 2 * blocks) return kv_values(t->kv, t->layer, head, t->blocks[block]);
    if (block > last) {
        block = block - last - 1 < last ? block - last - 1 : last;
        if (head + 1 < kv_get_shape(t->kv)->n_heads) head++;
    }
    return kv_keys(t->kv, t->layer, head, t->blocks[block]);
}

/* Hot. */
static void multiply(const struct attend_task *t, const struct attn_product *p) {
    if (kv_get_shape(t->kv)->f32)
        t->kernels->attn_product_f32(p);
    else
        t->kernels->attn_product_f16(p);
}

/* Scores of all queries that see block `block`, also for positions of it that they do not see. */
static void score_block(const struct attend_task *t, const struct attend_scratch *s,
                        const struct span *span, uint32_t i) {
    size_t dim = kv_get_shape(t->kv)->head_dim;
    uint32_t block = span->begin + i;
    size_t first = first_token_at(t, block * KV_BLOCK_TOKENS) * t->heads;
    const struct attn_product p = {.c = s->scores + first * SPAN_TOKENS + i * KV_BLOCK_TOKENS,
                                   .ldc = SPAN_TOKENS,
                                   .a = s->q + first * dim,
                                   .lda = dim,
                                   .b = tile_at(t, span, i),
                                   .next = tile_at(t, span, i + TILES_AHEAD),
                                   .rows = t->tokens * t->heads - first,
                                   .depth = dim,
                                   .cols = KV_BLOCK_TOKENS};
    multiply(t, &p);
}

/* Values of the first n positions of a block for tokens [begin, end), at least one. */
static void add_values(const struct attend_task *t, const struct attend_scratch *s,
                       const struct attn_state *states, const struct span *span, uint32_t i,
                       size_t begin, size_t end, size_t n) {
    size_t dim = kv_get_shape(t->kv)->head_dim, first = begin * t->heads;
    uint32_t tile = span->end - span->begin + i;
    const struct attn_product p = {.c = states[first].out,
                                   .ldc = dim,
                                   .a = s->scores + first * SPAN_TOKENS + i * KV_BLOCK_TOKENS,
                                   .lda = SPAN_TOKENS,
                                   .b = tile_at(t, span, tile),
                                   .next = tile_at(t, span, tile + TILES_AHEAD),
                                   .rows = (end - begin) * t->heads,
                                   .depth = n,
                                   .cols = dim,
                                   .add = i > 0 || !span->first};
    multiply(t, &p);
}

static void value_block(const struct attend_task *t, const struct attend_scratch *s,
                        const struct attn_state *states, const struct span *span, uint32_t i) {
    uint32_t begin = (span->begin + i) * KV_BLOCK_TOKENS;
    size_t token = first_token_at(t, begin);
    size_t whole = first_token_at(t, begin + KV_BLOCK_TOKENS - 1); // sees all of the block
    if (whole > t->tokens) whole = t->tokens;
    if (whole < t->tokens) add_values(t, s, states, span, i, whole, t->tokens, KV_BLOCK_TOKENS);
    for (; token < whole; token++)
        add_values(t, s, states, span, i, token, token + 1, t->position + token + 1 - begin);
}

/* exp(score - max) for the first n positions of a span and tokens [begin, end). */
static void exp_scores(const struct attend_task *t, const struct attend_scratch *s,
                       struct attn_state *states, size_t begin, size_t end, size_t n) {
    size_t dim = kv_get_shape(t->kv)->head_dim, first = begin * t->heads;
    t->kernels->attn_softmax(states + first, s->scores + first * SPAN_TOKENS, SPAN_TOKENS,
                             (end - begin) * t->heads, n, 1.0f / sqrtf((float)dim), dim);
}

/* Positions [begin, begin + SPAN_TOKENS) as far as the tokens see them. */
static void attend_span(const struct attend_task *t, const struct attend_scratch *s,
                        struct attn_state *states, uint32_t begin, bool first_span) {
    uint32_t block = begin / KV_BLOCK_TOKENS, seen = last_position(t) / KV_BLOCK_TOKENS + 1 - block;
    uint32_t blocks = seen < SPAN_BLOCKS ? seen : SPAN_BLOCKS;
    const struct span span = {.begin = block, .end = block + blocks, .first = first_span};
    size_t token = first_token_at(t, begin);
    size_t whole = first_token_at(t, begin + SPAN_TOKENS - 1); // sees all of the span
    if (whole > t->tokens) whole = t->tokens;

    for (uint32_t i = 0; i < blocks; i++) score_block(t, s, &span, i);
    exp_scores(t, s, states, whole, t->tokens, SPAN_TOKENS);
    for (; token < whole; token++)
        exp_scores(t, s, states, token, token + 1, t->position + token + 1 - begin);
    for (uint32_t i = 0; i < blocks; i++) value_block(t, s, states, &span, i);
}

/* ---- the past ---- */

void attend_part(const struct attend_task *t, const struct attend_scratch *s,
                 struct attn_state *states, uint32_t part) {
    size_t queries = t->tokens * t->heads;
    uint32_t tokens = attend_part_tokens(t->position), begin = part * tokens;
    uint32_t last = last_position(t);
    for (size_t i = first_token_at(t, begin) * t->heads; i < queries; i++) {
        states[i].max = -INFINITY;
        states[i].sum = 0;
    }
    for (uint32_t at = begin; at <= last && at - begin < tokens; at += SPAN_TOKENS)
        attend_span(t, s, states, at, at == begin);
}

void attend_past(const struct attend_task *t, const struct attend_scratch *s) {
    size_t dim = kv_get_shape(t->kv)->head_dim, queries = t->tokens * t->heads;
    struct attn_state *part_states = s->states + queries;
    uint32_t tokens = attend_part_tokens(t->position), parts = attend_parts(last_position(t));
    attend_part(t, s, s->states, 0);
    for (uint32_t part = 1; part < parts; part++) {
        attend_part(t, s, part_states, part);
        for (size_t i = first_token_at(t, part * tokens) * t->heads; i < queries; i++)
            t->kernels->attn_merge(&s->states[i], &part_states[i], dim);
    }
}
