/* bench_rows.h: from samples to the numbers of a row.
 *
 * Pure arithmetic, so that a test can check it with numbers that somebody else computed.  Any
 * thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_BENCH_ROWS_H
#define COORDINATOR_BENCH_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/measure.h"
#include "common/model.h"
#include "common/plan.h"
#include "coordinator/bench/bench_cases.h"

#define BENCH_STEADY 0.10 // limits that moved by more than this spoil the sample between them

struct bench_limits {
    double read_gb_per_s, int8_gops, f32_gops;
};

struct bench_limits bench_limits_of(const struct measure_limits *l);
/* Did any of them move? */
bool bench_limits_moved(const struct bench_limits *before, const struct bench_limits *after);

/* One timing of a case. */
struct bench_sample {
    uint64_t wall_ns;                      // of what is timed
    uint32_t chunks;                       // prefill: steps that it took
    uint64_t steps;                        // that the following are sums over
    uint64_t compute_ns, wait_ns, wire_ns; // of the slowest rank
    uint64_t allreduce_calls, allreduce_bytes;
    struct bench_limits before, after;
};

struct bench_series {
    struct bench_sample *v; // [n], owned
    size_t n;
};
void bench_series_add(struct bench_series *s, const struct bench_sample *sample);
void bench_series_deinit(struct bench_series *s);

/* What a model and its cut cost, all ranks together. */
struct bench_costs {
    uint64_t weight_bytes;       // that a step reads: all matrices once
    uint64_t kv_bytes_per_token; // of the cache, copies of KV heads counted
    double layer_ops;            // 2 x weights of all layers' matrices, for each token
    double head_ops;             // 2 x weights of the output head
    bool quantized;              // the limit of its products is int8's, else that of f32
};
struct bench_costs bench_costs_of(const struct model *m, const struct plan *p,
                                  uint32_t kv_elem_bytes);

/* Did the limits that matter to this case stay where they were? */
bool bench_sample_steady(const struct bench_case *c, const struct bench_costs *costs,
                         const struct bench_sample *s);
/* How many of them did. */
size_t bench_series_steady(const struct bench_series *s, const struct bench_case *c,
                           const struct bench_costs *costs);

struct bench_range {
    double median, min, max;
};
/* Sorts v[n], n > 0. */
struct bench_range bench_range_of(double *v, size_t n);

/* What one cluster came to. */
struct bench_cluster {
    uint32_t ranks, threads; // threads: of the rank with the most
    uint32_t cores;          // threads of all ranks
    uint64_t peak_rss_bytes; // of the rank with the most
    uint64_t file_bytes;     // read by all ranks
    struct bench_range load_s;
    struct bench_costs costs;
};

struct bench_row {
    uint32_t ranks, threads, batch, ctx_depth, prefill_tokens, decode_tokens;
    struct bench_range prefill_tokens_per_s, decode_tokens_per_s;
    double ms_per_token;
    double decode_gb_per_s, read_bandwidth_gb_per_s, prefill_gops, peak_gops;
    double allreduce_calls_per_token, allreduce_bytes_per_token;
    double step_compute_ms, step_wait_ms, step_wire_ms;
    double speedup, efficiency, prefill_speedup, prefill_efficiency;
    uint64_t peak_rss_bytes;
    double load_s, load_gb_per_s;
    uint32_t prefill_chunks; // steps that the prompt took
    uint32_t prefill_samples, prefill_dropped, decode_samples, decode_dropped;
    bool steady; // false: no sample had steady limits, so the unsteady ones are counted
    uint32_t cores;
};

/* All but speedup and efficiency.  Both series have samples. */
struct bench_row bench_row_of(const struct bench_cases *b, size_t row,
                              const struct bench_cluster *cluster,
                              const struct bench_series *series);
/* Compares every row with the one of the fewest ranks x threads (the first of them) that is equal
 * to it in everything else. */
void bench_rows_compare(struct bench_row *rows, size_t n);

#endif
