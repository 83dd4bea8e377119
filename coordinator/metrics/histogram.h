/* histogram.h: how often times fell between fixed bounds: what a scrape can add up over servers.
 *
 * Fixed size, no allocation: an observation costs a search through some twenty numbers.  Plain data
 * of its owner. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_HISTOGRAM_H
#define COORDINATOR_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_MAX_BOUNDS 24

struct histogram {
    const uint64_t *bounds_ns; // [n_bounds], growing; constant data
    size_t n_bounds;
    uint64_t
        counts[HISTOGRAM_MAX_BOUNDS + 1]; // [i]: above bound i-1, up to bound i; last: above all
    uint64_t count, sum_ns;
};

/* At most HISTOGRAM_MAX_BOUNDS bounds, which outlive the histogram. */
void histogram_init(struct histogram *h, const uint64_t *bounds_ns, size_t n);
/* The same time, so many times over. */
void histogram_observe(struct histogram *h, uint64_t ns, uint64_t times);

#endif
