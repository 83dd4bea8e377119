// SPDX-License-Identifier: MIT
/* kernels_avx2.c: the quantised matrix products in AVX2, FMA and F16C.
 *
 * Compiled with the flags of this instruction set, so nothing here may run before kernels_select
 * has asked the CPU.  The algorithm is quant_lanes.h, the words it is written in are lanes_avx2.h.
 */

#include "worker/kernels/kernels_isa.h"

#include "worker/kernels/lanes_avx2.h"
#include "worker/kernels/quant_lanes.h"

void kernels_avx2_fill(struct kernels *k) {
    k->isa = LANES_ISA;
    quant_fill(k);
}
