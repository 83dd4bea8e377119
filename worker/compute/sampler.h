/* sampler.h: chooses the next token from a distribution, exactly.
 *
 * The distribution is given as its best candidates and its whole mass; when the candidates do not
 * decide, the sampler says so and is asked again with the whole row.  Nothing is ever truncated.
 * Pure functions: no state, no memory, nothing communicates.  Any thread.  Local. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_SAMPLER_H
#define WORKER_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/batch.h"
#include "worker/compute/topk.h"
#include "worker/kernels/kernels.h"

/* log of a sum of exponentials in two parts: the value is max + log(sum).  sum is 0 and max
 * -INFINITY for nothing. */
struct log_sum {
    double max, sum;
};

/* Of logits[n] / temperature (1 for the model's own distribution): terms in f32, sums in f64. */
struct log_sum log_sum_of(const struct kernels *k, const float *logits, size_t n,
                          double temperature);
/* a += b */
void log_sum_merge(struct log_sum *a, const struct log_sum *b);
/* Log-probability of a logit; -INFINITY for a logit of -INFINITY. */
double log_sum_logprob(const struct log_sum *s, float logit);

/* Makes logits fit to calculate with: NaN becomes -INFINITY, +INFINITY the largest float. */
void sampler_clean(float *logits, size_t n);

/* Applies the edits of tokens in [first_token, first_token + n) to logits[n], in order.  saved[i],
 * if not NULL, gets the value that edit i replaced. */
void sampler_edit(float *logits, size_t n, int32_t first_token, const struct logit_edit *edits,
                  size_t n_edits, float *saved);
/* Takes the edits back. */
void sampler_unedit(float *logits, size_t n, int32_t first_token, const struct logit_edit *edits,
                    size_t n_edits, const float *saved);

/* Candidates per rank that decide the choice in most steps; `decisive` says that they do in all. */
#define SAMPLER_KEEP     128
#define SAMPLER_KEEP_MAX 512
struct sampler_keep {
    size_t count;
    bool decisive;
};
struct sampler_keep sampler_keep_count(const struct sampling *s);

/* Checks temperature, top_p and min_p: numbers, and in range. */
bool sampler_valid(const struct sampling *s);

/* The random number in [0, 1) of a position: the key is (seed, choice), so a token depends neither
 * on the batch nor on the number of ranks.  53 bits. */
double sampler_uniform(uint64_t seed, uint32_t choice, uint64_t position);
/* Philox4x32-10 (Salmon et al., 2011: "Parallel random numbers: as easy as 1, 2, 3"). */
void sampler_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Chooses among candidates read best first.  `certain`: so many of them are known to be the best of
 * the whole row in that order; `complete`: they are the whole row.  total: mass of the whole edited
 * row at the temperature.  u: sampler_uniform.  NULL when the candidates do not decide (never when
 * complete and not empty).
 *
 * Order of the cut-offs: temperature, top_k, top_p (of what top_k left), min_p (relative to the
 * best).  Then the inverse of the cumulative distribution, best first. */
const struct candidate *sampler_choose(const struct sampling *s, struct topk_reader *candidates,
                                       size_t certain, bool complete, const struct log_sum *total,
                                       double u);

#endif
