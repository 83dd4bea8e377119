/* allreduce.h: sums activations over the ranks, with one association tree.
 *
 * Floating-point addition is not associative; every algorithm here adds the N pieces of an element
 * in the same balanced binary tree over ranks (treesum.h), so the result does not depend on the
 * message's size, its position in the batch or the way the numbers travel.  Main thread. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_ALLREDUCE_H
#define WORKER_ALLREDUCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/job/comm.h"

struct allreduce;

/* How the numbers travel.  All ways but ALLREDUCE_WAY_MPI give the same bits. */
enum allreduce_way {
    ALLREDUCE_WAY_AUTO,           // by a table of sizes and numbers of ranks
    ALLREDUCE_WAY_WINDOW,         // one host: everybody adds everything where it lies
    ALLREDUCE_WAY_WINDOW_PARTS,   // one host: rank r adds part r where it lies
    ALLREDUCE_WAY_GATHER,         // through MPI: everybody gets everything and adds it
    ALLREDUCE_WAY_DOUBLING,       // through MPI: up the tree, log2 N trips
    ALLREDUCE_WAY_SCATTER,        // through MPI: rank r gets and adds part r; the sums are gathered
    ALLREDUCE_WAY_HOSTS_GATHER,   // windows inside the hosts; between them, slice by slice, gather,
    ALLREDUCE_WAY_HOSTS_DOUBLING, // doubling
    ALLREDUCE_WAY_HOSTS_SCATTER,  // or scatter
    ALLREDUCE_WAY_MPI,            // MPI_Allreduce
    ALLREDUCE_N_WAYS
};

/* max_floats: the largest vector that will be reduced; buffers are made here, none later.
 * use_mpi: ALLREDUCE_WAY_MPI from the beginning.  ERR_PLAN, ERR_MEMORY.  Local. */
MUST_USE err allreduce_create(struct allreduce **out, struct comm *c, size_t max_floats,
                              bool use_mpi);
void allreduce_free(struct allreduce *a);
/* Every sum goes this way from now on; equal on all ranks and possible here.  For measuring and for
 * tests.  Local. */
void allreduce_set_way(struct allreduce *a, enum allreduce_way way);
/* Can these ranks go this way?  The same answer on all of them.  Local. */
bool allreduce_way_possible(const struct allreduce *a, enum allreduce_way way);
/* The way that a sum of n floats takes now.  Local. */
enum allreduce_way allreduce_way_for(const struct allreduce *a, size_t n);
/* "window", "hosts-gather", …: one word.  Any thread. */
const char *allreduce_way_name(enum allreduce_way way);

/* x[n] becomes the sum over ranks, the same bits on all of them.  Collective. */
void allreduce_sum(struct allreduce *a, float *x, size_t n);
/* Where this rank may write its n numbers of the next sum, so that the other ranks of the host can
 * read them there; valid until that sum.  Local. */
float *allreduce_part(struct allreduce *a, size_t n);
/* x[n] += the sum over ranks of what is in allreduce_part(a, n); the same bits as allreduce_sum and
 * an addition give.  Collective. */
void allreduce_add(struct allreduce *a, float *x, size_t n);

uint64_t allreduce_calls(const struct allreduce *a); // Local.
uint64_t
allreduce_bytes(const struct allreduce *a); // payload bytes n * 4 summed over calls. Local.

#endif
