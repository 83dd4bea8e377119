// SPDX-License-Identifier: MIT
/* limits_avx2.c: the most that AVX2 and FMA can multiply and read.
 *
 * Compiled with the flags of this instruction set, so nothing here may run before kernels_select
 * has asked the CPU.  VPMADDUBSW takes 32 products of bytes and adds pairs; the least that any
 * kernel must do with them is to add them up in 16 bits: 64 operations. */

#include <immintrin.h>

#include "worker/kernels/kernels_isa.h"

#define LIMIT_BYTES    32
#define LIMIT_REGISTER "x"
#define LIMIT_DOT_OPS  64

typedef __m256i limit_vec;

static inline __m256i limit_dot(__m256i acc, __m256i u, __m256i s) {
    return _mm256_add_epi16(acc, _mm256_maddubs_epi16(u, s));
}

static inline __m256i limit_fma(__m256i acc, __m256i a, __m256i b) {
    return _mm256_castps_si256(
        _mm256_fmadd_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), _mm256_castsi256_ps(acc)));
}

#include "worker/kernels/limits_lanes.h"

void kernels_avx2_fill_limits(struct kernels *k) {
    limit_fill(k);
}
