// SPDX-License-Identifier: MIT
/* turnover.c: see turnover.h. */

#include "coordinator/scheduling/turnover.h"

#define SMOOTHING 0.1 // weight of a new interval; places become free in bursts

void turnover_wait(struct turnover *t, uint32_t n_waiting, uint64_t now_ns) {
    if (n_waiting == 0)
        t->since_ns = 0;
    else if (t->since_ns == 0)
        t->since_ns = now_ns;
}

void turnover_admit(struct turnover *t, uint64_t now_ns) {
    if (t->since_ns == 0) return;
    double interval = (double)(now_ns - t->since_ns);
    double weight = t->interval_ns > 0 ? SMOOTHING : 1;
    t->interval_ns += weight * (interval - t->interval_ns);
    t->since_ns = now_ns;
}

uint64_t turnover_expect_ns(const struct turnover *t, uint32_t n_places, uint64_t now_ns) {
    double waited = t->since_ns ? (double)(now_ns - t->since_ns) : 0;
    double each = t->interval_ns > 0 ? t->interval_ns : waited;
    double expected = each * n_places;
    return (uint64_t)(expected > waited ? expected : waited);
}
