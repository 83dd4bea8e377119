// SPDX-License-Identifier: MIT
/* linear.c: see linear.h.
 *
 * Main thread of a rank.  Quantised weights go through the kernel table's integer products at any
 * number of tokens: one code path for prefill and decode is what makes them give the same bits.
 * F32, F16 and BF16 use the table for a few tokens; from BLAS_TOKENS on, tiles of rows are widened
 * to f32 by the team and handed to OpenBLAS from the master thread (its OpenMP build shares our
 * team).
 *
 * An input rounded to 8 bits is good enough for weights of 4 or 5 bits.  Weights of 6 and 8 bits
 * are finer than that rounding, so their inputs take a second row, the rounded rest of the first:
 *
 *     x = scale q + rest,   rest ~ scale' q'        W x ~ W (scale q) + W (scale' q')
 *
 * To the kernel these are two tokens: decode waits for memory, and the weights are read once. */

#include "worker/compute/linear.h"

#include <cblas.h>
#include <omp.h>
#include <string.h>

#include "common/mem.h"
#include "worker/weights/shard.h"

#define BLAS_TOKENS 16
#define TILE_FLOATS ((size_t)512 << 10) // weights widened at once
#define PAIR_TOKENS ((size_t)16)        // tokens of two rows each that are multiplied at once
#define PAIR_BYTES  ((size_t)256 << 10) // weights of such a product: they stay in cache

struct linear {
    const struct kernels *kernels;
    size_t max_cols, max_rows, max_tokens, threads;
    /* the input */
    const float *x;
    size_t n, tokens;
    /* its 8-bit form, made when the first quantised matrix asks for it */
    struct act_rows q; // [tokens * q_planes, cols]
    size_t q_begin;    // own column that x[.][0] was placed at
    size_t q_planes;   // rows per token; 0: not made yet
    void *q_memory;
    float *row;   // [threads, max_cols] a row with zeros before its own columns, or the rest of one
    float *pairs; // [2 * PAIR_TOKENS, max_rows] products of both rows of a token
    float *tile;  // [rows of a tile, cols]
};

static size_t tile_floats(size_t max_cols) {
    return max_cols > TILE_FLOATS ? max_cols : TILE_FLOATS;
}

static size_t pairs_floats(size_t max_rows) {
    return 2 * PAIR_TOKENS * max_rows;
}

uint64_t linear_bytes(size_t max_cols, size_t max_rows, size_t max_tokens) {
    return act_rows_bytes(max_cols, 2 * max_tokens) +
           ((size_t)omp_get_max_threads() * max_cols + pairs_floats(max_rows) +
            tile_floats(max_cols)) *
               sizeof(float);
}

static err map_floats(float **out, size_t n) {
    void *p;
    TRY(mem_map(&p, n * sizeof **out));
    *out = p;
    return ERR_OK;
}

err linear_create(struct linear **out, const struct kernels *k, size_t max_cols, size_t max_rows,
                  size_t max_tokens) {
    err e = ERR_OK;
    struct linear *l = mem_zalloc(sizeof *l);
    l->kernels = k;
    l->max_cols = max_cols;
    l->max_rows = max_rows;
    l->max_tokens = max_tokens;
    l->threads = (size_t)omp_get_max_threads();
    TRY_GOTO(e, mem_map(&l->q_memory, act_rows_bytes(max_cols, 2 * max_tokens)), fail);
    TRY_GOTO(e, map_floats(&l->row, l->threads * max_cols), fail);
    TRY_GOTO(e, map_floats(&l->pairs, pairs_floats(max_rows)), fail);
    TRY_GOTO(e, map_floats(&l->tile, tile_floats(max_cols)), fail);
    *out = l;
    return ERR_OK;
fail:
    linear_free(l);
    return e;
}

void linear_free(struct linear *l) {
    if (!l) return;
    mem_unmap(l->q_memory, act_rows_bytes(l->max_cols, 2 * l->max_tokens));
    mem_unmap(l->row, l->threads * l->max_cols * sizeof(float));
    mem_unmap(l->pairs, pairs_floats(l->max_rows) * sizeof(float));
    mem_unmap(l->tile, tile_floats(l->max_cols) * sizeof(float));
    mem_free(l);
}

void linear_set_input(struct linear *l, const float *x, size_t n, size_t tokens) {
    CHECK(tokens <= l->max_tokens);
    l->x = x;
    l->n = n;
    l->tokens = tokens;
    l->q_planes = 0;
}

/* Rows of 8-bit input per token. */
static size_t planes_of(enum dtype type) {
    return type == DTYPE_Q8_0 || type == DTYPE_Q6_K ? 2 : 1;
}

/* One token's row of the input as columns [own_begin, own_end) of rows of the matrix; the columns
 * around it belong to other ranks and are zero. */
static void quantize_token(struct linear *l, const struct matrix *w, size_t t) {
    const float *x = l->x + t * l->n;
    float *row = l->row + (size_t)omp_get_thread_num() * l->max_cols;
    if (l->q_planes == 1 && w->own_begin == 0) {
        l->kernels->quantize_row(&l->q, t, x, w->own_end);
        return;
    }
    memset(row, 0, w->own_begin * sizeof *row);
    memcpy(row + w->own_begin, x, l->n * sizeof *row);
    l->kernels->quantize_row(&l->q, t * l->q_planes, row, w->own_end);
    if (l->q_planes == 1) return;
    const struct act_rows first = act_rows_slice(&l->q, 2 * t, 1);
    for (size_t i = 0; i < w->own_end; i++) row[i] -= first.scale[i / ACT_BLOCK] * first.q[i];
    l->kernels->quantize_row(&l->q, 2 * t + 1, row, w->own_end);
}

static void quantize_input(struct linear *l, const struct matrix *w) {
    size_t planes = planes_of(w->type);
    if (l->q_planes == planes && l->q.cols == w->cols && l->q_begin == w->own_begin) return;
    CHECK(w->cols <= l->max_cols);
    act_rows_place(&l->q, l->q_memory, w->cols, l->tokens * planes);
    l->q_begin = w->own_begin;
    l->q_planes = planes;
#pragma omp parallel for schedule(static) if (l->tokens > 1)
    for (size_t t = 0; t < l->tokens; t++) quantize_token(l, w, t);
}

/* Rows [begin, end) with two rows of input for each token. */
static void multiply_pairs(const struct linear *l, float *y, const struct matrix *w, size_t begin,
                           size_t end) {
    for (size_t t = 0; t < l->tokens; t += PAIR_TOKENS) {
        size_t n = l->tokens - t < PAIR_TOKENS ? l->tokens - t : PAIR_TOKENS;
        struct act_rows x = act_rows_slice(&l->q, 2 * t, 2 * n);
        w->kernel->matmul_q(l->pairs, w->rows, w->packed, w->rows, w->cols, begin, end, &x);
        for (size_t i = 0; i < n; i++) {
            const float *first = l->pairs + 2 * i * w->rows, *rest = first + w->rows;
            float *sum = y + (t + i) * w->rows;
            for (size_t r = begin; r < end; r++) sum[r] = first[r] + rest[r];
        }
    }
}

static void multiply_quantized(const struct linear *l, float *y, const struct matrix *w,
                               struct shard_rows mine) {
    if (l->q_planes == 1) {
        w->kernel->matmul_q(y, w->rows, w->packed, w->rows, w->cols, mine.begin, mine.end, &l->q);
        return;
    }
    size_t panel = w->kernel->panel_rows, panel_bytes = w->packed_bytes / w->rows * panel;
    size_t step = panel_bytes < PAIR_BYTES ? PAIR_BYTES / panel_bytes * panel : panel;
    for (size_t begin = mine.begin; begin < mine.end; begin += step)
        multiply_pairs(l, y, w, begin, mine.end - begin < step ? mine.end : begin + step);
}

/* Each thread multiplies the rows whose memory it touched first. */
static void multiply_rows(struct linear *l, float *y, const struct matrix *w) {
    bool quantized = dtype_info(w->type)->quantized;
    if (quantized) quantize_input(l, w);
#pragma omp parallel
    {
        struct shard_rows mine =
            shard_thread_rows(w->rows, w->kernel->panel_rows, (size_t)omp_get_num_threads(),
                              (size_t)omp_get_thread_num());
        if (mine.begin == mine.end) {
            // more threads than panels
        } else if (quantized) {
            multiply_quantized(l, y, w, mine);
        } else {
            w->kernel->matmul_f(y, w->rows, w->packed, w->rows, w->cols, mine.begin, mine.end, l->x,
                                l->n, l->tokens);
        }
    }
}

static void multiply_blas(struct linear *l, float *y, const struct matrix *w) {
    size_t tile_rows = tile_floats(l->max_cols) / w->cols;
    for (size_t begin = 0; begin < w->rows; begin += tile_rows) {
        size_t rows = w->rows - begin < tile_rows ? w->rows - begin : tile_rows;
#pragma omp parallel for schedule(static)
        for (size_t r = 0; r < rows; r++)
            w->kernel->unpack_row(w->packed, w->rows, w->cols, begin + r, l->tile + r * w->cols);
        // y[tokens, rows] = x[tokens, cols] tile[rows, cols]^T
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)l->tokens, (blasint)rows,
                    (blasint)w->cols, 1.0f, l->x, (blasint)l->n, l->tile, (blasint)w->cols, 0.0f,
                    y + begin, (blasint)w->rows);
    }
}

void linear_apply(struct linear *l, float *y, const struct matrix *w, const float *bias) {
    if (w->rows == 0) return;
    CHECK(l->n == w->own_end - w->own_begin && w->rows <= l->max_rows);
    if (l->n == 0) {
        memset(y, 0, l->tokens * w->rows * sizeof *y);
    } else if (dtype_info(w->type)->quantized || l->tokens < BLAS_TOKENS) {
        multiply_rows(l, y, w);
    } else {
        multiply_blas(l, y, w);
    }
    if (!bias) return;
    for (size_t t = 0; t < l->tokens; t++) l->kernels->add(y + t * w->rows, bias, w->rows);
}
