/* buf.h: a growable byte buffer with a ceiling.
 *
 * Used wherever text or frames are put together.  A buffer over its ceiling turns `failed` and
 * keeps what it had; the caller checks once at the end.  One owner, any thread. */
// SPDX-License-Identifier: MIT
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data; // [length], NUL after the end once anything was appended
    size_t length, capacity, limit;
    bool failed; // an append would have passed `limit`
};

/* An empty buffer that never holds more than `limit` bytes (0: no ceiling).  Allocates nothing yet.
 */
void buf_init(struct buf *b, size_t limit);
void buf_deinit(struct buf *b);
void buf_clear(struct buf *b); // keeps the memory
void buf_append(struct buf *b, const void *bytes, size_t n);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Room for n more bytes at the returned place, counted as appended; NULL when over the limit. */
void *buf_extend(struct buf *b, size_t n);
/* Drops the first n bytes (n ≤ length). */
void buf_consume(struct buf *b, size_t n);
/* Appends s[0..n) as the inside of a JSON string: escapes ", \ and control bytes.  Invalid UTF-8 is
 * written as U+FFFD, so the result is always valid JSON text.  Adds no quotes. */
void buf_append_json(struct buf *b, const char *s, size_t n);

#endif
