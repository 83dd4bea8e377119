/* step.h: one step of the model on one rank: forward pass, logits, sampling.
 *
 * Owns the KV pool and all activation memory, sized once by the limits: a step allocates nothing.
 * Main thread, with the team (team.h) awake for as long as a step takes. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_STEP_H
#define WORKER_STEP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/batch.h"
#include "common/mem.h"
#include "common/model.h"
#include "common/plan.h"
#include "worker/job/allreduce.h"
#include "worker/job/comm.h"
#include "worker/kernels/kernels.h"
#include "worker/weights/weights.h"

struct step_limits {
    uint32_t kv_blocks;
    bool kv_f32;
    uint32_t max_step_tokens; // tokens in one step
    uint32_t max_batch;       // sequences in one step
    bool mpi_allreduce;
    bool check_ranks; // compare a checksum of the residual stream between ranks after every layer
};

struct step_runner;

/* Bytes that step_create will take besides the weights: KV pool, and activations.  Local. */
uint64_t step_kv_bytes(const struct model_shape *s, const struct plan *p, uint32_t r,
                       const struct step_limits *l);
uint64_t step_scratch_bytes(const struct model_shape *s, const struct plan *p, uint32_t r,
                            const struct step_limits *l);

/* The other arguments must outlive the runner.  ERR_MEMORY with the number.  Local. */
MUST_USE err step_create(struct step_runner **out, struct comm *c, const struct model_shape *s,
                         const struct plan *p, const struct weights *w, const struct kernels *k,
                         const struct step_limits *l);
void step_free(struct step_runner *r);

/* Puts the tokens that the last step sampled in the place of BATCH_TOKEN_PENDING: *out is *b, or a
 * copy in the runner's memory until the next call.  ERR_PROTOCOL when that step sampled nothing for
 * such a sequence and position.  Rank 0, before step_check.  Local. */
MUST_USE err step_put_pending(struct step_runner *r, const struct batch *b, struct batch *out);

/* Checks a batch against shape and limits: token ids, block ids, positions, counts.  ERR_PROTOCOL.
 * Rank 0 calls it before the broadcast; the others trust what it sent.  Local. */
MUST_USE err step_check(const struct step_runner *r, const struct batch *b);

/* Runs the step.  On rank 0 *out points into the runner's memory until the next call; elsewhere it
 * is left alone.  ERR_INTERNAL when check_ranks finds a difference (on all ranks).  Collective. */
MUST_USE err step_run(struct step_runner *r, const struct batch *b, struct batch_result *out);

/* Of all steps so far. */
struct step_totals {
    uint64_t steps;
    uint64_t compute_ns, wait_ns, wire_ns; // together their whole time; comm.h: what waiting is
    uint64_t allreduce_calls, allreduce_bytes;
};
struct step_totals step_get_totals(const struct step_runner *r); // Local.

/* Grows while a step is worked on: what the lifeline reports.  Any thread. */
uint64_t step_progress(const struct step_runner *r);

#endif
