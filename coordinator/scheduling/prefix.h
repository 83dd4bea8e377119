/* prefix.h: full blocks of the KV cache, found again by their tokens and all tokens before them.
 *
 * What a block holds follows from its own tokens and from what the block before it holds, so a
 * block has a name, and is looked up by the name of its predecessor and its KV_BLOCK_TOKENS tokens:
 *
 *   root ─"You are a helpful"─► name 7 ─"assistant. Answer"─► name 8 ─…
 *
 * Names are never used twice and the tokens are compared, not their hash alone: there is no false
 * hit.  This module knows nothing of who holds a block.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_PREFIX_H
#define COORDINATOR_PREFIX_H

#include <stdbool.h>
#include <stdint.h>

#define PREFIX_ROOT ((uint64_t)0) // what comes before the first block of a sequence

struct prefix_entry;

struct prefix {
    struct prefix_entry *entries; // [n_blocks] by block id
    uint32_t n_blocks;
    uint32_t *buckets; // [mask + 1] first block of each
    uint32_t mask;
    uint64_t last_name;
};

void prefix_init(struct prefix *p, uint32_t n_blocks);
void prefix_deinit(struct prefix *p);
/* Another root: blocks under it are found by those alone who know it. */
uint64_t prefix_new_root(struct prefix *p);
/* The block that holds tokens[KV_BLOCK_TOKENS] after `parent`, and its name; false: none does. */
bool prefix_find(const struct prefix *p, uint64_t parent, const int32_t *tokens, uint32_t *block,
                 uint64_t *name);
/* From now on `block`, which has no name, holds these tokens.  Returns their name; when another
 * block holds the same already that one stays the one that is found, and `block` has no name. */
uint64_t prefix_add(struct prefix *p, uint32_t block, uint64_t parent, const int32_t *tokens);
bool prefix_has_name(const struct prefix *p, uint32_t block);
/* The block's contents are about to be lost. */
void prefix_forget(struct prefix *p, uint32_t block);

#endif
