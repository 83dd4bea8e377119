// SPDX-License-Identifier: MIT
/* block.c: see block.h.  A stack of free ids: the block freed last is taken first, so its memory is
 * likely still in the ranks' caches, and untouched blocks stay untouched. */

#include "coordinator/scheduling/block.h"

#include "common/batch.h"
#include "common/error.h"
#include "common/mem.h"

void block_pool_init(struct block_pool *p, uint32_t count) {
    *p = (struct block_pool){.count = count};
    p->free_ids = mem_zalloc_array(count, sizeof *p->free_ids);
    p->refs = mem_zalloc_array(count, sizeof *p->refs);
    for (uint32_t i = 0; i < count; i++) p->free_ids[i] = count - 1 - i; // block 0 on top
}

void block_pool_deinit(struct block_pool *p) {
    mem_free(p->free_ids);
    mem_free(p->refs);
    *p = (struct block_pool){0};
}

bool block_acquire(struct block_pool *p, uint32_t *id) {
    if (p->used == p->count) return false;
    p->used++;
    *id = p->free_ids[p->count - p->used];
    CHECK(p->refs[*id] == 0);
    p->refs[*id] = 1;
    return true;
}

void block_share(struct block_pool *p, uint32_t id) {
    CHECK(id < p->count && p->refs[id] > 0);
    p->refs[id]++;
}

void block_release(struct block_pool *p, uint32_t id) {
    CHECK(id < p->count && p->refs[id] > 0);
    if (--p->refs[id] > 0) return;
    p->free_ids[p->count - p->used] = id;
    p->used--;
}

uint32_t block_count_for(uint32_t tokens) {
    return (tokens + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS;
}
