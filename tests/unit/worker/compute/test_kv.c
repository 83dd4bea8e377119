// SPDX-License-Identifier: MIT
/* test_kv.c: what is stored is found again, and nowhere else. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/dtype.h"
#include "worker/compute/kv.h"

#define DIM 70 // more than are stored at once

static float value(uint32_t layer, uint32_t head, uint32_t position, size_t i, bool v) {
    return (float)(layer * 500 + head * 100 + position) + (float)i / DIM + (v ? 0.5f / DIM : 0);
}

static float element(const struct kv *kv, const void *tile, size_t i) {
    if (kv_get_shape(kv)->f32) return ((const float *)tile)[i];
    return dtype_f16_to_f32(((const uint16_t *)tile)[i]);
}

static void expect_tile(const struct kv *kv, uint32_t layer, uint32_t head, uint32_t position,
                        uint32_t block, bool v) {
    const void *tile = v ? kv_values(kv, layer, head, block) : kv_keys(kv, layer, head, block);
    for (size_t i = 0; i < DIM; i++) {
        float want = value(layer, head, position, i, v);
        if (!kv_get_shape(kv)->f32) want = dtype_f16_to_f32(dtype_f32_to_f16(want));
        size_t place = position % KV_BLOCK_TOKENS;
        float got = element(kv, tile, v ? place * DIM + i : i * KV_BLOCK_TOKENS + place);
        if (got != want)
            fail_msg("layer %u head %u position %u element %zu: %g, wanted %g", layer, head,
                     position, i, (double)got, (double)want);
    }
}

/* 40 positions in blocks 5 and 2 of a pool of 6. */
static void check_type(bool f32) {
    const struct kernels *kernels = kernels_by_name("reference");
    const struct kv_shape shape = {
        .n_layers = 3, .n_heads = 2, .head_dim = DIM, .n_blocks = 6, .f32 = f32};
    const uint32_t blocks[] = {5, 2};
    struct kv *kv;
    assert_int_equal(kv_bytes(&shape), 6u * 3 * 2 * 2 * KV_BLOCK_TOKENS * DIM * (f32 ? 4 : 2));
    assert_int_equal(kv_create(&kv, &shape), ERR_OK);
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t at = 0; at < 3 * 2 * 40; at++) {
            uint32_t layer = at / 80, head = at / 40 % 2, position = at % 40;
            const struct kv_row row = {.position = position, .blocks = blocks};
            float k[DIM], v[DIM];
            for (size_t i = 0; i < DIM; i++) {
                k[i] = value(layer, head, position, i, false);
                v[i] = value(layer, head, position, i, true);
            }
            if (pass == 0) kv_store(kv, kernels, layer, head, &row, k, v);
            if (pass == 1) expect_tile(kv, layer, head, position, blocks[position / 32], false);
            if (pass == 1) expect_tile(kv, layer, head, position, blocks[position / 32], true);
        }
    }
    for (size_t i = 0; i < KV_BLOCK_TOKENS * DIM; i++) // a block that nobody was given
        assert_true(element(kv, kv_keys(kv, 1, 1, 3), i) == 0);
    kv_free(kv);
}

static void test_store_f16(void **unused) {
    (void)unused;
    check_type(false);
}

static void test_store_f32(void **unused) {
    (void)unused;
    check_type(true);
}

static void test_too_large(void **unused) {
    (void)unused;
    const struct kv_shape shape = {
        .n_layers = 4096, .n_heads = 1024, .head_dim = 1024, .n_blocks = 1u << 20};
    struct kv *kv = NULL;
    assert_int_equal(kv_create(&kv, &shape), ERR_MEMORY);
    assert_null(kv);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_f16),
        cmocka_unit_test(test_store_f32),
        cmocka_unit_test(test_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
