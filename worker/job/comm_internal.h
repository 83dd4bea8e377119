/* comm_internal.h: what comm.c and allreduce.c share; the only header that shows MPI.
 *
 * Nobody else includes it: the rest of the worker sees comm.h.  Main thread. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_COMM_INTERNAL_H
#define WORKER_COMM_INTERNAL_H

#include <mpi.h>

#include "worker/job/comm.h"

/* The communicator of all ranks. */
MPI_Comm comm__world(const struct comm *c);
/* Waits for all requests: spins, yields, then sleeps; the time counts as waiting.  Collective in
 * effect. */
void comm__wait(struct comm *c, MPI_Request *requests, int n);
/* Adds to the time spent moving and adding.  Local. */
void comm__add_wire_ns(struct comm *c, uint64_t ns);

#endif
