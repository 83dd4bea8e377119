/* samples.h: measured times, all of them kept, and their exact percentiles.
 *
 * A load test makes thousands of samples, not millions: keeping each costs less than explaining
 * what a bucket hides.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_SAMPLES_H
#define COORDINATOR_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

struct samples {
    uint64_t *ns; // [count]
    size_t count, capacity;
};

/* Nearest-rank percentiles: pK is the smallest sample that at least K % of all do not exceed.  All
 * 0 when there is none. */
struct samples_summary {
    size_t count;
    double p50_ms, p95_ms, p99_ms, mean_ms, max_ms;
};

/* A zeroed struct is an empty one. */
void samples_deinit(struct samples *s);
void samples_clear(struct samples *s); // keeps the memory
void samples_add(struct samples *s, uint64_t ns);
void samples_add_all(struct samples *s, const struct samples *more);
/* Sorts the samples. */
struct samples_summary samples_summarize(struct samples *s);

#endif
