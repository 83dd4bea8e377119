/* bench_times.h: `bench --kernels` and `bench --collectives`: asks the ranks one question after the
 * other, and makes rows of the answers.
 *
 * Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_BENCH_TIMES_H
#define COORDINATOR_BENCH_TIMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/bench/bench_report.h"
#include "coordinator/bench/bench_rows.h"
#include "coordinator/scheduling/engine.h"

/* A kernel, or a way of the all-reduce at one size. */
struct bench_timing {
    uint32_t ranks, threads;
    const char *name, *type; // owned
    uint64_t rows, cols, count, bytes, repetitions;
    struct bench_range us; // collectives: median is the mean
    double gb_per_s, gops, mb_per_s;
    const char *limit; // "read", "int8" or "f32": what bounds the kernel
    double of_limit;   // of the time that this limit alone would take, 1 is perfect
    bool steady;       // the limits did not move meanwhile
};

struct bench_timings {
    struct bench_timing *v; // [n], owned
    size_t n;
};
void bench_timings_deinit(struct bench_timings *t);

/* What a time means beside the limits: everything but ranks and threads; texts are not copied.
 * Pure. */
struct bench_timing bench_timing_of(const struct measure_time *t, const struct bench_limits *before,
                                    const struct bench_limits *after);

struct bench_times;

struct bench_times_options {
    enum measure_what what; // MEASURE_KERNELS or MEASURE_COLLECTIVES
    uint32_t reps;
    uint64_t read_memory;
    uint32_t ranks, threads;
    struct bench_timings *timings; // where rows are added
    /* Question `index` of `n` is answered. */
    void (*answered)(void *ctx, uint32_t index, uint32_t n);
    /* All are (ERR_OK), or no more can be. */
    void (*done)(void *ctx, err code, const char *message);
    void *ctx;
};

/* From the engine's `ready`.  `o` is copied. */
struct bench_times *bench_times_start(struct engine *e, const struct bench_times_options *o);
void bench_times_free(struct bench_times *b); // NULL is accepted
/* The engine's event. */
void bench_times_measured(struct bench_times *b, const struct measure_answer *answer);

/* The columns of struct bench_timing for either kind, and their tables; that of collectives has the
 * columns of the OSU benchmarks. */
const struct bench_column *bench_times_columns(enum measure_what what, size_t *n);
void bench_times_table(struct buf *out, enum measure_what what, const struct bench_timings *t);

#endif
