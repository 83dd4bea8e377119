// SPDX-License-Identifier: MIT
/* test_kernels_attention.c: the attention slots of every table against float64, for f16 and f32
 * caches, and that a query's bits do not depend on the queries beside it nor on where a sum was
 * interrupted. */

#include "tests/kernels/kernels_support.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void for_each_table(void (*check)(const struct kernels *)) {
    for (const struct kernels *const *k = support_tables(); *k; k++) check(*k);
}

static float *random_floats(size_t n, float size, uint32_t seed) {
    float *x = support_alloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = size * support_uniform(&seed);
    return x;
}

/* ---- the products --------------------------------------------------------------------------- */

#define PAD 3 // floats behind each row of a and c that are none of the kernel's business

/* rows x depth times depth x cols, the block in both types holding the same numbers. */
struct product {
    size_t rows, depth, cols;
    float *a, *before; // [rows, depth + PAD], [rows, cols + PAD]
    float *wide;       // [depth, cols]
    uint16_t *narrow;  // [depth, cols]
};

static struct product product_make(size_t rows, size_t depth, size_t cols) {
    struct product p = {.rows = rows, .depth = depth, .cols = cols};
    uint32_t seed = 101;
    p.a = random_floats(rows * (depth + PAD), 1, 102);
    p.before = random_floats(rows * (cols + PAD), 1, 103);
    p.wide = support_alloc(depth * cols * sizeof *p.wide);
    p.narrow = support_alloc(depth * cols * sizeof *p.narrow);
    for (size_t i = 0; i < depth * cols; i++) {
        p.narrow[i] = dtype_f32_to_f16(2 * support_uniform(&seed));
        p.wide[i] = dtype_f16_to_f32(p.narrow[i]);
    }
    return p;
}

static void product_free(struct product *p) {
    free(p->a);
    free(p->before);
    free(p->wide);
    free(p->narrow);
}

/* Rows [row, row + rows) over the depth [begin, end). */
static void product_run(const struct kernels *k, const struct product *p, bool f16, float *c,
                        size_t row, size_t rows, size_t begin, size_t end, bool add) {
    const struct attn_product call = {.c = c + row * (p->cols + PAD),
                                      .ldc = p->cols + PAD,
                                      .a = p->a + row * (p->depth + PAD) + begin,
                                      .lda = p->depth + PAD,
                                      .b = f16 ? (const void *)(p->narrow + begin * p->cols)
                                               : p->wide + begin * p->cols,
                                      .next = f16 ? (const void *)p->narrow : p->wide,
                                      .rows = rows,
                                      .depth = end - begin,
                                      .cols = p->cols,
                                      .add = add};
    if (f16)
        k->attn_product_f16(&call);
    else
        k->attn_product_f32(&call);
}

static void expect_product(const struct kernels *k, const struct product *p, const float *got,
                           bool add) {
    for (size_t r = 0; r < p->rows; r++) {
        for (size_t j = 0; j < p->cols + PAD; j++) {
            size_t at = r * (p->cols + PAD) + j;
            double sum = add || j >= p->cols ? (double)p->before[at] : 0, magnitude = fabs(sum);
            for (size_t i = 0; i < p->depth && j < p->cols; i++) {
                double term =
                    (double)p->a[r * (p->depth + PAD) + i] * (double)p->wide[i * p->cols + j];
                sum += term;
                magnitude += fabs(term);
            }
            support_close(k->isa, "product", at, (double)got[at], sum,
                          j < p->cols ? 0x1p-20 * magnitude : 0);
        }
    }
}

static void check_product(const struct kernels *k, const struct product *p, bool f16) {
    size_t n = p->rows * (p->cols + PAD), bytes = n * sizeof(float);
    float *whole = support_alloc(bytes), *other = support_alloc(bytes);
    for (int add = 0; add < 2; add++) {
        memcpy(whole, p->before, bytes);
        product_run(k, p, f16, whole, 0, p->rows, 0, p->depth, add);
        expect_product(k, p, whole, add);

        memcpy(other, p->before, bytes);
        for (size_t r = 0; r < p->rows; r++) product_run(k, p, f16, other, r, 1, 0, p->depth, add);
        support_same_bits(k->isa, "row by row", other, whole, n);

        if (p->depth == 1) continue;
        memcpy(other, p->before, bytes);
        product_run(k, p, f16, other, 0, p->rows, 0, p->depth / 2, add);
        product_run(k, p, f16, other, 0, p->rows, p->depth / 2, p->depth, true);
        support_same_bits(k->isa, "in two steps", other, whole, n);
    }
    free(whole);
    free(other);
}

static void check_products(const struct kernels *k) {
    static const size_t rows[] = {1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 25};
    static const size_t shapes[][2] = {// depth, cols: scores of head_dim 64 …, then values
                                       {64, 32}, {80, 32}, {128, 32}, {7, 32},   {1000, 32},
                                       {32, 64}, {32, 80}, {31, 128}, {1, 64},   {5, 1},
                                       {3, 7},   {9, 8},   {4, 15},   {32, 16},  {17, 17},
                                       {2, 33},  {6, 48},  {32, 100}, {3, 1000}, {2, 1024}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
            struct product p = product_make(rows[r], shapes[s][0], shapes[s][1]);
            check_product(k, &p, true);
            check_product(k, &p, false);
            product_free(&p);
        }
    }
}

static void test_products(void **state) {
    (void)state;
    for_each_table(check_products);
}

/* A column or a row that is no number stays alone. */
static void check_product_nan(const struct kernels *k) {
    struct product p = product_make(13, 20, 40);
    float *c = support_alloc(13 * (40 + PAD) * sizeof *c);
    p.wide[7 * 40 + 33] = NAN;
    p.a[5 * (20 + PAD) + 2] = NAN;
    product_run(k, &p, false, c, 0, 13, 0, 20, false);
    for (size_t r = 0; r < 13; r++)
        for (size_t j = 0; j < 40; j++)
            assert_int_equal(isnan(c[r * (40 + PAD) + j]) != 0, r == 5 || j == 33);
    product_free(&p);
    free(c);
}

static void test_product_nan(void **state) {
    (void)state;
    for_each_table(check_product_nan);
}

/* ---- the softmax ---------------------------------------------------------------------------- */

#define ROWS        5
#define NOTHING_YET 7.0f // in out before the first scores

/* `rows` queries with the same past: nothing, or a sum relative to `max`. */
static void make_states(struct attn_state *states, float *out, size_t rows, size_t head_dim,
                        float max) {
    for (size_t r = 0; r < rows; r++) {
        states[r] = (struct attn_state){max, max > -INFINITY ? 3.0f : 0.0f, out + r * head_dim};
        for (size_t d = 0; d < head_dim; d++)
            states[r].out[d] = max > -INFINITY ? (float)(r + d) : NOTHING_YET;
    }
}

static float greatest(const float *x, size_t n) {
    float max = x[0];
    for (size_t i = 1; i < n; i++) max = x[i] > max ? x[i] : max;
    return max;
}

/* Row r after the step: max says what everything is relative to. */
static void expect_row(const struct kernels *k, const struct attn_state *s, const float *in,
                       const float *got, size_t n, size_t head_dim, float scale, float before,
                       size_t r) {
    float top = scale * greatest(in, n);
    bool raised = top > before + ATTN_SLACK;
    assert_true(s->max == (raised ? top : before));
    double fall = before > -INFINITY ? (double)before - (double)s->max : 0;
    double shrink = exp(fall), sum = before > -INFINITY ? 3 * shrink : 0;
    for (size_t i = 0; i < n; i++) {
        double x = (double)in[i] * (double)scale - (double)s->max, want = exp(x);
        support_close(k->isa, "exp", i, (double)got[i], want, (2e-7 + 1.2e-7 * fabs(x)) * want);
        sum += (double)got[i];
    }
    support_close(k->isa, "sum", r, (double)s->sum, sum, 1e-6 * sum);
    for (size_t d = 0; d < head_dim; d++) {
        double want = before > -INFINITY ? (double)(r + d) * shrink : (double)NOTHING_YET;
        support_close(k->isa, "out", d, (double)s->out[d], want,
                      (1e-6 + 1.2e-7 * fabs(fall)) * want + (double)(r + d) * 0x1p-149);
    }
}

static void check_softmax(const struct kernels *k, size_t n, size_t head_dim, float scale,
                          float before) {
    struct attn_state states[ROWS], alone;
    size_t ld = n + PAD;
    float *in = random_floats(ROWS * ld, 30, (uint32_t)(81 + n));
    float *got = support_alloc(ROWS * ld * sizeof *got), *one = support_alloc(n * sizeof *one);
    float *out = support_alloc(ROWS * head_dim * sizeof *out);
    float *one_out = support_alloc(ROWS * head_dim * sizeof *one_out);
    memcpy(got, in, ROWS * ld * sizeof *in);
    make_states(states, out, ROWS, head_dim, before);
    k->attn_softmax(states, got, ld, ROWS, n, scale, head_dim);
    for (size_t r = 0; r < ROWS; r++) {
        expect_row(k, &states[r], in + r * ld, got + r * ld, n, head_dim, scale, before, r);
        support_same_bits(k->isa, "behind the scores", got + r * ld + n, in + r * ld + n, PAD);

        struct attn_state again[ROWS];
        make_states(again, one_out, ROWS, head_dim, before);
        alone = again[r];
        memcpy(one, in + r * ld, n * sizeof *one);
        k->attn_softmax(&alone, one, n, 1, n, scale, head_dim);
        support_same_bits(k->isa, "alone", one, got + r * ld, n);
        support_same_bits(k->isa, "alone: sum", &alone.sum, &states[r].sum, 1);
        support_same_bits(k->isa, "alone: out", alone.out, states[r].out, head_dim);
    }
    free(in);
    free(got);
    free(one);
    free(out);
    free(one_out);
}

static void check_softmaxes(const struct kernels *k) {
    static const size_t counts[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 127, 128};
    static const size_t dims[] = {1, 8, 17, 64, 80, 128};
    static const float befores[] = {-INFINITY, -70, 0, 60};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        for (size_t b = 0; b < sizeof befores / sizeof *befores; b++) {
            check_softmax(k, counts[c], dims[c % 6], 0.125f, befores[b]);
            check_softmax(k, counts[c], dims[c % 6], 1, befores[b]);
        }
}

static void test_softmax(void **state) {
    (void)state;
    for_each_table(check_softmaxes);
}

/* The whole range below a maximum of 0, subnormal results included. */
static void check_exp_range(const struct kernels *k) {
    for (float from = -110; from < ATTN_SLACK - 64 * 0.0057f; from += 0.37f) {
        float x[64], out = 0;
        struct attn_state s = {.max = 0, .sum = 0, .out = &out};
        for (int i = 0; i < 64; i++) x[i] = from + (float)i * 0.0057f;
        k->attn_softmax(&s, x, 64, 1, 64, 1, 1);
        assert_true(s.max == 0);
        for (int i = 0; i < 64; i++) {
            double want = exp((double)(from + (float)i * 0.0057f));
            support_close(k->isa, "exp", (size_t)i, (double)x[i], want,
                          2e-7 * want + (want < (double)FLT_MIN ? 0x1p-149 : 0));
        }
    }
}

/* What is no number must not look like one; what is far below counts as nothing. */
static void check_odd_scores(const struct kernels *k) {
    static const float odd[] = {NAN, INFINITY, -INFINITY, -1e30f};
    for (size_t i = 0; i < 4; i++) {
        for (size_t at = 0; at < 20; at++) {
            float x[20], out = 1;
            struct attn_state s = {.max = -2, .sum = 1, .out = &out};
            for (int j = 0; j < 20; j++) x[j] = -2;
            x[at] = odd[i];
            k->attn_softmax(&s, x, 20, 1, 20, 1, 1);
            if (i < 2)
                assert_true(isnan(s.sum));
            else
                assert_true(s.sum == 20 && x[at] == 0 && s.max == -2 && out == 1);
        }
    }
}

static void test_softmax_range(void **state) {
    (void)state;
    for_each_table(check_exp_range);
    for_each_table(check_odd_scores);
}

/* ---- merging -------------------------------------------------------------------------------- */

static void check_merge(const struct kernels *k) {
    static const float maxima[][2] = {{1, 1}, {0, 5}, {7, -3}, {-50, 49}, {-INFINITY, 2}};
    for (size_t head_dim = 1; head_dim <= 100; head_dim += 11) {
        for (size_t m = 0; m < sizeof maxima / sizeof *maxima; m++) {
            float *a = random_floats(head_dim, 5, 83), *b = random_floats(head_dim, 5, 84);
            float *was = random_floats(head_dim, 5, 83);
            struct attn_state s = {maxima[m][0], 3, a}, other = {maxima[m][1], 11, b};
            double max = fmax((double)s.max, (double)other.max);
            double shrink = exp((double)s.max - max), grow = exp((double)other.max - max);
            k->attn_merge(&s, &other, head_dim);
            assert_true((double)s.max == max);
            support_close(k->isa, "sum", m, (double)s.sum, 3 * shrink + 11 * grow, 1e-5);
            for (size_t d = 0; d < head_dim; d++)
                support_close(k->isa, "merged", d, (double)a[d],
                              (double)was[d] * shrink + (double)b[d] * grow, 3e-6);
            free(a);
            free(b);
            free(was);
        }
    }
}

static void test_merge(void **state) {
    (void)state;
    for_each_table(check_merge);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products), cmocka_unit_test(test_product_nan),
        cmocka_unit_test(test_softmax),  cmocka_unit_test(test_softmax_range),
        cmocka_unit_test(test_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
