/* block.h: which blocks of the KV cache are free, and who holds the others.
 *
 * The coordinator owns block ids; ranks own block memory, and the same id means the same tokens on
 * every rank.  A block has a reference count, so that sequences can share one.  A block that nobody
 * holds keeps its contents until it is acquired anew: those worth keeping are taken last, the one
 * released longest ago first.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_BLOCK_H
#define COORDINATOR_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct block_pool {
    uint32_t count, used;  // blocks in all, and with a holder
    uint32_t *refs;        // [count]
    uint32_t *prev, *next; // [count + 1] ring of blocks without a holder; [count] is its head
};

/* `count` blocks, all free. */
void block_pool_init(struct block_pool *p, uint32_t count);
void block_pool_deinit(struct block_pool *p);
/* Takes a free block, whose contents are lost, with one reference; false when there is none. */
bool block_acquire(struct block_pool *p, uint32_t *id);
/* One more holder; the contents stay, also of a block that nobody held. */
void block_share(struct block_pool *p, uint32_t id);
/* One holder less; the last one frees the block.  `keep`: its contents may be wanted again. */
void block_release(struct block_pool *p, uint32_t id, bool keep);
/* Blocks that `tokens` positions need. */
uint32_t block_count_for(uint32_t tokens);

#endif
