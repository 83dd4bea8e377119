/* window.h: memory that the ranks of one host share, and how they meet in it.
 *
 * The memory is an anonymous file (memfd): it is in no file system, /dev/shm included, so its size
 * is not limited there, and the last process that ends takes it along however it ends.
 *
 * Ranks count rounds.  To arrive in a round is to say: what I had to write for it is there, and all
 * that I had to read in the rounds before is read.  All ranks go through the same rounds in the
 * same order.  Knows nothing of MPI.  Main thread. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_WINDOW_H
#define WORKER_WINDOW_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/job/waiting.h"

struct window;

/* What the others need to find the memory. */
struct window_name {
    int64_t pid;
    int32_t fd;
};

/* The first of n ranks makes the memory, `bytes` for each rank; pages take memory once touched.
 * ERR_MEMORY with the system's reason.  Local. */
MUST_USE err window_make(struct window **out, uint32_t n, size_t bytes, struct window_name *name);
/* Rank `me`, 1 or more, maps what the first one has made with the same n and bytes.  The maker must
 * not be closed meanwhile.  ERR_MEMORY.  Local. */
MUST_USE err window_join(struct window **out, uint32_t me, uint32_t n, size_t bytes,
                         const struct window_name *name);
/* NULL is accepted.  Local. */
void window_close(struct window *w);
/* The memory of a rank, on a page of its own: [bytes].  Local. */
void *window_memory(const struct window *w, uint32_t rank);

/* This rank is in its next round.  Does not wait.  Collective. */
void window_arrive(struct window *w);
/* Waits until `rank` is in the round after this rank's, which is to be read before arriving in it
 * oneself.  Collective in effect. */
void window_wait_next(struct window *w, uint32_t rank, const struct waiting_limits *limits);
/* Waits until all are in this rank's round.  Collective in effect. */
void window_wait_all(struct window *w, const struct waiting_limits *limits);
/* Arrives and waits until all have.  Returns the time from this rank's arrival to that of the last
 * one: all ranks of a host read the same clock, and each leaves the time of its arrival here.
 * Collective. */
uint64_t window_meet(struct window *w, const struct waiting_limits *limits);

#endif
