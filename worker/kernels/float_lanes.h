// SPDX-License-Identifier: MIT
/* float_lanes.h: y = W x for W of F32, F16 and BF16, a template over lanes_*.h.
 *
 * Included once by the _vec.c file of each instruction set, after its vocabulary.  A matrix is held
 * in panels of FLOAT_PANEL rows, turned so that a lane is a row, and is otherwise as in the file:
 *
 *   file, row after row     a panel of 4 rows
 *   row 0: a0 a1 a2 …       a0 b0 c0 e0  a1 b1 c1 e1  a2 b2 c2 e2  …
 *   row 1: b0 b1 b2 …       k = 0        k = 1        k = 2
 *
 * A tile is a panel times a few tokens: the sums of all its rows and tokens stay in registers while
 * k passes by, and each step loads (and widens) FLOAT_VECTORS vectors of weights and broadcasts one
 * activation of every token.  A (row, token) adds its k in ascending order in one lane, in runs of
 * FLOAT_RUN, and then the runs, in ascending order too: the same bits in any batch, row range or
 * thread.  Hot: prefill is bound by the multiplications here, decode by the reading. */
#ifndef WORKER_KERNELS_FLOAT_LANES_H
#define WORKER_KERNELS_FLOAT_LANES_H

#include "worker/kernels/kernels.h"
#include "worker/kernels/turn.h"
#include "worker/kernels/element_lanes.h"

#define FLOAT_PANEL   (FLOAT_VECTORS * LANES)
#define FLOAT_RUN     512                 // elements along k that are added up in registers
#define FLOAT_BATCH   128                 // tokens at once: a run of their activations stays in L2
#define FLOAT_GROUP   (16 * FLOAT_PANEL)  // rows that use such a run before the next one comes
#define FLOAT_CACHED  ((size_t)256 << 10) // bytes of activations that stay in L2 with all their runs
#define FLOAT_AHEAD   ((size_t)8 << 10)   // bytes from a weight that is used to one that is fetched
#define FLOAT_STREAMS 4                   // panels that one token reads at once
#define FLOAT_SOON    ((size_t)1 << 10)   // what FLOAT_AHEAD is, in each of these streams
#define FLOAT_UNPACK  64                  // elements that are put together at once
#define CACHE_LINE    64

/* ---- a tile --------------------------------------------------------------------------------- */

/* A run of a panel times up to FLOAT_TOKENS tokens. */
struct float_tile {
    const void *weights; // [run, FLOAT_PANEL]
    const float *x;      // x[t * ldx + k], k < run
    float *y;            // y[t * ldy + r], r < rows
    size_t ldx, ldy, run, rows;
    bool add;         // to y, which holds the runs before
    const char *next; // what is fetched meanwhile, `step` bytes for every k
    size_t step;
};

/* `n` lanes of the sums of one vector. */
static ALWAYS_INLINE void float_store(float *y, vf sum, size_t n, bool add) {
    if (n == LANES)
        vf_store(y, add ? vf_add(vf_load(y), sum) : sum);
    else
        vf_store_n(y, add ? vf_add(vf_load_n(y, n), sum) : sum, n);
}

/* `tokens` is a constant. */
static ALWAYS_INLINE void float_multiply(enum dtype type, const struct float_tile *a,
                                         size_t tokens) {
    const size_t lines = (FLOAT_PANEL * element_bytes(type) + CACHE_LINE - 1) / CACHE_LINE;
    const char *next = a->next;
    vf sum[FLOAT_TOKENS][FLOAT_VECTORS];

    for (size_t t = 0; t < tokens; t++)
        for (size_t v = 0; v < FLOAT_VECTORS; v++) sum[t][v] = vf_zero();
    for (size_t k = 0; k < a->run; k++, next += a->step) {
        vf weights[FLOAT_VECTORS];
        for (size_t v = 0; v < FLOAT_VECTORS; v++)
            weights[v] = load_elements(type, a->weights, k * FLOAT_PANEL + v * LANES);
        for (size_t i = 0; i < lines; i++) __builtin_prefetch(next + a->step / lines * i);
        for (size_t t = 0; t < tokens; t++) {
            vf x = vf_set(a->x[t * a->ldx + k]);
            for (size_t v = 0; v < FLOAT_VECTORS; v++) sum[t][v] = vf_fma(weights[v], x, sum[t][v]);
        }
    }
#pragma GCC unroll 4 // v is a constant, or the sums would be in memory
    for (size_t v = 0; v < FLOAT_VECTORS; v++) {
        if (v * LANES >= a->rows) break;
        size_t n = a->rows - v * LANES < LANES ? a->rows - v * LANES : LANES;
#pragma GCC unroll 12
        for (size_t t = 0; t < tokens; t++)
            float_store(a->y + t * a->ldy + v * LANES, sum[t][v], n, a->add);
    }
}

#define FLOAT_CASE(n)                                                                              \
    case n: float_multiply(type, a, n); break;

static ALWAYS_INLINE void float_multiply_any(enum dtype type, const struct float_tile *a,
                                             size_t tokens) {
    switch (tokens) { FLOAT_EACH_TOKENS(FLOAT_CASE) }
}

/* ---- a matrix ------------------------------------------------------------------------------- */

/* W x for rows [begin, end) and the tokens of x. */
struct float_product {
    const char *packed;
    const float *x;
    float *y;
    size_t ldx, ldy, cols, begin, end, tokens;
};

/* A run of a panel times all tokens, in tiles as equal as can be: 13 tokens are 7 and 6.  While
 * they use these weights the tiles fetch those of `next`, each its share; a single tile reads
 * memory in order as fast as it comes, and there a shorter distance serves better. */
static ALWAYS_INLINE void float_panel_run(enum dtype type, const struct float_product *p,
                                          size_t row, size_t k, size_t run, const char *next) {
    const size_t k_bytes = FLOAT_PANEL * element_bytes(type);
    const size_t tiles = (p->tokens + FLOAT_TOKENS - 1) / FLOAT_TOKENS;
    struct float_tile a = {.weights = element_at(type, p->packed, row * p->cols + k * FLOAT_PANEL),
                           .ldx = p->ldx,
                           .ldy = p->ldy,
                           .run = run,
                           .rows = p->end - row < FLOAT_PANEL ? p->end - row : FLOAT_PANEL,
                           .add = k > 0,
                           .step = (k_bytes + tiles - 1) / tiles};

    for (size_t i = 0; i < tiles; i++) {
        size_t token = p->tokens * i / tiles;
        a.x = p->x + token * p->ldx + k;
        a.y = p->y + token * p->ldy + row;
        a.next =
            tiles == 1 ? (const char *)a.weights + FLOAT_AHEAD : next + run * k_bytes * i / tiles;
        float_multiply_any(type, &a, p->tokens * (i + 1) / tiles - token);
    }
}

/* All runs of the rows, one after the other for `group` rows. */
static ALWAYS_INLINE void float_rows(enum dtype type, const struct float_product *p, size_t group) {
    for (size_t first = p->begin; first < p->end; first += group) {
        const size_t last = p->end - first < group ? p->end : first + group;
        for (size_t k = 0; k < p->cols; k += FLOAT_RUN) {
            const size_t run = p->cols - k < FLOAT_RUN ? p->cols - k : FLOAT_RUN;
            for (size_t row = first; row < last; row += FLOAT_PANEL) {
                size_t next = row + FLOAT_PANEL < last
                                  ? (row + FLOAT_PANEL) * p->cols + k * FLOAT_PANEL
                              : k + run < p->cols ? first * p->cols + (k + run) * FLOAT_PANEL
                                                  : last * p->cols;
                float_panel_run(type, p, row, k, run, element_at(type, p->packed, next));
            }
        }
    }
}

/* A run of FLOAT_STREAMS panels, `apart` rows apart, times one token: additions as above. */
static ALWAYS_INLINE void float_streams_run(enum dtype type, const struct float_product *p,
                                            size_t row, size_t apart, size_t k, size_t run) {
    const size_t lines = (FLOAT_PANEL * element_bytes(type) + CACHE_LINE - 1) / CACHE_LINE;
    const char *weights = element_at(type, p->packed, row * p->cols + k * FLOAT_PANEL);
    const size_t step = FLOAT_PANEL * element_bytes(type);
    const size_t stream = apart * p->cols * element_bytes(type);
    vf sum[FLOAT_STREAMS][FLOAT_VECTORS];

    for (size_t s = 0; s < FLOAT_STREAMS; s++)
        for (size_t v = 0; v < FLOAT_VECTORS; v++) sum[s][v] = vf_zero();
    for (size_t i = 0; i < run; i++, weights += step) {
        const vf x = vf_set(p->x[k + i]);
        for (size_t s = 0; s < FLOAT_STREAMS; s++) {
            const char *at = weights + s * stream;
            for (size_t j = 0; j < lines; j++) __builtin_prefetch(at + FLOAT_SOON + j * CACHE_LINE);
            for (size_t v = 0; v < FLOAT_VECTORS; v++)
                sum[s][v] = vf_fma(load_elements(type, at, v * LANES), x, sum[s][v]);
        }
    }
#pragma GCC unroll 4 // s and v are constants, or the sums would be in memory
    for (size_t s = 0; s < FLOAT_STREAMS; s++)
#pragma GCC unroll 4
        for (size_t v = 0; v < FLOAT_VECTORS; v++)
            float_store(p->y + row + s * apart + v * LANES, sum[s][v], LANES, k > 0);
}

/* One token: decode, which waits for memory.  Several streams, as in quant_lanes.h; what is left of
 * the panels goes the common way. */
static ALWAYS_INLINE void float_one(enum dtype type, struct float_product p) {
    const size_t apart = (p.end - p.begin) / FLOAT_PANEL / FLOAT_STREAMS * FLOAT_PANEL;

    p.tokens = 1; // a constant from here on
    for (size_t row = p.begin; row < p.begin + apart; row += FLOAT_PANEL)
        for (size_t k = 0; k < p.cols; k += FLOAT_RUN)
            float_streams_run(type, &p, row, apart, k,
                              p.cols - k < FLOAT_RUN ? p.cols - k : FLOAT_RUN);
    p.begin += FLOAT_STREAMS * apart;
    float_rows(type, &p, FLOAT_PANEL);
}

static ALWAYS_INLINE void float_matmul(enum dtype type, struct float_product p) {
    const size_t tokens = p.tokens;
    if (tokens == 1) {
        float_one(type, p);
        return;
    }
    for (size_t t = 0; t < tokens; t += FLOAT_BATCH) {
        p.tokens = tokens - t < FLOAT_BATCH ? tokens - t : FLOAT_BATCH;
        bool cached = p.tokens * p.cols * sizeof *p.x <= FLOAT_CACHED;
        float_rows(type, &p, cached ? FLOAT_PANEL : FLOAT_GROUP);
        p.x += FLOAT_BATCH * p.ldx;
        p.y += FLOAT_BATCH * p.ldy;
    }
}

/* ---- packing -------------------------------------------------------------------------------- */

static ALWAYS_INLINE size_t float_packed_bytes(enum dtype type, size_t rows, size_t cols) {
    return (rows + FLOAT_PANEL - 1) / FLOAT_PANEL * FLOAT_PANEL * cols * element_bytes(type);
}

/* Where a row's element 0 lies; the next is FLOAT_PANEL elements further on. */
static ALWAYS_INLINE size_t float_row_at(size_t row, size_t cols) {
    return row / FLOAT_PANEL * FLOAT_PANEL * cols + row % FLOAT_PANEL;
}

static ALWAYS_INLINE void float_pack_row(enum dtype type, void *packed, size_t cols, size_t row,
                                         const void *src) {
    const size_t bytes = element_bytes(type);
    char *dst = (char *)packed + float_row_at(row, cols) * bytes;
    for (size_t k = 0; k < cols; k++)
        memcpy(dst + k * FLOAT_PANEL * bytes, (const char *)src + k * bytes, bytes);
}

/* Whole panels by blocks of vectors, rows of a part of one by themselves. */
static ALWAYS_INLINE void float_pack_rows(enum dtype type, void *packed, size_t cols, size_t row,
                                          size_t n_rows, const void *src, size_t src_stride) {
    const size_t bytes = element_bytes(type), end = row + n_rows;
    const char *from = src;
    while (row < end) {
        if (row % FLOAT_PANEL != 0 || end - row < FLOAT_PANEL) {
            float_pack_row(type, packed, cols, row, from);
            row++;
            from += src_stride;
            continue;
        }
        turn_units((char *)packed + float_row_at(row, cols) * bytes, from, src_stride, FLOAT_PANEL,
                   bytes, cols);
        row += FLOAT_PANEL;
        from += FLOAT_PANEL * src_stride;
    }
}

static ALWAYS_INLINE void float_unpack_row(enum dtype type, const void *packed, size_t cols,
                                           size_t row, float *dst) {
    const size_t bytes = element_bytes(type);
    const char *src = (const char *)packed + float_row_at(row, cols) * bytes;
    uint8_t file[FLOAT_UNPACK * sizeof(float)];

    for (size_t k = 0; k < cols; k += FLOAT_UNPACK) {
        size_t n = cols - k < FLOAT_UNPACK ? cols - k : FLOAT_UNPACK;
        for (size_t i = 0; i < n; i++)
            memcpy(file + i * bytes, src + (k + i) * FLOAT_PANEL * bytes, bytes);
        dtype_dequantize(type, dst + k, file, n);
    }
}

/* ---- the entry functions of a type --------------------------------------------------------- */

#define FLOAT_FUNCTIONS(type, name)                                                                \
    static size_t name##_packed_bytes(size_t rows, size_t cols) {                                  \
        return float_packed_bytes(type, rows, cols);                                               \
    }                                                                                              \
    static void name##_pack_row(void *packed, size_t rows, size_t cols, size_t row,                \
                                const void *src) {                                                 \
        (void)rows;                                                                                \
        float_pack_row(type, packed, cols, row, src);                                              \
    }                                                                                              \
    static void name##_pack_rows(void *packed, size_t rows, size_t cols, size_t row,               \
                                 size_t n_rows, const void *src, size_t src_stride) {              \
        (void)rows;                                                                                \
        float_pack_rows(type, packed, cols, row, n_rows, src, src_stride);                         \
    }                                                                                              \
    static void name##_unpack_row(const void *packed, size_t rows, size_t cols, size_t row,        \
                                  float *dst) {                                                    \
        (void)rows;                                                                                \
        float_unpack_row(type, packed, cols, row, dst);                                            \
    }                                                                                              \
    static void name##_matmul(float *y, size_t ldy, const void *packed, size_t rows, size_t cols,  \
                              size_t row_begin, size_t row_end, const float *x, size_t ldx,        \
                              size_t tokens) {                                                     \
        (void)rows;                                                                                \
        float_matmul(type, (struct float_product){.packed = packed,                                \
                                                  .x = x,                                          \
                                                  .y = y,                                          \
                                                  .ldx = ldx,                                      \
                                                  .ldy = ldy,                                      \
                                                  .cols = cols,                                    \
                                                  .begin = row_begin,                              \
                                                  .end = row_end,                                  \
                                                  .tokens = tokens});                              \
    }

#define FLOAT_KERNEL(dtype_, name)                                                                 \
    {                                                                                              \
        .type = (dtype_), .panel_rows = FLOAT_PANEL, .packed_bytes = name##_packed_bytes,          \
        .pack_row = name##_pack_row, .pack_rows = name##_pack_rows,                                \
        .unpack_row = name##_unpack_row, .matmul_f = name##_matmul                                 \
    }

FLOAT_FUNCTIONS(DTYPE_F32, f32)
FLOAT_FUNCTIONS(DTYPE_F16, f16)
FLOAT_FUNCTIONS(DTYPE_BF16, bf16)

/* Puts the float types of this instruction set into a table. */
static void float_fill(struct kernels *k) {
    k->matmul[DTYPE_F32] = (struct matmul_kernel)FLOAT_KERNEL(DTYPE_F32, f32);
    k->matmul[DTYPE_F16] = (struct matmul_kernel)FLOAT_KERNEL(DTYPE_F16, f16);
    k->matmul[DTYPE_BF16] = (struct matmul_kernel)FLOAT_KERNEL(DTYPE_BF16, bf16);
}

#endif
