// SPDX-License-Identifier: MIT
/* samples.c: see samples.h. */

#include "coordinator/load/samples.h"

#include <stdlib.h>

#include "common/mem.h"

void samples_deinit(struct samples *s) {
    mem_free(s->ns);
    *s = (struct samples){0};
}

void samples_clear(struct samples *s) {
    s->count = 0;
}

void samples_add(struct samples *s, uint64_t ns) {
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 64;
        s->ns = mem_realloc(s->ns, s->capacity * sizeof *s->ns);
    }
    s->ns[s->count++] = ns;
}

void samples_add_all(struct samples *s, const struct samples *more) {
    for (size_t i = 0; i < more->count; i++) samples_add(s, more->ns[i]);
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Of sorted samples. */
static double percentile_ms(const struct samples *s, size_t percent) {
    size_t nearest = (s->count * percent + 99) / 100; // from 1
    return (double)s->ns[nearest - 1] / 1e6;
}

struct samples_summary samples_summarize(struct samples *s) {
    if (s->count == 0) return (struct samples_summary){0};
    qsort(s->ns, s->count, sizeof *s->ns, compare);
    double sum = 0;
    for (size_t i = 0; i < s->count; i++) sum += (double)s->ns[i];
    return (struct samples_summary){.count = s->count,
                                    .p50_ms = percentile_ms(s, 50),
                                    .p95_ms = percentile_ms(s, 95),
                                    .p99_ms = percentile_ms(s, 99),
                                    .mean_ms = sum / (double)s->count / 1e6,
                                    .max_ms = percentile_ms(s, 100)};
}
