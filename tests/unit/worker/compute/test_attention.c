// SPDX-License-Identifier: MIT
/* test_attention.c: paged attention against the plain formula in double, and its promise: the same
 * bits for a token whatever it is computed together with, and however the work is divided. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "common/dtype.h"
#include "worker/compute/attend.h"
#include "worker/compute/attention.h"

#define LAYER 1 // of 2

/* The heads of one rank, with a sequence in its cache. */
struct rig {
    const struct kernels *kernels;
    uint32_t n_heads, first_head, group, n_kv_heads, dim, positions;
    uint32_t first; // position that has a result
    bool f32;
    struct kv *kv;
    uint32_t *blocks;     // [of the sequence]
    float *keys, *values; // [n_kv_heads, positions, dim] as the cache rounds them
    float *q;             // [positions, n_heads, dim]
    struct kv_row *rows;  // [positions]
    float *all; // [positions, n_heads, dim] results: a single thread makes all of them at once
};

static float next_value(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / 8388608.0f - 1;
}

static float *random_floats(size_t n, float size, uint32_t state) {
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) x[i] = size * next_value(&state);
    return x;
}

static void round_to_f16(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = dtype_f16_to_f32(dtype_f32_to_f16(x[i]));
}

static void store(const struct rig *r, uint32_t begin, uint32_t end) {
    for (uint32_t h = 0; h < r->n_kv_heads; h++)
        for (uint32_t p = begin; p < end; p++) {
            size_t at = ((size_t)h * r->positions + p) * r->dim;
            kv_store(r->kv, r->kernels, LAYER, h, &r->rows[p], r->keys + at, r->values + at);
        }
}

/* The tokens rows[0 … n) with the queries q, by `threads` threads. */
static void attend(const struct rig *r, int threads, float *out, const float *q,
                   const struct kv_row *rows, size_t n) {
    const struct attention_options o = {.kernels = r->kernels,
                                        .kv = r->kv,
                                        .n_heads = r->n_heads,
                                        .first_head = r->first_head,
                                        .n_kv_heads = r->n_kv_heads,
                                        .first_kv_head = r->first_head / r->group,
                                        .group = r->group,
                                        .head_dim = r->dim,
                                        .max_tokens = n};
    struct attention *a;
    omp_set_num_threads(threads);
    assert_int_equal(attention_create(&a, &o), ERR_OK);
    attention_set_rows(a, rows, n);
    attention_apply(a, out, q, LAYER);
    attention_free(a);
}

/* Blocks of the sequence lie apart from each other, and two more sequences fit. */
static void rig_init(struct rig *r) {
    uint32_t n_blocks = (r->positions + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS;
    size_t cached = (size_t)r->n_kv_heads * r->positions * r->dim;
    size_t width = (size_t)r->n_heads * r->dim;
    const struct kv_shape shape = {.n_layers = 2,
                                   .n_heads = r->n_kv_heads,
                                   .head_dim = r->dim,
                                   .n_blocks = 2 * n_blocks,
                                   .f32 = r->f32};
    assert_int_equal(kv_create(&r->kv, &shape), ERR_OK);
    r->blocks = malloc(n_blocks * sizeof *r->blocks);
    r->rows = malloc(r->positions * sizeof *r->rows);
    assert_true(r->blocks && r->rows);
    for (uint32_t i = 0; i < n_blocks; i++) r->blocks[i] = 2 * n_blocks - 1 - 2 * i;
    for (uint32_t p = 0; p < r->positions; p++)
        r->rows[p] = (struct kv_row){.position = p, .blocks = r->blocks};
    r->keys = random_floats(cached, 3, 1);
    r->values = random_floats(cached, 1, 2);
    if (!r->f32) round_to_f16(r->keys, cached);
    if (!r->f32) round_to_f16(r->values, cached);
    r->q = random_floats(r->positions * width, 3, 3);
    r->all = random_floats(r->positions * width, 0, 4);
    store(r, 0, r->positions);
    size_t at = r->first * width;
    attend(r, 1, r->all + at, r->q + at, r->rows + r->first, r->positions - r->first);
}

static void rig_deinit(struct rig *r) {
    kv_free(r->kv);
    free(r->blocks);
    free(r->rows);
    free(r->keys);
    free(r->values);
    free(r->q);
    free(r->all);
}

/* --- the formula --- */

static void expect_head(const struct rig *r, uint32_t position, uint32_t head) {
    size_t at = ((size_t)position * r->n_heads + head) * r->dim;
    size_t kv_head = (r->first_head + head) / r->group - r->first_head / r->group;
    const float *keys = r->keys + kv_head * r->positions * r->dim;
    const float *values = r->values + kv_head * r->positions * r->dim;
    double *p = calloc(position + 1u + r->dim, sizeof *p), *out = p + position + 1, sum = 0;
    assert_non_null(p);
    for (uint32_t i = 0; i <= position; i++) {
        for (uint32_t d = 0; d < r->dim; d++)
            p[i] += (double)r->q[at + d] * (double)keys[i * r->dim + d];
        p[i] = exp(p[i] / sqrt(r->dim));
        sum += p[i];
    }
    for (uint32_t i = 0; i <= position; i++)
        for (uint32_t d = 0; d < r->dim; d++) out[d] += p[i] / sum * (double)values[i * r->dim + d];
    for (uint32_t d = 0; d < r->dim; d++)
        if (!(fabs((double)r->all[at + d] - out[d]) < 2e-5))
            fail_msg("%s: head %u position %u element %u: %g, wanted %g", r->kernels->isa, head,
                     position, d, (double)r->all[at + d], out[d]);
    free(p);
}

/* --- the same bits --- */

/* rows[0 … n) and their queries are copies of these positions. */
static void expect_same(const struct rig *r, int threads, const uint32_t *positions, size_t n,
                        const char *how) {
    size_t width = (size_t)r->n_heads * r->dim;
    float *q = random_floats(n * width, 0, 5), *out = random_floats(n * width, 0, 6);
    struct kv_row *rows = malloc(n * sizeof *rows);
    assert_non_null(rows);
    for (size_t i = 0; i < n; i++) {
        memcpy(q + i * width, r->q + positions[i] * width, width * sizeof *q);
        rows[i] = r->rows[positions[i]];
    }
    attend(r, threads, out, q, rows, n);
    for (size_t i = 0; i < n; i++)
        if (memcmp(out + i * width, r->all + positions[i] * width, width * sizeof *out) != 0)
            fail_msg("%s, %s: other bits at position %u (token %zu of %zu, %d threads)",
                     r->kernels->isa, how, positions[i], i, n, threads);
    free(q);
    free(out);
    free(rows);
}

/* Chunks of a prompt, from the position on. */
static void expect_same_chunks(const struct rig *r, int threads, uint32_t begin, uint32_t step) {
    uint32_t *positions = malloc(step * sizeof *positions);
    assert_non_null(positions);
    for (uint32_t p = begin; p < r->positions; p += step) {
        uint32_t n = r->positions - p < step ? r->positions - p : step;
        for (uint32_t i = 0; i < n; i++) positions[i] = p + i;
        expect_same(r, threads, positions, n, step == 1 ? "one by one" : "in chunks");
    }
    free(positions);
}

static void for_each_table(struct rig *r, void (*check)(struct rig *)) {
    static const char *const tables[] = {"reference", "avx2", "avx512-vnni", "neon-dotprod"};
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        r->kernels = kernels_by_name(tables[t]);
        if (!r->kernels) continue;
        rig_init(r);
        check(r);
        rig_deinit(r);
    }
}

/* --- the tests --- */

static void check_everything(struct rig *r) {
    for (uint32_t p = 0; p < r->positions; p++)
        for (uint32_t h = 0; h < r->n_heads; h++) expect_head(r, p, h);
    expect_same_chunks(r, 1, 0, 1);
    expect_same_chunks(r, 2, 0, 7);
    expect_same_chunks(r, 3, 0, r->positions);
}

/* Query heads 3 … 8 in groups of 4: parts of KV heads 0 and 2. */
static void test_shapes(void **unused) {
    (void)unused;
    static const uint32_t dims[] = {32, 64, 80, 100, 128};
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
        for (int f32 = 0; f32 < 2; f32++) {
            struct rig r = {.n_heads = 6,
                            .first_head = 3,
                            .group = 4,
                            .n_kv_heads = 3,
                            .dim = dims[d],
                            .positions = 70,
                            .f32 = f32};
            for_each_table(&r, check_everything);
        }
    }
}

static void test_groups(void **unused) {
    (void)unused;
    static const uint32_t groups[] = {1, 2, 7, 8, 13, 100};
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        struct rig r = {.n_heads = groups[g] + (groups[g] < 8 ? groups[g] : 0),
                        .group = groups[g],
                        .n_kv_heads = groups[g] < 8 ? 2 : 1,
                        .dim = 16,
                        .positions = 45};
        for_each_table(&r, check_everything);
    }
}

/* Several parts of the past, by one thread or divided over the team, and other sequences beside. */
static void check_deep(struct rig *r) {
    static const uint32_t mixed[] = {3, 700, 701, 702, 1, 1199, 511, 512, 513, 514, 1024, 0, 1199};
    for (uint32_t p = 0; p < r->positions; p += 97) expect_head(r, p, p % r->n_heads);
    for (int threads = 1; threads < 5; threads++) {
        expect_same(r, threads, &(uint32_t){1199}, 1, "alone");
        expect_same(r, threads, &(uint32_t){512}, 1, "alone");
        expect_same(r, threads, mixed, sizeof mixed / sizeof *mixed, "mixed");
        expect_same_chunks(r, threads, 1000, 77);
    }
    expect_same_chunks(r, 4, 1150, 1);
}

static void test_parts(void **unused) {
    (void)unused;
    struct rig one = {.n_heads = 4, .group = 8, .n_kv_heads = 1, .dim = 16, .positions = 1200};
    struct rig two = {.n_heads = 2, .group = 1, .n_kv_heads = 2, .dim = 20, .positions = 1200};
    for_each_table(&one, check_deep);
    for_each_table(&two, check_deep);
}

/* Where parts become longer, in the middle of a chunk. */
static void check_longer_parts(struct rig *r) {
    for (uint32_t p = 16380; p < r->positions; p++) expect_same(r, 3, &p, 1, "alone");
    expect_same_chunks(r, 2, 16380, 8);
}

static void test_longer_parts(void **unused) {
    (void)unused;
    for (uint64_t p = 0; p <= UINT32_MAX; p += p / 64 + 1) {
        uint32_t tokens = attend_part_tokens((uint32_t)p), parts = attend_parts((uint32_t)p);
        assert_in_range(parts, 1, ATTEND_MAX_PARTS);
        assert_true((uint64_t)(parts - 1) * tokens <= p && p < (uint64_t)parts * tokens);
    }
    assert_int_not_equal(attend_part_tokens(16383), attend_part_tokens(16384));
    struct rig r = {
        .n_heads = 1, .group = 1, .n_kv_heads = 1, .dim = 8, .positions = 16390, .first = 16350};
    for_each_table(&r, check_longer_parts);
}

/* A token sees nothing of what comes after it, not even that it is no number. */
static void check_causal(struct rig *r) {
    for (uint32_t h = 0; h < r->n_kv_heads; h++)
        for (uint32_t p = 90; p < r->positions; p++)
            for (uint32_t d = 0; d < r->dim; d++) {
                size_t at = ((size_t)h * r->positions + p) * r->dim + d;
                r->keys[at] = r->values[at] = d % 2 ? NAN : INFINITY;
            }
    store(r, 90, r->positions);
    float *out = random_floats((size_t)r->positions * r->n_heads * r->dim, 0, 7);
    attend(r, 1, out, r->q, r->rows, r->positions);
    assert_memory_equal(out, r->all, 90u * r->n_heads * r->dim * sizeof *out);
    for (size_t i = 90u * r->n_heads * r->dim; i < (size_t)r->positions * r->n_heads * r->dim; i++)
        assert_true(isnan(out[i]));
    free(out);
}

static void test_causal(void **unused) {
    (void)unused;
    for (int f32 = 0; f32 < 2; f32++) {
        struct rig r = {
            .n_heads = 8, .group = 4, .n_kv_heads = 2, .dim = 64, .positions = 100, .f32 = f32};
        for_each_table(&r, check_causal);
    }
}

/* A sequence that ends where another one goes on, next to each other in a step: tokens at
 * neighbouring positions, but with pasts of their own. */
static void check_neighbours(struct rig *r) {
    size_t width = (size_t)r->n_heads * r->dim;
    uint32_t other[] = {0, 2, 4};
    struct kv_row rows[20];
    float *out = random_floats(20 * width, 0, 8), *alone = random_floats(width, 0, 9);
    // the other one's past is this one's, turned round
    for (uint32_t p = 0; p < r->positions; p++) {
        const struct kv_row row = {.position = p, .blocks = other};
        for (uint32_t h = 0; h < r->n_kv_heads; h++) {
            size_t at = ((size_t)h * r->positions + r->positions - 1 - p) * r->dim;
            kv_store(r->kv, r->kernels, LAYER, h, &row, r->keys + at, r->values + at);
        }
    }
    for (uint32_t i = 0; i < 20; i++)
        rows[i] = (struct kv_row){.position = 50 + i, .blocks = i < 9 ? r->blocks : other};
    for (int threads = 1; threads < 4; threads++) {
        attend(r, threads, out, r->q + 50 * width, rows, 20);
        assert_memory_equal(out, r->all + 50 * width, 9 * width * sizeof *out);
        for (uint32_t i = 9; i < 20; i++) {
            attend(r, 1, alone, r->q + (50 + i) * width, &rows[i], 1);
            assert_memory_equal(out + i * width, alone, width * sizeof *out);
        }
        assert_memory_not_equal(alone, r->all + 69 * width, width * sizeof *out);
    }
    free(out);
    free(alone);
}

static void test_neighbours_of_two_sequences(void **unused) {
    (void)unused;
    struct rig r = {.n_heads = 4, .group = 2, .n_kv_heads = 2, .dim = 32, .positions = 90};
    for_each_table(&r, check_neighbours);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes), cmocka_unit_test(test_groups),
        cmocka_unit_test(test_parts),  cmocka_unit_test(test_longer_parts),
        cmocka_unit_test(test_causal), cmocka_unit_test(test_neighbours_of_two_sequences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
