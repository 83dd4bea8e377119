// SPDX-License-Identifier: MIT
/* kernels_neon_vec.c: float matrices, attention and vector functions in NEON.
 *
 * Compiled with the flags of this instruction set, so nothing here may run before kernels_select
 * has asked the CPU.  The algorithms are float_lanes.h, vector_lanes.h and attention_lanes.h, the
 * words they are written in are lanes_neon.h. */

#include "worker/kernels/kernels_isa.h"

#include "worker/kernels/lanes_neon.h"
#include "worker/kernels/attention_lanes.h"
#include "worker/kernels/float_lanes.h"
#include "worker/kernels/vector_lanes.h"

void kernels_neon_fill_vec(struct kernels *k) {
    float_fill(k);
    vector_fill(k);
    attention_fill(k);
}
