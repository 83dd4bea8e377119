// SPDX-License-Identifier: MIT
/* test_rope.c: rotations against the formula in double, for both pairings. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "worker/compute/rope.h"

#define HEADS 3
#define DIM   16

static const uint32_t positions[] = {0, 1, 77, 100000};

static float element(size_t i) {
    return sinf((float)i * 1.7f) * 2;
}

static void check(const struct model_shape *s, const float *factors) {
    float heads[4 * HEADS * DIM];
    struct kv_row rows[4];
    struct rope *r;
    for (size_t i = 0; i < 4; i++) rows[i] = (struct kv_row){.position = positions[i]};
    for (size_t i = 0; i < 4 * HEADS * DIM; i++) heads[i] = element(i);
    assert_int_equal(rope_create(&r, kernels_by_name("reference"), s, factors, 4), ERR_OK);
    rope_set_rows(r, rows, 4);
    rope_apply(r, heads, 4, HEADS);
    rope_free(r);

    size_t half = s->rope_dim / 2;
    for (size_t h = 0; h < 4 * HEADS; h++) {
        const float *head = heads + h * DIM;
        for (size_t p = 0; p < half; p++) {
            size_t a = s->rope_style == ROPE_NEOX ? p : 2 * p;
            size_t b = s->rope_style == ROPE_NEOX ? p + half : 2 * p + 1;
            double x = element(h * DIM + a), y = element(h * DIM + b);
            double angle = positions[h / HEADS] * (double)s->rope_linear_scale *
                           pow((double)s->rope_theta, -2.0 * (double)p / s->rope_dim) /
                           (factors ? (double)factors[p] : 1);
            assert_true(fabs(head[a] - (x * cos(angle) - y * sin(angle))) < 1e-6);
            assert_true(fabs(head[b] - (x * sin(angle) + y * cos(angle))) < 1e-6);
        }
        for (size_t i = s->rope_dim; i < DIM; i++) assert_true(head[i] == element(h * DIM + i));
    }
}

static void test_interleaved(void **unused) {
    (void)unused;
    check(&(struct model_shape){.head_dim = DIM,
                                .rope_dim = DIM,
                                .rope_style = ROPE_INTERLEAVED,
                                .rope_theta = 10000,
                                .rope_linear_scale = 1},
          NULL);
}

static void test_neox_with_a_tail(void **unused) {
    (void)unused;
    check(&(struct model_shape){.head_dim = DIM,
                                .rope_dim = 10,
                                .rope_style = ROPE_NEOX,
                                .rope_theta = 1e6f,
                                .rope_linear_scale = 1},
          NULL);
}

static void test_scaled(void **unused) {
    (void)unused;
    const float factors[4] = {1, 1.5f, 4, 8};
    check(&(struct model_shape){.head_dim = DIM,
                                .rope_dim = 8,
                                .rope_style = ROPE_INTERLEAVED,
                                .rope_theta = 500000,
                                .rope_linear_scale = 0.25f},
          factors);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interleaved),
        cmocka_unit_test(test_neox_with_a_tail),
        cmocka_unit_test(test_scaled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
