// SPDX-License-Identifier: MIT
/* test_kernels_arrange.c: where every bit of a Q6_K block goes, against the file's format as
 * dtype.c reads it and the order that arrange.h describes; and back. */

#include "tests/kernels/kernels_support.h"
#include "worker/kernels/arrange.h"

#include <string.h>

/* Element e as the file has it: 6 bits, and the scale of its 16. */
static int file_weight(const uint8_t *block, int e) {
    int half = e / 128, run = e / 32 % 4, j = e % 32;
    int low = block[half * 64 + run % 2 * 32 + j] >> (run / 2 * 4) & 15;
    return low | (block[128 + half * 32 + j] >> (2 * run) & 3) << 4;
}

static int file_scale(const uint8_t *block, int e) {
    return block[192 + e / 16];
}

/* The same from a quarter of the arranged block. */
static int arranged_weight(const uint8_t *block, int e) {
    const uint8_t *quarter = block + e / 64 * 52;
    int odd = e / 32 % 2, j = e % 32;
    int low = quarter[20 + j] >> (4 * odd) & 15;
    int pair = j < 16 ? odd : 2 + odd;
    return low | (quarter[4 + j % 16] >> (2 * pair) & 3) << 4;
}

static int arranged_scale(const uint8_t *block, int e) {
    return block[e / 64 * 52 + e / 16 % 4];
}

static void test_arrange(void **state) {
    (void)state;
    uint32_t seed = 17;
    for (int round = 0; round < 100; round++) {
        uint8_t file[ARRANGE_Q6_K_BYTES], arranged[ARRANGE_Q6_K_BYTES], back[ARRANGE_Q6_K_BYTES];
        for (size_t i = 0; i < sizeof file; i++) file[i] = (uint8_t)(support_random(&seed) >> 9);
        arrange_q6_k(arranged, file);
        for (int e = 0; e < 256; e++) {
            assert_int_equal(arranged_weight(arranged, e), file_weight(file, e));
            assert_int_equal(arranged_scale(arranged, e), file_scale(file, e));
        }
        assert_memory_equal(arranged + 208, file + 208, 2);
        restore_q6_k(back, arranged);
        assert_memory_equal(back, file, sizeof file);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arrange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
