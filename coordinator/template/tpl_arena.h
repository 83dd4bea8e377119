/* tpl_arena.h: the memory of one parse or one rendering: taken in chunks, given back at once.
 *
 * Differs from common/mem.h's arena in that it grows up to a limit and that the latest block can
 * grow in place, which makes a string that is built piece by piece cost linear time.  Local. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TPL_ARENA_H
#define COORDINATOR_TPL_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tpl_chunk;

struct tpl_arena {
    struct tpl_chunk *chunks; // latest first
    uint8_t *next, *end;      // free room in the latest
    size_t bytes, limit;      // of all chunks
};

void tpl_arena_init(struct tpl_arena *a, size_t limit);
void tpl_arena_deinit(struct tpl_arena *a);
/* count * size zeroed bytes, aligned for any object; NULL when the limit would be passed. */
void *tpl_arena_alloc(struct tpl_arena *a, size_t count, size_t size);
/* Room for `more` bytes after data[0..length): in place when it is the latest block, else in a copy
 * of it.  `data` may be NULL.  Unaligned.  NULL when the limit would be passed. */
char *tpl_arena_grow(struct tpl_arena *a, const char *data, size_t length, size_t more);

#endif
