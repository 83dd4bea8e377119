// SPDX-License-Identifier: MIT
/* test_topk.c: both heaps against a full sort of the same logits. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "worker/compute/topk.h"

#define N 1000

static uint32_t state = 1;

/* Few different values, so that there are many ties. */
static float next_logit(void) {
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 24) / 8.0f - 16.0f;
}

static int best_first(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->token < y->token ? -1 : x->token > y->token;
}

static void sorted(struct candidate *out, const float *logits, size_t n, int32_t first) {
    for (size_t i = 0; i < n; i++)
        out[i] =
            (struct candidate){.logit = logits[i], .raw = logits[i], .token = first + (int32_t)i};
    qsort(out, n, sizeof *out, best_first);
}

static void test_select_keeps_the_best(void **unused) {
    (void)unused;
    static const size_t counts[] = {0, 1, 2, 7, 128, 999, 1000, 2000};
    float logits[N];
    struct candidate want[N], got[N];
    for (size_t i = 0; i < N; i++) logits[i] = next_logit();
    sorted(want, logits, N, 5000);
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        size_t n = topk_select(got, counts[c], logits, N, 5000);
        assert_int_equal(n, counts[c] < N ? counts[c] : N);
        qsort(got, n, sizeof *got, best_first);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(got[i].token, want[i].token);
            assert_true(got[i].logit == want[i].logit);
            assert_true(got[i].raw == want[i].raw);
        }
    }
    assert_int_equal(topk_select(got, 5, logits, 0, 0), 0);
}

static void test_reader_reads_best_first(void **unused) {
    (void)unused;
    float logits[N];
    struct candidate want[N], c[N];
    for (size_t i = 0; i < N; i++) logits[i] = next_logit();
    sorted(want, logits, N, 0);
    for (size_t i = 0; i < N; i++)
        c[i] = (struct candidate){.logit = logits[i], .token = (int32_t)i};
    struct topk_reader r;
    topk_reader_init(&r, c, N);
    assert_int_equal(topk_reader_at(&r, 40)->token, want[40].token); // skips are fine
    for (size_t i = 0; i < N; i++) assert_int_equal(topk_reader_at(&r, i)->token, want[i].token);
    assert_int_equal(topk_reader_at(&r, 3)->token, want[3].token); // and so is going back
    assert_null(topk_reader_at(&r, N));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_select_keeps_the_best),
        cmocka_unit_test(test_reader_reads_best_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
