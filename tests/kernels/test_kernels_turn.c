// SPDX-License-Identifier: MIT
/* test_kernels_turn.c: small units transposed, against the definition in turn.h. */

#include "tests/kernels/kernels_support.h"
#include "worker/kernels/turn.h"

#include <stdlib.h>
#include <string.h>

static void check_turn(size_t lanes, size_t unit, size_t count, size_t gap) {
    const size_t stride = count * unit + gap, bytes = lanes * count * unit;
    uint8_t *src = support_alloc((lanes - 1) * stride + count * unit);
    uint8_t *want = support_alloc(bytes), *got = support_alloc(bytes);
    uint32_t seed = 5;

    for (size_t i = 0; i < (lanes - 1) * stride + count * unit; i++)
        src[i] = (uint8_t)(support_random(&seed) >> 9);
    for (size_t u = 0; u < count; u++)
        for (size_t lane = 0; lane < lanes; lane++)
            memcpy(want + (u * lanes + lane) * unit, src + lane * stride + u * unit, unit);
    turn_units(got, src, stride, lanes, unit, count);
    if (memcmp(got, want, bytes) != 0)
        fail_msg("%zu lanes of %zu units of %zu bytes, %zu apart, differ", lanes, count, unit,
                 stride);
    free(src);
    free(want);
    free(got);
}

static void test_turn(void **state) {
    static const size_t lane_counts[] = {1, 3, 4, 8, 12, 16, 24, 32};
    (void)state;
    for (size_t l = 0; l < sizeof lane_counts / sizeof *lane_counts; l++)
        for (size_t unit = 1; unit <= 4; unit *= 2)
            for (size_t count = 1; count < 40; count += count < 18 ? 1 : 5)
                for (size_t gap = 0; gap < 3; gap++) check_turn(lane_counts[l], unit, count, gap);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
