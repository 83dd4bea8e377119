// SPDX-License-Identifier: MIT
/* kv.c: see kv.h.
 *
 *   pool = [block][layer][KV head][K, V][KV_BLOCK_TOKENS][head_dim]
 *
 * Block-major: all layers of a block are neighbours, so resident memory grows with the blocks in
 * use, and a block can one day be moved or copied as one piece.  Within a head, positions follow
 * each other, which is the order in which attention reads them. */

#include "worker/compute/kv.h"

#include <string.h>

#include "common/mem.h"

struct kv {
    struct kv_shape shape;
    uint8_t *pool;
    size_t pool_bytes;
    size_t elem_bytes, tile_bytes; // tile: K or V of one head in one block
};

static size_t elem_bytes(const struct kv_shape *s) {
    return s->f32 ? sizeof(float) : sizeof(uint16_t);
}

uint64_t kv_bytes(const struct kv_shape *s) {
    uint64_t token = 2ull * s->n_layers * s->n_heads * s->head_dim * elem_bytes(s);
    return token * KV_BLOCK_TOKENS * s->n_blocks;
}

err kv_create(struct kv **out, const struct kv_shape *s) {
    struct kv *kv = mem_zalloc(sizeof *kv);
    kv->shape = *s;
    kv->elem_bytes = elem_bytes(s);
    kv->tile_bytes = KV_BLOCK_TOKENS * s->head_dim * kv->elem_bytes;
    kv->pool_bytes = kv_bytes(s);
    void *pool;
    err e = mem_map(&pool, kv->pool_bytes);
    if (e != ERR_OK) {
        mem_free(kv);
        return error_prefix(e, "the KV cache of %u blocks", s->n_blocks);
    }
    kv->pool = pool;
    *out = kv;
    return ERR_OK;
}

void kv_free(struct kv *kv) {
    if (!kv) return;
    mem_unmap(kv->pool, kv->pool_bytes);
    mem_free(kv);
}

const struct kv_shape *kv_get_shape(const struct kv *kv) {
    return &kv->shape;
}

static uint8_t *keys(const struct kv *kv, uint32_t layer, uint32_t head, uint32_t block) {
    size_t tile = ((size_t)block * kv->shape.n_layers + layer) * kv->shape.n_heads + head;
    return kv->pool + 2 * tile * kv->tile_bytes;
}

const void *kv_keys(const struct kv *kv, uint32_t layer, uint32_t head, uint32_t block) {
    return keys(kv, layer, head, block);
}

const void *kv_values(const struct kv *kv, uint32_t layer, uint32_t head, uint32_t block) {
    return keys(kv, layer, head, block) + kv->tile_bytes;
}

void kv_store(struct kv *kv, const struct kernels *kernels, uint32_t layer, uint32_t head,
              const struct kv_row *row, const float *k, const float *v) {
    size_t dim = kv->shape.head_dim;
    uint32_t block = row->blocks[row->position / KV_BLOCK_TOKENS];
    uint8_t *k_at =
        keys(kv, layer, head, block) + row->position % KV_BLOCK_TOKENS * dim * kv->elem_bytes;
    uint8_t *v_at = k_at + kv->tile_bytes;
    if (kv->shape.f32) {
        memcpy(k_at, k, dim * sizeof *k);
        memcpy(v_at, v, dim * sizeof *v);
    } else {
        kernels->f32_to_f16((uint16_t *)(void *)k_at, k, dim);
        kernels->f32_to_f16((uint16_t *)(void *)v_at, v, dim);
    }
}
