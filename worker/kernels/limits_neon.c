// SPDX-License-Identifier: MIT
/* limits_neon.c: the most that NEON with its dot product can multiply and read.
 *
 * Compiled with the flags of this instruction set, so nothing here may run before kernels_select
 * has asked the CPU.  SDOT takes 16 products of bytes and adds them into 32 bits: 32 operations. */

#include <arm_neon.h>

#include "worker/kernels/kernels_isa.h"

#define LIMIT_BYTES    16
#define LIMIT_REGISTER "w"
#define LIMIT_DOT_OPS  32

typedef int32x4_t limit_vec;

static inline int32x4_t limit_dot(int32x4_t acc, int32x4_t u, int32x4_t s) {
    return vdotq_s32(acc, vreinterpretq_s8_s32(u), vreinterpretq_s8_s32(s));
}

static inline int32x4_t limit_fma(int32x4_t acc, int32x4_t a, int32x4_t b) {
    return vreinterpretq_s32_f32(
        vfmaq_f32(vreinterpretq_f32_s32(acc), vreinterpretq_f32_s32(a), vreinterpretq_f32_s32(b)));
}

#include "worker/kernels/limits_lanes.h"

void kernels_neon_fill_limits(struct kernels *k) {
    limit_fill(k);
}
