// SPDX-License-Identifier: MIT
/* kernels_support.c: see kernels_support.h. */

#include "tests/kernels/kernels_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const enum dtype support_types[] = {DTYPE_F32,  DTYPE_F16,  DTYPE_BF16, DTYPE_Q4_0,
                                    DTYPE_Q4_1, DTYPE_Q5_0, DTYPE_Q5_1, DTYPE_Q8_0,
                                    DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K};
const size_t support_type_count = sizeof support_types / sizeof support_types[0];

const struct kernels *const *support_tables(void) {
    static const char *const names[] = {"reference", "avx2", "avx512-vnni", "neon-dotprod"};
    enum { NAMES = sizeof names / sizeof names[0] };
    static const struct kernels *tables[NAMES + 1];
    size_t count = 0;
    for (size_t i = 0; i < NAMES; i++) {
        const struct kernels *k = kernels_by_name(names[i]);
        if (k) tables[count++] = k;
    }
    return tables;
}

void *support_alloc(size_t bytes) {
    void *p = malloc(bytes);
    CHECK(p);
    return p;
}

uint32_t support_random(uint32_t *state) {
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

float support_uniform(uint32_t *state) {
    return (float)(support_random(state) >> 8) * 0x1p-23f - 1.0f;
}

/* Where a block's f16 fields lie. */
static size_t f16_fields(enum dtype type, size_t *first) {
    *first = type == DTYPE_Q6_K ? 208 : 0;
    return type == DTYPE_Q4_1 || type == DTYPE_Q5_1 || type == DTYPE_Q4_K || type == DTYPE_Q5_K ? 2
                                                                                                : 1;
}

/* A scale that makes weights of a size about 1: quants reach about 16, K-quants' scales 64. */
static float random_scale(enum dtype type, uint32_t *state) {
    float size = type == DTYPE_Q8_0                                               ? 1.0f / 128
                 : type == DTYPE_Q4_K || type == DTYPE_Q5_K || type == DTYPE_Q6_K ? 1.0f / 1024
                                                                                  : 1.0f / 16;
    return size * (1.0f + 0.9f * support_uniform(state));
}

static void fill_scales(enum dtype type, uint8_t *row, size_t cols, enum scales scales,
                        uint32_t *state) {
    const struct dtype_info *info = dtype_info(type);
    size_t first, fields = f16_fields(type, &first);
    for (size_t b = 0; b < cols / info->block_elems; b++) {
        for (size_t i = 0; i < fields; i++) {
            float scale = scales == SCALES_EIGHTH ? 0.125f : random_scale(type, state);
            uint16_t h = dtype_f32_to_f16(scale);
            memcpy(row + b * info->block_bytes + first + 2 * i, &h, sizeof h);
        }
    }
}

static void fill_floats(enum dtype type, uint8_t *row, size_t cols, enum scales scales,
                        uint32_t *state) {
    for (size_t i = 0; i < cols; i++) {
        float f = support_uniform(state);
        if (scales == SCALES_EIGHTH) f = rintf(f * 8) / 8;
        uint16_t h = type == DTYPE_F16 ? dtype_f32_to_f16(f) : dtype_f32_to_bf16(f);
        if (type == DTYPE_F32)
            memcpy(row + 4 * i, &f, sizeof f);
        else
            memcpy(row + 2 * i, &h, sizeof h);
    }
}

void support_fill_row(enum dtype type, uint8_t *row, size_t cols, enum scales scales,
                      uint32_t *state) {
    size_t bytes = dtype_row_bytes(type, cols);
    if (!dtype_info(type)->quantized) {
        fill_floats(type, row, cols, scales, state);
        return;
    }
    for (size_t i = 0; i < bytes; i++) row[i] = (uint8_t)(support_random(state) >> 11);
    fill_scales(type, row, cols, scales, state);
}

void support_fill_pattern(enum dtype type, uint8_t *row, size_t cols, uint8_t pattern) {
    memset(row, pattern, dtype_row_bytes(type, cols));
    fill_scales(type, row, cols, SCALES_EIGHTH, NULL);
}

void support_matrix_init(struct support_matrix *m, enum dtype type, size_t rows, size_t cols,
                         enum scales scales, uint32_t seed) {
    *m = (struct support_matrix){
        .type = type, .rows = rows, .cols = cols, .row_bytes = dtype_row_bytes(type, cols)};
    m->file = support_alloc(rows * m->row_bytes);
    m->floats = support_alloc(rows * cols * sizeof(float));
    for (size_t r = 0; r < rows; r++) {
        support_fill_row(type, m->file + r * m->row_bytes, cols, scales, &seed);
        dtype_dequantize(type, m->floats + r * cols, m->file + r * m->row_bytes, cols);
    }
}

void support_matrix_deinit(struct support_matrix *m) {
    free(m->file);
    free(m->floats);
}

void *support_pack(const struct matmul_kernel *kernel, const struct support_matrix *m) {
    void *packed = support_alloc(kernel->packed_bytes(m->rows, m->cols));
    for (size_t r = 0; r < m->rows; r++)
        kernel->pack_row(packed, m->rows, m->cols, r, m->file + r * m->row_bytes);
    return packed;
}

struct act_rows support_act_rows(size_t cols, size_t tokens) {
    struct act_rows x;
    act_rows_place(&x, support_alloc(act_rows_bytes(cols, tokens)), cols, tokens);
    memset(x.blocks, 0, act_rows_bytes(cols, tokens));
    return x;
}

int8_t *support_act_q(const struct act_rows *x, size_t token, size_t col) {
    return &act_rows_block(x, token, col / ACT_BLOCK)->q[col % ACT_BLOCK];
}

void support_act_finish(struct act_rows *x) {
    for (size_t at = 0; at < x->tokens * (x->cols / ACT_BLOCK); at++) {
        struct act_block *b = &x->blocks[at];
        b->scale = 0.125f;
        b->minus_halves[0] = b->minus_halves[1] = 0;
        for (size_t i = 0; i < ACT_BLOCK; i++) b->minus_halves[i / (ACT_BLOCK / 2)] -= b->q[i];
        b->minus_sum = b->minus_halves[0] + b->minus_halves[1];
    }
}

struct act_rows support_act_integers(size_t cols, size_t tokens, int limit, uint32_t seed) {
    struct act_rows x = support_act_rows(cols, tokens);
    for (size_t t = 0; t < tokens; t++)
        for (size_t c = 0; c < cols; c++)
            *support_act_q(&x, t, c) =
                (int8_t)((int)(support_random(&seed) >> 8) % (2 * limit + 1) - limit);
    support_act_finish(&x);
    return x;
}

void support_close(const char *isa, const char *what, size_t at, double got, double want,
                   double bound) {
    if (fabs(got - want) <= bound) return;
    fail_msg("%s %s [%zu]: got %.9g, want %.9g, difference %.3g, bound %.3g", isa, what, at, got,
             want, got - want, bound);
}

void support_same_bits(const char *isa, const char *what, const float *got, const float *want,
                       size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t a, b;
        memcpy(&a, got + i, sizeof a);
        memcpy(&b, want + i, sizeof b);
        if (a != b)
            fail_msg("%s %s [%zu]: got %.9g (%08x), want %.9g (%08x)", isa, what, i, (double)got[i],
                     a, (double)want[i], b);
    }
}
