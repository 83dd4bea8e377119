// SPDX-License-Identifier: MIT
/* tpl_text.c: see tpl_text.h. */

#include "coordinator/template/tpl_text.h"

#include <string.h>

#include "common/mem.h"

#define HIGH_FIRST 0xD800u
#define LOW_FIRST  0xDC00u
#define LOW_LAST   0xDFFFu

struct text tpl_text_of(const char *s) {
    return (struct text){s, (uint32_t)strlen(s)};
}

struct text tpl_text_part(struct text t, uint32_t begin, uint32_t end) {
    return (struct text){t.bytes ? t.bytes + begin : NULL, end - begin};
}

bool tpl_text_equal(struct text a, struct text b) {
    return a.length == b.length && (a.length == 0 || memcmp(a.bytes, b.bytes, a.length) == 0);
}

bool tpl_text_is(struct text t, const char *s) {
    return tpl_text_equal(t, tpl_text_of(s));
}

bool tpl_text_begins(struct text t, struct text with) {
    return t.length >= with.length && tpl_text_equal(tpl_text_part(t, 0, with.length), with);
}

bool tpl_text_ends(struct text t, struct text with) {
    return t.length >= with.length &&
           tpl_text_equal(tpl_text_part(t, t.length - with.length, t.length), with);
}

uint32_t tpl_text_find(struct text t, struct text part, uint32_t from) {
    if (from > t.length) return TEXT_NOT_FOUND;
    if (part.length == 0) return from;
    // glibc's memmem takes linear time.
    const char *hit = memmem(t.bytes + from, t.length - from, part.bytes, part.length);
    return hit ? (uint32_t)(hit - t.bytes) : TEXT_NOT_FOUND;
}

/* The first hit of the reversed part in the reversed text: linear, as hits may overlap. */
uint32_t tpl_text_find_last(struct text t, struct text part) {
    if (part.length == 0 || part.length > t.length) return part.length ? TEXT_NOT_FOUND : t.length;
    char *reversed = mem_alloc((size_t)t.length + part.length), *needle = reversed + t.length;
    for (uint32_t i = 0; i < t.length; i++) reversed[i] = t.bytes[t.length - 1 - i];
    for (uint32_t i = 0; i < part.length; i++) needle[i] = part.bytes[part.length - 1 - i];
    const char *hit = memmem(reversed, t.length, needle, part.length);
    uint32_t at = hit ? t.length - (uint32_t)(hit - reversed) - part.length : TEXT_NOT_FOUND;
    mem_free(reversed);
    return at;
}

/* ---- code points and code units ---- */

uint32_t tpl_text_point(struct text t, uint32_t at, uint32_t *n) {
    const uint8_t *s = (const uint8_t *)t.bytes + at;
    uint32_t bytes = s[0] < 0x80 ? 1 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    if (bytes > t.length - at) bytes = t.length - at;
    uint32_t c = bytes == 1 ? s[0] : s[0] & (0xFFu >> (bytes + 1));
    for (uint32_t i = 1; i < bytes; i++) c = c << 6 | (s[i] & 0x3Fu);
    *n = bytes;
    return c;
}

uint32_t tpl_text_count_points(struct text t) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < t.length; i++) count += ((uint8_t)t.bytes[i] & 0xC0) != 0x80;
    return count;
}

uint32_t tpl_text_count_units(struct text t) {
    uint32_t count = tpl_text_count_points(t);
    for (uint32_t i = 0; i < t.length; i++) count += (uint8_t)t.bytes[i] >= 0xF0;
    return count;
}

uint32_t tpl_text_skip_points(struct text t, uint32_t from, uint64_t index) {
    uint32_t at = from, n;
    for (; index > 0 && at < t.length; index--) {
        tpl_text_point(t, at, &n);
        at += n;
    }
    return at;
}

uint32_t tpl_text_encode(uint32_t c, char out[4]) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    uint32_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (uint32_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(((0xF00u >> n) & 0xFF) | c);
    return n;
}

uint32_t tpl_text_unit(struct text t, uint64_t index, char out[4]) {
    for (uint32_t at = 0, n; at < t.length; at += n) {
        uint32_t c = tpl_text_point(t, at, &n);
        uint32_t units = c >= 0x10000 ? 2 : 1;
        if (index < units) {
            if (units == 2)
                c = index == 0 ? HIGH_FIRST + ((c - 0x10000) >> 10) : LOW_FIRST + (c & 0x3FF);
            return tpl_text_encode(c, out);
        }
        index -= units;
    }
    return 0;
}

bool tpl_text_joins(struct text a, struct text b, char out[4]) {
    uint32_t n;
    if (a.length < 3 || b.length < 3 || (uint8_t)b.bytes[0] != 0xED ||
        (uint8_t)a.bytes[a.length - 3] != 0xED)
        return false;
    uint32_t high = tpl_text_point(a, a.length - 3, &n), low = tpl_text_point(b, 0, &n);
    if (high < HIGH_FIRST || high >= LOW_FIRST || low < LOW_FIRST || low > LOW_LAST) return false;
    tpl_text_encode(0x10000 + ((high - HIGH_FIRST) << 10) + (low - LOW_FIRST), out);
    return true;
}

/* The first code unit of a code point: what orders it. */
static uint32_t first_unit(uint32_t c) {
    return c >= 0x10000 ? HIGH_FIRST + ((c - 0x10000) >> 10) : c;
}

int tpl_text_compare(struct text a, struct text b) {
    uint32_t i = 0, n;
    while (i < a.length && i < b.length && a.bytes[i] == b.bytes[i]) i++;
    if (i == a.length || i == b.length) return (i == b.length) - (i == a.length);
    while (i > 0 && ((uint8_t)a.bytes[i] & 0xC0) == 0x80) i--;
    uint32_t x = tpl_text_point(a, i, &n), y = tpl_text_point(b, i, &n);
    if (first_unit(x) != first_unit(y)) return first_unit(x) < first_unit(y) ? -1 : 1;
    return x < y ? -1 : 1;
}

/* ---- white space ---- */

bool tpl_text_is_space(uint32_t c) {
    if (c <= 0x20) return c == 0x20 || (c >= 0x09 && c <= 0x0D);
    return c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000 || c == 0xFEFF;
}

uint32_t tpl_text_space_at(struct text t, uint32_t at) {
    uint32_t n;
    if (at >= t.length) return 0;
    return tpl_text_is_space(tpl_text_point(t, at, &n)) ? n : 0;
}

uint32_t tpl_text_space_before(struct text t, uint32_t at) {
    if (at == 0) return 0;
    uint32_t begin = at - 1, n;
    while (begin > 0 && at - begin < 4 && ((uint8_t)t.bytes[begin] & 0xC0) == 0x80) begin--;
    return tpl_text_is_space(tpl_text_point(t, begin, &n)) ? at - begin : 0;
}

struct text tpl_text_trim(struct text t, bool begin, bool end) {
    uint32_t n;
    while (begin && (n = tpl_text_space_at(t, 0)) > 0) t = tpl_text_part(t, n, t.length);
    while (end && (n = tpl_text_space_before(t, t.length)) > 0) t.length -= n;
    return t;
}

void tpl_text_put_clean(struct buf *out, struct text t) {
    uint32_t done = 0, i = 0, n;
    char pair[4];
    if (t.length == 0) return;
    while (i < t.length) {
        const char *hit = memchr(t.bytes + i, 0xED, t.length - i);
        if (!hit) break;
        i = (uint32_t)(hit - t.bytes);
        uint32_t c = tpl_text_point(t, i, &n);
        if (c < HIGH_FIRST || c > LOW_LAST) {
            i += n;
            continue;
        }
        buf_append(out, t.bytes + done, i - done);
        bool whole =
            tpl_text_joins(tpl_text_part(t, 0, i + n), tpl_text_part(t, i + n, t.length), pair);
        if (whole)
            buf_append(out, pair, 4);
        else
            buf_puts(out, "\xEF\xBF\xBD");
        i += whole ? n + 3 : n;
        done = i;
    }
    buf_append(out, t.bytes + done, t.length - done);
}
