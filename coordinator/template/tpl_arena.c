// SPDX-License-Identifier: MIT
/* tpl_arena.c: see tpl_arena.h.  Chunks double up to CHUNK_MAX, so a small template takes little
 * and a large one few calls of malloc. */

#include "coordinator/template/tpl_arena.h"

#include <stdalign.h>
#include <string.h>

#include "common/mem.h"

#define CHUNK_MIN ((size_t)16 << 10)
#define CHUNK_MAX ((size_t)1 << 20)
#define ALIGN     alignof(max_align_t)

struct tpl_chunk {
    struct tpl_chunk *previous;
    size_t bytes;
    alignas(max_align_t) uint8_t data[];
};

void tpl_arena_init(struct tpl_arena *a, size_t limit) {
    *a = (struct tpl_arena){.limit = limit};
}

void tpl_arena_deinit(struct tpl_arena *a) {
    while (a->chunks) {
        struct tpl_chunk *previous = a->chunks->previous;
        mem_free(a->chunks);
        a->chunks = previous;
    }
    *a = (struct tpl_arena){.limit = a->limit};
}

/* A new chunk with at least `need` bytes. */
static bool add_chunk(struct tpl_arena *a, size_t need) {
    size_t bytes = a->chunks ? 2 * a->chunks->bytes : CHUNK_MIN;
    if (bytes > CHUNK_MAX) bytes = CHUNK_MAX;
    if (bytes < need) bytes = need;
    if (need > a->limit - a->bytes) return false;
    if (bytes > a->limit - a->bytes) bytes = a->limit - a->bytes;
    struct tpl_chunk *c = mem_try_zalloc(1, sizeof *c + bytes);
    if (!c) return false;
    *c = (struct tpl_chunk){.previous = a->chunks, .bytes = bytes};
    a->chunks = c;
    a->bytes += bytes;
    a->next = c->data;
    a->end = c->data + bytes;
    return true;
}

void *tpl_arena_alloc(struct tpl_arena *a, size_t count, size_t size) {
    size_t bytes;
    if (!mem_mul(count, size, &bytes)) return NULL;
    size_t padding = (ALIGN - (uintptr_t)a->next % ALIGN) % ALIGN;
    if (!a->chunks || bytes > (size_t)(a->end - a->next) ||
        padding > (size_t)(a->end - a->next) - bytes) {
        if (!add_chunk(a, bytes)) return NULL;
        padding = 0;
    }
    uint8_t *place = a->next + padding;
    a->next = place + bytes;
    return place;
}

char *tpl_arena_grow(struct tpl_arena *a, const char *data, size_t length, size_t more) {
    bool latest = data && (const uint8_t *)data + length == a->next;
    if (latest && more <= (size_t)(a->end - a->next)) {
        a->next += more;
        return (char *)(a->next - length - more);
    }
    size_t need;
    if (!mem_add(length, more, &need)) return NULL;
    if (!a->chunks || need > (size_t)(a->end - a->next)) {
        // A string that outgrew its chunk will grow on: room for as much again.
        if (!add_chunk(a, length ? 2 * need : need) && !add_chunk(a, need)) return NULL;
    }
    char *place = (char *)a->next;
    if (length) memcpy(place, data, length);
    a->next += need;
    return place;
}
