// SPDX-License-Identifier: MIT
/* utf8.c: see utf8.h. */

#include "common/utf8.h"

/* Expected length by the first byte and the legal range of the second (RFC 3629, table in §4). */
static size_t expected(unsigned char c, unsigned char *low, unsigned char *high) {
    *low = 0x80, *high = 0xBF;
    if (c < 0x80) return 1;
    if (c >= 0xC2 && c <= 0xDF) return 2;
    if (c >= 0xE0 && c <= 0xEF) {
        if (c == 0xE0) *low = 0xA0;
        if (c == 0xED) *high = 0x9F;
        return 3;
    }
    if (c >= 0xF0 && c <= 0xF4) {
        if (c == 0xF0) *low = 0x90;
        if (c == 0xF4) *high = 0x8F;
        return 4;
    }
    return 0;
}

/* How many of the bytes at s match a sequence of `want` bytes, up to n. */
static size_t matched(const unsigned char *s, size_t n, size_t want, unsigned char low,
                      unsigned char high) {
    size_t i = 1;
    for (; i < want && i < n; i++) {
        if (s[i] < low || s[i] > high) break;
        low = 0x80, high = 0xBF;
    }
    return i;
}

size_t utf8_sequence(const char *s, size_t n, uint32_t *code_point) {
    if (n == 0) return 0;
    const unsigned char *u = (const unsigned char *)s;
    unsigned char low, high;
    size_t want = expected(u[0], &low, &high);
    if (want == 0 || want > n || matched(u, n, want, low, high) != want) return 0;
    if (code_point) {
        static const unsigned char first_mask[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
        uint32_t cp = u[0] & first_mask[want];
        for (size_t i = 1; i < want; i++) cp = cp << 6 | (u[i] & 0x3Fu);
        *code_point = cp;
    }
    return want;
}

bool utf8_valid(const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t width = utf8_sequence(s + i, n - i, NULL);
        if (width == 0) return false;
        i += width;
    }
    return true;
}

size_t utf8_incomplete_tail(const char *s, size_t n) {
    const unsigned char *u = (const unsigned char *)s;
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        const unsigned char *start = u + n - back;
        if ((*start & 0xC0) == 0x80) continue; // a continuation byte: look further back
        unsigned char low, high;
        size_t want = expected(*start, &low, &high);
        return want > back && matched(start, back, want, low, high) == back ? back : 0;
    }
    return 0;
}

size_t utf8_encode(uint32_t cp, char out[4]) {
    if (cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF)) cp = 0xFFFD;
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t width = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = width - 1; i > 0; i--, cp >>= 6) out[i] = (char)(0x80 | (cp & 0x3F));
    out[0] = (char)(lead[width] | cp);
    return width;
}
