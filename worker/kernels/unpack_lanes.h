// SPDX-License-Identifier: MIT
/* unpack_lanes.h: 32 weights of each quantised type as integers and scales, a template over
 * lanes_*.h.
 *
 * Included by quant_lanes.h, after the vocabulary of an instruction set.  A block of 32 of one
 * vector of a panel's rows (panel.h) becomes eight vectors of four bytes per row: u >= 0, or signed
 * bytes in the form of vi_of_signed, with the f32 scales and minima of those rows.  The layouts
 * within a block are those of GGUF's types, turned; Q6_K's are in the order of arrange.h.  What a
 * type is made of stands in quant_formats.  Hot: a caller takes only what it needs of a block, and
 * relies on the compiler to leave out the rest. */
#ifndef WORKER_KERNELS_UNPACK_LANES_H
#define WORKER_KERNELS_UNPACK_LANES_H

#include "worker/kernels/kernels.h"
#include "worker/kernels/panel.h"

/* How 32 weights of a type are put together. */
struct quant_format {
    int block_bytes; // of one row's block
    int subs;        // blocks of 32 in it
    int bits;        // of an unsigned weight; 0: signed bytes
    int offset_log2; // 2^offset_log2 is taken off each unsigned weight, if not 0
    bool has_min;    // a minimum is added
    bool halves;     // the two halves of 16 have scales of their own
};

static const struct quant_format quant_formats[DTYPE_LIMIT] = {
    [DTYPE_Q4_0] = {.block_bytes = 18, .subs = 1, .bits = 4, .offset_log2 = 3},
    [DTYPE_Q4_1] = {.block_bytes = 20, .subs = 1, .bits = 4, .has_min = true},
    [DTYPE_Q5_0] = {.block_bytes = 22, .subs = 1, .bits = 5, .offset_log2 = 4},
    [DTYPE_Q5_1] = {.block_bytes = 24, .subs = 1, .bits = 5, .has_min = true},
    [DTYPE_Q8_0] = {.block_bytes = 34, .subs = 1},
    [DTYPE_Q4_K] = {.block_bytes = 144, .subs = 8, .bits = 4, .has_min = true},
    [DTYPE_Q5_K] = {.block_bytes = 176, .subs = 8, .bits = 5, .has_min = true},
    [DTYPE_Q6_K] = {.block_bytes = 210, .subs = 8, .bits = 6, .offset_log2 = 5, .halves = true},
};

#define PANEL_ROWS (PANEL_VECTORS * LANES)

/* 32 elements along k of one vector of a panel's rows, unpacked. */
struct quant_weights {
    vi w[8];      // elements 4g..4g+3
    vf scale[2];  // of the block; of its halves where the format says so
    vf minus_min; // what is taken off for each unit of activation
};

/* ---- one loader per type: block = the panel's block, v = which vector of its rows, sub = which 32
 * of it along k ------------------------------------------------------------------------------ */

static ALWAYS_INLINE vi field_word(const uint8_t *block, int v, int offset, int index) {
    return vi_load(block + PANEL_ROWS * (offset + 4 * index) + LANES * 4 * v);
}

static ALWAYS_INLINE vf field_f16(const uint8_t *block, int v, int offset) {
    return vf_load_f16(block + PANEL_ROWS * offset + LANES * 2 * v);
}

static ALWAYS_INLINE const uint8_t *field_bytes(const uint8_t *block, int v, int offset) {
    return block + PANEL_ROWS * offset + LANES * v;
}

static ALWAYS_INLINE vi low_nibbles(vi v) {
    return vi_and(v, vi_set(0x0F0F0F0F));
}

static ALWAYS_INLINE vi high_nibbles(vi v) {
    return low_nibbles(vi_shr(v, 4));
}

/* Bit `bit` of each byte, moved to bit 4. */
static ALWAYS_INLINE vi fifth_bits(vi high, int bit) {
    return vi_and(bit < 4 ? vi_shl(high, 4 - bit) : vi_shr(high, bit - 4), vi_set(0x10101010));
}

/* Q4_0, Q4_1 and the lower four bits of Q5_0, Q5_1: byte j holds elements j and j + 16. */
static ALWAYS_INLINE void load_nibbles(vi *w, const uint8_t *block, int v, int offset) {
    for (int g = 0; g < 4; g++) {
        vi bytes = field_word(block, v, offset, g);
        w[g] = low_nibbles(bytes);
        w[g + 4] = high_nibbles(bytes);
    }
}

static ALWAYS_INLINE void add_fifth_bits(vi *w, vi high) {
    for (int g = 0; g < 8; g++) w[g] = vi_or(w[g], fifth_bits(high, g));
}

static ALWAYS_INLINE void load_q8_0(struct quant_weights *q, const uint8_t *block, int v) {
    for (int g = 0; g < 8; g++) q->w[g] = vi_of_signed(field_word(block, v, PANEL_Q8_0_QUANTS, g));
    q->scale[0] = field_f16(block, v, PANEL_Q8_0_D);
}

static ALWAYS_INLINE void load_q4_0(struct quant_weights *q, const uint8_t *block, int v) {
    load_nibbles(q->w, block, v, PANEL_Q4_0_QUANTS);
    q->scale[0] = field_f16(block, v, PANEL_Q4_0_D);
}

static ALWAYS_INLINE void load_q4_1(struct quant_weights *q, const uint8_t *block, int v) {
    load_nibbles(q->w, block, v, PANEL_Q4_1_QUANTS);
    q->scale[0] = field_f16(block, v, PANEL_Q4_1_D);
    q->minus_min = vf_sub(vf_zero(), field_f16(block, v, PANEL_Q4_1_M));
}

static ALWAYS_INLINE void load_q5_0(struct quant_weights *q, const uint8_t *block, int v) {
    load_nibbles(q->w, block, v, PANEL_Q5_0_QUANTS);
    add_fifth_bits(q->w, field_word(block, v, PANEL_Q5_0_HIGH, 0));
    q->scale[0] = field_f16(block, v, PANEL_Q5_0_D);
}

static ALWAYS_INLINE void load_q5_1(struct quant_weights *q, const uint8_t *block, int v) {
    load_nibbles(q->w, block, v, PANEL_Q5_1_QUANTS);
    add_fifth_bits(q->w, field_word(block, v, PANEL_Q5_1_HIGH, 0));
    q->scale[0] = field_f16(block, v, PANEL_Q5_1_D);
    q->minus_min = vf_sub(vf_zero(), field_f16(block, v, PANEL_Q5_1_M));
}

/* Scale and minimum of sub-block `sub` of Q4_K and Q5_K, six bits each: four pairs are whole bytes,
 * the other four have their upper two bits in the top of those. */
static ALWAYS_INLINE void load_k_scales(struct quant_weights *q, const uint8_t *block, int v,
                                        int sub) {
    vi scale, min;
    if (sub < 4) {
        scale = vi_and(vi_load_u8(field_bytes(block, v, PANEL_K_SCALES + sub)), vi_set(63));
        min = vi_and(vi_load_u8(field_bytes(block, v, PANEL_K_SCALES + sub + 4)), vi_set(63));
    } else {
        vi lower = vi_load_u8(field_bytes(block, v, PANEL_K_SCALES + sub + 4));
        vi upper_scale = vi_shr(vi_load_u8(field_bytes(block, v, PANEL_K_SCALES + sub - 4)), 6);
        vi upper_min = vi_shr(vi_load_u8(field_bytes(block, v, PANEL_K_SCALES + sub)), 6);
        scale = vi_or(vi_and(lower, vi_set(15)), vi_shl(upper_scale, 4));
        min = vi_or(vi_shr(lower, 4), vi_shl(upper_min, 4));
    }
    q->scale[0] = vf_mul(field_f16(block, v, PANEL_K_D), vf_of_vi(scale));
    q->minus_min = vf_mul(field_f16(block, v, PANEL_K_DMIN), vf_of_vi(min));
}

/* Sub-blocks 2c and 2c + 1 are the low and high halves of the same 32 bytes. */
static ALWAYS_INLINE void load_k_nibbles(vi *w, const uint8_t *block, int v, int offset, int sub) {
    for (int g = 0; g < 8; g++) {
        vi bytes = field_word(block, v, offset, sub / 2 * 8 + g);
        w[g] = sub % 2 ? high_nibbles(bytes) : low_nibbles(bytes);
    }
}

static ALWAYS_INLINE void load_q4_k(struct quant_weights *q, const uint8_t *block, int v, int sub) {
    load_k_nibbles(q->w, block, v, PANEL_Q4_K_QUANTS, sub);
    load_k_scales(q, block, v, sub);
}

static ALWAYS_INLINE void load_q5_k(struct quant_weights *q, const uint8_t *block, int v, int sub) {
    load_k_nibbles(q->w, block, v, PANEL_Q5_K_QUANTS, sub);
    for (int g = 0; g < 8; g++)
        q->w[g] = vi_or(q->w[g], fifth_bits(field_word(block, v, PANEL_Q5_K_HIGH, g), sub));
    load_k_scales(q, block, v, sub);
}

/* In the order of arrange.h: pairs 0 and 2 of the upper bits are those of an even sub-block, pairs
 * 1 and 3 those of an odd one. */
static ALWAYS_INLINE void load_q6_k(struct quant_weights *q, const uint8_t *block, int v, int sub) {
    const int quarter = sub / 2 * PANEL_Q6_K_QUARTER, odd = sub % 2;
    for (int g = 0; g < 4; g++) {
        vi upper = field_word(block, v, PANEL_Q6_K_UPPER + quarter, g);
        vi first = vi_shl(upper, odd ? 2 : 4), second = odd ? vi_shr(upper, 2) : upper;
        vi low = field_word(block, v, PANEL_Q6_K_LOW + quarter, g);
        vi next = field_word(block, v, PANEL_Q6_K_LOW + quarter, g + 4);
        low = odd ? high_nibbles(low) : low_nibbles(low);
        next = odd ? high_nibbles(next) : low_nibbles(next);
        q->w[g] = vi_or(low, vi_and(first, vi_set(0x30303030)));
        q->w[g + 4] = vi_or(next, vi_and(second, vi_set(0x30303030)));
    }
    vf d = field_f16(block, v, PANEL_Q6_K_D);
    for (int i = 0; i < 2; i++) {
        const uint8_t *scale = field_bytes(block, v, PANEL_Q6_K_SCALES + quarter + 2 * odd + i);
        q->scale[i] = vf_mul(d, vf_of_vi(vi_load_i8(scale)));
    }
}

static ALWAYS_INLINE void load_weights(enum dtype type, struct quant_weights *q,
                                       const uint8_t *block, int v, int sub) {
    switch (type) {
    case DTYPE_Q4_0: load_q4_0(q, block, v); break;
    case DTYPE_Q4_1: load_q4_1(q, block, v); break;
    case DTYPE_Q5_0: load_q5_0(q, block, v); break;
    case DTYPE_Q5_1: load_q5_1(q, block, v); break;
    case DTYPE_Q8_0: load_q8_0(q, block, v); break;
    case DTYPE_Q4_K: load_q4_k(q, block, v, sub); break;
    case DTYPE_Q5_K: load_q5_k(q, block, v, sub); break;
    case DTYPE_Q6_K: load_q6_k(q, block, v, sub); break;
    default: break; // no other type reaches the entry functions below
    }
}

/* Unpacks 32 elements along k of a panel. */
static ALWAYS_INLINE void quant_load(enum dtype type, struct quant_weights *q, const uint8_t *block,
                                     int sub) {
    for (int v = 0; v < PANEL_VECTORS; v++) load_weights(type, &q[v], block, v, sub);
}

#endif
