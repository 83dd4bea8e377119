/* measure.h: what ranks can be asked to measure, and what they answer.
 *
 * Plain data that both processes know, as batch.h is for steps.  All ranks measure at the same
 * time, with the threads that compute steps, while no step is under way; rank 0 answers for all.
 * Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COMMON_MEASURE_H
#define COMMON_MEASURE_H

#include <stdint.h>

#define MEASURE_MAX_TIMES 1024 // in one answer
#define MEASURE_MAX_REPS  1000

enum measure_what {
    MEASURE_COUNTERS,    // nothing but the totals that every answer has
    MEASURE_LIMITS,      // reading memory, multiplying in registers
    MEASURE_KERNELS,     // the kernel table at the model's shapes, one shape per question
    MEASURE_COLLECTIVES, // the all-reduce, one way and size per question
    MEASURE_N_WHATS
};

struct measure_ask {
    enum measure_what what;
    uint32_t index;        // of the shape, or the way and size: 0 … n_indexes - 1
    uint32_t reps;         // the best (limits) or the median of so many, 1 to MEASURE_MAX_REPS
    uint64_t memory_bytes; // of each host, read to find its bandwidth
};

/* Of all ranks together. */
struct measure_limits {
    double read_bytes_per_s;
    double int8_ops_per_s, f32_ops_per_s; // a product and its addition are two
    uint64_t memory_bytes, huge_bytes;    // that were read; in huge pages
    const char *read_way;                 // the fastest: "four streams, prefetch"
};

/* A rank's totals since it has loaded. */
struct measure_rank {
    uint64_t steps;
    uint64_t compute_ns, wait_ns, wire_ns; // of those steps: together their whole time
    uint64_t allreduce_calls, allreduce_bytes;
    uint64_t peak_rss_bytes; // not counting memory for measuring
    const char *cpu;         // model name
};

/* How long something took. */
struct measure_time {
    const char *name;           // the kernel's slot, or the way of the all-reduce
    const char *type;           // of the weights, "" where there are none
    uint64_t rows, cols, count; // count: tokens, positions, elements
    uint64_t bytes, ops;        // that one call must read, and do
    uint32_t reps;
    double median_ns, min_ns, max_ns; // kernels: of the repetitions, on rank 0; collectives: the
                                      // ranks' mean latencies: their mean, least and greatest
};

struct measure_answer {
    uint32_t size;
    const struct measure_rank *ranks; // [size]
    struct measure_limits limits;     // of MEASURE_LIMITS, else zeros
    uint32_t n_indexes;               // questions that there are; 0: not asked for any
    uint32_t n_times;
    const struct measure_time *times; // [n_times]
};

#endif
