// SPDX-License-Identifier: MIT
/* rows_lanes.h: elements of F32, F16 and BF16 as vectors, and rows of them times f32 vectors, a
 * template over lanes_*.h.
 *
 * Included once by the _vec.c file of each instruction set, after its vocabulary.  The rows are the
 * keys of the KV cache, one after the other.  The lanes run along k, so a row's sum is LANES
 * partial sums, each adding its k in ascending order, put together by vf_sum: the same for every
 * tile, whatever stands beside it.  Four rows share the loads of a token.
 *
 * The element type is a constant in always-inline functions, as in quant_lanes.h. */
#ifndef WORKER_KERNELS_ROWS_LANES_H
#define WORKER_KERNELS_ROWS_LANES_H

#include "worker/kernels/kernels.h"

#define ROW_GROUP 4

static ALWAYS_INLINE size_t element_bytes(enum dtype type) {
    return type == DTYPE_F32 ? sizeof(float) : sizeof(uint16_t);
}

static ALWAYS_INLINE const void *element_at(enum dtype type, const void *p, size_t i) {
    return (const char *)p + i * element_bytes(type);
}

/* LANES elements from index i on. */
static ALWAYS_INLINE vf load_elements(enum dtype type, const void *p, size_t i) {
    const void *at = element_at(type, p, i);
    return type == DTYPE_F32 ? vf_load(at) : type == DTYPE_F16 ? vf_load_f16(at) : vf_load_bf16(at);
}

/* The first n < LANES of them, 0 in the other lanes. */
static ALWAYS_INLINE vf load_elements_n(enum dtype type, const void *p, size_t i, size_t n) {
    const void *at = element_at(type, p, i);
    return type == DTYPE_F32   ? vf_load_n(at, n)
           : type == DTYPE_F16 ? vf_load_f16_n(at, n)
                               : vf_load_bf16_n(at, n);
}

static ALWAYS_INLINE void convert_elements(enum dtype type, float *dst, const void *src, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) vf_store(dst + i, load_elements(type, src, i));
    if (i < n) vf_store_n(dst + i, load_elements_n(type, src, i, n - i), n - i);
}

/* y[t * ldy + r] = sum over k of w[r * cols + k] * x[t * ldx + k] for a tile of constant size. */
static ALWAYS_INLINE void rows_tile(enum dtype type, float *y, size_t ldy, const void *w,
                                    size_t cols, const float *x, size_t ldx, size_t rows,
                                    size_t tokens) {
    const size_t whole = cols - cols % LANES, tail = cols % LANES;
    vf sum[ROW_GROUP][ROWS_TOKENS];

    for (size_t r = 0; r < rows; r++)
        for (size_t t = 0; t < tokens; t++) sum[r][t] = vf_zero();
    for (size_t k = 0; k < whole; k += LANES) {
        for (size_t r = 0; r < rows; r++) {
            vf weights = load_elements(type, w, r * cols + k);
            for (size_t t = 0; t < tokens; t++)
                sum[r][t] = vf_fma(weights, vf_load(x + t * ldx + k), sum[r][t]);
        }
    }
    for (size_t r = 0; r < rows && tail > 0; r++) {
        vf weights = load_elements_n(type, w, r * cols + whole, tail);
        for (size_t t = 0; t < tokens; t++)
            sum[r][t] = vf_fma(weights, vf_load_n(x + t * ldx + whole, tail), sum[r][t]);
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t t = 0; t < tokens; t++) y[t * ldy + r] = vf_sum(sum[r][t]);
}

/* The same for any number of rows and tokens. */
static ALWAYS_INLINE void rows_matmul(enum dtype type, float *y, size_t ldy, const void *w,
                                      size_t rows, size_t cols, const float *x, size_t ldx,
                                      size_t tokens) {
    size_t r = 0;
    for (; r + ROW_GROUP <= rows; r += ROW_GROUP) {
        const void *group = element_at(type, w, r * cols);
        size_t t = 0;
        for (; t + ROWS_TOKENS <= tokens; t += ROWS_TOKENS)
            rows_tile(type, y + t * ldy + r, ldy, group, cols, x + t * ldx, ldx, ROW_GROUP,
                      ROWS_TOKENS);
        for (; t < tokens; t++)
            rows_tile(type, y + t * ldy + r, ldy, group, cols, x + t * ldx, ldx, ROW_GROUP, 1);
    }
    for (; r < rows; r++) {
        const void *row = element_at(type, w, r * cols);
        for (size_t t = 0; t < tokens; t++)
            rows_tile(type, y + t * ldy + r, ldy, row, cols, x + t * ldx, ldx, 1, 1);
    }
}

#endif
