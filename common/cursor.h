/* cursor.h: the one way to read bytes that come from outside.
 *
 * A cursor walks a buffer; a read past the end sets a sticky error and returns zeros, so a parser
 * reads a whole record and asks once.  Little endian.  No I/O, no allocation.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COMMON_CURSOR_H
#define COMMON_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct cursor {
    const uint8_t *data;
    size_t size, offset;
    bool failed;        // a read went past the end
    size_t failed_need; // bytes the failed read wanted, at `offset`
};

static inline struct cursor cursor_over(const void *data, size_t size) {
    return (struct cursor){.data = (const uint8_t *)data, .size = size};
}

/* n bytes at the present place, or NULL with the error set. */
static inline const void *cursor_take(struct cursor *c, size_t n) {
    if (c->failed || n > c->size - c->offset) {
        if (!c->failed) c->failed_need = n;
        c->failed = true;
        return NULL;
    }
    const void *p = c->data + c->offset;
    c->offset += n;
    return p;
}

#define CURSOR_READ(name, type)                                                                    \
    static inline type cursor_##name(struct cursor *c) {                                           \
        type v = 0;                                                                                \
        const void *p = cursor_take(c, sizeof v);                                                  \
        if (p) memcpy(&v, p, sizeof v);                                                            \
        return v;                                                                                  \
    }
CURSOR_READ(u8, uint8_t)
CURSOR_READ(u16, uint16_t)
CURSOR_READ(u32, uint32_t)
CURSOR_READ(u64, uint64_t)
CURSOR_READ(i32, int32_t)
CURSOR_READ(f32, float)
CURSOR_READ(f64, double)
#undef CURSOR_READ

#endif
