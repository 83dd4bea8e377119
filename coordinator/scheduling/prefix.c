// SPDX-License-Identifier: MIT
/* prefix.c: see prefix.h.  A hash table with chains; its entries are indexed by block id, so there
 * is nothing to allocate or to run out of.  A block whose predecessor was forgotten can no longer
 * be found; holders release a sequence's last block first, so predecessors are forgotten last. */

#include "coordinator/scheduling/prefix.h"

#include <string.h>

#include "common/batch.h"
#include "common/error.h"
#include "common/mem.h"

#define NOBODY UINT32_MAX

struct prefix_entry {
    uint64_t name; // 0: none
    uint64_t parent;
    uint32_t next_block; // of its bucket, or NOBODY
    int32_t tokens[KV_BLOCK_TOKENS];
};

void prefix_init(struct prefix *p, uint32_t n_blocks) {
    uint32_t n_buckets = 16;
    while (n_buckets < n_blocks && n_buckets < 1u << 31) n_buckets *= 2;
    *p = (struct prefix){.n_blocks = n_blocks, .mask = n_buckets - 1};
    p->entries = mem_zalloc_array(n_blocks, sizeof *p->entries);
    p->buckets = mem_zalloc_array(n_buckets, sizeof *p->buckets);
    memset(p->buckets, 0xff, n_buckets * sizeof *p->buckets); // NOBODY
}

void prefix_deinit(struct prefix *p) {
    mem_free(p->entries);
    mem_free(p->buckets);
    *p = (struct prefix){0};
}

uint64_t prefix_new_root(struct prefix *p) {
    return ++p->last_name;
}

/* Multiply and fold, two tokens at a time. */
static uint32_t *bucket_of(const struct prefix *p, uint64_t parent, const int32_t *tokens) {
    uint64_t h = parent ^ 0x9e3779b97f4a7c15u;
    for (uint32_t i = 0; i < KV_BLOCK_TOKENS; i += 2) {
        uint64_t pair = (uint64_t)(uint32_t)tokens[i] << 32 | (uint32_t)tokens[i + 1];
        h = (h ^ pair) * 0xd6e8feb86659fd93u;
        h ^= h >> 32;
    }
    return &p->buckets[h & p->mask];
}

static bool holds(const struct prefix_entry *e, uint64_t parent, const int32_t *tokens) {
    return e->parent == parent && memcmp(e->tokens, tokens, sizeof e->tokens) == 0;
}

bool prefix_find(const struct prefix *p, uint64_t parent, const int32_t *tokens, uint32_t *block,
                 uint64_t *name) {
    uint32_t id = *bucket_of(p, parent, tokens);
    while (id != NOBODY && !holds(&p->entries[id], parent, tokens)) id = p->entries[id].next_block;
    if (id == NOBODY) return false;
    *block = id;
    *name = p->entries[id].name;
    return true;
}

uint64_t prefix_add(struct prefix *p, uint32_t block, uint64_t parent, const int32_t *tokens) {
    uint32_t known;
    uint64_t name;
    if (prefix_find(p, parent, tokens, &known, &name)) return name;
    CHECK(block < p->n_blocks);
    struct prefix_entry *e = &p->entries[block];
    uint32_t *bucket = bucket_of(p, parent, tokens);
    CHECK(e->name == 0);
    e->name = ++p->last_name;
    e->parent = parent;
    e->next_block = *bucket;
    memcpy(e->tokens, tokens, sizeof e->tokens);
    *bucket = block;
    return e->name;
}

bool prefix_has_name(const struct prefix *p, uint32_t block) {
    CHECK(block < p->n_blocks);
    return p->entries[block].name != 0;
}

void prefix_forget(struct prefix *p, uint32_t block) {
    CHECK(block < p->n_blocks);
    struct prefix_entry *e = &p->entries[block];
    if (e->name == 0) return;
    uint32_t *at = bucket_of(p, e->parent, e->tokens);
    while (*at != block) at = &p->entries[*at].next_block;
    *at = e->next_block;
    e->name = 0;
}
