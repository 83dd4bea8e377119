// SPDX-License-Identifier: MIT
/* test_kernels_dispatch.c: the choice of a table, and that every table is complete. */

#include "tests/kernels/kernels_support.h"

#include <stdlib.h>
#include <string.h>

static const struct kernels *select_with(const char *isa) {
    const struct kernels *k = NULL;
    if (isa)
        setenv("LOCKSTEP_ISA", isa, 1);
    else
        unsetenv("LOCKSTEP_ISA");
    assert_int_equal(kernels_select(&k), ERR_OK);
    assert_non_null(k);
    return k;
}

static void test_select_best(void **state) {
    (void)state;
    const struct kernels *const *best = support_tables();
    while (best[1]) best++;
    assert_ptr_equal(select_with(NULL), *best);
    assert_ptr_equal(select_with(""), *best);
    const char *expected = getenv("LOCKSTEP_EXPECTED_ISA"); // by someone who knows the CPU
    if (expected) assert_string_equal((*best)->isa, expected);
}

static void test_select_by_environment(void **state) {
    (void)state;
    for (const struct kernels *const *k = support_tables(); *k; k++) {
        assert_ptr_equal(select_with((*k)->isa), *k);
        assert_string_equal(select_with((*k)->isa)->isa, (*k)->isa);
    }
    assert_string_equal(select_with("reference")->isa, "reference");
}

static void test_unknown_is_usage_error(void **state) {
    (void)state;
    const struct kernels *k = NULL;
    setenv("LOCKSTEP_ISA", "mmx", 1);
    assert_int_equal(kernels_select(&k), ERR_USAGE);
    assert_non_null(strstr(error_message(), "LOCKSTEP_ISA=mmx"));
    for (const struct kernels *const *t = support_tables(); *t; t++)
        assert_non_null(strstr(error_message(), (*t)->isa));
    assert_null(kernels_by_name("mmx"));
}

static void test_tables_are_complete(void **state) {
    (void)state;
    for (const struct kernels *const *t = support_tables(); *t; t++) {
        const struct kernels *k = *t;
        for (size_t i = 0; i < support_type_count; i++) {
            const struct matmul_kernel *m = &k->matmul[support_types[i]];
            bool quantized = dtype_info(support_types[i])->quantized;
            assert_int_equal(m->type, support_types[i]);
            assert_true(m->panel_rows > 0);
            assert_true(m->packed_bytes && m->pack_row && m->pack_rows && m->unpack_row);
            assert_int_equal(m->matmul_q != NULL, quantized);
            assert_int_equal(m->matmul_f != NULL, !quantized);
        }
        assert_true(k->quantize_row && k->quantize_twice && k->rms_norm && k->add && k->silu_mul &&
                    k->greatest && k->sum_exp);
        assert_true(k->rope_interleaved && k->rope_neox);
        assert_true(k->attn_product_f16 && k->attn_product_f32);
        assert_true(k->attn_softmax && k->attn_merge);
        assert_true(k->f32_to_f16 && k->f16_to_f32);
        assert_true(k->peak_int8 && k->peak_f32 && k->read_memory);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_select_best),
        cmocka_unit_test(test_select_by_environment),
        cmocka_unit_test(test_unknown_is_usage_error),
        cmocka_unit_test(test_tables_are_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
