/* attention.h: causal attention of this rank's query heads over the paged cache.
 *
 * Every (token, head) is a task of its own that reads the cache only: prefill writes the K and V of
 * its chunk first and then attends exactly as decode does.  So the result of a token depends
 * neither on the chunk or batch it came in nor on the number of threads.  Local. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_ATTENTION_H
#define WORKER_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

#include "worker/compute/kv.h"
#include "worker/kernels/kernels.h"

struct attention {
    const struct kernels *kernels;
    const struct kv *kv;
    uint32_t n_heads;       // query heads of this rank
    uint32_t first_head;    // their place in the model
    uint32_t first_kv_head; // of this rank, in the model
    uint32_t group;         // query heads per KV head
};

/* out[tokens, n_heads, head_dim] = softmax(q K^T / sqrt(head_dim)) V over positions 0 … rows[t],
 * which must all be stored.  q has the shape of out.  Main thread; uses the team. */
void attention_apply(const struct attention *a, float *out, const float *q, uint32_t layer,
                     const struct kv_row *rows, size_t tokens);

#endif
