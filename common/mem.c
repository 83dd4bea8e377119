// SPDX-License-Identifier: MIT
/* mem.c: see mem.h.  The only file that calls malloc for the project's own data. */

#include "common/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE_BYTES ((size_t)2 << 20)
#define ARENA_ALIGN     ((size_t)64)

static _Thread_local int guard_depth;

static _Noreturn void out_of_memory(size_t bytes) {
    fprintf(stderr, "lockstep: out of memory: %zu bytes were needed\n", bytes);
    abort();
}

void mem_guard_begin(void) {
    guard_depth++;
}

void mem_guard_end(void) {
    guard_depth--;
}

void *mem_alloc(size_t bytes) {
    DCHECK(guard_depth == 0);
    void *p = malloc(bytes ? bytes : 1);
    if (!p) out_of_memory(bytes);
    return p;
}

void *mem_zalloc(size_t bytes) {
    return mem_zalloc_array(1, bytes);
}

void *mem_zalloc_array(size_t count, size_t size) {
    void *p = mem_try_zalloc(count, size);
    if (!p) out_of_memory(count > SIZE_MAX / (size ? size : 1) ? SIZE_MAX : count * size);
    return p;
}

void *mem_try_zalloc(size_t count, size_t size) {
    size_t bytes;
    DCHECK(guard_depth == 0);
    if (!mem_mul(count, size, &bytes)) return NULL;
    return calloc(bytes ? bytes : 1, 1);
}

void *mem_realloc(void *p, size_t bytes) {
    DCHECK(guard_depth == 0);
    void *q = realloc(p, bytes ? bytes : 1);
    if (!q) out_of_memory(bytes);
    return q;
}

char *mem_strdup(const char *s) {
    return mem_strndup(s, strlen(s));
}

char *mem_strndup(const char *s, size_t n) {
    char *copy = mem_alloc(n + 1);
    memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

void mem_free(void *p) {
    free(p);
}

/* Room for the alignment is mapped and the edges are given back: 2 MiB alignment lets the kernel
 * use huge pages from the first byte. */
err mem_map(void **out, size_t bytes) {
    size_t align = bytes >= HUGE_PAGE_BYTES ? HUGE_PAGE_BYTES : 4096;
    size_t rounded, span;
    if (!mem_add(bytes ? bytes : 1, align - 1, &rounded)) rounded = 0;
    rounded &= ~(align - 1);
    if (rounded == 0 || !mem_add(rounded, align, &span))
        return FAIL(ERR_MEMORY, "a block of %zu bytes is larger than an address space", bytes);
    uint8_t *p = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return FAIL(ERR_MEMORY, "the system refused a block of %zu bytes of memory", bytes);
    uint8_t *start = (uint8_t *)(((uintptr_t)p + align - 1) & ~(uintptr_t)(align - 1));
    size_t head = (size_t)(start - p), tail = span - head - rounded;
    if (head) munmap(p, head);
    if (tail) munmap(start + rounded, tail);
    if (align == HUGE_PAGE_BYTES) (void)madvise(start, rounded, MADV_HUGEPAGE);
    *out = start;
    return ERR_OK;
}

void mem_unmap(void *p, size_t bytes) {
    if (!p) return;
    size_t align = bytes >= HUGE_PAGE_BYTES ? HUGE_PAGE_BYTES : 4096;
    munmap(p, ((bytes ? bytes : 1) + align - 1) & ~(align - 1));
}

void arena_init(struct arena *a, size_t capacity) {
    a->capacity = (capacity + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
    a->base = aligned_alloc(ARENA_ALIGN, a->capacity ? a->capacity : ARENA_ALIGN);
    if (!a->base) out_of_memory(capacity);
    a->used = 0;
}

void arena_deinit(struct arena *a) {
    free(a->base);
    a->base = NULL;
    a->used = a->capacity = 0;
}

void arena_reset(struct arena *a) {
    a->used = 0;
}

void *arena_alloc(struct arena *a, size_t bytes) {
    if (bytes > a->capacity - a->used) return NULL;
    size_t rounded = (bytes + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
    if (rounded > a->capacity - a->used) return NULL;
    void *p = a->base + a->used;
    a->used += rounded;
    return p;
}
