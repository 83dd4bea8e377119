/* turnover.h: how fast the queue moves on, for a client that is told when to come back.
 *
 * The time between two admissions is measured while somebody waits for a place: when places are
 * free an admission says nothing of how long they are taken.  Pure: time is an argument.
 * Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TURNOVER_H
#define COORDINATOR_TURNOVER_H

#include <stdint.h>

/* All 0: nothing is known, nobody waits. */
struct turnover {
    uint64_t since_ns;  // of the last admission, or when the first one had to wait; 0: nobody waits
    double interval_ns; // between admissions, smoothed; 0: not known
};

/* A step was made, and so many still wait for a place. */
void turnover_wait(struct turnover *t, uint32_t n_waiting, uint64_t now_ns);
/* The first of the queue has got a place. */
void turnover_admit(struct turnover *t, uint64_t now_ns);
/* How long until so many of the queue have got a place: by the measured time, and never less than
 * the present wait has lasted; 0: nothing is known. */
uint64_t turnover_expect_ns(const struct turnover *t, uint32_t n_places, uint64_t now_ns);

#endif
