// SPDX-License-Identifier: MIT
/* arrange.h: the bits of a Q6_K block put into the order in which a product reads them.
 *
 * In the file, nibbles of elements 64 apart share a byte, and upper bits of elements 32 apart: who
 * goes through them in order comes by each line of memory two or four times.  Arranged, every 64
 * elements stand together, in quarter c of the block (its sub-blocks 2c and 2c + 1 of 32):
 *
 *   52c + 0..3      scales of their four halves of 16
 *   52c + 4..19     pairs of upper bits: byte j has those of elements j of 2c, j of 2c + 1, j + 16
 *                   of 2c, j + 16 of 2c + 1, from the lowest
 *   52c + 20..51    nibbles: byte j has element j of 2c in its lower half, of 2c + 1 in its upper
 *   208, 209        the block's scale
 *
 * Any thread, Local. */
#ifndef WORKER_KERNELS_ARRANGE_H
#define WORKER_KERNELS_ARRANGE_H

#include <stdint.h>

#define ARRANGE_Q6_K_BYTES 210

/* dst and src are blocks of ARRANGE_Q6_K_BYTES that do not overlap; restore undoes arrange. */
void arrange_q6_k(uint8_t *dst, const uint8_t *src);
void restore_q6_k(uint8_t *dst, const uint8_t *src);

#endif
