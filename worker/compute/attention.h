/* attention.h: causal attention of this rank's query heads over the paged cache.
 *
 * Divides the tokens of a step into tasks for the team: a few neighbouring tokens of a sequence
 * with all query heads of one KV head, or, where that would leave threads without work, one part of
 * the past of one token.  The division may follow the threads and the load, since a token's result
 * does not depend on it (attend.h).  Prefill writes the K and V of its chunk first and then attends
 * as decode does.  Main thread; uses the team.  Everything here is Local. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_ATTENTION_H
#define WORKER_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/compute/kv.h"
#include "worker/kernels/kernels.h"

struct attention;

struct attention_options {
    const struct kernels *kernels;
    const struct kv *kv;
    uint32_t n_heads;       // query heads of this rank
    uint32_t first_head;    // their place in the model
    uint32_t n_kv_heads;    // of this rank
    uint32_t first_kv_head; // their place in the model
    uint32_t group;         // query heads per KV head
    uint32_t head_dim;
    size_t max_tokens;
};

/* Bytes that attention_create takes; `kernels` and `kv` may be missing. */
uint64_t attention_bytes(const struct attention_options *o);
/* What the options name must outlive the result.  Made for the team of the moment.  ERR_MEMORY. */
MUST_USE err attention_create(struct attention **out, const struct attention_options *o);
void attention_free(struct attention *a);

/* The places of the step's tokens: neighbours in a sequence stand next to each other.  `rows` must
 * stay until the last attention_apply of the step. */
void attention_set_rows(struct attention *a, const struct kv_row *rows, size_t tokens);
/* out[tokens, n_heads, head_dim] = softmax(q K^T / sqrt(head_dim)) V over positions 0 … rows[t],
 * which must all be stored.  q has the shape of out. */
void attention_apply(const struct attention *a, float *out, const float *q, uint32_t layer);

#endif
