// SPDX-License-Identifier: MIT
/* test_kernels_float.c: F32, F16 and BF16 matrices at the sizes that matter to them.
 *
 * These types have no blocks, so any number of columns is allowed, and their products are cut into
 * runs, tiles, batches and groups.  Every cut is crossed here: against float64, and bit for bit
 * against one token at a time.  Lanes beyond the last row are made NaNs, which nobody may see. */

#include "tests/kernels/kernels_support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BOUND    0x1p-20
#define SENTINEL 12345.0f
#define GAP      5 // floats between the rows of x and of y

static const enum dtype float_types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};

static void for_each_kernel(void (*check)(const struct kernels *k, enum dtype type)) {
    for (const struct kernels *const *k = support_tables(); *k; k++)
        for (size_t i = 0; i < sizeof float_types / sizeof *float_types; i++)
            check(*k, float_types[i]);
}

/* A product of one table with its activations: x[t * (cols + GAP) + k]. */
struct product {
    const struct kernels *k;
    struct support_matrix m;
    void *packed;
    float *x;
    size_t tokens;
};

static void product_init(struct product *p, const struct kernels *k, enum dtype type, size_t rows,
                         size_t cols, size_t tokens) {
    const struct matmul_kernel *kernel = &k->matmul[type];
    uint32_t seed = 62;

    *p = (struct product){.k = k, .tokens = tokens};
    support_matrix_init(&p->m, type, rows, cols, SCALES_RANDOM, 61);
    p->packed = support_alloc(kernel->packed_bytes(rows, cols));
    memset(p->packed, 0xFF, kernel->packed_bytes(rows, cols)); // NaNs in all types
    for (size_t r = 0; r < rows; r++)
        kernel->pack_row(p->packed, rows, cols, r, p->m.file + r * p->m.row_bytes);
    size_t floats = (tokens - 1) * (cols + GAP) + cols;
    p->x = support_alloc(floats * sizeof *p->x);
    for (size_t i = 0; i < floats; i++) p->x[i] = 3 * support_uniform(&seed);
}

static void product_deinit(struct product *p) {
    support_matrix_deinit(&p->m);
    free(p->packed);
    free(p->x);
}

static void run(const struct product *p, float *y, size_t ldy, size_t row_begin, size_t row_end,
                size_t token, size_t tokens) {
    size_t ldx = p->m.cols + GAP;
    p->k->matmul[p->m.type].matmul_f(y, ldy, p->packed, p->m.rows, p->m.cols, row_begin, row_end,
                                     p->x + token * ldx, ldx, tokens);
}

static void check_value(const struct product *p, size_t token, size_t row, float got) {
    const float *w = p->m.floats + row * p->m.cols, *x = p->x + token * (p->m.cols + GAP);
    double sum = 0, magnitude = 0;
    for (size_t c = 0; c < p->m.cols; c++) {
        sum += (double)w[c] * (double)x[c];
        magnitude += fabs((double)w[c] * (double)x[c]);
    }
    support_close(p->k->isa, dtype_info(p->m.type)->name, token * p->m.rows + row, (double)got, sum,
                  BOUND * magnitude);
}

/* y in exactly the memory it needs; between its rows nothing may be written. */
static void check_shape(const struct kernels *k, enum dtype type, size_t rows, size_t cols,
                        size_t tokens) {
    const size_t ldy = rows + GAP, floats = (tokens - 1) * ldy + rows;
    float *y = support_alloc(floats * sizeof *y);
    struct product p;

    product_init(&p, k, type, rows, cols, tokens);
    for (size_t i = 0; i < floats; i++) y[i] = SENTINEL;
    run(&p, y, ldy, 0, rows, 0, tokens);
    for (size_t t = 0; t < tokens; t++) {
        for (size_t r = 0; r < rows; r++) check_value(&p, t, r, y[t * ldy + r]);
        for (size_t i = rows; t + 1 < tokens && i < ldy; i++)
            assert_float_equal(y[t * ldy + i], SENTINEL, 0);
    }
    free(y);
    product_deinit(&p);
}

static void check_shapes(const struct kernels *k, enum dtype type) {
    static const size_t rows[] = {1, 8, 17, 24, 31, 33, 70};
    static const size_t cols[] = {1, 2, 63, 511, 512, 513, 1030};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (size_t c = 0; c < sizeof cols / sizeof *cols; c++)
            check_shape(k, type, rows[r], cols[c], 1 + (r + 2 * c) % 7);
    for (size_t tokens = 1; tokens <= 26; tokens++) check_shape(k, type, 35, 40, tokens);
    /* Of the widest panel one in each of four streams, one more, and a part of one. */
    check_shape(k, type, 167, 513, 1);
    check_shape(k, type, 167, 1030, 1);
}

static void test_shapes(void **state) {
    (void)state;
    for_each_kernel(check_shapes);
}

/* Large enough that activations are taken run by run for groups of rows, and tokens in batches. */
static void check_same_bits(const struct kernels *k, enum dtype type) {
    static const size_t batches[] = {1, 2, 5, 12, 13, 40, 128, 141};
    const size_t rows = 550, cols = 700, tokens = 141, panel = k->matmul[type].panel_rows;
    float *alone = support_alloc(tokens * rows * sizeof *alone);
    float *y = support_alloc(tokens * rows * sizeof *y);
    struct product p;

    product_init(&p, k, type, rows, cols, tokens);
    for (size_t t = 0; t < tokens; t++) run(&p, alone + t * rows, rows, 0, rows, t, 1);
    for (size_t r = 0; r < rows; r++) check_value(&p, r % tokens, r, alone[r % tokens * rows + r]);
    for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
        size_t first = tokens - batches[b], middle = (b + 1) * panel;
        run(&p, y, rows, middle, rows, first, batches[b]);
        run(&p, y, rows, 0, middle, first, batches[b]);
        support_same_bits(k->isa, "batch", y, alone + first * rows, batches[b] * rows);
    }
    free(alone);
    free(y);
    product_deinit(&p);
}

static void test_same_bits(void **state) {
    (void)state;
    for_each_kernel(check_same_bits);
}

/* A NaN among the activations spoils its token, an infinite weight its row, and nothing else. */
static void check_not_finite(const struct kernels *k, enum dtype type) {
    const size_t rows = 40, cols = 600, tokens = 3;
    float y[40 * 3];
    struct product p;

    product_init(&p, k, type, rows, cols, tokens);
    p.x[1 * (cols + GAP) + 590] = NAN;
    const uint16_t f16 = 0x7C00, bf16 = 0x7F80;
    const float f32 = INFINITY;
    const void *infinity = type == DTYPE_F32   ? (const void *)&f32
                           : type == DTYPE_F16 ? &f16
                                               : &bf16;
    uint8_t *row = p.m.file + 39 * p.m.row_bytes;
    memcpy(row + dtype_row_bytes(type, 10), infinity, dtype_row_bytes(type, 1));
    k->matmul[type].pack_row(p.packed, rows, cols, 39, row);
    run(&p, y, rows, 0, rows, 0, tokens);
    for (size_t t = 0; t < tokens; t++)
        for (size_t r = 0; r < rows; r++)
            assert_int_equal(isfinite(y[t * rows + r]) != 0, t != 1 && r != 39);
    product_deinit(&p);
}

static void test_not_finite(void **state) {
    (void)state;
    for_each_kernel(check_not_finite);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
