// SPDX-License-Identifier: MIT
/* turn.h: small matrices of bytes, halves or words transposed: the inner loop of packing.
 *
 * A file has the units of a row beside each other, a panel has the rows of a unit beside each
 * other:
 *
 *   dst[(u * lanes + lane) * unit] = src[lane * stride + u * unit]     lane < lanes, u < count
 *
 * Any thread, Local. */
#ifndef WORKER_KERNELS_TURN_H
#define WORKER_KERNELS_TURN_H

#include <stddef.h>

/* unit is 1, 2 or 4 bytes; src and dst need no alignment.  Fast where lanes and count are multiples
 * of 4 words or 8 halves; what is beyond goes unit by unit. */
void turn_units(void *dst, const void *src, size_t stride, size_t lanes, size_t unit, size_t count);

#endif
