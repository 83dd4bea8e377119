// SPDX-License-Identifier: MIT
/* test_kernel_times.c: that the vector slots are timed on what they are said to be timed on: whole
 * vectors and no more, and a past that is not in a cache.  The slots are those of the reference,
 * but for some that write down what they are asked for. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <omp.h>
#include <string.h>

#include "common/batch.h"
#include "worker/compute/kernel_times.h"

#define DIM      64
#define FF       320
#define HEAD_DIM 32
#define REPS     3
#define CALLS    1024 // of kernel_times.c: a slot in one repetition

/* ---- slots that write down ------------------------------------------------------------------ */

/* Blocks that one slot was given, in order. */
struct walk {
    const uint8_t *first;
    size_t bytes, calls; // bytes: of a block
    size_t elsewhere;    // blocks that are not behind the one before
    size_t not_ahead;    // that did not name a later one to be fetched
};

static struct walk scores_f16, values_f16, scores_f32, values_f32;
static size_t rows_quantized, rows_too_wide;

static void take_step(struct walk *w, const struct attn_product *p, size_t element_bytes) {
    const uint8_t *block = p->b, *next = p->next;
    if (w->calls == 0) w->first = block;
    w->bytes = p->depth * p->cols * element_bytes;
    w->elsewhere += block != w->first + w->calls++ * w->bytes;
    w->not_ahead += next <= block;
}

static void product_f16(const struct attn_product *p) {
    take_step(p->add ? &values_f16 : &scores_f16, p, 2);
}

static void product_f32(const struct attn_product *p) {
    take_step(p->add ? &values_f32 : &scores_f32, p, 4);
}

static void quantize_row(struct act_rows *out, size_t token, const float *x, size_t n) {
    (void)token, (void)x;
    rows_quantized++;
    rows_too_wide += out->cols != n;
}

/* ---- the tests ------------------------------------------------------------------------------ */

static void expect_walk(const struct walk *w, size_t element_bytes) {
    assert_int_equal(w->calls, (REPS + 1) * CALLS); // one to warm up
    assert_int_equal(w->bytes, KV_BLOCK_TOKENS * HEAD_DIM * element_bytes);
    assert_int_equal(w->elsewhere, 0);
    assert_int_equal(w->not_ahead, 0);
}

static void test_vectors(void **state) {
    (void)state;
    static struct measure_time times[KERNEL_TIMES_MAX];
    struct kernels kernels = *kernels_by_name("reference");
    struct layer_weights layer = {.gate = {.rows = FF, .cols = DIM}};
    const struct weights weights = {.n_layers = 1, .layers = &layer};
    const struct model_shape shape = {
        .dim = DIM, .head_dim = HEAD_DIM, .rope_dim = HEAD_DIM, .n_heads = 4, .n_kv_heads = 2};
    const struct kernel_times_subject subject = {
        .kernels = &kernels, .weights = &weights, .shape = &shape, .host_ranks = 1};
    uint32_t n = 0;

    kernels.quantize_row = quantize_row;
    kernels.attn_product_f16 = product_f16;
    kernels.attn_product_f32 = product_f32;
    omp_set_num_threads(1);
    assert_int_equal(kernel_times_run(&subject, kernel_times_count(&subject) - 1, REPS, times, &n),
                     ERR_OK);
    assert_int_equal(rows_quantized, 2 * (REPS + 1) * CALLS);
    assert_int_equal(rows_too_wide, 0);
    expect_walk(&scores_f16, 2);
    expect_walk(&values_f16, 2);
    expect_walk(&scores_f32, 4);
    expect_walk(&values_f32, 4);
    uint32_t quantized = 0;
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(times[i].name, "quantize_row") == 0)
            assert_int_equal(times[i].cols, quantized++ == 0 ? DIM : FF);
    assert_int_equal(quantized, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
