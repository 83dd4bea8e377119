/* mem.h: the memory regimes of the project.
 *
 * Start-up: mem_alloc and friends end the process with a sentence when memory is missing; sizes
 * that come from a file or a peer use mem_try_zalloc instead and return ERR_MEMORY.
 * Steady state: an arena is filled and reset, nothing is allocated; mem_guard_begin/end prove it
 * in debug builds.  Large: mem_map gives zeroed anonymous memory with huge pages asked for.
 * Any thread, but an arena belongs to one thread. */
// SPDX-License-Identifier: MIT
#ifndef COMMON_MEM_H
#define COMMON_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* Never return NULL (size 0 gives a valid pointer).  Release with mem_free (NULL is accepted). */
void *mem_alloc(size_t bytes);
void *mem_zalloc(size_t bytes);
void *mem_zalloc_array(size_t count, size_t size); // overflow-checked product
void *mem_realloc(void *p, size_t bytes);
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);
void mem_free(void *p);
/* NULL when there is not enough memory or count*size overflows. */
void *mem_try_zalloc(size_t count, size_t size);

/* In debug builds any mem_* allocation of the calling thread between begin and end is a broken
 * invariant ("a decode step allocates nothing"). */
void mem_guard_begin(void);
void mem_guard_end(void);

/* `bytes` of zeroed memory, 2 MiB aligned when that large, transparent huge pages asked for.
 * ERR_MEMORY with both numbers when the system refuses.  Unmap with the same size. */
MUST_USE err mem_map(void **out, size_t bytes);
void mem_unmap(void *p, size_t bytes);

/* *out = a*b or a+b; false on overflow. */
static inline bool mem_mul(size_t a, size_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool mem_add(size_t a, size_t b, size_t *out) {
    return !__builtin_add_overflow(a, b, out);
}

/* A bump allocator of fixed capacity over one block. */
struct arena {
    uint8_t *base;
    size_t used, capacity;
};
void arena_init(struct arena *a, size_t capacity);
void arena_deinit(struct arena *a);
void arena_reset(struct arena *a);
/* 64-byte aligned; NULL when the capacity does not suffice: the caller turns that into an error. */
void *arena_alloc(struct arena *a, size_t bytes);

#endif
