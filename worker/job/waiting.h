/* waiting.h: how a rank or a thread waits for another one: it spins, then yields, then sleeps.
 *
 * Spinning answers soonest but takes the CPU from whoever is waited for when there are more ranks
 * than CPUs.  Any thread.  Local. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_WAITING_H
#define WORKER_WAITING_H

#include <stdatomic.h>
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

/* A number that is waited for; all zero to begin with.  It may lie in memory that processes share.
 * Who has waited too long sleeps on it (a futex) and says so in it: only then does who changes it
 * make the call that wakes. */
struct waiting_word {
    _Atomic uint32_t value;
    _Atomic uint32_t sleepers;
};

/* The value, after one turn of waiting if it is still `seen`. */
uint32_t waiting_word_next(struct waiting_word *word, uint32_t seen, struct waiting *w);
/* To be called after each change (sequentially consistent) that somebody may wait for. */
void waiting_word_wake(struct waiting_word *word);

#endif
