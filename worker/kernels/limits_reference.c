// SPDX-License-Identifier: MIT
/* limits_reference.c: the most that portable C can multiply and read.
 *
 * Vectors of 16 bytes, which every 64-bit machine has.  C has no product of bytes that adds: what a
 * compiler makes of one is products of 16 bits, 8 of them and their additions. */

#include "worker/kernels/kernels_isa.h"

#define LIMIT_BYTES   16
#define LIMIT_DOT_OPS 16
#if defined(__x86_64__)
#define LIMIT_REGISTER "x"
#elif defined(__aarch64__)
#define LIMIT_REGISTER "w"
#else
#define LIMIT_REGISTER "m"
#endif

typedef int32_t limit_vec __attribute__((vector_size(LIMIT_BYTES)));
typedef uint16_t limit_shorts __attribute__((vector_size(LIMIT_BYTES)));
typedef float limit_floats __attribute__((vector_size(LIMIT_BYTES)));

static inline limit_vec limit_dot(limit_vec acc, limit_vec u, limit_vec s) {
    return (limit_vec)((limit_shorts)acc + (limit_shorts)u * (limit_shorts)s);
}

static inline limit_vec limit_fma(limit_vec acc, limit_vec a, limit_vec b) {
    return (limit_vec)((limit_floats)acc + (limit_floats)a * (limit_floats)b);
}

#include "worker/kernels/limits_lanes.h"

void kernels_reference_fill_limits(struct kernels *k) {
    limit_fill(k);
}
