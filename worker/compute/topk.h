/* topk.h: the best entries of a row of logits, in one total order.
 *
 * Order: larger logit first, ties by smaller token id.  Two heaps of the same candidates: one keeps
 * the best K while a row is scanned (its worst on top), the other hands out a list best first, only
 * as far as it is asked.  Any thread.  Everything here is Local. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_TOPK_H
#define WORKER_TOPK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct candidate {
    float logit; // what it is ordered by
    float raw;   // the model's own logit
    int32_t token;
};

/* out[…] = the best min(k, n) entries of logits[n] in no particular order; token is first_token
 * plus the index, raw the logit.  Returns how many. */
size_t topk_select(struct candidate *out, size_t k, const float *logits, size_t n,
                   int32_t first_token);

/* A list read best first.  Reorders c[n], which must stay in place while it is read. */
struct topk_reader {
    struct candidate *c;
    size_t n, read; // the i-th best lies at c[n - 1 - i] once it was read
};
void topk_reader_init(struct topk_reader *r, struct candidate *c, size_t n);
/* The i-th best (from 0), or NULL when i >= n. */
const struct candidate *topk_reader_at(struct topk_reader *r, size_t i);

#endif
