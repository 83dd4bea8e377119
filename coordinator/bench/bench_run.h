/* bench_run.h: takes the samples of one cluster, through the engine that serves requests.
 *
 *   warm up ─► limits ─► fill ─► totals ─► run ─► limits ─► fill ─► …
 *                         the cache to the depth   the clock runs
 *
 * A sample is timed as its client sees it: from the moment the request may go on to the end that
 * its sink hears.  Limits are measured between samples, so each has one before and one after it.
 * The owner hands the engine's events on.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_BENCH_RUN_H
#define COORDINATOR_BENCH_RUN_H

#include <stddef.h>
#include <stdint.h>

#include "coordinator/bench/bench_cases.h"
#include "coordinator/bench/bench_rows.h"
#include "coordinator/scheduling/engine.h"

struct bench_run;

struct bench_run_options {
    const struct bench_cases *cases;
    struct bench_series *series; // [n_cases] what is there already, and where samples are added
    size_t wanted;               // steady samples of each case; at most twice as many are taken
    struct bench_costs costs;
    uint64_t read_memory;
    /* A sample was added to series[i]. */
    void (*sampled)(void *ctx, size_t i);
    /* All samples are there (ERR_OK), or no more will come. */
    void (*done)(void *ctx, err code, const char *message);
    void *ctx;
};

/* From the engine's `ready`.  `o` is copied; the engine must outlive the run. */
struct bench_run *bench_run_start(struct engine *e, const struct bench_run_options *o);
void bench_run_free(struct bench_run *r); // NULL is accepted

/* The engine's events of the same names. */
void bench_run_step(struct bench_run *r, const struct engine_step *step);
void bench_run_idle(struct bench_run *r);
void bench_run_measured(struct bench_run *r, const struct measure_answer *answer);

#endif
