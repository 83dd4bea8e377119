// SPDX-License-Identifier: MIT
/* limits_lanes.h: what a core can do when it does nothing else, a template over a vector type.
 *
 * Included once by the limits_*.c of each instruction set, which first says
 *
 *   LIMIT_BYTES                  of a vector
 *   LIMIT_REGISTER               the constraint of a vector register in inline assembly
 *   limit_dot(acc, u, s)         acc += products of bytes, LIMIT_DOT_OPS operations
 *   limit_fma(acc, a, b)         acc += a b in f32
 *   limit_vec                    the type of all of them
 *
 * Multiplying is measured in registers: a dozen independent sums hide the latency of one.  Reading
 * is an exclusive or of everything, in as many streams as a prefetcher may like.  Results of
 * kernels are judged against these numbers, so they must not flatter: no kernel is faster. */
#ifndef WORKER_KERNELS_LIMITS_LANES_H
#define WORKER_KERNELS_LIMITS_LANES_H

#include <stddef.h>
#include <stdint.h>

#include "worker/kernels/kernels.h"

#define LIMIT_SUMS       12  // in flight; four products per cycle would still find three each
#define LIMIT_GROUP      256 // bytes read from a stream before the next one
#define LIMIT_AHEAD      1024
#define LIMIT_LINE_BYTES 64

#define LIMIT_INLINE inline __attribute__((always_inline))

/* What the compiler knows about x ends here: nothing may be left out, or done once for all. */
#define LIMIT_HIDE(x) __asm__ volatile("" : "+" LIMIT_REGISTER(x))

typedef uint64_t limit_words __attribute__((vector_size(LIMIT_BYTES)));

/* Eight bytes in all lanes.  Not zero as bytes nor as floats: zeros would cost less power. */
#define LIMIT_FACTOR(bytes) ((limit_vec)((limit_words){0} + (bytes)))
#define LIMIT_FIRST         UINT64_C(0x3f3f3f3f3f3f3f3f) // 0.75
#define LIMIT_SECOND        UINT64_C(0x3e3e3e3e3e3e3e3e) // 0.19

static double limit_peak_int8(size_t rounds) {
    limit_vec acc[LIMIT_SUMS] = {{0}}; // its address is never taken: memory would be the limit
    limit_vec u = LIMIT_FACTOR(LIMIT_FIRST), s = LIMIT_FACTOR(LIMIT_SECOND);
    LIMIT_HIDE(s);
    for (size_t r = 0; r < rounds; r++) {
        for (size_t i = 0; i < LIMIT_SUMS; i++) {
            LIMIT_HIDE(u);
            acc[i] = limit_dot(acc[i], u, s);
            LIMIT_HIDE(acc[i]);
        }
    }
    return (double)rounds * LIMIT_SUMS * LIMIT_DOT_OPS;
}

static double limit_peak_f32(size_t rounds) {
    limit_vec acc[LIMIT_SUMS] = {{0}};
    limit_vec a = LIMIT_FACTOR(LIMIT_FIRST), b = LIMIT_FACTOR(LIMIT_SECOND);
    LIMIT_HIDE(b);
    for (size_t r = 0; r < rounds; r++) {
        for (size_t i = 0; i < LIMIT_SUMS; i++) {
            LIMIT_HIDE(a);
            acc[i] = limit_fma(acc[i], a, b);
            LIMIT_HIDE(acc[i]);
        }
    }
    return (double)rounds * LIMIT_SUMS * (LIMIT_BYTES / sizeof(float)) * 2;
}

/* Hot.  `streams` and `ahead` are constants of the caller. */
static LIMIT_INLINE uint64_t limit_read(const uint8_t *p, size_t bytes, size_t streams,
                                        size_t ahead) {
    limit_words sum[4] = {{0}};
    const size_t part = bytes / streams;
    for (size_t at = 0; at < part; at += LIMIT_GROUP) {
        for (size_t s = 0; s < streams; s++) {
            const uint8_t *group = p + s * part + at;
            for (size_t i = 0; ahead && i < LIMIT_GROUP; i += LIMIT_LINE_BYTES)
                __builtin_prefetch(group + ahead + i);
            for (size_t i = 0; i < LIMIT_GROUP / LIMIT_BYTES; i++)
                sum[i % 4] ^= *(const limit_words *)(const void *)(group + i * LIMIT_BYTES);
        }
    }
    const limit_words all = sum[0] ^ sum[1] ^ sum[2] ^ sum[3];
    uint64_t result = 0;
    for (size_t i = 0; i < LIMIT_BYTES / sizeof result; i++) result ^= all[i];
    return result;
}

static uint64_t limit_read_memory(const void *memory, size_t bytes, enum read_way way) {
    switch (way) {
    case READ_ONE_STREAM: return limit_read(memory, bytes, 1, 0);
    case READ_ONE_STREAM_AHEAD: return limit_read(memory, bytes, 1, LIMIT_AHEAD);
    case READ_FOUR_STREAMS: return limit_read(memory, bytes, 4, 0);
    case READ_FOUR_STREAMS_AHEAD: return limit_read(memory, bytes, 4, LIMIT_AHEAD);
    case READ_N_WAYS: break;
    }
    return 0;
}

static void limit_fill(struct kernels *k) {
    k->peak_int8 = limit_peak_int8;
    k->peak_f32 = limit_peak_f32;
    k->read_memory = limit_read_memory;
}

#endif
