// SPDX-License-Identifier: MIT
/* turn.c: see turn.h.
 *
 * The loader's threads run it.  A tile is a square: as many rows as 16 bytes have units.  It is
 * turned by rounds of interleaving: row i and the row half a tile further on become rows 2i and
 * 2i + 1, with their units taken alternately.  Read (row, unit) as one number: a round moves its
 * highest bit to the lowest place, so after log2(rows) rounds it says (unit, row).  In GCC's vector
 * types, which the baseline of every CPU has instructions for; memory is the bound. */

#include "worker/kernels/turn.h"

#include <stdint.h>
#include <string.h>

#define TILE_WORDS        4
#define TILE_HALVES       8
#define LINE_BYTES        64
#define WRITE_AHEAD_BYTES 4096 // a CPU is slow to see by itself what is written next

typedef uint32_t words __attribute__((vector_size(4 * TILE_WORDS)));
typedef uint16_t halves __attribute__((vector_size(2 * TILE_HALVES)));

static inline void interleave_words(words *out, const words *in) {
    for (size_t i = 0; i < TILE_WORDS / 2; i++) {
        const words a = in[i], b = in[i + TILE_WORDS / 2];
        out[2 * i] = __builtin_shufflevector(a, b, 0, 4, 1, 5);
        out[2 * i + 1] = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    }
}

static inline void interleave_halves(halves *out, const halves *in) {
    for (size_t i = 0; i < TILE_HALVES / 2; i++) {
        const halves a = in[i], b = in[i + TILE_HALVES / 2];
        out[2 * i] = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
        out[2 * i + 1] = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
    }
}

/* The rows of the result begin every dst_stride bytes. */
static inline void turn_tile_words(uint8_t *dst, size_t dst_stride, const uint8_t *src,
                                   size_t stride) {
    words a[TILE_WORDS], b[TILE_WORDS];
    for (size_t i = 0; i < TILE_WORDS; i++) memcpy(&a[i], src + i * stride, sizeof a[i]);
    interleave_words(b, a);
    interleave_words(a, b);
    for (size_t i = 0; i < TILE_WORDS; i++) memcpy(dst + i * dst_stride, &a[i], sizeof a[i]);
}

static inline void turn_tile_halves(uint8_t *dst, size_t dst_stride, const uint8_t *src,
                                    size_t stride) {
    halves a[TILE_HALVES], b[TILE_HALVES];
    for (size_t i = 0; i < TILE_HALVES; i++) memcpy(&a[i], src + i * stride, sizeof a[i]);
    interleave_halves(b, a);
    interleave_halves(a, b);
    interleave_halves(b, a);
    for (size_t i = 0; i < TILE_HALVES; i++) memcpy(dst + i * dst_stride, &b[i], sizeof b[i]);
}

static inline void fetch_for_writing(const uint8_t *dst, size_t bytes) {
    for (size_t i = 0; i < bytes; i += LINE_BYTES)
        __builtin_prefetch(dst + WRITE_AHEAD_BYTES + i, 1);
}

/* Units [begin, count) one by one; `unit` is a constant. */
static inline void turn_each(uint8_t *dst, const uint8_t *src, size_t stride, size_t lanes,
                             size_t unit, size_t begin, size_t count) {
    for (size_t u = begin; u < count; u++)
        for (size_t lane = 0; lane < lanes; lane++)
            memcpy(dst + (u * lanes + lane) * unit, src + lane * stride + u * unit, unit);
}

/* Tiles of the same lanes follow each other as long as they share a cache line of the source: with
 * rows a power of two apart few such lines stay in the cache. */
static void turn_words(uint8_t *dst, const uint8_t *src, size_t stride, size_t lanes,
                       size_t count) {
    const size_t whole = lanes % TILE_WORDS ? 0 : count - count % TILE_WORDS, bytes = lanes * 4;
    for (size_t begin = 0, end; begin < whole; begin = end) {
        end = whole - begin < LINE_BYTES / 4 ? whole : begin + LINE_BYTES / 4;
        fetch_for_writing(dst + begin * bytes, (end - begin) * bytes);
        for (size_t lane = 0; lane < lanes; lane += TILE_WORDS)
            for (size_t u = begin; u < end; u += TILE_WORDS)
                turn_tile_words(dst + u * bytes + lane * 4, bytes, src + lane * stride + u * 4,
                                stride);
    }
    turn_each(dst, src, stride, lanes, 4, whole, count);
}

static void turn_halves(uint8_t *dst, const uint8_t *src, size_t stride, size_t lanes,
                        size_t count) {
    const size_t whole = lanes % TILE_HALVES ? 0 : count - count % TILE_HALVES, bytes = lanes * 2;
    for (size_t begin = 0, end; begin < whole; begin = end) {
        end = whole - begin < LINE_BYTES / 2 ? whole : begin + LINE_BYTES / 2;
        fetch_for_writing(dst + begin * bytes, (end - begin) * bytes);
        for (size_t lane = 0; lane < lanes; lane += TILE_HALVES)
            for (size_t u = begin; u < end; u += TILE_HALVES)
                turn_tile_halves(dst + u * bytes + lane * 2, bytes, src + lane * stride + u * 2,
                                 stride);
    }
    turn_each(dst, src, stride, lanes, 2, whole, count);
}

void turn_units(void *dst, const void *src, size_t stride, size_t lanes, size_t unit,
                size_t count) {
    switch (unit) {
    case 4: turn_words(dst, src, stride, lanes, count); break;
    case 2: turn_halves(dst, src, stride, lanes, count); break;
    default: turn_each(dst, src, stride, lanes, 1, 0, count); break;
    }
}
