// SPDX-License-Identifier: MIT
/* test_kernels_vector.c: the vector functions of every table, over sizes with every kind of tail,
 * against float64 or the definition. */

#include "tests/kernels/kernels_support.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const size_t sizes[] = {1,  2,  3,  7,  8,  9,  15,  16,  17,  31,
                               32, 33, 47, 63, 64, 80, 100, 127, 129, 1000};
#define SIZE_COUNT (sizeof sizes / sizeof sizes[0])

typedef void vector_check(const struct kernels *k, size_t n);

static void for_each_size(vector_check *check) {
    for (const struct kernels *const *k = support_tables(); *k; k++)
        for (size_t i = 0; i < SIZE_COUNT; i++) check(*k, sizes[i]);
}

/* n random floats of magnitude below `size`; free() them. */
static float *random_floats(size_t n, float size, uint32_t seed) {
    float *x = support_alloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = size * support_uniform(&seed);
    return x;
}

/* ---- quantize_row --------------------------------------------------------------------------- */

/* One row, its block sums and the zeros behind n against the definition in kernels.h. */
static void check_quantize_definition(const struct kernels *k, size_t n) {
    float *x = random_floats(n, 5, 61);
    size_t cols = (n + 31) / 32 * 32 + 32;
    struct act_rows a = support_act_rows(cols, 2);
    k->quantize_row(&a, 1, x, n);
    for (size_t b = 0; b < cols / 32; b++) {
        const struct act_block *block = act_rows_block(&a, 1, b);
        float greatest = 0;
        int sum = 0, low = 0;
        for (size_t i = 32 * b; i < 32 * b + 32 && i < n; i++)
            greatest = fmaxf(greatest, fabsf(x[i]));
        support_close(k->isa, "scale", b, (double)block->scale, (double)(greatest / 127), 0);
        for (size_t i = 0; i < 32; i++) {
            float v = 32 * b + i < n ? x[32 * b + i] : 0;
            int want = greatest > 0 ? (int)rintf(v * (127 / greatest)) : 0;
            assert_int_equal(block->q[i], want);
            sum += want;
            if (i < 16) low += want;
        }
        assert_int_equal(block->minus_sum, -sum);
        assert_int_equal(block->minus_halves[0], -low);
        assert_int_equal(block->minus_halves[1], low - sum);
    }
    free(x);
    free(a.blocks);
}

static void test_quantize_definition(void **state) {
    (void)state;
    for_each_size(check_quantize_definition);
}

/* Values that a conversion to integers could choke on, one per block; the same bits everywhere,
 * also of the second row.  A scale below FLT_MIN is none. */
static void test_quantize_odd_values(void **state) {
    (void)state;
    static const float odd[] = {NAN,           INFINITY,       -INFINITY,    FLT_MAX, -FLT_MAX,
                                127 * FLT_MIN, -126 * FLT_MIN, FLT_TRUE_MIN, -1e-44f, 0};
    enum { BLOCKS = sizeof odd / sizeof odd[0], COLS = 32 * BLOCKS, ODD_LEAST = 5 };
    const struct kernels *reference = kernels_by_name("reference");
    for (const struct kernels *const *k = support_tables(); *k; k++) {
        struct act_rows want = support_act_rows(COLS, 2), got = support_act_rows(COLS, 2);
        float x[COLS];
        for (size_t i = 0; i < COLS; i++)
            x[i] = i % 32 == 5 ? odd[i / 32] : 0x1p-149f * (float)(i % 3);
        reference->quantize_twice(&want, 0, 1, x, COLS);
        (*k)->quantize_twice(&got, 0, 1, x, COLS);
        for (size_t b = 0; b < BLOCKS; b++) {
            const struct act_block *g = act_rows_block(&got, 1, b);
            const struct act_block *w = act_rows_block(&want, 1, b);
            assert_memory_equal(g->q, w->q, ACT_BLOCK);
            assert_int_equal(isfinite(g->scale) != 0, isfinite(w->scale) != 0);
            if (isfinite(g->scale)) assert_float_equal(g->scale, w->scale, 0);
        }
        (*k)->quantize_row(&got, 0, x, COLS);
        for (size_t b = 0; b < BLOCKS; b++) {
            const struct act_block *g = act_rows_block(&got, 0, b);
            const struct act_block *w = act_rows_block(&want, 0, b);
            assert_memory_equal(g->q, w->q, ACT_BLOCK);
            assert_memory_equal(g->minus_halves, w->minus_halves, sizeof g->minus_halves);
            assert_int_equal(g->minus_sum, w->minus_sum);
            assert_int_equal(isfinite(g->scale) != 0, isfinite(odd[b]) != 0);
            if (isfinite(odd[b])) assert_float_equal(g->scale, w->scale, 0);
            if (b == ODD_LEAST) assert_true(g->scale == FLT_MIN && g->q[5] == 127);
            if (b > ODD_LEAST) assert_true(g->scale == 0 && g->q[5] == 0);
        }
        free(want.blocks);
        free(got.blocks);
    }
}

/* Both rows of quantize_twice: the first is quantize_row's, the second that of the rest. */
static void check_quantize_twice(const struct kernels *k, size_t n) {
    float *x = random_floats(n, 5, 62);
    const size_t cols = (n + 31) / 32 * 32 + 32;
    float *rest = support_alloc(cols * sizeof *rest);
    struct act_rows want = support_act_rows(cols, 2), got = support_act_rows(cols, 2);
    double first = 0, second = 0;

    if (n > 40) x[40] = NAN; // a block of its own
    k->quantize_row(&want, 0, x, n);
    for (size_t i = 0; i < cols; i++) {
        const struct act_block *b = act_rows_block(&want, 0, i / 32);
        rest[i] = (i < n ? x[i] : 0) - b->scale * (float)b->q[i % 32];
    }
    k->quantize_row(&want, 1, rest, cols);
    k->quantize_twice(&got, 0, 1, x, n);
    for (size_t t = 0; t < 2; t++)
        for (size_t b = 0; b < cols / 32; b++) {
            const struct act_block *g = act_rows_block(&got, t, b);
            const struct act_block *w = act_rows_block(&want, t, b);
            if (n > 40 && b == 1)
                assert_true(isnan(g->scale) && g->q[8] == 0);
            else
                assert_memory_equal(g, w, sizeof *g);
        }
    for (size_t i = 0; i < 32 && i < n; i++) {
        const struct act_block *a = act_rows_block(&got, 0, 0), *b = act_rows_block(&got, 1, 0);
        first = fmax(first, fabs((double)x[i] - (double)a->scale * a->q[i]));
        second = fmax(second,
                      fabs((double)x[i] - (double)a->scale * a->q[i] - (double)b->scale * b->q[i]));
    }
    assert_true(second <= first / 200 + 5 * 0x1p-24); // half of 1/127 of it, and f32
    free(x);
    free(rest);
    free(want.blocks);
    free(got.blocks);
}

static void test_quantize_twice(void **state) {
    (void)state;
    for_each_size(check_quantize_twice);
}

/* ---- elementwise ---------------------------------------------------------------------------- */

static void check_rms_norm(const struct kernels *k, size_t n) {
    float *x = random_floats(n, 9, 71), *w = random_floats(n, 2, 72);
    float *y = support_alloc(n * sizeof *y);
    double squares = 0;
    for (size_t i = 0; i < n; i++) squares += (double)x[i] * (double)x[i];
    k->rms_norm(y, x, w, n, 1e-5f);
    for (size_t i = 0; i < n; i++) {
        double want = (double)x[i] * (double)w[i] / sqrt(squares / (double)n + 1e-5);
        support_close(k->isa, "rms_norm", i, (double)y[i], want, 4e-7 * fabs(want));
    }
    k->rms_norm(x, x, w, n, 1e-5f); // in place
    support_same_bits(k->isa, "rms_norm in place", x, y, n);
    free(x);
    free(w);
    free(y);
}

static void test_rms_norm(void **state) {
    (void)state;
    for_each_size(check_rms_norm);
}

static void check_add(const struct kernels *k, size_t n) {
    float *x = random_floats(n, 9, 73), *y = random_floats(n, 9, 74);
    float *want = support_alloc(n * sizeof *want);
    for (size_t i = 0; i < n; i++) want[i] = y[i] + x[i];
    k->add(y, x, n);
    support_same_bits(k->isa, "add", y, want, n);
    free(x);
    free(y);
    free(want);
}

static void test_add(void **state) {
    (void)state;
    for_each_size(check_add);
}

static void check_silu_mul(const struct kernels *k, size_t n) {
    float *gate = random_floats(n, 20, 75), *up = random_floats(n, 3, 76);
    float *y = support_alloc(n * sizeof *y);
    gate[0] = -200; // e^200 overflows: silu is -0
    k->silu_mul(y, gate, up, n);
    for (size_t i = 0; i < n; i++) {
        double want = (double)gate[i] / (1 + exp(-(double)gate[i])) * (double)up[i];
        support_close(k->isa, "silu_mul", i, (double)y[i], want, 4e-7 * fabs(want) + 1e-44);
    }
    k->silu_mul(gate, gate, up, n); // in place
    support_same_bits(k->isa, "silu_mul in place", gate, y, n);
    free(gate);
    free(up);
    free(y);
}

static void test_silu_mul(void **state) {
    (void)state;
    for_each_size(check_silu_mul);
}

/* The whole range of e^x, to where it overflows and to where it vanishes. */
static void test_silu_range(void **state) {
    (void)state;
    for (const struct kernels *const *k = support_tables(); *k; k++) {
        for (float from = -110; from < 110; from += 0.37f) {
            float gate[64], up[64], y[64];
            for (int i = 0; i < 64; i++) {
                gate[i] = from + (float)i * 0.0057f;
                up[i] = 1;
            }
            (*k)->silu_mul(y, gate, up, 64);
            for (int i = 0; i < 64; i++) {
                double want = (double)gate[i] / (1 + exp(-(double)gate[i]));
                support_close((*k)->isa, "silu", (size_t)i, (double)y[i], want,
                              4e-7 * fabs(want) + (gate[i] < -88.7f ? 2.7e-37 : 0));
            }
        }
        const float odd[] = {NAN, INFINITY, -1e30f}, ones[] = {1, 1, 1};
        float y[3];
        (*k)->silu_mul(y, odd, ones, 3);
        assert_true(isnan(y[0]) && isinf(y[1]) && y[2] == 0);
    }
}

static void check_greatest_and_sum_exp(const struct kernels *k, size_t n) {
    float *x = random_floats(n, 20, 77), max = -INFINITY;
    const float scales[] = {1, 0.4f, 30};
    x[n / 2] = -INFINITY;
    for (size_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
    assert_true(k->greatest(x, n) == max);
    for (size_t s = 0; s < sizeof scales / sizeof *scales && n > 1; s++) {
        double want = 0;
        for (size_t i = 0; i < n; i++)
            want += exp((double)scales[s] * ((double)x[i] - (double)max));
        /* A product of up to 1,200 is rounded before it becomes an exponent. */
        support_close(k->isa, "sum_exp", n, k->sum_exp(x, n, max, scales[s]), want, 1e-4 * want);
    }
    support_close(k->isa, "sum_exp", 0, k->sum_exp(x, 0, 0, 1), 0, 0);
    free(x);
}

static void test_greatest_and_sum_exp(void **state) {
    (void)state;
    for_each_size(check_greatest_and_sum_exp);
    for (const struct kernels *const *k = support_tables(); *k; k++) {
        enum { N = 100003 };
        float *equal = support_alloc(N * sizeof *equal);
        for (size_t i = 0; i < N; i++) equal[i] = 3;
        assert_true((*k)->sum_exp(equal, N, 3, 1) == N);
        for (size_t i = 1; i < N; i++) equal[i] = 3 - 20.7f; // in f32 such terms vanish beside 1
        double want = 1 + (N - 1) * exp((double)equal[1] - 3);
        support_close((*k)->isa, "sum_exp", N, (*k)->sum_exp(equal, N, 3, 1), want, 1e-6);
        for (size_t i = 0; i < N; i++) equal[i] = 3;
        equal[N - 1] = 4;
        assert_true((*k)->greatest(equal, N) == 4 && (*k)->greatest(equal, 0) == -INFINITY);
        free(equal);
    }
}

/* ---- conversions ---------------------------------------------------------------------------- */

static void test_f16_to_f32_all(void **state) {
    (void)state;
    uint16_t *halves = support_alloc(65536 * sizeof *halves);
    float *got = support_alloc(65536 * sizeof *got), *want = support_alloc(65536 * sizeof *want);
    for (uint32_t i = 0; i < 65536; i++) {
        halves[i] = (uint16_t)i;
        want[i] = dtype_f16_to_f32((uint16_t)i);
    }
    for (const struct kernels *const *k = support_tables(); *k; k++) {
        (*k)->f16_to_f32(got, halves, 65536);
        support_same_bits((*k)->isa, "f16_to_f32", got, want, 65536);
    }
    free(halves);
    free(got);
    free(want);
}

static void check_f32_to_f16(const struct kernels *k, size_t n) {
    uint16_t *got = support_alloc(n * sizeof *got);
    float *x = support_alloc(n * sizeof *x), *back = support_alloc(n * sizeof *back);
    uint32_t seed = 91;
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < n; i++) { // f32 with the exponents of f16, ties among them
            uint32_t bits = support_random(&seed), exponent = 96 + bits % 50;
            bits = (bits & 0x807FF000u) | exponent << 23 | (round % 2 ? bits >> 20 : 0);
            memcpy(x + i, &bits, sizeof bits);
        }
        k->f32_to_f16(got, x, n);
        for (size_t i = 0; i < n; i++) assert_int_equal(got[i], dtype_f32_to_f16(x[i]));
        k->f16_to_f32(back, got, n);
        for (size_t i = 0; i < n; i++) assert_true(back[i] == dtype_f16_to_f32(got[i]));
    }
    free(got);
    free(x);
    free(back);
}

static void test_f32_to_f16(void **state) {
    (void)state;
    for_each_size(check_f32_to_f16);
    for (const struct kernels *const *k = support_tables(); *k; k++) {
        static const float odd[] = {INFINITY, -INFINITY, 65519.9f, 65520, 1e30f, -0.0f, 0x1p-25f};
        static const uint16_t want[] = {0x7C00, 0xFC00, 0x7BFF, 0x7C00, 0x7C00, 0x8000, 0};
        uint16_t got[7], nan;
        (*k)->f32_to_f16(got, odd, 7);
        assert_memory_equal(got, want, sizeof want);
        (*k)->f32_to_f16(&nan, &(float){NAN}, 1);
        assert_true((nan & 0x7FFF) > 0x7C00);
    }
}

/* ---- rotary positions ----------------------------------------------------------------------- */

static void check_rope(const struct kernels *k, size_t half) {
    const size_t dim = 2 * half;
    float *x = random_floats(dim, 4, 95), *angle = random_floats(half, 3, 96);
    float *c = support_alloc(half * sizeof *c), *s = support_alloc(half * sizeof *s);
    float *inter = support_alloc(dim * sizeof *inter), *neox = support_alloc(dim * sizeof *neox);
    for (size_t i = 0; i < half; i++) {
        c[i] = cosf(angle[i]);
        s[i] = sinf(angle[i]);
    }
    memcpy(inter, x, dim * sizeof *x);
    memcpy(neox, x, dim * sizeof *x);
    k->rope_interleaved(inter, c, s, dim);
    k->rope_neox(neox, c, s, dim);
    for (int layout = 0; layout < 2; layout++) {
        const float *got = layout ? neox : inter;
        for (size_t i = 0; i < half; i++) {
            size_t ia = layout ? i : 2 * i, ib = layout ? half + i : 2 * i + 1;
            double a = (double)x[ia], b = (double)x[ib], cd = (double)c[i], sd = (double)s[i];
            double bound = 2e-7 * (fabs(a) + fabs(b));
            support_close(k->isa, layout ? "neox" : "interleaved", ia, (double)got[ia],
                          a * cd - b * sd, bound);
            support_close(k->isa, layout ? "neox" : "interleaved", ib, (double)got[ib],
                          b * cd + a * sd, bound);
        }
    }
    free(x);
    free(angle);
    free(c);
    free(s);
    free(inter);
    free(neox);
}

static void test_rope(void **state) {
    (void)state;
    for_each_size(check_rope);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantize_definition),
        cmocka_unit_test(test_quantize_odd_values),
        cmocka_unit_test(test_quantize_twice),
        cmocka_unit_test(test_rms_norm),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_silu_mul),
        cmocka_unit_test(test_greatest_and_sum_exp),
        cmocka_unit_test(test_silu_range),
        cmocka_unit_test(test_f16_to_f32_all),
        cmocka_unit_test(test_f32_to_f16),
        cmocka_unit_test(test_rope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
