// SPDX-License-Identifier: MIT
/* act_rows.c: where the arrays of a batch of quantised activations lie.
 *
 * The same for every instruction set, so that a batch quantised by one thread is read by all.
 * Owns nothing: the caller's memory, sized once for the largest batch.  Any thread. */

#include "worker/kernels/kernels.h"

#define ALIGNMENT 64

static size_t round_up(size_t n, size_t to) {
    return (n + to - 1) / to * to;
}

size_t act_rows_bytes(size_t cols, size_t tokens) {
    cols = round_up(cols, ACT_BLOCK);
    size_t per_block = round_up(tokens * (cols / ACT_BLOCK) * sizeof(int32_t), ALIGNMENT);
    return round_up(tokens * cols, ALIGNMENT) + 3 * per_block;
}

void act_rows_place(struct act_rows *a, void *memory, size_t cols, size_t tokens) {
    cols = round_up(cols, ACT_BLOCK);
    size_t per_block = round_up(tokens * (cols / ACT_BLOCK) * sizeof(int32_t), ALIGNMENT);
    char *blocks = (char *)memory + round_up(tokens * cols, ALIGNMENT);

    *a = (struct act_rows){.cols = cols,
                           .tokens = tokens,
                           .q = memory,
                           .scale = (float *)(void *)blocks,
                           .sum = (int32_t *)(void *)(blocks + per_block),
                           .low = (int32_t *)(void *)(blocks + 2 * per_block)};
}

struct act_rows act_rows_slice(const struct act_rows *a, size_t first, size_t tokens) {
    size_t blocks = first * (a->cols / ACT_BLOCK);
    return (struct act_rows){.cols = a->cols,
                             .tokens = tokens,
                             .q = a->q + first * a->cols,
                             .scale = a->scale + blocks,
                             .sum = a->sum + blocks,
                             .low = a->low + blocks};
}
