// SPDX-License-Identifier: MIT
/* limits_avx512.c: the most that AVX-512 with VNNI can multiply and read.
 *
 * Compiled with the flags of this instruction set, so nothing here may run before kernels_select
 * has asked the CPU.  VPDPBUSD takes 64 products of bytes and adds them: 128 operations. */

#include <immintrin.h>

#include "worker/kernels/kernels_isa.h"

#define LIMIT_BYTES    64
#define LIMIT_REGISTER "v"
#define LIMIT_DOT_OPS  128

typedef __m512i limit_vec;

static inline __m512i limit_dot(__m512i acc, __m512i u, __m512i s) {
    return _mm512_dpbusd_epi32(acc, u, s);
}

static inline __m512i limit_fma(__m512i acc, __m512i a, __m512i b) {
    return _mm512_castps_si512(
        _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), _mm512_castsi512_ps(acc)));
}

#include "worker/kernels/limits_lanes.h"

void kernels_avx512_fill_limits(struct kernels *k) {
    limit_fill(k);
}
