// SPDX-License-Identifier: MIT
/* lanes_neon.h: the vocabulary of the lane templates in NEON with its dot product (Armv8.2).
 *
 * The same names as in lanes_avx2.h, 4 lanes wide: vf is a vector of f32, vi one of 32-bit words
 * (or of four bytes per word).  A template (the other files named _lanes.h) is written once in
 * these words and compiled once per instruction set; only a file that is compiled with the flags of
 * this set may include this header.  `_n` reads or writes the first n lanes only, never a byte
 * beyond, and reads the others as 0; NEON has no masks, so n decides between branches. Any thread,
 * Local. */
#ifndef WORKER_KERNELS_LANES_NEON_H
#define WORKER_KERNELS_LANES_NEON_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LANES                4
#define LANES_ISA            "neon-dotprod"
#define PANEL_VECTORS        2 // vectors of rows in a panel: 16 of 32 registers hold a block's weights
#define QUANT_GROUP          4 // tokens at once: 8 sums and a register of activations for each token
#define QUANT_TILE           64    // tokens per pass over a panel: 2 KiB of sums stay in L1
#define QUANT_STREAMS        4     // panels of small blocks read at once by one and two tokens
#define QUANT_UNROLL         false // small blocks, several at once: they would not pass a page
#define QUANT_BYTES_IN_TURNS false // 8-bit weights: vi_dots_signed takes four groups or eight
#define QUANT_LARGE_IN_TURNS false // large blocks: the same
#define QUANT_INLINE         false // the loop over tokens in the loop over blocks
#define ATTN_ROWS            12 // queries per pass over a block of the cache: 24 sums of 32 registers

#define FLOAT_VECTORS        4 // of rows in a panel of floats: 4 chains for one token
#define FLOAT_TOKENS         5 // per pass over it: 20 sums, 4 weights and activations of 32 registers
#define FLOAT_EACH_TOKENS(X) X(1) X(2) X(3) X(4) X(5)

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define NO_INLINE     __attribute__((noinline))

typedef float32x4_t vf;
typedef int32x4_t vi;

/* ---- floats ------------------------------------------------------------------------------- */

static ALWAYS_INLINE vf vf_zero(void) {
    return vdupq_n_f32(0);
}

static ALWAYS_INLINE vf vf_set(float x) {
    return vdupq_n_f32(x);
}

static ALWAYS_INLINE vf vf_load(const float *p) {
    return vld1q_f32(p);
}

static ALWAYS_INLINE vf vf_load_n(const float *p, size_t n) {
    if (n == LANES) return vf_load(p);
    vf v = n & 2 ? vcombine_f32(vld1_f32(p), vdup_n_f32(0)) : vf_zero();
    if (n == 1) v = vld1q_lane_f32(p, v, 0);
    if (n == 3) v = vld1q_lane_f32(p + 2, v, 2);
    return v;
}

static ALWAYS_INLINE void vf_store(float *p, vf v) {
    vst1q_f32(p, v);
}

static ALWAYS_INLINE void vf_store_n(float *p, vf v, size_t n) {
    if (n == LANES) vf_store(p, v);
    if (n & 2) vst1_f32(p, vget_low_f32(v));
    if (n == 1) vst1q_lane_f32(p, v, 0);
    if (n == 3) vst1q_lane_f32(p + 2, v, 2);
}

/* Halves at any address, of which only the first n are read. */
static ALWAYS_INLINE uint16x4_t load_halves_n(const void *p, size_t n) {
    uint16_t first[LANES] = {0};
    memcpy(first, p, n * sizeof *first);
    return vld1_u16(first);
}

static ALWAYS_INLINE uint16x4_t load_halves(const void *p) {
    return load_halves_n(p, LANES);
}

static ALWAYS_INLINE vf vf_of_f16(uint16x4_t h) {
    return vcvt_f32_f16(vreinterpret_f16_u16(h));
}

static ALWAYS_INLINE vf vf_load_f16(const void *p) {
    return vf_of_f16(load_halves(p));
}

static ALWAYS_INLINE vf vf_load_f16_n(const void *p, size_t n) {
    return vf_of_f16(load_halves_n(p, n));
}

/* Rounds to nearest even, as programs start. */
static ALWAYS_INLINE void vf_store_f16(uint16_t *p, vf v) {
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v)));
}

static ALWAYS_INLINE void vf_store_f16_n(uint16_t *p, vf v, size_t n) {
    uint16_t first[LANES];
    vf_store_f16(first, v);
    for (size_t i = 0; i < n; i++) p[i] = first[i];
}

static ALWAYS_INLINE vf vf_of_bf16(uint16x4_t h) {
    return vreinterpretq_f32_u32(vshll_n_u16(h, 16));
}

static ALWAYS_INLINE vf vf_load_bf16(const void *p) {
    return vf_of_bf16(load_halves(p));
}

static ALWAYS_INLINE vf vf_load_bf16_n(const void *p, size_t n) {
    return vf_of_bf16(load_halves_n(p, n));
}

static ALWAYS_INLINE vf vf_add(vf a, vf b) {
    return vaddq_f32(a, b);
}

static ALWAYS_INLINE vf vf_sub(vf a, vf b) {
    return vsubq_f32(a, b);
}

static ALWAYS_INLINE vf vf_mul(vf a, vf b) {
    return vmulq_f32(a, b);
}

static ALWAYS_INLINE vf vf_div(vf a, vf b) {
    return vdivq_f32(a, b);
}

/* a * b + c, rounded once */
static ALWAYS_INLINE vf vf_fma(vf a, vf b, vf c) {
    return vfmaq_f32(c, a, b);
}

/* a * b - c in even lanes, a * b + c in odd ones, rounded once */
static ALWAYS_INLINE vf vf_fmaddsub(vf a, vf b, vf c) {
    const uint32x4_t even_signs = {0x80000000u, 0, 0x80000000u, 0};
    return vf_fma(a, b, vreinterpretq_f32_u32(vreinterpretq_u32_f32(c) ^ even_signs));
}

/* The greater (smaller) of each lane; b where either is a NaN, which FMAX does not give. */
static ALWAYS_INLINE vf vf_max(vf a, vf b) {
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}

static ALWAYS_INLINE vf vf_min(vf a, vf b) {
    return vbslq_f32(vcltq_f32(a, b), a, b);
}

/* The first n lanes of v, the others of rest */
static ALWAYS_INLINE vf vf_first_n(vf v, vf rest, size_t n) {
    const uint32x4_t lane = {0, 1, 2, 3};
    return vbslq_f32(vcltq_u32(lane, vdupq_n_u32((uint32_t)n)), v, rest);
}

static ALWAYS_INLINE vf vf_round(vf a) {
    return vrndnq_f32(a);
}

/* 2^n for n in [-126, 127] */
static ALWAYS_INLINE vf vf_exp2i(vi n) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}

/* a * 2^n for whole n in [-250, 250], with overflow to infinity and correctly rounded subnormals:
 * of the two factors only the second product can round. */
static ALWAYS_INLINE vf vf_ldexp(vf a, vf n) {
    vi whole = vcvtnq_s32_f32(n), half = vshrq_n_s32(whole, 1);
    return vf_mul(vf_mul(a, vf_exp2i(half)), vf_exp2i(vsubq_s32(whole, half)));
}

/* Lanes 1 0 3 2 */
static ALWAYS_INLINE vf vf_swap_pairs(vf a) {
    return vrev64q_f32(a);
}

/* p[0] p[0] p[1] p[1] for the first n <= LANES / 2 floats at p */
static ALWAYS_INLINE vf vf_load_twice_n(const float *p, size_t n) {
    float32x2_t two = n == LANES / 2 ? vld1_f32(p) : vget_low_f32(vf_load_n(p, n));
    return vcombine_f32(vdup_lane_f32(two, 0), vdup_lane_f32(two, 1));
}

/* The sum of all lanes, neighbours first. */
static ALWAYS_INLINE float vf_sum(vf a) {
    return vaddvq_f32(a);
}

/* The greatest lane; none is a NaN. */
static ALWAYS_INLINE float vf_greatest(vf a) {
    return vmaxvq_f32(a);
}

static ALWAYS_INLINE float vf_lane0(vf a) {
    return vgetq_lane_f32(a, 0);
}

/* ---- integers ----------------------------------------------------------------------------- */

static ALWAYS_INLINE vi vi_set(int32_t x) {
    return vdupq_n_s32(x);
}

static ALWAYS_INLINE vi vi_load(const void *p) {
    return vreinterpretq_s32_u8(vld1q_u8(p));
}

/* LANES bytes, one per lane, in the low half of a vector */
static ALWAYS_INLINE uint8x8_t load_bytes(const void *p) {
    uint32_t four;
    memcpy(&four, p, sizeof four);
    return vreinterpret_u8_u32(vdup_n_u32(four));
}

static ALWAYS_INLINE vi vi_load_u8(const void *p) {
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(load_bytes(p)))));
}

static ALWAYS_INLINE vi vi_load_i8(const void *p) {
    return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u8(load_bytes(p)))));
}

/* Sixteen whole numbers in [-128, 127] as bytes */
static ALWAYS_INLINE int8x16_t narrow(const vi *whole) {
    int16x8_t first = vcombine_s16(vmovn_s32(whole[0]), vmovn_s32(whole[1]));
    int16x8_t second = vcombine_s16(vmovn_s32(whole[2]), vmovn_s32(whole[3]));
    return vcombine_s8(vmovn_s16(first), vmovn_s16(second));
}

/* Stores 32 whole numbers in [-127, 127] as bytes, and the sum of each half of 16, negated. */
static ALWAYS_INLINE void vi_store_block(int8_t *q, int32_t *minus_halves, const vi *whole) {
    for (int half = 0; half < 2; half++) {
        int8x16_t bytes = narrow(whole + 4 * half);
        vst1q_s8(q + 16 * half, bytes);
        minus_halves[half] = -vaddlvq_s8(bytes);
    }
}

static ALWAYS_INLINE vi vi_and(vi a, vi b) {
    return vandq_s32(a, b);
}

static ALWAYS_INLINE vi vi_or(vi a, vi b) {
    return vorrq_s32(a, b);
}

/* Shifts by a constant, without sign */
static ALWAYS_INLINE vi vi_shr(vi a, int n) {
    return (vi)((uint32x4_t)a >> n);
}

static ALWAYS_INLINE vi vi_shl(vi a, int n) {
    return (vi)((uint32x4_t)a << n);
}

static ALWAYS_INLINE vi vi_max(vi a, vi b) {
    return vmaxq_s32(a, b);
}

static ALWAYS_INLINE vf vf_of_vi(vi a) {
    return vcvtq_f32_s32(a);
}

/* Round to nearest even */
static ALWAYS_INLINE vi vi_of_vf(vf a) {
    return vcvtnq_s32_f32(a);
}

static ALWAYS_INLINE vi vi_bits(vf a) {
    return vreinterpretq_s32_f32(a);
}

static ALWAYS_INLINE int32_t vi_greatest(vi a) {
    return vmaxvq_s32(a);
}

/* ---- dot products ------------------------------------------------------------------------- */

/* Adds group 4 f + lane of the products: SDOT takes the four activations of a group from a lane of
 * the 16 at hand, so they are never broadcast.  `lane` is a constant. */
static ALWAYS_INLINE void vi_dots_lane(vi (*dot)[PANEL_VECTORS], const vi *const *w,
                                       const int8x16_t *x, int f, const int lane, int tokens) {
    for (int t = 0; t < tokens; t++)
        for (int v = 0; v < PANEL_VECTORS; v++)
            dot[t][v] =
                vdotq_laneq_s32(dot[t][v], vreinterpretq_s8_s32(w[v][4 * f + lane]), x[t], lane);
}

/* dot[t][v] += the sum over g < groups (4 or 8) of the four products in each lane of w[v][g] and
 * x[t][4g..4g+3], for all t < tokens.  Exact: signed bytes, of which unsigned ones below 2^6 are a
 * part, into 32 bits.  The tokens' chains are interleaved. */
static ALWAYS_INLINE void vi_dots_signed(vi (*dot)[PANEL_VECTORS], const vi *const *w,
                                         const int8_t *const *x, int groups, int tokens) {
    for (int f = 0; f < groups / 4; f++) {
        int8x16_t sixteen[QUANT_GROUP];
        for (int t = 0; t < tokens; t++) sixteen[t] = vld1q_s8(x[t] + 16 * f);
        vi_dots_lane(dot, w, sixteen, f, 0, tokens);
        vi_dots_lane(dot, w, sixteen, f, 1, tokens);
        vi_dots_lane(dot, w, sixteen, f, 2, tokens);
        vi_dots_lane(dot, w, sixteen, f, 3, tokens);
    }
}

/* The same for unsigned bytes below 2^bits <= 2^6. */
static ALWAYS_INLINE void vi_dots(vi (*dot)[PANEL_VECTORS], const vi *const *w,
                                  const int8_t *const *x, int groups, int tokens, int bits) {
    (void)bits;
    vi_dots_signed(dot, w, x, groups, tokens);
}

/* Signed bytes are multiplied as they are. */
static ALWAYS_INLINE vi vi_of_signed(vi bytes) {
    return bytes;
}

static ALWAYS_INLINE vi vi_dot_signed_start(int32_t minus_sum) {
    (void)minus_sum;
    return vi_set(0);
}

#endif
