// SPDX-License-Identifier: MIT
/* buf.c: see buf.h.  Capacity doubles, so n appends cost O(n). */

#include "common/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "common/utf8.h"

void buf_init(struct buf *b, size_t limit) {
    *b = (struct buf){.limit = limit ? limit : SIZE_MAX / 2};
}

void buf_deinit(struct buf *b) {
    mem_free(b->data);
    *b = (struct buf){.limit = b->limit};
}

void buf_clear(struct buf *b) {
    b->length = 0;
    b->failed = false;
    if (b->data) b->data[0] = '\0';
}

void *buf_extend(struct buf *b, size_t n) {
    if (b->failed || n > b->limit - b->length) {
        b->failed = true;
        return NULL;
    }
    size_t need = b->length + n + 1;
    if (need > b->capacity) {
        size_t capacity = b->capacity ? b->capacity : 64;
        while (capacity < need) capacity *= 2;
        b->data = mem_realloc(b->data, capacity);
        b->capacity = capacity;
    }
    char *place = b->data + b->length;
    b->length += n;
    b->data[b->length] = '\0';
    return place;
}

void buf_append(struct buf *b, const void *bytes, size_t n) {
    if (n == 0) return;
    void *place = buf_extend(b, n);
    if (place) memcpy(place, bytes, n);
}

void buf_puts(struct buf *b, const char *s) {
    buf_append(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c) {
    buf_append(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n > 0) {
        char *place = buf_extend(b, (size_t)n);
        if (place) vsnprintf(place, (size_t)n + 1, fmt, again);
    }
    va_end(again);
}

void buf_consume(struct buf *b, size_t n) {
    if (n == 0) return;
    memmove(b->data, b->data + n, b->length - n);
    b->length -= n;
    b->data[b->length] = '\0';
}

void buf_append_json(struct buf *b, const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\') {
            char pair[2] = {'\\', (char)c};
            buf_append(b, pair, 2);
            i++;
        } else if (c == '\n') {
            buf_puts(b, "\\n");
            i++;
        } else if (c < 0x20 || c == 0x7f) {
            buf_printf(b, "\\u%04x", c);
            i++;
        } else {
            size_t width = utf8_sequence(s + i, n - i, NULL);
            if (width == 0) {
                buf_puts(b, "\xEF\xBF\xBD");
                i++;
            } else {
                buf_append(b, s + i, width);
                i += width;
            }
        }
    }
}
