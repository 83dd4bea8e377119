/* kernels.h: the kernel table: everything that is compute-bound or bandwidth-bound in a step.
 *
 * A table of function pointers is filled with the portable reference and then overridden by the
 * best instruction set of the machine (kernels_select).  One instruction set per .c file with its
 * own compile flags; no #ifdef inside a function.
 *
 * Determinism: a result row depends only on the weight row and the activation row.  Every kernel of
 * one table adds a row's blocks in one fixed order whatever the number of tokens, of rows, or of
 * threads, so the same bits come out of prefill and decode.  Nothing here allocates, starts threads
 * or communicates: callers split rows over their team at `panel_rows` boundaries.
 * Any thread, Local. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_KERNELS_H
#define WORKER_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/dtype.h"
#include "common/error.h"

/* Activations for quantised weights: every row is cut into blocks of 32, each 8-bit with its own
 * f32 scale (scale = max|x| / 127, q = x * (127 / max|x|) rounded to nearest even) and the sum of
 * its integers.
 * Offline formula: x[i] ~ scale * q[i].  The sums are kept negated, as they are used: weights
 * stored as u - offset begin at -offset * sum. */
#define ACT_BLOCK 32

struct act_block {
    int8_t q[ACT_BLOCK];
    float scale;
    int32_t minus_sum;       // -(q[0] + … + q[31])
    int32_t minus_halves[2]; // the same of each half of 16 (Q6_K scales 16 at a time)
};

/* A batch of such rows, block after block: block k of all tokens stands together, so that a
 * product that takes many tokens through one block of weights reads one ascending stream. */
struct act_rows {
    size_t cols;   // elements per row, a multiple of ACT_BLOCK (a last block's tail is 0)
    size_t tokens; // rows
    size_t stride; // from a token's block to its next one; at least tokens
    struct act_block *blocks; // [cols / 32, stride], of which the first `tokens` of each row
};
/* Bytes of the blocks of `tokens` rows; act_rows_place lays them into memory of that size
 * (64-byte aligned).  cols is rounded up to a multiple of ACT_BLOCK. */
size_t act_rows_bytes(size_t cols, size_t tokens);
void act_rows_place(struct act_rows *a, void *memory, size_t cols, size_t tokens);
/* A view of `tokens` rows of `a` from row `first`; it owns nothing. */
struct act_rows act_rows_slice(const struct act_rows *a, size_t first, size_t tokens);
static inline struct act_block *act_rows_block(const struct act_rows *a, size_t token, size_t k) {
    return a->blocks + k * a->stride + token;
}

/* Kernels of one weight type.  A matrix of `rows` x `cols` (cols > 0, a multiple of the type's
 * block) is held packed in panels of `panel_rows` rows, the last one padded; a kernel may lay out a
 * panel as it likes, within packed_bytes.  The packed form keeps the file's information exactly. */
struct matmul_kernel {
    enum dtype type;
    uint32_t panel_rows;
    /* Bytes of a packed matrix; at most 1.07 times the file's bytes + one panel. */
    size_t (*packed_bytes)(size_t rows, size_t cols);
    /* Stores one row, given as in the file, as row `row` of the packed matrix.  Different rows may
     * be stored by different threads at once. */
    void (*pack_row)(void *packed, size_t rows, size_t cols, size_t row, const void *src);
    /* Stores rows [row, row + n_rows), whose bytes in the file begin every src_stride bytes of src:
     * the same bits as pack_row row by row, several times as fast where whole panels are among
     * them.  Different rows may be stored by different threads at once. */
    void (*pack_rows)(void *packed, size_t rows, size_t cols, size_t row, size_t n_rows,
                      const void *src, size_t src_stride);
    /* dst[cols] = row `row` as floats, bit-equal to dtype_dequantize of the file's row. */
    void (*unpack_row)(const void *packed, size_t rows, size_t cols, size_t row, float *dst);
    /* Quantised types: y[t * ldy + r] = sum over k of W[r,k] * x[t,k] for r in [row_begin,
     * row_end), all tokens of x.  row_begin is a multiple of panel_rows, row_end too or == rows. */
    void (*matmul_q)(float *y, size_t ldy, const void *packed, size_t rows, size_t cols,
                     size_t row_begin, size_t row_end, const struct act_rows *x);
    /* F32, F16, BF16: the same with float activations x[t * ldx + k]. */
    void (*matmul_f)(float *y, size_t ldy, const void *packed, size_t rows, size_t cols,
                     size_t row_begin, size_t row_end, const float *x, size_t ldx, size_t tokens);
};

/* Ways to read memory, the fastest of which depends on the machine. */
enum read_way {
    READ_ONE_STREAM,
    READ_ONE_STREAM_AHEAD, // with prefetches
    READ_FOUR_STREAMS,
    READ_FOUR_STREAMS_AHEAD,
    READ_N_WAYS
};

/* The rows of `a` (queries, or their probabilities) times one block of the cache:
 *
 *     c[r * ldc + j] = (add ? c[r * ldc + j] : 0) + sum over i of a[r * lda + i] * b[i * cols + j]
 *
 * for r < rows and j < cols, i < depth ascending: no element depends on the rows and columns beside
 * its own. */
struct attn_product {
    float *c;
    size_t ldc;
    const float *a;
    size_t lda;
    const void *b;    // [depth, cols] of f16 or f32
    const void *next; // a block of the same size that will be read soon: fetched meanwhile (or b)
    size_t rows, depth, cols;
    bool add;
};

/* The softmax of one query over the positions that it has seen so far.  Its terms are relative to a
 * maximum that need not be exact: exp(ATTN_SLACK) is far from overflow, and out is seldom rescaled
 * this way. */
#define ATTN_SLACK 8.0f

struct attn_state {
    float max;  // of the scaled scores, less up to ATTN_SLACK; -INFINITY before the first
    float sum;  // of exp(score - max)
    float *out; // [head_dim] sum of exp(score - max) * value; anything while max is -INFINITY
};

struct kernels {
    const char *isa;                          // as LOCKSTEP_ISA names it
    struct matmul_kernel matmul[DTYPE_LIMIT]; // by enum dtype; type F32 etc. too

    /* One row of activations into row `token` of `out`: x[n] with n <= cols, the rest zero.
     * A block that holds a NaN or an infinity gets a scale that is not finite and q = 0, so what it
     * touches becomes NaN and not a plausible number; one whose scale would be below FLT_MIN
     * becomes zero.  The same bits from every table. */
    void (*quantize_row)(struct act_rows *out, size_t token, const float *x, size_t n);
    /* The same, and then row `rest` != `token` of `out` in the same way from what the rounding
     * left, x - scale * q: together 15 bits. */
    void (*quantize_twice)(struct act_rows *out, size_t token, size_t rest, const float *x,
                           size_t n);
    /* y = x / rms(x) * weight, rms over n in f32 with a fixed order of addition. */
    void (*rms_norm)(float *y, const float *x, const float *weight, size_t n, float eps);
    /* y[i] += x[i] */
    void (*add)(float *y, const float *x, size_t n);
    /* y[i] = silu(gate[i]) * up[i] */
    void (*silu_mul)(float *y, const float *gate, const float *up, size_t n);
    /* The greatest of x[n], none of which is a NaN; -INFINITY for n = 0. */
    float (*greatest)(const float *x, size_t n);
    /* The sum of exp(scale * (x[i] - max)) in f64 of terms in f32, for x[i] <= max, which is
     * finite, and scale > 0.  x[i] = -INFINITY adds 0. */
    double (*sum_exp)(const float *x, size_t n, float max, float scale);
    /* Rotates one head in place: cos/sin hold rope_dim/2 values of the token's position. */
    void (*rope_interleaved)(float *head, const float *cos, const float *sin, size_t rope_dim);
    void (*rope_neox)(float *head, const float *cos, const float *sin, size_t rope_dim);
    /* Attention: see struct attn_product. */
    void (*attn_product_f16)(const struct attn_product *p);
    void (*attn_product_f32)(const struct attn_product *p);
    /* The next n >= 1 scores of each of `rows` queries, scores[r * ld …], become exp(scale * score
     * - max), with scale > 0, and the sums take them in.  Where a score lies more than ATTN_SLACK
     * above max, max becomes the greatest of them and sum and out shrink to it; before the first
     * scores out holds nothing and is left alone.  The caller adds the values to out, or begins it
     * with them (attn_product.add).  A NaN among the scores makes sum a NaN. */
    void (*attn_softmax)(struct attn_state *states, float *scores, size_t ld, size_t rows, size_t n,
                         float scale, size_t head_dim);
    /* s takes in what another state of the same query has seen; both have seen something. */
    void (*attn_merge)(struct attn_state *s, const struct attn_state *other, size_t head_dim);
    /* dst[n] = (f16) src, round to nearest even, and back */
    void (*f32_to_f16)(uint16_t *dst, const float *src, size_t n);
    void (*f16_to_f32)(float *dst, const uint16_t *src, size_t n);

    /* The limits that all of the above are judged by (limits_lanes.h).
     * Multiplies bytes (floats) in registers; returns the operations done, a product and its
     * addition being two. */
    double (*peak_int8)(size_t rounds);
    double (*peak_f32)(size_t rounds);
    /* The exclusive or of all 64-bit words at p, 64-byte aligned; bytes is a multiple of 1024. */
    uint64_t (*read_memory)(const void *p, size_t bytes, enum read_way way);
};

/* The table for this machine: the best instruction set that the CPU and the operating system
 * support, or the one named by the environment variable LOCKSTEP_ISA (reference, avx2,
 * avx512-vnni, neon-dotprod; ERR_USAGE when it is unknown or not supported here). */
MUST_USE err kernels_select(const struct kernels **out);
/* The table of one instruction set by name, NULL when this machine cannot run it: for tests. */
const struct kernels *kernels_by_name(const char *isa);

#endif
