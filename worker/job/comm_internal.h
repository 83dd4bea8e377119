/* comm_internal.h: what the files of comm and of the all-reduce share; the only header that shows
 * MPI.
 *
 * Nobody else includes it: the rest of the worker sees comm.h.  Main thread. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_COMM_INTERNAL_H
#define WORKER_COMM_INTERNAL_H

#include <mpi.h>

#include "worker/job/comm.h"
#include "worker/job/waiting.h"
#include "worker/job/window.h"

/* Every rank's memory in the window of its host, twice each, since a rank may write the next thing
 * while others still read this one. */
#define COMM_MESSAGE_BYTES ((size_t)256 << 10) // a message, or a piece of a longer one
#define COMM_SUM_BYTES     ((size_t)8 << 20)   // a vector to be summed, or a piece of a longer one
#define COMM_HEAD_BYTES    ((size_t)4096)      // the first collective of a message through MPI

struct comm {
    MPI_Comm world;
    int rank, size;
    int local_rank, local_size;
    struct waiting_limits limits;
    uint64_t wait_ns, wire_ns;
    char (*hosts)[COMM_HOST_BYTES]; // [size]
    int *leaders;                   // [size] lowest rank on the same host
    int *locals;                    // [local_size] the ranks of this host
    struct window *window;          // of this host's ranks; NULL everywhere if not made everywhere
    uint64_t messages, sums;        // that have gone through the window
    MPI_Comm hosts_world;           // the lowest ranks of the hosts; MPI_COMM_NULL elsewhere
    int32_t *codes;                 // [size] scratch of comm_agree
    uint8_t *head;                  // scratch of comm_bcast_buf
    MPI_Request *requests; // [request_capacity] of an exchange under way, or of comm_gatherv
    int n_requests, request_capacity;
    char library[64];
    char transport[96];
};

/* Waits for all requests: spins, yields, then sleeps.  Counts no time.  Collective in effect. */
void comm__wait(struct comm *c, MPI_Request *requests, int n);
/* Memory of a rank of this host for sum number `sum`: [COMM_SUM_BYTES].  Local. */
float *comm__sum_slot(const struct comm *c, int local_rank, uint64_t sum);

#endif
