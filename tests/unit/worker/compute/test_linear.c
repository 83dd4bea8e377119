// SPDX-License-Identifier: MIT
/* test_linear.c: y = W x for every type against a product in double, at the awkward places: masked
 * columns, no rows, no columns, more threads than panels.  And a token's bits do not depend on what
 * it was multiplied with. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <omp.h>
#include <stdbool.h>
#include <string.h>

#include "common/mem.h"
#include "tests/fixtures/fixture_quant.h"
#include "worker/compute/linear.h"

#define ROWS       37
#define MAX_ROWS   2100
#define MAX_COLS   768
#define MAX_TOKENS 70

static const enum dtype types[] = {DTYPE_F32,  DTYPE_F16,  DTYPE_BF16, DTYPE_Q8_0,
                                   DTYPE_Q4_0, DTYPE_Q4_1, DTYPE_Q5_0, DTYPE_Q5_1,
                                   DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K};

static float weights[MAX_ROWS * MAX_COLS]; // what the packed matrix stands for
static float x[MAX_TOKENS * MAX_COLS], y[MAX_TOKENS * MAX_ROWS], again[MAX_TOKENS * MAX_ROWS];

static uint32_t state = 5;

static float next_value(void) {
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / 8388608.0f - 1;
}

static struct matrix make_matrix(const struct kernels *k, enum dtype type, size_t rows,
                                 size_t cols) {
    struct matrix m = {
        .kernel = &k->matmul[type], .type = type, .rows = rows, .cols = cols, .own_end = cols};
    m.packed_bytes = m.kernel->packed_bytes(rows, cols);
    assert_int_equal(mem_map(&m.packed, m.packed_bytes), ERR_OK);
    uint8_t *file_row = mem_alloc(dtype_row_bytes(type, cols));
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < cols; c++) weights[r * cols + c] = next_value();
        fixture_quant_row(type, file_row, weights + r * cols, cols);
        dtype_dequantize(type, weights + r * cols, file_row, cols);
        m.kernel->pack_row(m.packed, rows, cols, r, file_row);
    }
    mem_free(file_row);
    return m;
}

static void apply(struct linear *l, float *to, const struct matrix *m, const float *bias,
                  bool fine) {
    linear_apply(l, &(struct linear_product){.y = to, .w = m, .bias = bias, .fine = fine}, 1);
}

/* Rounding the input to 8 bits moves each product by at most max|x| / 254 * |w|, at random; a fine
 * product of the finer types rounds twice. */
static void expect_product(const struct matrix *m, size_t tokens, const float *bias, bool fine) {
    size_t n = m->own_end - m->own_begin;
    for (size_t t = 0; t < tokens; t++) {
        for (size_t r = 0; r < m->rows; r++) {
            double want = bias ? (double)bias[r] : 0, norm = 0;
            for (size_t c = 0; c < n; c++) {
                double w = (double)weights[r * m->cols + m->own_begin + c];
                want += w * (double)x[t * n + c];
                norm += w * w;
            }
            bool twice = fine && (m->type == DTYPE_Q8_0 || m->type == DTYPE_Q6_K);
            bool coarse = dtype_info(m->type)->quantized && !twice;
            double tolerance = (coarse ? 0.02 : 1e-4) * sqrt(norm) + 2e-5;
            double got = (double)y[t * m->rows + r];
            if (!(fabs(got - want) <= tolerance))
                fail_msg("%s token %zu of %zu row %zu: %g, wanted %g", dtype_info(m->type)->name, t,
                         tokens, r, got, want);
        }
    }
}

static void check_product(const struct kernels *k, struct matrix *m, size_t tokens, bool fine) {
    struct linear *l;
    float bias[MAX_ROWS];
    for (size_t i = 0; i < MAX_TOKENS * MAX_COLS; i++) x[i] = next_value();
    for (size_t i = 0; i < MAX_ROWS; i++) bias[i] = next_value();
    omp_set_num_threads(2);
    assert_int_equal(linear_create(&l, k, MAX_COLS, MAX_TOKENS), ERR_OK);
    linear_set_input(l, x, m->own_end - m->own_begin, tokens);
    apply(l, y, m, NULL, fine);
    expect_product(m, tokens, NULL, fine);
    apply(l, y, m, bias, fine);
    expect_product(m, tokens, bias, fine);
    linear_free(l);
    omp_set_num_threads(1); // each token alone, one thread: the same bits
    assert_int_equal(linear_create(&l, k, MAX_COLS, MAX_TOKENS), ERR_OK);
    for (size_t t = 0; t < tokens; t++) {
        linear_set_input(l, x + t * (m->own_end - m->own_begin), m->own_end - m->own_begin, 1);
        apply(l, again + t * m->rows, m, bias, fine);
    }
    assert_memory_equal(again, y, tokens * m->rows * sizeof *y);
    linear_free(l);
}

static void check_matrix(const struct kernels *k, struct matrix *m, size_t tokens) {
    check_product(k, m, tokens, false);
    check_product(k, m, tokens, true);
}

static void for_each_type(void (*check)(const struct kernels *k, enum dtype type)) {
    static const char *const tables[] = {"reference", "avx2", "avx512-vnni", "neon-dotprod"};
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        const struct kernels *k = kernels_by_name(tables[t]);
        for (size_t i = 0; k && i < sizeof types / sizeof *types; i++) check(k, types[i]);
    }
}

static void check_plain(const struct kernels *k, enum dtype type) {
    static const size_t tokens[] = {1, 3, 15, 32, 33, 70};
    struct matrix m = make_matrix(k, type, ROWS, 256);
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) check_matrix(k, &m, tokens[i]);
    mem_unmap(m.packed, m.packed_bytes);
}

static void test_plain(void **unused) {
    (void)unused;
    for_each_type(check_plain);
}

/* So many rows that a fine product takes those of a thread in several steps, which the bytes of the
 * weights decide (Q6_K) or their number. */
static void check_tall(const struct kernels *k, enum dtype type) {
    if (type != DTYPE_Q8_0 && type != DTYPE_Q6_K) return;
    struct matrix m = make_matrix(k, type, MAX_ROWS, 2 * dtype_info(type)->block_elems);
    check_product(k, &m, 1, true);
    check_product(k, &m, 33, true);
    mem_unmap(m.packed, m.packed_bytes);
}

static void test_tall(void **unused) {
    (void)unused;
    for_each_type(check_tall);
}

/* The rank's columns begin or end inside blocks: those of the first rank, of one in the middle and
 * of the last. */
static void check_masked(const struct kernels *k, enum dtype type) {
    static const size_t own[][2] = {{0, 701}, {13, 701}, {13, MAX_COLS}};
    if (!dtype_info(type)->quantized) return; // a block of one element is never shared
    struct matrix m = make_matrix(k, type, 5, MAX_COLS);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        m.own_begin = own[i][0];
        m.own_end = own[i][1];
        check_matrix(k, &m, 1);
        check_matrix(k, &m, 20);
    }
    mem_unmap(m.packed, m.packed_bytes);
}

static void test_masked_columns(void **unused) {
    (void)unused;
    for_each_type(check_masked);
}

static void check_empty(const struct kernels *k, enum dtype type) {
    struct matrix no_rows = {.kernel = &k->matmul[type], .type = type, .cols = 256, .own_end = 256};
    struct matrix no_cols = {.kernel = &k->matmul[type], .type = type, .rows = 7};
    struct linear *l;
    assert_int_equal(linear_create(&l, k, MAX_COLS, MAX_TOKENS), ERR_OK);
    linear_set_input(l, x, 256, 2);
    y[0] = 42;
    apply(l, y, &no_rows, NULL, true);
    assert_true(y[0] == 42);
    linear_set_input(l, x, 0, 20);
    apply(l, y, &no_cols, NULL, true);
    for (size_t i = 0; i < 20 * 7; i++) assert_true(y[i] == 0);
    linear_free(l);
}

static void test_empty(void **unused) {
    (void)unused;
    for_each_type(check_empty);
}

/* One input, two masks: the 8-bit rows must be made anew. */
static void test_input_is_shared_only_where_it_fits(void **unused) {
    (void)unused;
    const struct kernels *k = kernels_by_name("reference");
    static float narrow[3 * 32], wide[3 * 32];
    struct linear *l;
    struct matrix m = make_matrix(k, DTYPE_Q8_0, 3, 64);
    m.own_begin = 16, m.own_end = 48;
    assert_int_equal(linear_create(&l, k, MAX_COLS, MAX_TOKENS), ERR_OK);
    linear_set_input(l, x, 32, 1);
    apply(l, narrow, &m, NULL, true);
    struct matrix shifted = m;
    shifted.own_begin = 32, shifted.own_end = 64;
    apply(l, wide, &shifted, NULL, true);
    assert_memory_not_equal(narrow, wide, 3 * sizeof *wide);
    apply(l, wide, &m, NULL, true);
    assert_memory_equal(narrow, wide, 3 * sizeof *wide);
    linear_free(l);
    mem_unmap(m.packed, m.packed_bytes);
}

/* Nor do they serve a wider matrix, or a fine product when one row was enough before. */
static void test_input_is_made_anew(void **unused) {
    (void)unused;
    const struct kernels *k = kernels_by_name("reference");
    static float coarse[2 * 3], fine[2 * 3], got[2 * 3];
    struct linear *l;
    struct matrix narrow = make_matrix(k, DTYPE_Q8_0, 3, 32);
    struct matrix wide = make_matrix(k, DTYPE_Q8_0, 3, 96), whole = wide;
    wide.own_end = 32;
    assert_int_equal(linear_create(&l, k, MAX_COLS, MAX_TOKENS), ERR_OK);
    linear_set_input(l, x, 32, 2);
    apply(l, coarse, &wide, NULL, false);
    linear_set_input(l, x, 32, 2);
    apply(l, fine, &wide, NULL, true);
    assert_memory_not_equal(coarse, fine, sizeof fine);
    linear_set_input(l, x, 96, 2);
    apply(l, got, &whole, NULL, true); // other numbers in the blocks that are masked
    linear_set_input(l, x, 32, 2);
    apply(l, got, &narrow, NULL, false);
    apply(l, got, &wide, NULL, false);
    assert_memory_equal(got, coarse, sizeof got);
    apply(l, got, &wide, NULL, true);
    assert_memory_equal(got, fine, sizeof got);
    apply(l, got, &wide, NULL, false);
    assert_memory_equal(got, coarse, sizeof got);
    linear_free(l);
    mem_unmap(narrow.packed, narrow.packed_bytes);
    mem_unmap(wide.packed, wide.packed_bytes);
}

/* Q, K and V of one input in one call: as each by itself, fine and coarse side by side. */
static void test_together(void **unused) {
    (void)unused;
    static float q[5 * 37], kv[2][5 * 9], alone[5 * 37];
    static const enum dtype kinds[] = {DTYPE_Q4_0, DTYPE_Q8_0, DTYPE_F16};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct kernels *k = kernels_by_name("reference");
        struct linear *l;
        struct matrix a = make_matrix(k, kinds[i], 37, 96), b = make_matrix(k, DTYPE_Q8_0, 9, 96);
        struct linear_product three[] = {
            {.y = q, .w = &a}, {.y = kv[0], .w = &b, .fine = true}, {.y = kv[1], .w = &b}};
        assert_int_equal(linear_create(&l, k, MAX_COLS, MAX_TOKENS), ERR_OK);
        linear_set_input(l, x, 96, 5);
        linear_apply(l, three, 3);
        for (size_t p = 0; p < 3; p++) {
            linear_set_input(l, x, 96, 5);
            apply(l, alone, three[p].w, NULL, three[p].fine);
            assert_memory_equal(alone, three[p].y, 5 * three[p].w->rows * sizeof *alone);
        }
        linear_free(l);
        mem_unmap(a.packed, a.packed_bytes);
        mem_unmap(b.packed, b.packed_bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_tall),
        cmocka_unit_test(test_masked_columns),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_together),
        cmocka_unit_test(test_input_is_shared_only_where_it_fits),
        cmocka_unit_test(test_input_is_made_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
