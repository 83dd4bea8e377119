/* team.h: the threads of a rank, awake for as long as a step takes.
 *
 * A step has a dozen parts per layer that its threads share.  A parallel region of OpenMP for each
 * costs two system calls or more, whoever sleeps; so there is one region per step, in which all
 * threads but the main one wait for parts in memory:
 *
 *      main      team_open ─ work: ─ team_run ─ … ─ alone (MPI) ─ … ─ team_run ─ … ─ end
 *      others              ─ wait ──── share ─────── wait ──────────── share ─── wait ─ end
 *
 * Who has nothing to do spins, yields and at last sleeps (waiting.h).  There is one team per
 * process, as in OpenMP, whose threads and bindings these are.  Main thread, but for what is said
 * of shares.
 */
// SPDX-License-Identifier: MIT
#ifndef WORKER_TEAM_H
#define WORKER_TEAM_H

#include <stddef.h>

#include "worker/job/waiting.h"

/* Threads of a team that opens now, the main one included; omp_set_num_threads decides.  Local. */
size_t team_size(void);
/* How threads wait for each other from now on; without it, as ranks with CPUs of their own do.  Not
 * while a team is open.  Local. */
void team_set_waiting(const struct waiting_limits *limits);

/* Calls work(arg), which does not open another one, with the team awake: each team_run in it costs
 * a few cache misses.  Local. */
void team_open(void (*work)(void *arg), void *arg);

/* A thread's share of a part: `thread` of `threads`, 0 being the main one.  Runs in that thread and
 * may not call anything of this header but team_part. */
typedef void team_share(const void *arg, size_t thread, size_t threads);

/* Runs every thread's share and returns when all have ended; what they wrote can be read by all
 * threads.  Without an open team it opens one for this call.  Local. */
void team_run(team_share *share, const void *arg);

/* Calls item(arg, i) for all i < n, each thread a range of them; a single one in the main thread.
 */
void team_for(size_t n, void (*item)(const void *arg, size_t i), const void *arg);

/* Calls item(arg, i, thread) for all i < n: whoever is free takes the next one.  Local. */
void team_each(size_t n, void (*item)(const void *arg, size_t i, size_t thread), const void *arg);

/* A thread's range of n items.  Any thread. */
struct team_part {
    size_t begin, end;
};
static inline struct team_part team_part(size_t n, size_t thread, size_t threads) {
    return (struct team_part){n * thread / threads, n * (thread + 1) / threads};
}

#endif
