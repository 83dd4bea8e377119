/* threads.h: how many threads a rank gets, and on which CPUs.
 *
 * Ranks of one host tell each other their affinity masks and CPU quotas, and every rank computes
 * the same division: the CPUs of a mask are shared equally by the ranks that have that mask.
 * Main thread. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_THREADS_H
#define WORKER_THREADS_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/job/comm.h"

#define THREADS_MAX_WARNINGS 2

/* What one rank tells the others of its host. */
struct threads_view {
    cpu_set_t mask;
    double quota_cpus;  // of its control group, 0: no limit
    uint64_t cgroup_id; // ranks with the same one share the quota
    int32_t host_leader;
};

/* The ranks of this host. */
struct threads_host {
    struct threads_view *ranks; // [n], in rank order, owned
    size_t n, me;
    uint16_t order[CPU_SETSIZE]; // all CPUs, neighbours in the machine next to each other
    size_t n_online;
    char name[COMM_HOST_BYTES];
};

struct threads_team {
    uint32_t threads; // >= 1
    bool pinned;      // thread i runs on cpus[i] only
    bool crowded;     // the host has more threads than CPUs
    uint32_t n_cpus;
    uint16_t cpus[CPU_SETSIZE]; // [n_cpus] where the team runs
    uint32_t n_warnings;
    char warnings[THREADS_MAX_WARNINGS][320]; // sentences for the user, on one rank per host only
};

/* Looks at this process and hears of the others.  Release with threads_host_deinit.  Collective. */
void threads_host_init(struct threads_host *h, struct comm *c);
void threads_host_deinit(struct threads_host *h);

/* The team of this rank; wanted = threads per rank asked for by the user, 0: its share.  Local. */
void threads_decide(struct threads_team *t, const struct threads_host *h, uint32_t wanted);
/* Sets the size of the OpenMP team of the calling thread, puts every thread where it belongs and
 * says how they wait for each other (team.h). Threads that exist already, and threads made later by
 * others, keep the process's mask.  Local. */
void threads_apply(const struct threads_team *t);
/* "0-3,8" into out[n].  Local. */
void threads_describe(const struct threads_team *t, char *out, size_t n);

/* Settings that the OpenMP library reads when it is loaded, so before main; call early, with the
 * program's arguments.  Starts the program again in place when they were not made yet, and then
 * does not return.  ERR_LAUNCH when that is impossible.  Local. */
MUST_USE err threads_settle_environment(char **argv);

#endif
