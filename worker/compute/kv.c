// SPDX-License-Identifier: MIT
/* kv.c: see kv.h.
 *
 *   pool = [block][layer][KV head] { K [head_dim][KV_BLOCK_TOKENS], V [KV_BLOCK_TOKENS][head_dim] }
 *
 * Block-major: all layers of a block are neighbours, so resident memory grows with the blocks in
 * use, and a block can one day be moved or copied as one piece.  A block's keys lie with the
 * positions side by side: then both products of attention run along the rows of what they read,
 * and neither has a sum across vector lanes.  Storing a key touches head_dim lines for that, which
 * the same step's attention reads anyway. */

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

#define STORE_DIMS 64 // of a key that are narrowed at once

/* One position of a block's keys: element d is KV_BLOCK_TOKENS elements behind element d - 1. */
static void store_key_f16(const struct kernels *kernels, uint16_t *at, const float *k, size_t dim) {
    uint16_t narrow[STORE_DIMS];
    for (size_t begin = 0; begin < dim; begin += STORE_DIMS) {
        size_t n = dim - begin < STORE_DIMS ? dim - begin : STORE_DIMS;
        kernels->f32_to_f16(narrow, k + begin, n);
        for (size_t d = 0; d < n; d++) at[(begin + d) * KV_BLOCK_TOKENS] = narrow[d];
    }
}

void kv_store(struct kv *kv, const struct kernels *kernels, uint32_t layer, uint32_t head,
              const struct kv_row *row, const float *k, const float *v) {
    size_t dim = kv->shape.head_dim, place = row->position % KV_BLOCK_TOKENS;
    void *k_tile = keys(kv, layer, head, row->blocks[row->position / KV_BLOCK_TOKENS]);
    void *v_tile = (uint8_t *)k_tile + kv->tile_bytes;
    if (kv->shape.f32) {
        float *k_at = (float *)k_tile + place;
        for (size_t d = 0; d < dim; d++) k_at[d * KV_BLOCK_TOKENS] = k[d];
        memcpy((float *)v_tile + place * dim, v, dim * sizeof *v);
    } else {
        store_key_f16(kernels, (uint16_t *)k_tile + place, k, dim);
        kernels->f32_to_f16((uint16_t *)v_tile + place * dim, v, dim);
    }
}
