// SPDX-License-Identifier: MIT
/* kernels_reference.c: the matrix products in portable C, and what they mean.
 *
 * The definition that the other instruction sets are tested against, and what a machine without
 * AVX2 runs.  Deliberately another design than theirs: a matrix stays as in the file, a block of 32
 * is decoded to signed integers with its scales, and every token of the batch takes it from there;
 * so a fault in the panels cannot hide here.  The loops over 16 and 32 are for the compiler to
 * vectorise.  A row's blocks are added to y in ascending order.  Any thread. */

#include "worker/kernels/kernels_isa.h"

#include <string.h>

#define SCALE_RUN  16  // elements that share a scale, in the finest type
#define FLOAT_RUN  256 // elements of an F32, F16 or BF16 row that are converted at a time
#define FLOAT_SUMS 8   // partial sums of such a run

/* 32 weights: scale[i / 16] * q[i] + min */
struct block {
    int8_t q[ACT_BLOCK];
    float scale[2];
    float min;
};

static uint16_t load_u16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static float load_f16(const uint8_t *p) {
    return dtype_f16_to_f32(load_u16(p));
}

/* ---- one decoder per type: `sub` is which 32 of a block of 256 ------------------------------- */

static void decode_q8_0(struct block *b, const uint8_t *p, int sub) {
    (void)sub;
    memcpy(b->q, p + 2, ACT_BLOCK);
    b->scale[0] = b->scale[1] = load_f16(p);
    b->min = 0;
}

/* Byte j holds elements j and j + 16; `offset` is taken off. */
static void decode_nibbles(int8_t *q, const uint8_t *p, int offset) {
    for (int j = 0; j < 16; j++) {
        q[j] = (int8_t)((p[j] & 15) - offset);
        q[j + 16] = (int8_t)((p[j] >> 4) - offset);
    }
}

static void decode_fifth_bits(int8_t *q, const uint8_t *p) {
    for (int j = 0; j < 32; j++) q[j] = (int8_t)(q[j] + ((p[j / 8] >> (j % 8) & 1) << 4));
}

static void decode_q4_0(struct block *b, const uint8_t *p, int sub) {
    (void)sub;
    decode_nibbles(b->q, p + 2, 8);
    b->scale[0] = b->scale[1] = load_f16(p);
    b->min = 0;
}

static void decode_q4_1(struct block *b, const uint8_t *p, int sub) {
    (void)sub;
    decode_nibbles(b->q, p + 4, 0);
    b->scale[0] = b->scale[1] = load_f16(p);
    b->min = load_f16(p + 2);
}

static void decode_q5_0(struct block *b, const uint8_t *p, int sub) {
    (void)sub;
    decode_nibbles(b->q, p + 6, 16);
    decode_fifth_bits(b->q, p + 2);
    b->scale[0] = b->scale[1] = load_f16(p);
    b->min = 0;
}

static void decode_q5_1(struct block *b, const uint8_t *p, int sub) {
    (void)sub;
    decode_nibbles(b->q, p + 8, 0);
    decode_fifth_bits(b->q, p + 4);
    b->scale[0] = b->scale[1] = load_f16(p);
    b->min = load_f16(p + 2);
}

/* d, dmin and the six-bit scale and minimum of sub-block j, packed into 12 bytes. */
static void decode_k_scales(struct block *b, const uint8_t *p, int j) {
    const uint8_t *s = p + 4;
    int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
    int min = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | s[j] >> 6 << 4;
    b->scale[0] = b->scale[1] = load_f16(p) * (float)scale;
    b->min = -load_f16(p + 2) * (float)min;
}

static void decode_q4_k(struct block *b, const uint8_t *p, int sub) {
    const uint8_t *bytes = p + 16 + sub / 2 * 32;
    const int shift = sub % 2 * 4;
    for (int j = 0; j < 32; j++) b->q[j] = (int8_t)(bytes[j] >> shift & 15);
    decode_k_scales(b, p, sub);
}

static void decode_q5_k(struct block *b, const uint8_t *p, int sub) {
    const uint8_t *high = p + 16, *bytes = p + 48 + sub / 2 * 32;
    const int shift = sub % 2 * 4;
    for (int j = 0; j < 32; j++)
        b->q[j] = (int8_t)((bytes[j] >> shift & 15) | (high[j] >> sub & 1) << 4);
    decode_k_scales(b, p, sub);
}

static void decode_q6_k(struct block *b, const uint8_t *p, int sub) {
    const int half = sub / 4, run = sub % 4, shift = run / 2 * 4;
    const uint8_t *low = p + half * 64 + run % 2 * 32, *high = p + 128 + half * 32;
    for (int j = 0; j < 32; j++)
        b->q[j] = (int8_t)(((low[j] >> shift & 15) | (high[j] >> (2 * run) & 3) << 4) - 32);
    for (int i = 0; i < 2; i++)
        b->scale[i] = load_f16(p + 208) * (float)(int8_t)p[192 + 2 * sub + i];
    b->min = 0;
}

/* ---- quantised products --------------------------------------------------------------------- */

static int32_t dot_run(const int8_t *a, const int8_t *b) {
    int32_t sum = 0;
    for (int i = 0; i < SCALE_RUN; i++) sum += a[i] * b[i];
    return sum;
}

/* Adds one block of a row to y[t * ldy] for all tokens; k counts blocks of 32. */
static void add_block(float *y, size_t ldy, const struct block *b, const struct act_rows *x,
                      size_t k) {
    for (size_t t = 0; t < x->tokens; t++) {
        const struct act_block *a = act_rows_block(x, t, k);
        float first = b->scale[0] * (float)dot_run(b->q, a->q);
        float second = b->scale[1] * (float)dot_run(b->q + SCALE_RUN, a->q + SCALE_RUN);
        y[t * ldy] += a->scale * (first + second - b->min * (float)a->minus_sum);
    }
}

static void matmul_blocks(enum dtype type, void (*decode)(struct block *, const uint8_t *, int),
                          float *y, size_t ldy, const void *packed, size_t cols, size_t row_begin,
                          size_t row_end, const struct act_rows *x) {
    const struct dtype_info *info = dtype_info(type);
    const int subs = (int)(info->block_elems / ACT_BLOCK);
    const uint8_t *p = (const uint8_t *)packed + row_begin * dtype_row_bytes(type, cols);
    struct block b;

    for (size_t row = row_begin; row < row_end; row++) {
        for (size_t t = 0; t < x->tokens; t++) y[t * ldy + row] = 0;
        for (size_t k = 0; k < cols / ACT_BLOCK; p += info->block_bytes) {
            for (int sub = 0; sub < subs; sub++, k++) {
                decode(&b, p, sub);
                add_block(y + row, ldy, &b, x, k);
            }
        }
    }
}

/* ---- float products ------------------------------------------------------------------------- */

static float dot_floats(const float *a, const float *b, size_t n) {
    float part[FLOAT_SUMS] = {0}, sum = 0;
    size_t i = 0;
    for (; i + FLOAT_SUMS <= n; i += FLOAT_SUMS)
        for (size_t j = 0; j < FLOAT_SUMS; j++) part[j] += a[i + j] * b[i + j];
    for (size_t j = 0; i + j < n; j++) part[j] += a[i + j] * b[i + j];
    for (size_t j = 0; j < FLOAT_SUMS; j++) sum += part[j];
    return sum;
}

static void matmul_floats(enum dtype type, float *y, size_t ldy, const void *packed, size_t cols,
                          size_t row_begin, size_t row_end, const float *x, size_t ldx,
                          size_t tokens) {
    const size_t row_bytes = dtype_row_bytes(type, cols);
    float w[FLOAT_RUN];

    for (size_t row = row_begin; row < row_end; row++) {
        const uint8_t *p = (const uint8_t *)packed + row * row_bytes;
        for (size_t t = 0; t < tokens; t++) y[t * ldy + row] = 0;
        for (size_t k = 0; k < cols; k += FLOAT_RUN) {
            size_t n = cols - k < FLOAT_RUN ? cols - k : FLOAT_RUN;
            dtype_dequantize(type, w, p + dtype_row_bytes(type, k), n);
            for (size_t t = 0; t < tokens; t++)
                y[t * ldy + row] += dot_floats(w, x + t * ldx + k, n);
        }
    }
}

/* ---- the entry functions of a type ---------------------------------------------------------- */

#define ROW_FUNCTIONS(type, name)                                                                  \
    static size_t name##_packed_bytes(size_t rows, size_t cols) {                                  \
        return rows * dtype_row_bytes(type, cols);                                                 \
    }                                                                                              \
    static void name##_pack_row(void *packed, size_t rows, size_t cols, size_t row,                \
                                const void *src) {                                                 \
        (void)rows;                                                                                \
        size_t bytes = dtype_row_bytes(type, cols);                                                \
        memcpy((uint8_t *)packed + row * bytes, src, bytes);                                       \
    }                                                                                              \
    static void name##_pack_rows(void *packed, size_t rows, size_t cols, size_t row,               \
                                 size_t n_rows, const void *src, size_t src_stride) {              \
        for (size_t i = 0; i < n_rows; i++)                                                        \
            name##_pack_row(packed, rows, cols, row + i, (const uint8_t *)src + i * src_stride);   \
    }                                                                                              \
    static void name##_unpack_row(const void *packed, size_t rows, size_t cols, size_t row,        \
                                  float *dst) {                                                    \
        (void)rows;                                                                                \
        const uint8_t *src = (const uint8_t *)packed + row * dtype_row_bytes(type, cols);          \
        dtype_dequantize(type, dst, src, cols);                                                    \
    }

#define QUANT_FUNCTIONS(type, name)                                                                \
    ROW_FUNCTIONS(type, name)                                                                      \
    static void name##_matmul(float *y, size_t ldy, const void *packed, size_t rows, size_t cols,  \
                              size_t row_begin, size_t row_end, const struct act_rows *x) {        \
        (void)rows;                                                                                \
        matmul_blocks(type, decode_##name, y, ldy, packed, cols, row_begin, row_end, x);           \
    }

#define FLOAT_FUNCTIONS(type, name)                                                                \
    ROW_FUNCTIONS(type, name)                                                                      \
    static void name##_matmul(float *y, size_t ldy, const void *packed, size_t rows, size_t cols,  \
                              size_t row_begin, size_t row_end, const float *x, size_t ldx,        \
                              size_t tokens) {                                                     \
        (void)rows;                                                                                \
        matmul_floats(type, y, ldy, packed, cols, row_begin, row_end, x, ldx, tokens);             \
    }

#define KERNEL(dtype_, name, slot)                                                                 \
    [dtype_] = {.type = (dtype_),                                                                  \
                .panel_rows = 1,                                                                   \
                .packed_bytes = name##_packed_bytes,                                               \
                .pack_row = name##_pack_row,                                                       \
                .pack_rows = name##_pack_rows,                                                     \
                .unpack_row = name##_unpack_row,                                                   \
                .slot = name##_matmul}

FLOAT_FUNCTIONS(DTYPE_F32, f32)
FLOAT_FUNCTIONS(DTYPE_F16, f16)
FLOAT_FUNCTIONS(DTYPE_BF16, bf16)
QUANT_FUNCTIONS(DTYPE_Q4_0, q4_0)
QUANT_FUNCTIONS(DTYPE_Q4_1, q4_1)
QUANT_FUNCTIONS(DTYPE_Q5_0, q5_0)
QUANT_FUNCTIONS(DTYPE_Q5_1, q5_1)
QUANT_FUNCTIONS(DTYPE_Q8_0, q8_0)
QUANT_FUNCTIONS(DTYPE_Q4_K, q4_k)
QUANT_FUNCTIONS(DTYPE_Q5_K, q5_k)
QUANT_FUNCTIONS(DTYPE_Q6_K, q6_k)

static const struct matmul_kernel kernels_by_type[DTYPE_LIMIT] = {
    KERNEL(DTYPE_F32, f32, matmul_f),   KERNEL(DTYPE_F16, f16, matmul_f),
    KERNEL(DTYPE_BF16, bf16, matmul_f), KERNEL(DTYPE_Q4_0, q4_0, matmul_q),
    KERNEL(DTYPE_Q4_1, q4_1, matmul_q), KERNEL(DTYPE_Q5_0, q5_0, matmul_q),
    KERNEL(DTYPE_Q5_1, q5_1, matmul_q), KERNEL(DTYPE_Q8_0, q8_0, matmul_q),
    KERNEL(DTYPE_Q4_K, q4_k, matmul_q), KERNEL(DTYPE_Q5_K, q5_k, matmul_q),
    KERNEL(DTYPE_Q6_K, q6_k, matmul_q),
};

void kernels_reference_fill(struct kernels *k) {
    k->isa = "reference";
    memcpy(k->matmul, kernels_by_type, sizeof k->matmul);
}
