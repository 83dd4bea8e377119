// SPDX-License-Identifier: MIT
/* attention_lanes.h: the products and the softmax of attention, a template over lanes_*.h.
 *
 * Included once by the _vec.c file of each instruction set, after its vocabulary and
 * vector_lanes.h.  Both products of attention are the same one:
 *
 *     scores [queries, positions] = q [queries, head_dim]   x  K^T [head_dim, positions]
 *     out    [queries, head_dim] += p [queries, positions]  x  V   [positions, head_dim]
 *
 * since the cache holds a block's keys with the positions side by side.  The lanes run along the
 * columns, so there is no addition across lanes, and an element adds its depth in ascending order
 * in one lane: the same bits in a tile of any size.  A tile of ATTN_ROWS queries x two vectors of
 * columns stays in registers while the depth passes by: per step two vectors of the cache are
 * loaded (and widened) for all queries of the tile. */
#ifndef WORKER_KERNELS_ATTENTION_LANES_H
#define WORKER_KERNELS_ATTENTION_LANES_H

#include <math.h>
#include <stdbool.h>

#include "worker/kernels/element_lanes.h"
#include "worker/kernels/kernels.h"
#include "worker/kernels/vector_lanes.h"

#define ATTN_VECTORS 2
#define CACHE_LINE   64

/* ---- the products --------------------------------------------------------------------------- */

/* The first n <= LANES elements from index i on; a constant n == LANES reads a whole vector. */
static ALWAYS_INLINE vf load_lanes(enum dtype type, const void *p, size_t i, size_t n) {
    return n == LANES ? load_elements(type, p, i) : load_elements_n(type, p, i, n);
}

static ALWAYS_INLINE void store_lanes(float *p, vf v, size_t n) {
    if (n == LANES)
        vf_store(p, v);
    else
        vf_store_n(p, v, n);
}

/* Columns [column, column + vectors * n) of a constant number of rows. */
static ALWAYS_INLINE void product_tile(const struct attn_product *p, enum dtype type,
                                       float *const *c, const float *const *a, size_t rows,
                                       size_t column, size_t vectors, size_t n) {
    const char *b = element_at(type, p->b, column);
    const char *next = element_at(type, p->next, column);
    const size_t step = element_bytes(type) * p->cols, depth = p->depth;
    vf sum[ATTN_ROWS][ATTN_VECTORS];

    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < vectors; v++)
            sum[r][v] = p->add ? load_lanes(DTYPE_F32, c[r], column + v * LANES, n) : vf_zero();
    for (size_t i = 0; i < depth; i++, b += step, next += step) {
        vf cached[ATTN_VECTORS];
        for (size_t v = 0; v < vectors; v++) cached[v] = load_lanes(type, b, v * LANES, n);
        for (size_t at = 0; at < element_bytes(type) * (vectors * LANES); at += CACHE_LINE)
            __builtin_prefetch(next + at);
        for (size_t r = 0; r < rows; r++)
            for (size_t v = 0; v < vectors; v++)
                sum[r][v] = vf_fma(vf_set(a[r][i]), cached[v], sum[r][v]);
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < vectors; v++) store_lanes(c[r] + column + v * LANES, sum[r][v], n);
}

/* All columns of `rows` rows from `row` on.  A tile has a constant number of rows, `size`: where it
 * is larger, the last row is computed several times. */
static ALWAYS_INLINE void product_rows(const struct attn_product *p, enum dtype type, size_t row,
                                       size_t rows, size_t size) {
    const float *a[ATTN_ROWS];
    float *c[ATTN_ROWS];
    size_t j = 0;

    a[0] = p->a + row * p->lda;
    c[0] = p->c + row * p->ldc;
    for (size_t r = 1; r < size; r++) {
        a[r] = a[r - 1] + (r < rows ? p->lda : 0);
        c[r] = c[r - 1] + (r < rows ? p->ldc : 0);
    }
    for (; j + ATTN_VECTORS * LANES <= p->cols; j += ATTN_VECTORS * LANES)
        product_tile(p, type, c, a, size, j, ATTN_VECTORS, LANES);
    for (; j + LANES <= p->cols; j += LANES) product_tile(p, type, c, a, size, j, 1, LANES);
    if (j < p->cols) product_tile(p, type, c, a, size, j, 1, p->cols - j);
}

/* Tiles as equal as can be: 13 rows are 7 and 6, not 12 and 1. */
static ALWAYS_INLINE void product(const struct attn_product *p, enum dtype type) {
    size_t tiles = (p->rows + ATTN_ROWS - 1) / ATTN_ROWS;
    for (size_t row = 0; tiles > 0; tiles--) {
        size_t rows = (p->rows - row + tiles - 1) / tiles;
        if (rows > ATTN_ROWS * 2 / 3)
            product_rows(p, type, row, rows, ATTN_ROWS);
        else if (rows > ATTN_ROWS / 3)
            product_rows(p, type, row, rows, ATTN_ROWS * 2 / 3);
        else if (rows > 1)
            product_rows(p, type, row, rows, ATTN_ROWS / 3);
        else
            product_rows(p, type, row, 1, 1);
        row += rows;
    }
}

static void attn_product_f16(const struct attn_product *p) {
    product(p, DTYPE_F16);
}

static void attn_product_f32(const struct attn_product *p) {
    product(p, DTYPE_F32);
}

/* ---- the softmax ---------------------------------------------------------------------------- */

/* The greatest of n floats; NaNs are passed over. */
static ALWAYS_INLINE float greatest_of(const float *x, size_t n) {
    const vf least = vf_set(-INFINITY);
    vf greatest = least;
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) greatest = vf_max(vf_load(x + i), greatest);
    if (i < n) greatest = vf_max(vf_first_n(vf_load_n(x + i, n - i), least, n - i), greatest);
    return vf_greatest(greatest);
}

/* y = y * shrink + x * grow; x may be missing. */
static ALWAYS_INLINE void rescale(float *y, vf shrink, const float *x, vf grow, size_t n) {
    for (size_t i = 0; i < n; i += LANES) {
        size_t lanes = n - i < LANES ? n - i : LANES;
        vf v = vf_mul(vf_load_n(y + i, lanes), shrink);
        if (x) v = vf_fma(vf_load_n(x + i, lanes), grow, v);
        vf_store_n(y + i, v, lanes);
    }
}

static ALWAYS_INLINE void raise_max(struct attn_state *s, float max, size_t head_dim) {
    const vf shrink = vf_exp(vf_set(s->max - max));
    if (s->max > -INFINITY) rescale(s->out, shrink, NULL, shrink, head_dim);
    s->sum *= vf_lane0(shrink);
    s->max = max;
}

/* x[i] = exp(scale * x[i] - max); returns the sum. */
static ALWAYS_INLINE float exp_scores(float *x, size_t n, float scale, float max) {
    const vf factor = vf_set(scale), shift = vf_set(-max);
    vf sum = vf_zero();
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        vf e = vf_exp(vf_fma(vf_load(x + i), factor, shift));
        vf_store(x + i, e);
        sum = vf_add(sum, e);
    }
    if (i < n) {
        vf e = vf_exp(vf_fma(vf_load_n(x + i, n - i), factor, shift));
        vf_store_n(x + i, e, n - i);
        sum = vf_add(sum, vf_first_n(e, vf_zero(), n - i));
    }
    return vf_sum(sum);
}

/* Two passes, so that the long chains of a row (its maximum, its sum) overlap with those of the
 * next. */
static void attn_softmax(struct attn_state *states, float *scores, size_t ld, size_t rows, size_t n,
                         float scale, size_t head_dim) {
    for (size_t r = 0; r < rows; r++) {
        float max = scale * greatest_of(scores + r * ld, n);
        if (max > states[r].max + ATTN_SLACK) raise_max(&states[r], max, head_dim);
    }
    for (size_t r = 0; r < rows; r++)
        states[r].sum += exp_scores(scores + r * ld, n, scale, states[r].max);
}

static void attn_merge(struct attn_state *s, const struct attn_state *other, size_t head_dim) {
    const float max = other->max > s->max ? other->max : s->max;
    const vf shrink = vf_exp(vf_set(s->max - max)), grow = vf_exp(vf_set(other->max - max));
    rescale(s->out, shrink, other->out, grow, head_dim);
    s->sum = s->sum * vf_lane0(shrink) + other->sum * vf_lane0(grow);
    s->max = max;
}

/* Puts the attention of this instruction set into a table. */
static void attention_fill(struct kernels *k) {
    k->attn_product_f16 = attn_product_f16;
    k->attn_product_f32 = attn_product_f32;
    k->attn_softmax = attn_softmax;
    k->attn_merge = attn_merge;
}

#endif
