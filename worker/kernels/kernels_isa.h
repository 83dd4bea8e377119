// SPDX-License-Identifier: MIT
/* kernels_isa.h: what the files of one instruction set give to the dispatcher.
 *
 * Each function puts its own slots into a table.  Those of an instruction set are themselves
 * compiled for it: call them only after the CPU and the operating system have been asked.
 * Any thread, Local. */
#ifndef WORKER_KERNELS_KERNELS_ISA_H
#define WORKER_KERNELS_KERNELS_ISA_H

#include "worker/kernels/kernels.h"

/* The complete table in portable C. */
void kernels_reference_fill(struct kernels *k);
void kernels_reference_fill_vec(struct kernels *k);
void kernels_reference_fill_limits(struct kernels *k);
void kernels_reference_fill_attn(struct kernels *k);

/* x86-64 only. */
void kernels_avx2_fill(struct kernels *k);
void kernels_avx2_fill_vec(struct kernels *k);
void kernels_avx2_fill_limits(struct kernels *k);
void kernels_avx512_fill(struct kernels *k);
void kernels_avx512_fill_vec(struct kernels *k);
void kernels_avx512_fill_limits(struct kernels *k);

/* 64-bit ARM only. */
void kernels_neon_fill(struct kernels *k);
void kernels_neon_fill_vec(struct kernels *k);
void kernels_neon_fill_limits(struct kernels *k);

#endif
