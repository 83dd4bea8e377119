/* comm.h: the ranks of the job and how they talk.
 *
 * All MPI of the project stands in comm*.c and allreduce*.c.  Only the main thread calls it
 * (MPI_THREAD_FUNNELED).  Waiting spins briefly, then yields, then sleeps, so that more ranks than
 * CPUs still progress.  A lost rank ends the process from the lifeline thread; nothing here returns
 * an error for it.  Main thread. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_COMM_H
#define WORKER_COMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"

struct comm;

struct comm_piece {
    int peer;
    void *data;
    size_t bytes; // may exceed INT_MAX
};

/* MPI_Init_thread and the world communicator.  Collective. */
MUST_USE err comm_init(struct comm **out, int *argc, char ***argv);
/* MPI_Finalize.  Collective. */
void comm_finalize(struct comm *c);
int comm_rank(const struct comm *c);       // Local.
int comm_size(const struct comm *c);       // Local.
int comm_local_rank(const struct comm *c); // among the ranks of this host. Local.
int comm_local_size(const struct comm *c); // Local.

#define COMM_HOST_BYTES 64
/* The name of a rank's host, valid as long as the comm.  Names of two hosts may be equal.  Local.
 */
const char *comm_host(const struct comm *c, int rank);
/* The lowest rank on the same host as `rank`: equal for two ranks that share a host.  Local. */
int comm_host_leader(const struct comm *c, int rank);
/* Spinning while waiting pays only when every thread of every rank has a CPU of its own (default:
 * no spinning).  Local. */
void comm_set_spinning(struct comm *c, bool enough_cpus);

/* data[bytes] of `root` reaches all.  Collective. */
void comm_bcast(struct comm *c, void *data, size_t bytes, int root);
/* A message whose length only `root` knows; the others' buffer is replaced.  One collective for
 * short messages, two for long ones; inside a host through its window.  Collective. */
void comm_bcast_buf(struct comm *c, struct buf *message, int root);
/* recv[size * bytes], rank by rank.  Collective. */
void comm_allgather(struct comm *c, const void *send, void *recv, size_t bytes);
/* To root only; recv may be NULL elsewhere; bytes[r] and offset[r] per rank (needed at root).
 * Collective. */
void comm_gatherv(struct comm *c, const void *send, size_t send_bytes, void *recv,
                  const size_t *bytes, const size_t *offset, int root);
/* All the sends and receives at once; between two ranks they match in order.  No piece is from a
 * rank to itself; pieces of 0 bytes are skipped on both sides.  Between start and finish the data
 * belongs to the exchange, and nothing else here but what is Local may be called.  Collective in
 * effect. */
void comm_exchange_start(struct comm *c, const struct comm_piece *sends, size_t n_sends,
                         const struct comm_piece *recvs, size_t n_recvs);
void comm_exchange_finish(struct comm *c);
/* After this every rank has the same answer: the error of the lowest failing rank with its sentence
 * (prefixed "rank R on HOST: "), or ERR_OK.  *rank (may be NULL) says who failed.  Collective. */
MUST_USE err comm_agree(struct comm *c, err mine, int *rank);

/* Time this rank has spent waiting for others so far, here and in all-reduces.  Local. */
uint64_t comm_wait_ns(const struct comm *c);
/* Time it has spent in all-reduces besides: moving and adding.  Local. */
uint64_t comm_wire_ns(const struct comm *c);
/* "Open MPI v4.1.4": ranks with different ones cannot work together.  Local. */
const char *comm_library(const struct comm *c);
/* The transports in use as far as MPI tells, and "window" where the ranks of this host share memory
 * besides: "ob1, self, tcp, vader, window".  Local. */
const char *comm_transport(const struct comm *c);

#endif
