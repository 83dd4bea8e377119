// SPDX-License-Identifier: MIT
/* test_kernels_limits.c: the kernels that measure: that they do what they say that they have done.
 */

#include "tests/kernels/kernels_support.h"

#include <stdlib.h>
#include <string.h>

/* Every word is read, once, in all ways: the exclusive or is that of a plain loop. */
static void test_reading(void **state) {
    (void)state;
    static const size_t sizes[] = {1024, 3072, 65536};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t *words = aligned_alloc(64, sizes[i]), expected = 0;
        uint32_t random = 1;
        assert_non_null(words);
        for (size_t w = 0; w < sizes[i] / sizeof *words; w++) {
            words[w] = (uint64_t)support_random(&random) << 32 | support_random(&random);
            expected ^= words[w];
        }
        for (const struct kernels *const *k = support_tables(); *k; k++)
            for (int way = 0; way < READ_N_WAYS; way++)
                assert_true((*k)->read_memory(words, sizes[i], (enum read_way)way) == expected);
        free(words);
    }
}

static void test_peaks(void **state) {
    (void)state;
    for (const struct kernels *const *k = support_tables(); *k; k++) {
        double int8 = (*k)->peak_int8(1), f32 = (*k)->peak_f32(1);
        assert_true(int8 > 0 && f32 > 0);
        assert_true((*k)->peak_int8(1000) == 1000 * int8);
        assert_true((*k)->peak_f32(1000) == 1000 * f32);
        assert_true((*k)->peak_int8(0) == 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_peaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
