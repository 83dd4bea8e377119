/* waiting.h: how a rank waits for another one: it spins, then yields, then sleeps.
 *
 * Spinning answers soonest but takes the CPU from whoever is waited for when there are more ranks
 * than CPUs.  Any thread.  Local. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_WAITING_H
#define WORKER_WAITING_H

#include <stdbool.h>
#include <stdint.h>

/* How long each manner lasts before the next one. */
struct waiting_limits {
    uint32_t spin_ns, yield_ns;
};

/* For ranks with CPUs of their own, or for more ranks than CPUs. */
struct waiting_limits waiting_limits_for(bool enough_cpus);

struct waiting {
    struct waiting_limits limits;
    uint64_t begin_ns; // 0: the first turns do not look at the clock
    uint32_t turns;
};

static inline void waiting_begin(struct waiting *w, const struct waiting_limits *limits) {
    *w = (struct waiting){.limits = *limits};
}

/* One turn between two looks at what is waited for.  False when it is time to sleep: then it has
 * done nothing. */
bool waiting_turn(struct waiting *w);

#endif
