// SPDX-License-Identifier: MIT
/* act_rows.c: where the blocks of a batch of quantised activations lie.
 *
 * The same for every instruction set, so that a batch quantised by one thread is read by all.
 * Owns nothing: the caller's memory, sized once for the largest batch.  Any thread. */

#include "worker/kernels/kernels.h"

static size_t blocks_of(size_t cols) {
    return (cols + ACT_BLOCK - 1) / ACT_BLOCK;
}

size_t act_rows_bytes(size_t cols, size_t tokens) {
    return blocks_of(cols) * tokens * sizeof(struct act_block);
}

void act_rows_place(struct act_rows *a, void *memory, size_t cols, size_t tokens) {
    *a = (struct act_rows){
        .cols = blocks_of(cols) * ACT_BLOCK, .tokens = tokens, .stride = tokens, .blocks = memory};
}

struct act_rows act_rows_slice(const struct act_rows *a, size_t first, size_t tokens) {
    return (struct act_rows){
        .cols = a->cols, .tokens = tokens, .stride = a->stride, .blocks = a->blocks + first};
}
