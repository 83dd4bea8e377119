// SPDX-License-Identifier: MIT
/* test_kernels_matmul.c: the matrix products of every table and type.
 *
 * Three questions.  Is every integer and every scale where it belongs?  With scales of 1/8 and
 * small integers no float operation rounds, so the result must equal float64's exactly.  Is the
 * rounding as promised?  With random scales the error stays below 2^-20 of the sum of magnitudes.
 * Do the bits depend on the row and the token alone?  Batches and row ranges must repeat them. */

#include "tests/kernels/kernels_support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SENTINEL    12345.0f
#define BOUND       0x1p-20
#define BITS_TOKENS 133 // beyond the largest tile of any table, which is 128

/* 300 rows are nine of the widest panels and a part of one, and several of the others in each of
 * four streams. */
static const struct shape {
    size_t rows, blocks, tokens;
} shapes[] = {{1, 1, 1},   {7, 2, 3},    {16, 3, 1},  {17, 1, 8},  {33, 5, 2},  {50, 11, 5},
              {64, 2, 67}, {70, 1, 130}, {300, 2, 1}, {300, 1, 2}, {300, 2, 4}, {300, 1, 6},
              {40, 8, 1},  {40, 19, 1},  {40, 13, 2}, {40, 4, 3},  {40, 21, 4}};
#define SHAPE_COUNT (sizeof shapes / sizeof shapes[0])

/* Float types have no block: an odd width, so that there are tails. */
static size_t cols_of(enum dtype type, size_t blocks) {
    size_t elems = dtype_info(type)->block_elems;
    return elems == 1 ? blocks * 33 : blocks * elems;
}

/* A product of one table: the quantised or the float activations of the same tokens. */
struct product {
    const struct kernels *k;
    const struct support_matrix *m;
    const void *packed;
    struct act_rows quants; // for quantised types
    const float *floats;    // [tokens, cols] for the others; what the quants stand for
    size_t tokens;
};

static void run(const struct product *p, float *y, size_t ldy, size_t row_begin, size_t row_end,
                size_t token, size_t tokens) {
    const struct matmul_kernel *kernel = &p->k->matmul[p->m->type];
    const size_t rows = p->m->rows, cols = p->m->cols;
    if (kernel->matmul_q) {
        struct act_rows x = act_rows_slice(&p->quants, token, tokens);
        kernel->matmul_q(y, ldy, p->packed, rows, cols, row_begin, row_end, &x);
    } else {
        kernel->matmul_f(y, ldy, p->packed, rows, cols, row_begin, row_end,
                         p->floats + token * cols, cols, tokens);
    }
}

/* All rows and tokens at once, y in exactly the memory it needs; free() the result. */
static float *run_all(const struct product *p, size_t ldy) {
    size_t count = (p->tokens - 1) * ldy + p->m->rows;
    float *y = support_alloc(count * sizeof *y);
    for (size_t i = 0; i < count; i++) y[i] = SENTINEL;
    run(p, y, ldy, 0, p->m->rows, 0, p->tokens);
    return y;
}

/* What the activations of `x` stand for; free() the result. */
static float *act_floats(const struct act_rows *x) {
    float *f = support_alloc(x->tokens * x->cols * sizeof *f);
    for (size_t t = 0; t < x->tokens; t++)
        for (size_t c = 0; c < x->cols; c++)
            f[t * x->cols + c] =
                act_rows_block(x, t, c / ACT_BLOCK)->scale * (float)*support_act_q(x, t, c);
    return f;
}

/* Every y[t, r] against float64 sums over the dequantised weights; bound in units of the sum of
 * magnitudes.  Nothing but those may have been written. */
static void check_product(const struct product *p, const float *y, size_t ldy, double bound) {
    const struct support_matrix *m = p->m;
    for (size_t t = 0; t < p->tokens; t++) {
        for (size_t r = 0; r < m->rows; r++) {
            double sum = 0, magnitude = 0;
            for (size_t c = 0; c < m->cols; c++) {
                double term =
                    (double)m->floats[r * m->cols + c] * (double)p->floats[t * m->cols + c];
                sum += term;
                magnitude += fabs(term);
            }
            support_close(p->k->isa, dtype_info(m->type)->name, t * ldy + r, (double)y[t * ldy + r],
                          sum, bound * magnitude);
        }
        for (size_t i = m->rows; t + 1 < p->tokens && i < ldy; i++)
            assert_float_equal(y[t * ldy + i], SENTINEL, 0);
    }
}

static void check_table(struct product *p, const struct kernels *k, double bound) {
    const size_t ldy = p->m->rows + 3;
    p->k = k;
    void *packed = support_pack(&k->matmul[p->m->type], p->m);
    p->packed = packed;
    float *y = run_all(p, ldy);
    check_product(p, y, ldy, bound);
    free(y);
    free(packed);
}

static void check_exact(enum dtype type, struct shape s) {
    struct support_matrix m;
    const size_t cols = cols_of(type, s.blocks), act_cols = (cols + 31) / 32 * 32;

    support_matrix_init(&m, type, s.rows, cols, SCALES_EIGHTH, 21);
    struct product p = {.m = &m, .tokens = s.tokens};
    p.quants = support_act_integers(act_cols, s.tokens, 7, 22);
    float *floats = act_floats(&p.quants);
    for (size_t t = 0; t < s.tokens; t++)
        memmove(floats + t * cols, floats + t * act_cols, cols * sizeof *floats);
    p.floats = floats;
    for (const struct kernels *const *k = support_tables(); *k; k++) check_table(&p, *k, 0);
    free(floats);
    free(p.quants.blocks);
    support_matrix_deinit(&m);
}

static void test_exact(void **state) {
    (void)state;
    for (size_t i = 0; i < support_type_count; i++)
        for (size_t s = 0; s < SHAPE_COUNT; s++) check_exact(support_types[i], shapes[s]);
}

/* The greatest weights against activations of 127, of -127 and of both in turn: no integer may
 * saturate. */
static void check_extremes(enum dtype type) {
    static const uint8_t patterns[] = {0xFF, 0x00, 0x80, 0x7F, 0x88};
    const size_t rows = sizeof patterns, cols = cols_of(type, 2);
    struct support_matrix m;

    support_matrix_init(&m, type, rows, cols, SCALES_EIGHTH, 23);
    for (size_t r = 0; r < rows; r++) {
        support_fill_pattern(type, m.file + r * m.row_bytes, cols, patterns[r]);
        dtype_dequantize(type, m.floats + r * cols, m.file + r * m.row_bytes, cols);
    }
    struct product p = {.m = &m, .tokens = 3, .quants = support_act_rows(cols, 3)};
    for (size_t i = 0; i < cols; i++) {
        *support_act_q(&p.quants, 0, i) = 127;
        *support_act_q(&p.quants, 1, i) = -127;
        *support_act_q(&p.quants, 2, i) = i % 2 ? 127 : -127;
    }
    support_act_finish(&p.quants);
    float *floats = act_floats(&p.quants);
    p.floats = floats;
    for (const struct kernels *const *k = support_tables(); *k; k++) check_table(&p, *k, BOUND);
    free(floats);
    free(p.quants.blocks);
    support_matrix_deinit(&m);
}

static void test_extremes(void **state) {
    (void)state;
    for (size_t i = 0; i < support_type_count; i++)
        if (dtype_info(support_types[i])->quantized) check_extremes(support_types[i]);
}

/* Random weights and activations through quantize_row.  free(p->quants.blocks), free(floats). */
static float *random_tokens(struct product *p, const struct kernels *k, uint32_t seed) {
    const size_t cols = p->m->cols;
    float *x = support_alloc(p->tokens * cols * sizeof *x);
    for (size_t i = 0; i < p->tokens * cols; i++) x[i] = 3 * support_uniform(&seed);
    p->floats = x;
    if (!dtype_info(p->m->type)->quantized) return x;
    p->quants = support_act_rows(cols, p->tokens);
    for (size_t t = 0; t < p->tokens; t++) k->quantize_row(&p->quants, t, x + t * cols, cols);
    free(x);
    p->floats = x = act_floats(&p->quants);
    return x;
}

static void test_bound(void **state) {
    (void)state;
    for (size_t i = 0; i < support_type_count; i++) {
        for (size_t s = 0; s < SHAPE_COUNT; s++) {
            struct support_matrix m;
            size_t cols = cols_of(support_types[i], shapes[s].blocks);
            support_matrix_init(&m, support_types[i], shapes[s].rows, cols, SCALES_RANDOM, 31);
            struct product p = {.m = &m, .tokens = shapes[s].tokens};
            float *floats = random_tokens(&p, kernels_by_name("reference"), 32);
            for (const struct kernels *const *k = support_tables(); *k; k++)
                check_table(&p, *k, BOUND);
            free(floats);
            free(p.quants.blocks);
            support_matrix_deinit(&m);
        }
    }
}

/* Tokens alone and in batches, row ranges and the whole, rows `blocks` long: the same bits. */
static void check_bits(const struct kernels *k, enum dtype type, size_t blocks) {
    static const size_t batches[] = {2, 3, 4, 5, 6, 7, 8, 64, 65, 66, 67, 128, 129, 130, 133};
    static const size_t few[] = {1, 2, 3, 5, 6};
    struct support_matrix m;
    const size_t rows = 9 * 32 + 12, panel = k->matmul[type].panel_rows;
    support_matrix_init(&m, type, rows, cols_of(type, blocks), SCALES_RANDOM, 41);
    struct product p = {.k = k, .m = &m, .tokens = BITS_TOKENS};
    float *floats = random_tokens(&p, k, 42);
    void *packed = support_pack(&k->matmul[type], &m);
    p.packed = packed;
    float *alone = support_alloc(BITS_TOKENS * rows * sizeof *alone);
    for (size_t t = 0; t < BITS_TOKENS; t++) run(&p, alone + t * rows, rows, 0, rows, t, 1);

    for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
        float *y = support_alloc(batches[b] * rows * sizeof *y);
        size_t first = BITS_TOKENS - batches[b];
        run(&p, y, rows, 0, rows, first, batches[b]);
        support_same_bits(k->isa, "batch", y, alone + first * rows, batches[b] * rows);
        free(y);
    }
    for (size_t split = panel; split < rows; split += panel) {
        for (size_t i = 0; i < sizeof few / sizeof *few; i++) {
            float *y = support_alloc(few[i] * rows * sizeof *y);
            run(&p, y, rows, split, rows, 0, few[i]);
            run(&p, y, rows, 0, split, 0, few[i]);
            support_same_bits(k->isa, "row ranges", y, alone, few[i] * rows);
            free(y);
        }
    }
    free(alone);
    free(packed);
    free(floats);
    free(p.quants.blocks);
    support_matrix_deinit(&m);
}

static void test_same_bits(void **state) {
    (void)state;
    for (const struct kernels *const *k = support_tables(); *k; k++)
        for (size_t i = 0; i < support_type_count; i++) {
            enum dtype type = support_types[i];
            if (dtype_info(type)->block_elems > 32) {
                check_bits(*k, type, 3);
            } else { // loops take 8, 4 or 2 of these at once: some are left, or none
                check_bits(*k, type, 16);
                check_bits(*k, type, 23);
            }
        }
}

/* A token with an infinity must not come out as a plausible number, its neighbours must not care.
 */
static void test_not_finite_shows(void **state) {
    (void)state;
    for (const struct kernels *const *k = support_tables(); *k; k++) {
        for (size_t i = 0; i < support_type_count; i++) {
            if (!dtype_info(support_types[i])->quantized) continue;
            struct support_matrix m;
            support_matrix_init(&m, support_types[i], 3, 512, SCALES_RANDOM, 51);
            struct product p = {.k = *k, .m = &m, .tokens = 2};
            float x[512] = {0}, *y;
            p.quants = support_act_rows(512, 2);
            (*k)->quantize_row(&p.quants, 0, x, 512);
            x[100] = INFINITY;
            (*k)->quantize_row(&p.quants, 1, x, 512);
            void *packed = support_pack(&(*k)->matmul[m.type], &m);
            p.packed = packed;
            y = run_all(&p, 3);
            for (size_t r = 0; r < 3; r++) {
                assert_float_equal(y[r], 0, 0);
                assert_true(isnan(y[3 + r]));
            }
            free(y);
            free(packed);
            free(p.quants.blocks);
            support_matrix_deinit(&m);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_not_finite_shows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
