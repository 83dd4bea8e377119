// SPDX-License-Identifier: MIT
/* histogram.c: see histogram.h. */

#include "coordinator/metrics/histogram.h"

#include "common/error.h"

void histogram_init(struct histogram *h, const uint64_t *bounds_ns, size_t n) {
    CHECK(n <= HISTOGRAM_MAX_BOUNDS);
    *h = (struct histogram){.bounds_ns = bounds_ns, .n_bounds = n};
}

void histogram_observe(struct histogram *h, uint64_t ns, uint64_t times) {
    size_t i = 0;
    while (i < h->n_bounds && ns > h->bounds_ns[i]) i++;
    h->counts[i] += times;
    h->count += times;
    h->sum_ns += ns * times;
}
