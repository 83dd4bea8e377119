/* forward.h: the transformer's forward pass on one rank of a tensor-parallel group.
 *
 * Owns the activations of a step.  The residual stream is the same on every rank; everything
 * between two all-reduces is this rank's own heads or columns.  Main thread; uses the team. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_FORWARD_H
#define WORKER_FORWARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/model.h"
#include "common/plan.h"
#include "worker/compute/kv.h"
#include "worker/job/allreduce.h"
#include "worker/job/comm.h"
#include "worker/kernels/kernels.h"
#include "worker/weights/weights.h"

struct forward;

struct forward_options {
    struct comm *comm;
    const struct kernels *kernels;
    const struct model_shape *shape;
    const struct plan *plan;
    const struct weights *weights;
    struct kv *kv;
    size_t max_tokens;
    bool mpi_allreduce;
    bool check_ranks;               // compare x between ranks after every layer
    atomic_uint_fast64_t *progress; // grows with every layer
};

/* Bytes that forward_create takes, without the buffers of the all-reduce. */
uint64_t forward_bytes(const struct model_shape *s, const struct plan *p, uint32_t r,
                       size_t max_tokens);
/* What the options name must outlive the result.  ERR_MEMORY.  Local. */
MUST_USE err forward_create(struct forward **out, const struct forward_options *o);
void forward_free(struct forward *f);

/* Runs all layers over the tokens and stores their K and V.  rows[i] says where token i stands.
 * ERR_INTERNAL, on all ranks, when check_ranks finds a difference.  Collective. */
MUST_USE err forward_run(struct forward *f, const int32_t *tokens, const struct kv_row *rows,
                         size_t n);
/* logits[n, my vocabulary rows] of the tokens chosen[0 … n) of the last run (n <= max_tokens).
 * Local. */
void forward_logits(struct forward *f, float *logits, const uint32_t *chosen, size_t n);
/* For its counters.  Local. */
const struct allreduce *forward_allreduce(const struct forward *f);

#endif
