/* linear.h: matrix products y = W x (+ bias) for every type of weights.
 *
 * An input is set once and multiplied by several matrices: for quantised weights its rows are
 * rounded to 8-bit integers once (Q, K and V share; gate and up share).  Rows of W are divided over
 * the team, never the contraction, so the number of threads does not change a bit. Main thread;
 * uses the team.  Everything here is Local. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_LINEAR_H
#define WORKER_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/kernels/kernels.h"
#include "worker/weights/weights.h"

struct linear;

/* Bytes that linear_create takes with a team of this size. */
uint64_t linear_bytes(size_t max_cols, size_t max_tokens);
/* max_cols: the widest matrix, in whole blocks.  ERR_MEMORY. */
MUST_USE err linear_create(struct linear **out, const struct kernels *k, size_t max_cols,
                           size_t max_tokens);
void linear_free(struct linear *l);

/* y[tokens, w->rows] = W x + bias (NULL: none). */
struct linear_product {
    float *y;
    const struct matrix *w;
    const float *bias;
    bool fine; // weights of 6 and 8 bits get the input's rounding error as well: twice the products
};

/* x[tokens, n] is the input of the linear_apply calls that follow; it must stay as it is until the
 * last of them. */
void linear_set_input(struct linear *l, const float *x, size_t n, size_t tokens);
/* Up to LINEAR_MAX_PRODUCTS matrices of the same columns times the input, shared by the team.
 * n of the input is the number of the matrices' own columns; the columns of masked blocks that
 * belong to other ranks are fed zeros.  A matrix without own columns gives zeros, one without rows
 * nothing. */
#define LINEAR_MAX_PRODUCTS 3
void linear_apply(struct linear *l, const struct linear_product *products, size_t n);

#endif
