// SPDX-License-Identifier: MIT
/* panel.h: quantised matrices turned so that a vector lane is a row.
 *
 * A panel is `lanes` rows.  Its blocks follow each other along k; within a block the fields of all
 * rows stand together, cut into units of 4 bytes (weights), 2 (f16 scales) or 1 (small scales):
 *
 *   row-major file          one block of a panel of 4 rows
 *   row 0: d a0 a1 a2 …     a0 b0 c0 e0  a1 b1 c1 e1  a2 b2 c2 e2  …  d d d d
 *   row 1: d b0 b1 b2 …     one vector   one vector                   the four scales
 *   row 2: d c0 c1 c2 …     (4 k of
 *   row 3: d e0 e1 e2 …     each row)
 *
 * So a panel is a permutation of the file's bits, has exactly the file's size, and is read from
 * front to back as one stream.  A vector of weights meets four activations broadcast to all lanes,
 * the sums of a row stay in its lane, and nothing is ever added across lanes.
 * Any thread, Local. */
#ifndef WORKER_KERNELS_PANEL_H
#define WORKER_KERNELS_PANEL_H

#include <stddef.h>
#include <stdint.h>

#include "common/dtype.h"

/* Offsets within the turned block of one row; a field of a panel's block begins at lanes * offset.
 * They are the file's, except for Q6_K (arrange.h): the prefetchers of a CPU follow one ascending
 * stream. */
enum panel_offset {
    PANEL_Q4_0_D = 0,
    PANEL_Q4_0_QUANTS = 2,
    PANEL_Q4_1_D = 0,
    PANEL_Q4_1_M = 2,
    PANEL_Q4_1_QUANTS = 4,
    PANEL_Q5_0_D = 0,
    PANEL_Q5_0_HIGH = 2, // one word: bit 8i+g is the fifth bit of element 4g+i
    PANEL_Q5_0_QUANTS = 6,
    PANEL_Q5_1_D = 0,
    PANEL_Q5_1_M = 2,
    PANEL_Q5_1_HIGH = 4,
    PANEL_Q5_1_QUANTS = 8,
    PANEL_Q8_0_D = 0,
    PANEL_Q8_0_QUANTS = 2,
    PANEL_K_D = 0, // Q4_K and Q5_K
    PANEL_K_DMIN = 2,
    PANEL_K_SCALES = 4,
    PANEL_Q4_K_QUANTS = 16,
    PANEL_Q5_K_HIGH = 16,
    PANEL_Q5_K_QUANTS = 48,
    PANEL_Q6_K_D = 0,
    PANEL_Q6_K_SCALES = 2, // of the first 64 elements; of the next ones PANEL_Q6_K_QUARTER further
    PANEL_Q6_K_UPPER = 6,
    PANEL_Q6_K_LOW = 22,
    PANEL_Q6_K_QUARTER = 52,
};

/* Bytes of a packed matrix of a quantised type: the file's bytes for rows rounded up to lanes. */
size_t panel_bytes(enum dtype type, size_t lanes, size_t rows, size_t cols);
/* Stores and gives back rows, as matmul_kernel's pack_row, pack_rows and unpack_row (kernels.h). */
void panel_pack_row(enum dtype type, size_t lanes, void *packed, size_t cols, size_t row,
                    const void *src);
void panel_pack_rows(enum dtype type, size_t lanes, void *packed, size_t cols, size_t row,
                     size_t n_rows, const void *src, size_t src_stride);
void panel_unpack_row(enum dtype type, size_t lanes, const void *packed, size_t cols, size_t row,
                      float *dst);

#endif
