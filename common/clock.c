// SPDX-License-Identifier: MIT
/* clock.c: see clock.h. */

#include "common/clock.h"

#include <stdatomic.h>
#include <time.h>

static uint64_t monotonic_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t clock_ns(void) {
    static _Atomic uint64_t origin;
    uint64_t now = monotonic_ns();
    uint64_t first = atomic_load_explicit(&origin, memory_order_relaxed);
    if (first == 0) {
        uint64_t expected = 0;
        first = atomic_compare_exchange_strong(&origin, &expected, now) ? now : expected;
    }
    return now > first ? now - first : 0;
}

int64_t clock_unix_s(void) {
    return (int64_t)time(NULL);
}

int64_t clock_unix_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}
