// SPDX-License-Identifier: MIT
/* arrange.c: see arrange.h.
 *
 * The file's block (ggml's block_q6_K) has two halves of 128 elements, each of four runs of 32.
 * Byte j of a half's nibbles holds elements j of runs 0 and 2, byte j + 32 those of runs 1 and 3;
 * byte j of its upper bits holds elements j of all runs.  So both fields change places by nibbles:
 * two bytes of the file and two of the result have the same four. */

#include "worker/kernels/arrange.h"

#include <stddef.h>
#include <string.h>

#define HALVES       2
#define RUN          32
#define FILE_NIBBLES 0   // 2 * RUN bytes for each half
#define FILE_UPPER   128 // RUN bytes for each half
#define FILE_SCALES  192 // QUARTER_SCALES bytes for each quarter
#define BLOCK_SCALE  208 // in both orders

#define QUARTER         52
#define QUARTER_SCALES  4
#define QUARTER_UPPER   4
#define QUARTER_NIBBLES 20

/* (a, b) <-> (lower nibbles of both, upper nibbles of both), n times; its own inverse. */
static void exchange_nibbles(uint8_t *restrict lower, uint8_t *restrict upper,
                             const uint8_t *restrict a, const uint8_t *restrict b, size_t n) {
    for (size_t j = 0; j < n; j++) {
        lower[j] = (uint8_t)((a[j] & 0x0F) | b[j] << 4);
        upper[j] = (uint8_t)(a[j] >> 4 | (b[j] & 0xF0));
    }
}

void arrange_q6_k(uint8_t *dst, const uint8_t *src) {
    for (size_t half = 0; half < HALVES; half++) {
        const uint8_t *nibbles = src + FILE_NIBBLES + half * 2 * RUN;
        const uint8_t *upper = src + FILE_UPPER + half * RUN;
        const uint8_t *scales = src + FILE_SCALES + half * 2 * QUARTER_SCALES;
        uint8_t *even = dst + half * 2 * QUARTER, *odd = even + QUARTER;
        memcpy(even, scales, QUARTER_SCALES);
        memcpy(odd, scales + QUARTER_SCALES, QUARTER_SCALES);
        exchange_nibbles(even + QUARTER_UPPER, odd + QUARTER_UPPER, upper, upper + RUN / 2,
                         RUN / 2);
        exchange_nibbles(even + QUARTER_NIBBLES, odd + QUARTER_NIBBLES, nibbles, nibbles + RUN,
                         RUN);
    }
    memcpy(dst + BLOCK_SCALE, src + BLOCK_SCALE, ARRANGE_Q6_K_BYTES - BLOCK_SCALE);
}

void restore_q6_k(uint8_t *dst, const uint8_t *src) {
    for (size_t half = 0; half < HALVES; half++) {
        uint8_t *nibbles = dst + FILE_NIBBLES + half * 2 * RUN;
        uint8_t *upper = dst + FILE_UPPER + half * RUN;
        uint8_t *scales = dst + FILE_SCALES + half * 2 * QUARTER_SCALES;
        const uint8_t *even = src + half * 2 * QUARTER, *odd = even + QUARTER;
        memcpy(scales, even, QUARTER_SCALES);
        memcpy(scales + QUARTER_SCALES, odd, QUARTER_SCALES);
        exchange_nibbles(upper, upper + RUN / 2, even + QUARTER_UPPER, odd + QUARTER_UPPER,
                         RUN / 2);
        exchange_nibbles(nibbles, nibbles + RUN, even + QUARTER_NIBBLES, odd + QUARTER_NIBBLES,
                         RUN);
    }
    memcpy(dst + BLOCK_SCALE, src + BLOCK_SCALE, ARRANGE_Q6_K_BYTES - BLOCK_SCALE);
}
