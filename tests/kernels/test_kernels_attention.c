// SPDX-License-Identifier: MIT
/* test_kernels_attention.c: the attention functions of every table against float64, for f16 and
 * f32 caches, and that a position's bits do not depend on the positions beside it. */

#include "tests/kernels/kernels_support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const size_t head_dims[] = {1, 7, 8, 15, 16, 17, 32, 33, 64, 80, 100, 128, 256, 1000, 1024};
static const size_t counts[] = {1, 2, 3, 4, 5, 16, 19};

/* One block of a cache in both types, holding the same numbers, a query and probabilities. */
struct block {
    size_t n, head_dim;
    float *wide;      // [n, head_dim]
    uint16_t *narrow; // [n, head_dim]
    float *query;     // [head_dim]
    float *p;         // [n]
};

static struct block block_make(size_t n, size_t head_dim) {
    struct block b = {.n = n, .head_dim = head_dim};
    uint32_t seed = 101;
    b.wide = support_alloc(n * head_dim * sizeof *b.wide);
    b.narrow = support_alloc(n * head_dim * sizeof *b.narrow);
    b.query = support_alloc(head_dim * sizeof *b.query);
    b.p = support_alloc(n * sizeof *b.p);
    for (size_t i = 0; i < n * head_dim; i++) {
        b.narrow[i] = dtype_f32_to_f16(2 * support_uniform(&seed));
        b.wide[i] = dtype_f16_to_f32(b.narrow[i]);
    }
    for (size_t d = 0; d < head_dim; d++) b.query[d] = support_uniform(&seed);
    for (size_t i = 0; i < n; i++) b.p[i] = support_uniform(&seed);
    return b;
}

static void block_free(struct block *b) {
    free(b->wide);
    free(b->narrow);
    free(b->query);
    free(b->p);
}

static void scores_of(const struct kernels *k, const struct block *b, bool f16, float *scores,
                      size_t first, size_t n) {
    size_t at = first * b->head_dim;
    if (f16)
        k->attn_scores_f16(scores, b->query, b->narrow + at, n, b->head_dim, 0.125f);
    else
        k->attn_scores_f32(scores, b->query, b->wide + at, n, b->head_dim, 0.125f);
}

static void check_scores(const struct kernels *k, const struct block *b, bool f16) {
    float *scores = support_alloc(b->n * sizeof *scores);
    scores_of(k, b, f16, scores, 0, b->n);
    for (size_t i = 0; i < b->n; i++) {
        double sum = 0, magnitude = 0;
        for (size_t d = 0; d < b->head_dim; d++) {
            double term = (double)b->query[d] * (double)b->wide[i * b->head_dim + d];
            sum += term;
            magnitude += fabs(term);
        }
        support_close(k->isa, "score", i, (double)scores[i], sum / 8, 0x1p-20 * magnitude / 8);
        float alone;
        scores_of(k, b, f16, &alone, i, 1);
        support_same_bits(k->isa, "score alone", &alone, scores + i, 1);
    }
    free(scores);
}

static void values_of(const struct kernels *k, const struct block *b, bool f16, float *out,
                      size_t first, size_t n) {
    size_t at = first * b->head_dim;
    if (f16)
        k->attn_values_f16(out, b->p + first, b->narrow + at, n, b->head_dim);
    else
        k->attn_values_f32(out, b->p + first, b->wide + at, n, b->head_dim);
}

static void check_values(const struct kernels *k, const struct block *b, bool f16) {
    float *out = support_alloc(b->head_dim * sizeof *out);
    float *steps = support_alloc(b->head_dim * sizeof *steps);
    for (size_t d = 0; d < b->head_dim; d++) out[d] = steps[d] = (float)d * 0.01f;
    values_of(k, b, f16, out, 0, b->n);
    for (size_t d = 0; d < b->head_dim; d++) {
        double sum = (double)((float)d * 0.01f), magnitude = sum;
        for (size_t i = 0; i < b->n; i++) {
            double term = (double)b->p[i] * (double)b->wide[i * b->head_dim + d];
            sum += term;
            magnitude += fabs(term);
        }
        support_close(k->isa, "value", d, (double)out[d], sum, 0x1p-20 * magnitude);
    }
    for (size_t i = 0; i < b->n; i++) values_of(k, b, f16, steps, i, 1);
    support_same_bits(k->isa, "values one by one", steps, out, b->head_dim);
    free(out);
    free(steps);
}

static void for_each_block(void (*check)(const struct kernels *, const struct block *, bool)) {
    for (size_t h = 0; h < sizeof head_dims / sizeof *head_dims; h++) {
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            struct block b = block_make(counts[c], head_dims[h]);
            for (const struct kernels *const *k = support_tables(); *k; k++) {
                check(*k, &b, true);
                check(*k, &b, false);
            }
            block_free(&b);
        }
    }
}

static void test_scores(void **state) {
    (void)state;
    for_each_block(check_scores);
}

static void test_values(void **state) {
    (void)state;
    for_each_block(check_values);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
