// SPDX-License-Identifier: MIT
/* test_attention.c: paged attention against the plain formula in double, and its promise: the same
 * bits for a token whatever it is computed together with. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <omp.h>
#include <string.h>

#include "common/dtype.h"
#include "worker/compute/attention.h"

#define HEADS     6 // of this rank: query heads 3 … 8 of 12, in groups of 4: KV heads 0 … 2
#define FIRST     3
#define GROUP     4
#define KV_HEADS  3
#define MAX_DIM   128
#define POSITIONS 100

static uint32_t state;

static float next_value(void) {
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / 8388608.0f - 1;
}

static const uint32_t blocks[] = {6, 0, 3, 5};
static float keys[KV_HEADS][POSITIONS][MAX_DIM], values[KV_HEADS][POSITIONS][MAX_DIM];
static float q[POSITIONS * HEADS * MAX_DIM];

static struct kv *make_cache(const struct kernels *k, uint32_t dim, bool f32) {
    const struct kv_shape shape = {
        .n_layers = 2, .n_heads = KV_HEADS, .head_dim = dim, .n_blocks = 7, .f32 = f32};
    struct kv *kv;
    assert_int_equal(kv_create(&kv, &shape), ERR_OK);
    state = dim;
    for (uint32_t h = 0; h < KV_HEADS; h++) {
        for (uint32_t p = 0; p < POSITIONS; p++) {
            for (uint32_t i = 0; i < dim; i++) {
                keys[h][p][i] = next_value() * 3;
                values[h][p][i] = next_value();
            }
            const struct kv_row row = {.position = p, .blocks = blocks};
            kv_store(kv, k, 1, h, &row, keys[h][p], values[h][p]);
        }
    }
    for (size_t i = 0; i < POSITIONS * HEADS * dim; i++) q[i] = next_value() * 3;
    return kv;
}

static double rounded(float x, bool f32) {
    return f32 ? (double)x : (double)dtype_f16_to_f32(dtype_f32_to_f16(x));
}

static void expect_head(const float *got, const float *query, uint32_t h, uint32_t position,
                        uint32_t dim, bool f32) {
    double score[POSITIONS], out[MAX_DIM] = {0}, sum = 0;
    for (uint32_t p = 0; p <= position; p++) {
        score[p] = 0;
        for (uint32_t i = 0; i < dim; i++)
            score[p] += (double)query[i] * rounded(keys[h][p][i], f32);
        sum += exp(score[p] / sqrt(dim));
    }
    for (uint32_t p = 0; p <= position; p++)
        for (uint32_t i = 0; i < dim; i++)
            out[i] += exp(score[p] / sqrt(dim)) / sum * rounded(values[h][p][i], f32);
    for (uint32_t i = 0; i < dim; i++)
        if (!(fabs((double)got[i] - out[i]) < 2e-5))
            fail_msg("KV head %u position %u element %u: %g, wanted %g", h, position, i,
                     (double)got[i], out[i]);
}

static void check(const struct kernels *k, uint32_t dim, bool f32) {
    struct kv *kv = make_cache(k, dim, f32);
    const struct attention a = {
        .kernels = k, .kv = kv, .n_heads = HEADS, .first_head = FIRST, .group = GROUP};
    static float all[POSITIONS * HEADS * MAX_DIM], one[HEADS * MAX_DIM];
    struct kv_row rows[POSITIONS];
    for (uint32_t p = 0; p < POSITIONS; p++)
        rows[p] = (struct kv_row){.position = p, .blocks = blocks};

    omp_set_num_threads(2);
    attention_apply(&a, all, q, 1, rows, POSITIONS);
    omp_set_num_threads(1);
    for (uint32_t p = 0; p < POSITIONS; p++) {
        const float *mine = all + (size_t)p * HEADS * dim;
        for (uint32_t h = 0; h < HEADS; h++)
            expect_head(mine + h * dim, q + ((size_t)p * HEADS + h) * dim, (FIRST + h) / GROUP, p,
                        dim, f32);
        attention_apply(&a, one, q + (size_t)p * HEADS * dim, 1, &rows[p], 1);
        assert_memory_equal(one, mine, HEADS * dim * sizeof *one);
    }
    kv_free(kv);
}

static void test_formula(void **unused) {
    (void)unused;
    static const char *const tables[] = {"reference", "avx2", "avx512-vnni"};
    static const uint32_t dims[] = {32, 64, 80, 128};
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        const struct kernels *k = kernels_by_name(tables[t]);
        if (!k) continue;
        for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
            check(k, dims[d], false);
            check(k, dims[d], true);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_formula)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
