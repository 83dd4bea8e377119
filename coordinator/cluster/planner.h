/* planner.h: how a model is cut over N ranks.
 *
 * A pure function of the model's shape and types, N, the context planned for and the ranks'
 * weights.  All ranks step in time, so the slowest one sets the pace, and decoding is as fast as
 * memory can be read: the planner minimises the largest rank's bytes read per decode step, weights
 * and KV cache together.  Reads metadata only.  Any thread.  Local. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_PLANNER_H
#define COORDINATOR_PLANNER_H

#include <stdint.h>

#include "common/error.h"
#include "common/model.h"
#include "common/plan.h"

#define PLANNER_MAX_HEADS  1024 // query heads that the planner takes on
#define PLANNER_CTX_TOKENS 4096 // context planned for unless the user names one
#define PLANNER_GB_PER_S   20.0 // assumed memory bandwidth of a rank, for estimates only

struct planner_options {
    uint32_t size;          // N, 1 to the number of query heads
    uint32_t ctx_planned;   // tokens in the KV cache of the decode step that is optimised
    uint32_t kv_elem_bytes; // 2 (f16) or 4 (f32)
    const double *weights;  // [size] relative speed of each rank, > 0; NULL: all equal
};

/* The context to plan for: what the user asked for, else (0) the model's, but no more than
 * PLANNER_CTX_TOKENS: few requests are as long as a model allows. */
uint32_t planner_context(const struct model_shape *s, uint32_t requested);

/* Makes the plan: deterministic, the same on every machine.  The caller releases it with
 * plan_deinit.  ERR_PLAN when the model cannot be cut over that many ranks, with the limit and what
 * to do instead; `out` is then empty. */
MUST_USE err planner_make(struct plan *out, const struct model *m, const struct planner_options *o);

struct planner_rank_estimate {
    uint64_t weight_bytes; // in the file's encoding
    uint64_t kv_bytes_per_token;
    uint64_t read_bytes_per_token; // of one decode step: weights, and KV of the planned context
    uint64_t memory_bytes;         // weights and KV of the planned context
};

struct planner_estimate {
    struct planner_rank_estimate *ranks; // [size], owned
    double imbalance;                    // largest read_bytes_per_token over their mean, >= 1
    uint32_t allreduce_calls_per_token;  // embedding, and two in each layer
    uint64_t allreduce_bytes_per_token;  // payload of those calls, f32
    uint32_t candidate_merges_per_token; // the collective that ends a step at rank 0
    double predicted_tokens_per_s;       // of one sequence, were each rank to read PLANNER_GB_PER_S
};

/* What a plan means in bytes.  planner_estimate_deinit releases it. */
void planner_estimate_init(struct planner_estimate *e, const struct plan *p, const struct model *m,
                           const struct planner_options *o);
void planner_estimate_deinit(struct planner_estimate *e);

#endif
