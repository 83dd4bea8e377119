/* allreduce.h: sums activations over the ranks, with one association tree.
 *
 * Floating-point addition is not associative; every algorithm here adds the N pieces of an element
 * in the same balanced binary tree over ranks, so the result does not depend on the message's size,
 * its position in the batch or the algorithm.  Small vectors: all-gather, everybody adds.  Large:
 * reduce-scatter (owners collect all N pieces) and all-gather.  Main thread. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_ALLREDUCE_H
#define WORKER_ALLREDUCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/job/comm.h"

struct allreduce;

/* max_floats: the largest vector that will be reduced; buffers are made here, none later.
 * use_mpi: MPI_Allreduce instead (gives up bit-identity across sizes).  Local. */
MUST_USE err allreduce_create(struct allreduce **out, struct comm *c, size_t max_floats,
                              bool use_mpi);
void allreduce_free(struct allreduce *a);
/* Vectors of up to `floats` go the small way from now on (default 4096).  Equal on all ranks; takes
 * size * floats of memory.  For measuring and for tests.  Local. */
void allreduce_set_small_limit(struct allreduce *a, size_t floats);
/* x[n] becomes the sum over ranks, the same bits on all of them.  Collective. */
void allreduce_sum(struct allreduce *a, float *x, size_t n);
uint64_t allreduce_calls(const struct allreduce *a); // Local.
uint64_t
allreduce_bytes(const struct allreduce *a); // payload bytes n * 4 summed over calls. Local.

#endif
