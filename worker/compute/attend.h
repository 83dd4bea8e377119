/* attend.h: neighbouring tokens of a sequence against their past in one KV head.
 *
 * The past is cut into parts at fixed positions.  A token's result is the parts' results, each
 * formed block by block in ascending order, merged in ascending order: it depends on the token's
 * position and its past alone, not on the tokens beside it nor on who computes which part.
 * Any thread, with a scratch of its own.  Everything here is Local. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_ATTEND_H
#define WORKER_ATTEND_H

#include <stddef.h>
#include <stdint.h>

#include "worker/compute/kv.h"
#include "worker/kernels/kernels.h"

#define ATTEND_MAX_PARTS 32
#define ATTEND_QUERIES   96

struct attend_task {
    const struct kernels *kernels;
    const struct kv *kv;
    uint32_t layer, kv_head;
    uint32_t position;      // of the first token; the others follow it
    const uint32_t *blocks; // of the sequence: see kv_row
    size_t tokens, heads;   // heads: query heads per token; tokens * heads <= the scratch's queries
};

/* Memory of one thread, for tasks of up to `queries` queries. */
struct attend_scratch {
    float *q;                  // [tokens, heads, head_dim] the queries, put there by the caller
    float *scores;             // [queries, positions of a span]
    float *out;                // [2, queries, head_dim]
    struct attn_state *states; // [2, queries]
};
/* Bytes of a scratch, a multiple of 64; attend_place lays it into memory of that size. */
size_t attend_scratch_bytes(size_t queries, size_t head_dim);
void attend_place(struct attend_scratch *s, void *memory, size_t queries, size_t head_dim);

/* Positions in each part of the past of a token, the last part excepted: a power of two that grows
 * with the position, so that there are never more than ATTEND_MAX_PARTS.  The tokens of a task must
 * agree in it. */
uint32_t attend_part_tokens(uint32_t position);
/* Parts in the past of a token (itself included). */
uint32_t attend_parts(uint32_t position);

/* states[tokens, heads] over one part of the past; those of tokens that do not reach it are left
 * alone.  Their `out` must point to [head_dim] floats each, one after the other. */
void attend_part(const struct attend_task *t, const struct attend_scratch *s,
                 struct attn_state *states, uint32_t part);
/* s->states[tokens, heads] over the whole past. */
void attend_past(const struct attend_task *t, const struct attend_scratch *s);

#endif
