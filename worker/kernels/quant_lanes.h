// SPDX-License-Identifier: MIT
/* quant_lanes.h: y = W x for quantised W in panels (panel.h), a template over lanes_*.h.
 *
 * Included once by the .c file of each instruction set, after its vocabulary.  The paper version:
 * for one row and one token, with 32 activations q of scale s and integer weights u >= 0,
 *
 *   y = sum over blocks of 32, ascending:  s * (scale * sum(u q) + min * sum(q))
 *
 * The integer sum is exact; a type whose weights are u - offset starts it at -offset * sum(q),
 * which quantize_row has stored.  Q6_K has a scale for each half of 16 and adds two such terms.
 * A pass takes up to QUANT_TILE tokens, so that weights are unpacked once for all of them.  What is
 * added to a (row, token) and in which order is the same for every tile: the same bits come out of
 * any batch, row range or thread.
 *
 * All type parameters are constants in always-inline functions: each entry function at the end is
 * one specialised loop per tile size.  Hot: decode reads the whole model through this file. */
#ifndef WORKER_KERNELS_QUANT_LANES_H
#define WORKER_KERNELS_QUANT_LANES_H

#include "worker/kernels/kernels.h"
#include "worker/kernels/panel.h"

/* How 32 weights of a type are put together. */
struct quant_format {
    int block_bytes; // of one row's block
    int subs;        // blocks of 32 in it
    int bits;        // of an unsigned weight; 0: signed bytes
    int offset;      // taken off each unsigned weight
    bool has_min;    // a minimum is added
    bool halves;     // the two halves of 16 have scales of their own
};

static const struct quant_format quant_formats[DTYPE_LIMIT] = {
    [DTYPE_Q4_0] = {.block_bytes = 18, .subs = 1, .bits = 4, .offset = 8},
    [DTYPE_Q4_1] = {.block_bytes = 20, .subs = 1, .bits = 4, .has_min = true},
    [DTYPE_Q5_0] = {.block_bytes = 22, .subs = 1, .bits = 5, .offset = 16},
    [DTYPE_Q5_1] = {.block_bytes = 24, .subs = 1, .bits = 5, .has_min = true},
    [DTYPE_Q8_0] = {.block_bytes = 34, .subs = 1},
    [DTYPE_Q4_K] = {.block_bytes = 144, .subs = 8, .bits = 4, .has_min = true},
    [DTYPE_Q5_K] = {.block_bytes = 176, .subs = 8, .bits = 5, .has_min = true},
    [DTYPE_Q6_K] = {.block_bytes = 210, .subs = 8, .bits = 6, .offset = 32, .halves = true},
};

/* 32 elements along k of all rows of a panel, unpacked. */
struct quant_weights {
    vi w[8];     // elements 4g..4g+3
    vf scale[2]; // of the block; of its halves where the format says so
    vf min;
};

/* ---- one loader per type: block = the panel's block, sub = which 32 of it ------------------- */

static ALWAYS_INLINE vi field_word(const uint8_t *block, int offset, int index) {
    return vi_load(block + LANES * (offset + 4 * index));
}

static ALWAYS_INLINE vf field_f16(const uint8_t *block, int offset) {
    return vf_load_f16(block + LANES * offset);
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
static ALWAYS_INLINE void load_nibbles(vi *w, const uint8_t *block, int offset) {
    for (int g = 0; g < 4; g++) {
        vi bytes = field_word(block, offset, g);
        w[g] = low_nibbles(bytes);
        w[g + 4] = high_nibbles(bytes);
    }
}

static ALWAYS_INLINE void add_fifth_bits(vi *w, vi high) {
    for (int g = 0; g < 8; g++) w[g] = vi_or(w[g], fifth_bits(high, g));
}

static ALWAYS_INLINE void load_q8_0(struct quant_weights *q, const uint8_t *block) {
    for (int g = 0; g < 8; g++) q->w[g] = field_word(block, PANEL_Q8_0_QUANTS, g);
    q->scale[0] = field_f16(block, PANEL_Q8_0_D);
}

static ALWAYS_INLINE void load_q4_0(struct quant_weights *q, const uint8_t *block) {
    load_nibbles(q->w, block, PANEL_Q4_0_QUANTS);
    q->scale[0] = field_f16(block, PANEL_Q4_0_D);
}

static ALWAYS_INLINE void load_q4_1(struct quant_weights *q, const uint8_t *block) {
    load_nibbles(q->w, block, PANEL_Q4_1_QUANTS);
    q->scale[0] = field_f16(block, PANEL_Q4_1_D);
    q->min = field_f16(block, PANEL_Q4_1_M);
}

static ALWAYS_INLINE void load_q5_0(struct quant_weights *q, const uint8_t *block) {
    load_nibbles(q->w, block, PANEL_Q5_0_QUANTS);
    add_fifth_bits(q->w, field_word(block, PANEL_Q5_0_HIGH, 0));
    q->scale[0] = field_f16(block, PANEL_Q5_0_D);
}

static ALWAYS_INLINE void load_q5_1(struct quant_weights *q, const uint8_t *block) {
    load_nibbles(q->w, block, PANEL_Q5_1_QUANTS);
    add_fifth_bits(q->w, field_word(block, PANEL_Q5_1_HIGH, 0));
    q->scale[0] = field_f16(block, PANEL_Q5_1_D);
    q->min = field_f16(block, PANEL_Q5_1_M);
}

/* Scale and minimum of sub-block `sub` of Q4_K and Q5_K, six bits each: four pairs are whole bytes,
 * the other four have their upper two bits in the top of those. */
static ALWAYS_INLINE void load_k_scales(struct quant_weights *q, const uint8_t *block, int sub) {
    const uint8_t *scales = block + LANES * PANEL_K_SCALES;
    vi scale, min;
    if (sub < 4) {
        scale = vi_and(vi_load_u8(scales + LANES * sub), vi_set(63));
        min = vi_and(vi_load_u8(scales + LANES * (sub + 4)), vi_set(63));
    } else {
        vi lower = vi_load_u8(scales + LANES * (sub + 4));
        vi upper_scale = vi_shr(vi_load_u8(scales + LANES * (sub - 4)), 6);
        vi upper_min = vi_shr(vi_load_u8(scales + LANES * sub), 6);
        scale = vi_or(vi_and(lower, vi_set(15)), vi_shl(upper_scale, 4));
        min = vi_or(vi_shr(lower, 4), vi_shl(upper_min, 4));
    }
    q->scale[0] = vf_mul(field_f16(block, PANEL_K_D), vf_of_vi(scale));
    vf minus_dmin = vf_sub(vf_zero(), field_f16(block, PANEL_K_DMIN)); // these types subtract it
    q->min = vf_mul(minus_dmin, vf_of_vi(min));
}

/* Sub-blocks 2c and 2c + 1 are the low and high halves of the same 32 bytes. */
static ALWAYS_INLINE void load_k_nibbles(vi *w, const uint8_t *block, int offset, int sub) {
    for (int g = 0; g < 8; g++) {
        vi bytes = field_word(block, offset, sub / 2 * 8 + g);
        w[g] = sub % 2 ? high_nibbles(bytes) : low_nibbles(bytes);
    }
}

static ALWAYS_INLINE void load_q4_k(struct quant_weights *q, const uint8_t *block, int sub) {
    load_k_nibbles(q->w, block, PANEL_Q4_K_QUANTS, sub);
    load_k_scales(q, block, sub);
}

static ALWAYS_INLINE void load_q5_k(struct quant_weights *q, const uint8_t *block, int sub) {
    load_k_nibbles(q->w, block, PANEL_Q5_K_QUANTS, sub);
    for (int g = 0; g < 8; g++)
        q->w[g] = vi_or(q->w[g], fifth_bits(field_word(block, PANEL_Q5_K_HIGH, g), sub));
    load_k_scales(q, block, sub);
}

/* A half of 128 elements is four runs of 32: run r has its lower bits in half r / 2 of the bytes
 * (r % 2) * 32 + j, its upper two in bits 2r of byte j of the other field. */
static ALWAYS_INLINE void load_q6_k(struct quant_weights *q, const uint8_t *block, int sub) {
    const int run = sub % 4, half = sub / 4 * PANEL_Q6_K_HALF;
    for (int g = 0; g < 8; g++) {
        vi low = field_word(block, PANEL_Q6_K_LOW + half, run % 2 * 8 + g);
        vi high = field_word(block, PANEL_Q6_K_HIGH + half, g);
        low = run / 2 ? high_nibbles(low) : low_nibbles(low);
        high = run < 2 ? vi_shl(high, 4 - 2 * run) : vi_shr(high, 2 * run - 4);
        q->w[g] = vi_or(low, vi_and(high, vi_set(0x30303030)));
    }
    vf d = field_f16(block, PANEL_Q6_K_D);
    for (int i = 0; i < 2; i++) {
        const uint8_t *scale = block + LANES * (PANEL_Q6_K_SCALES + 2 * sub + i);
        q->scale[i] = vf_mul(d, vf_of_vi(vi_load_i8(scale)));
    }
}

static ALWAYS_INLINE void load_weights(enum dtype type, struct quant_weights *q,
                                       const uint8_t *block, int sub) {
    switch (type) {
    case DTYPE_Q4_0: load_q4_0(q, block); break;
    case DTYPE_Q4_1: load_q4_1(q, block); break;
    case DTYPE_Q5_0: load_q5_0(q, block); break;
    case DTYPE_Q5_1: load_q5_1(q, block); break;
    case DTYPE_Q8_0: load_q8_0(q, block); break;
    case DTYPE_Q4_K: load_q4_k(q, block, sub); break;
    case DTYPE_Q5_K: load_q5_k(q, block, sub); break;
    case DTYPE_Q6_K: load_q6_k(q, block, sub); break;
    default: break; // no other type reaches the entry functions below
    }
}

/* ---- the product --------------------------------------------------------------------------- */

/* scale * sum(u q) + min * sum(q) of one token's 32 activations at x. */
static ALWAYS_INLINE vf quant_term(struct quant_format f, const struct quant_weights *q,
                                   const int8_t *x, int32_t sum, int32_t low) {
    if (f.halves) {
        vi first = vi_dot(vi_set(-f.offset * low), q->w, x, 4, f.bits);
        vi second = vi_dot(vi_set(-f.offset * (sum - low)), q->w + 4, x + 16, 4, f.bits);
        return vf_fma(q->scale[1], vf_of_vi(second), vf_mul(q->scale[0], vf_of_vi(first)));
    }
    vi dot =
        f.bits ? vi_dot(vi_set(-f.offset * sum), q->w, x, 8, f.bits) : vi_dot_signed(q->w, x, sum);
    vf term = vf_mul(q->scale[0], vf_of_vi(dot));
    return f.has_min ? vf_fma(q->min, vf_set((float)sum), term) : term;
}

/* Adds block `k` (of 32) of tokens [token, token + tokens) to their sums. */
static ALWAYS_INLINE void quant_add(enum dtype type, vf *y, const uint8_t *block, int sub,
                                    const struct act_rows *x, size_t token, size_t k, int tokens) {
    const size_t stride = x->cols / ACT_BLOCK;
    struct quant_weights q;

    load_weights(type, &q, block, sub);
    for (int t = 0; t < tokens; t++) {
        size_t at = (token + (size_t)t) * stride + k;
        vf term =
            quant_term(quant_formats[type], &q, x->q + at * ACT_BLOCK, x->sum[at], x->low[at]);
        y[t] = vf_fma(term, vf_set(x->scale[at]), y[t]);
    }
}

/* One panel times `tokens` tokens, a constant.  The eight calls let `sub` be a constant too. */
static ALWAYS_INLINE void quant_tile(enum dtype type, float *dst, size_t ldy, size_t rows,
                                     const uint8_t *panel, size_t cols, const struct act_rows *x,
                                     size_t token, int tokens) {
    const struct quant_format f = quant_formats[type];
    vf y[QUANT_TILE];

    for (int t = 0; t < tokens; t++) y[t] = vf_zero();
    for (size_t k = 0; k < cols / ACT_BLOCK; k += (size_t)f.subs, panel += LANES * f.block_bytes) {
        quant_add(type, y, panel, 0, x, token, k, tokens);
        if (f.subs == 1) continue;
        quant_add(type, y, panel, 1, x, token, k + 1, tokens);
        quant_add(type, y, panel, 2, x, token, k + 2, tokens);
        quant_add(type, y, panel, 3, x, token, k + 3, tokens);
        quant_add(type, y, panel, 4, x, token, k + 4, tokens);
        quant_add(type, y, panel, 5, x, token, k + 5, tokens);
        quant_add(type, y, panel, 6, x, token, k + 6, tokens);
        quant_add(type, y, panel, 7, x, token, k + 7, tokens);
    }
    for (int t = 0; t < tokens; t++) {
        float *to = dst + (token + (size_t)t) * ldy;
        if (rows == LANES)
            vf_store(to, y[t]);
        else
            vf_store_n(to, y[t], rows);
    }
}

static ALWAYS_INLINE void quant_matmul(enum dtype type, float *y, size_t ldy, const void *packed,
                                       size_t cols, size_t row_begin, size_t row_end,
                                       const struct act_rows *x) {
    const struct quant_format f = quant_formats[type];
    const size_t block_elems = (size_t)f.subs * ACT_BLOCK;
    const size_t row_bytes = cols / block_elems * (size_t)f.block_bytes;

    for (size_t row = row_begin; row < row_end; row += LANES) {
        const uint8_t *panel = (const uint8_t *)packed + row * row_bytes;
        size_t rows = row_end - row < LANES ? row_end - row : LANES;
        size_t t = 0;
        for (; t + QUANT_TILE <= x->tokens; t += QUANT_TILE)
            quant_tile(type, y + row, ldy, rows, panel, cols, x, t, QUANT_TILE);
        for (; t + 2 <= x->tokens; t += 2)
            quant_tile(type, y + row, ldy, rows, panel, cols, x, t, 2);
        if (t < x->tokens) quant_tile(type, y + row, ldy, rows, panel, cols, x, t, 1);
    }
}

/* ---- the entry functions of a type --------------------------------------------------------- */

#define QUANT_FUNCTIONS(type, name)                                                                \
    static size_t name##_packed_bytes(size_t rows, size_t cols) {                                  \
        return panel_bytes(type, LANES, rows, cols);                                               \
    }                                                                                              \
    static void name##_pack_row(void *packed, size_t rows, size_t cols, size_t row,                \
                                const void *src) {                                                 \
        (void)rows;                                                                                \
        panel_pack_row(type, LANES, packed, cols, row, src);                                       \
    }                                                                                              \
    static void name##_unpack_row(const void *packed, size_t rows, size_t cols, size_t row,        \
                                  float *dst) {                                                    \
        (void)rows;                                                                                \
        panel_unpack_row(type, LANES, packed, cols, row, dst);                                     \
    }                                                                                              \
    static void name##_matmul(float *y, size_t ldy, const void *packed, size_t rows, size_t cols,  \
                              size_t row_begin, size_t row_end, const struct act_rows *x) {        \
        (void)rows;                                                                                \
        quant_matmul(type, y, ldy, packed, cols, row_begin, row_end, x);                           \
    }

#define QUANT_KERNEL(dtype_, name)                                                                 \
    {                                                                                              \
        .type = (dtype_), .panel_rows = LANES, .packed_bytes = name##_packed_bytes,                \
        .pack_row = name##_pack_row, .unpack_row = name##_unpack_row, .matmul_q = name##_matmul    \
    }

QUANT_FUNCTIONS(DTYPE_Q4_0, q4_0)
QUANT_FUNCTIONS(DTYPE_Q4_1, q4_1)
QUANT_FUNCTIONS(DTYPE_Q5_0, q5_0)
QUANT_FUNCTIONS(DTYPE_Q5_1, q5_1)
QUANT_FUNCTIONS(DTYPE_Q8_0, q8_0)
QUANT_FUNCTIONS(DTYPE_Q4_K, q4_k)
QUANT_FUNCTIONS(DTYPE_Q5_K, q5_k)
QUANT_FUNCTIONS(DTYPE_Q6_K, q6_k)

/* Puts the quantised types of this instruction set into a table. */
static void quant_fill(struct kernels *k) {
    k->matmul[DTYPE_Q4_0] = (struct matmul_kernel)QUANT_KERNEL(DTYPE_Q4_0, q4_0);
    k->matmul[DTYPE_Q4_1] = (struct matmul_kernel)QUANT_KERNEL(DTYPE_Q4_1, q4_1);
    k->matmul[DTYPE_Q5_0] = (struct matmul_kernel)QUANT_KERNEL(DTYPE_Q5_0, q5_0);
    k->matmul[DTYPE_Q5_1] = (struct matmul_kernel)QUANT_KERNEL(DTYPE_Q5_1, q5_1);
    k->matmul[DTYPE_Q8_0] = (struct matmul_kernel)QUANT_KERNEL(DTYPE_Q8_0, q8_0);
    k->matmul[DTYPE_Q4_K] = (struct matmul_kernel)QUANT_KERNEL(DTYPE_Q4_K, q4_k);
    k->matmul[DTYPE_Q5_K] = (struct matmul_kernel)QUANT_KERNEL(DTYPE_Q5_K, q5_k);
    k->matmul[DTYPE_Q6_K] = (struct matmul_kernel)QUANT_KERNEL(DTYPE_Q6_K, q6_k);
}

#endif
