/* bench_cases.h: what `lockstep bench` has to time, from the lists of the options.
 *
 * A combination of batch, depth, prompt and decoded tokens is a row; a row has two halves, and rows
 * share them: the prefill of T tokens at depth D does not depend on the batch, the decode of K
 * tokens not on T.  A half is a case, timed once per sample.  Pure.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_BENCH_CASES_H
#define COORDINATOR_BENCH_CASES_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/model.h"
#include "coordinator/cli/options.h"

#define BENCH_MAX_ROWS 4096 // of one cluster

enum bench_kind {
    BENCH_PREFILL, // one sequence: from `depth` tokens in the cache to its first new token
    BENCH_DECODE   // `batch` sequences together, one token each per step
};

struct bench_case {
    enum bench_kind kind;
    uint32_t batch, depth, tokens; // sequences; in the cache before; timed of each
};

struct bench_combination {
    uint32_t batch, depth, prefill, decode;
    size_t prefill_case, decode_case; // indices
};

struct bench_cases {
    struct bench_case *cases; // [n_cases], owned
    size_t n_cases;
    struct bench_combination *rows; // [n_rows], owned
    size_t n_rows;
};

/* ERR_USAGE when there are too many rows. */
MUST_USE err bench_cases_init(struct bench_cases *b, const struct options *o);
void bench_cases_deinit(struct bench_cases *b);

/* A case as requests of the engine: tokens of the prompt; after which the sequence waits until all
 * have come so far and the clock runs; tokens that it generates.  A decode makes two more than are
 * timed: the one that ends its prompt, and one that wakes the ranks. */
uint32_t bench_case_prompt(const struct bench_case *c);
uint32_t bench_case_pause(const struct bench_case *c);
uint32_t bench_case_generate(const struct bench_case *c);

/* The longest sequence, and the largest KV pool that any case needs (in tokens, whole blocks). */
uint32_t bench_cases_context(const struct bench_cases *b);
uint64_t bench_cases_kv_tokens(const struct bench_cases *b);
uint32_t bench_cases_batch(const struct bench_cases *b);
/* ERR_CONTEXT when the longest sequence is longer than the model was trained for and --ctx does not
 * ask for more; with both numbers. */
MUST_USE err bench_cases_check(const struct bench_cases *b, const struct options *o,
                               const struct model_shape *s);

#endif
