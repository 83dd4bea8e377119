// SPDX-License-Identifier: MIT
/* kernels_neon.c: the quantised matrix products in NEON with its dot product (Armv8.2).
 *
 * Compiled with the flags of this instruction set, so nothing here may run before kernels_select
 * has asked the CPU.  The algorithm is quant_lanes.h, the words it is written in are lanes_neon.h.
 */

#include "worker/kernels/kernels_isa.h"

#include "worker/kernels/lanes_neon.h"
#include "worker/kernels/quant_lanes.h"

void kernels_neon_fill(struct kernels *k) {
    k->isa = LANES_ISA;
    quant_fill(k);
}
