/* rope.h: rotary position embedding (Su et al., 2021).
 *
 * Pair i of a head turns by position * scale * theta^(-2i / rope_dim) / factor[i].  The angles are
 * computed once per token of a step, in double, and shared by all layers and heads.
 * Worker main thread and its team.  Everything here is Local. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_ROPE_H
#define WORKER_ROPE_H

#include <stddef.h>
#include <stdint.h>

#include "common/model.h"
#include "worker/compute/kv.h"
#include "worker/kernels/kernels.h"

struct rope;

uint64_t rope_bytes(const struct model_shape *s, size_t max_tokens);
/* factors: [rope_dim / 2] divisors of the frequencies, or NULL.  ERR_MEMORY. */
MUST_USE err rope_create(struct rope **out, const struct kernels *k, const struct model_shape *s,
                         const float *factors, size_t max_tokens);
void rope_free(struct rope *r);

/* The positions of the step's tokens. */
void rope_set_rows(struct rope *r, const struct kv_row *rows, size_t tokens);
/* Rotates heads[tokens, n_heads, head_dim] in place. */
void rope_apply(const struct rope *r, float *heads, size_t tokens, size_t n_heads);

#endif
