/* kv.h: the paged KV cache of one rank.
 *
 * Holds K and V of this rank's KV heads in blocks of KV_BLOCK_TOKENS positions, for all layers. The
 * coordinator decides which block belongs to which sequence; this module only owns the memory.
 * Worker main thread and its team.  Everything here is Local. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_KV_H
#define WORKER_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/batch.h"
#include "common/error.h"
#include "worker/kernels/kernels.h"

struct kv_shape {
    uint32_t n_layers, n_heads; // KV heads of this rank
    uint32_t head_dim;
    uint32_t n_blocks;
    bool f32; // else f16
};

struct kv;

/* Where the past of a token lies: its position p is in block blocks[p / KV_BLOCK_TOKENS]. */
struct kv_row {
    uint32_t position;
    const uint32_t *blocks;
};

uint64_t kv_bytes(const struct kv_shape *s);
/* The pool is mapped, not touched: memory is taken as blocks are used.  ERR_MEMORY with the number.
 */
MUST_USE err kv_create(struct kv **out, const struct kv_shape *s);
void kv_free(struct kv *kv);
const struct kv_shape *kv_get_shape(const struct kv *kv);

/* Writes K and V [head_dim] of one head at the row's position, rounded to the cache's type. */
void kv_store(struct kv *kv, const struct kernels *kernels, uint32_t layer, uint32_t head,
              const struct kv_row *row, const float *k, const float *v);
/* Of uint16_t (f16) or float: keys [head_dim, KV_BLOCK_TOKENS], values [KV_BLOCK_TOKENS, head_dim].
 * Positions that nobody stored hold anything. */
const void *kv_keys(const struct kv *kv, uint32_t layer, uint32_t head, uint32_t block);
const void *kv_values(const struct kv *kv, uint32_t layer, uint32_t head, uint32_t block);

#endif
