// SPDX-License-Identifier: MIT
/* block.c: see block.h.  The free blocks form a ring:
 *
 *   head → freed last, nothing worth keeping … untouched → kept longest … → kept last → head
 *          ^ acquire takes from here                                        ^ release with keep
 *
 * Of those not worth keeping the block freed last is taken first, so its memory is likely still in
 * the ranks' caches, and untouched blocks stay untouched. */

#include "coordinator/scheduling/block.h"

#include "common/batch.h"
#include "common/error.h"
#include "common/mem.h"

static void insert_after(struct block_pool *p, uint32_t at, uint32_t id) {
    uint32_t next = p->next[at];
    p->prev[id] = at;
    p->next[id] = next;
    p->next[at] = id;
    p->prev[next] = id;
}

static void take_out(struct block_pool *p, uint32_t id) {
    p->next[p->prev[id]] = p->next[id];
    p->prev[p->next[id]] = p->prev[id];
}

void block_pool_init(struct block_pool *p, uint32_t count) {
    *p = (struct block_pool){.count = count};
    p->refs = mem_zalloc_array(count, sizeof *p->refs);
    p->prev = mem_zalloc_array((size_t)count + 1, sizeof *p->prev);
    p->next = mem_zalloc_array((size_t)count + 1, sizeof *p->next);
    p->prev[count] = p->next[count] = count;
    for (uint32_t i = 0; i < count; i++) insert_after(p, p->prev[count], i); // block 0 is first
}

void block_pool_deinit(struct block_pool *p) {
    mem_free(p->refs);
    mem_free(p->prev);
    mem_free(p->next);
    *p = (struct block_pool){0};
}

bool block_acquire(struct block_pool *p, uint32_t *id) {
    if (p->used == p->count) return false;
    *id = p->next[p->count];
    CHECK(p->refs[*id] == 0);
    block_share(p, *id);
    return true;
}

void block_share(struct block_pool *p, uint32_t id) {
    CHECK(id < p->count);
    if (p->refs[id]++ > 0) return;
    take_out(p, id);
    p->used++;
}

void block_release(struct block_pool *p, uint32_t id, bool keep) {
    CHECK(id < p->count && p->refs[id] > 0);
    if (--p->refs[id] > 0) return;
    insert_after(p, keep ? p->prev[p->count] : p->count, id);
    p->used--;
}

uint32_t block_count_for(uint32_t tokens) {
    return (tokens + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS;
}
