// SPDX-License-Identifier: MIT
/* kernels_avx512.c: the quantised matrix products in AVX-512 F, BW, VL, DQ and VNNI.
 *
 * Compiled with the flags of this instruction set, so nothing here may run before kernels_select
 * has asked the CPU.  The algorithm is quant_lanes.h, the words it is written in are
 * lanes_avx512.h. */

#include "worker/kernels/kernels_isa.h"

#include "worker/kernels/lanes_avx512.h"
#include "worker/kernels/quant_lanes.h"

void kernels_avx512_fill(struct kernels *k) {
    k->isa = LANES_ISA;
    quant_fill(k);
}
