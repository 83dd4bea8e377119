// SPDX-License-Identifier: MIT
/* lanes_avx2.h: the vocabulary of the lane templates in AVX2, FMA and F16C.
 *
 * The same names as in lanes_avx512.h, 8 lanes wide: vf is a vector of f32, vi one of 32-bit words
 * (or of four bytes per word).  A template (the other files named _lanes.h) is written once in
 * these words and compiled once per instruction set; only a file that is compiled with the flags of
 * this set may include this header.  `_n` reads or writes the first n lanes only, never a byte
 * beyond, and reads the others as 0.  Any thread, Local. */
#ifndef WORKER_KERNELS_LANES_AVX2_H
#define WORKER_KERNELS_LANES_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LANES                8
#define LANES_ISA            "avx2"
#define PANEL_VECTORS        1 // vectors of rows in a panel: 8 of 16 registers hold a block's weights
#define QUANT_GROUP          2     // tokens at once
#define QUANT_TILE           64    // tokens per pass over a panel: 2 KiB of sums stay in L1
#define QUANT_STREAMS        4     // panels of small blocks read at once by one and two tokens
#define QUANT_UNROLL         false // small blocks, several at once: they would not pass a page
#define QUANT_BYTES_IN_TURNS true  // blocks of 8-bit weights, by one and two tokens
#define QUANT_LARGE_IN_TURNS false // large blocks: vi_dots takes several groups
#define QUANT_INLINE         false // the loop over tokens in the loop over blocks
#define ATTN_ROWS            6 // queries per pass over a block of the cache: 12 sums of 16 registers

#define FLOAT_VECTORS        3 // of rows in a panel of floats: 3 chains for one token
#define FLOAT_TOKENS         4 // per pass over it: 12 sums, 3 weights and an activation of 16
#define FLOAT_EACH_TOKENS(X) X(1) X(2) X(3) X(4)

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define NO_INLINE     __attribute__((noinline))

typedef __m256 vf;
typedef __m256i vi;

static ALWAYS_INLINE __m256i lanes_mask(size_t n) {
    static const int32_t ones_then_zeros[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(ones_then_zeros + 8 - n));
}

/* ---- floats ------------------------------------------------------------------------------- */

static ALWAYS_INLINE vf vf_zero(void) {
    return _mm256_setzero_ps();
}

static ALWAYS_INLINE vf vf_set(float x) {
    return _mm256_set1_ps(x);
}

static ALWAYS_INLINE vf vf_load(const float *p) {
    return _mm256_loadu_ps(p);
}

static ALWAYS_INLINE vf vf_load_n(const float *p, size_t n) {
    return _mm256_maskload_ps(p, lanes_mask(n));
}

static ALWAYS_INLINE void vf_store(float *p, vf v) {
    _mm256_storeu_ps(p, v);
}

static ALWAYS_INLINE void vf_store_n(float *p, vf v, size_t n) {
    _mm256_maskstore_ps(p, lanes_mask(n), v);
}

static ALWAYS_INLINE __m128i load_halves_n(const void *p, size_t n) {
    uint16_t halves[8] = {0};
    memcpy(halves, p, n * sizeof *halves);
    return _mm_loadu_si128((const __m128i *)halves);
}

static ALWAYS_INLINE vf vf_load_f16(const void *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

static ALWAYS_INLINE vf vf_load_f16_n(const void *p, size_t n) {
    return _mm256_cvtph_ps(load_halves_n(p, n));
}

static ALWAYS_INLINE void vf_store_f16(uint16_t *p, vf v) {
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

static ALWAYS_INLINE void vf_store_f16_n(uint16_t *p, vf v, size_t n) {
    uint16_t halves[8];
    vf_store_f16(halves, v);
    memcpy(p, halves, n * sizeof *halves);
}

static ALWAYS_INLINE vf vf_of_bf16(__m128i h) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

static ALWAYS_INLINE vf vf_load_bf16(const void *p) {
    return vf_of_bf16(_mm_loadu_si128((const __m128i *)p));
}

static ALWAYS_INLINE vf vf_load_bf16_n(const void *p, size_t n) {
    return vf_of_bf16(load_halves_n(p, n));
}

static ALWAYS_INLINE vf vf_add(vf a, vf b) {
    return _mm256_add_ps(a, b);
}

static ALWAYS_INLINE vf vf_sub(vf a, vf b) {
    return _mm256_sub_ps(a, b);
}

static ALWAYS_INLINE vf vf_mul(vf a, vf b) {
    return _mm256_mul_ps(a, b);
}

static ALWAYS_INLINE vf vf_div(vf a, vf b) {
    return _mm256_div_ps(a, b);
}

/* a * b + c, rounded once */
static ALWAYS_INLINE vf vf_fma(vf a, vf b, vf c) {
    return _mm256_fmadd_ps(a, b, c);
}

/* a * b - c in even lanes, a * b + c in odd ones, rounded once */
static ALWAYS_INLINE vf vf_fmaddsub(vf a, vf b, vf c) {
    return _mm256_fmaddsub_ps(a, b, c);
}

/* The greater (smaller) of each lane; b where either is a NaN. */
static ALWAYS_INLINE vf vf_max(vf a, vf b) {
    return _mm256_max_ps(a, b);
}

static ALWAYS_INLINE vf vf_min(vf a, vf b) {
    return _mm256_min_ps(a, b);
}

/* The first n lanes of v, the others of rest */
static ALWAYS_INLINE vf vf_first_n(vf v, vf rest, size_t n) {
    return _mm256_blendv_ps(rest, v, _mm256_castsi256_ps(lanes_mask(n)));
}

static ALWAYS_INLINE vf vf_round(vf a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* 2^n for n in [-126, 127] */
static ALWAYS_INLINE vf vf_exp2i(__m256i n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

/* a * 2^n for whole n in [-250, 250], with overflow to infinity and correctly rounded subnormals:
 * of the two factors only the second product can round. */
static ALWAYS_INLINE vf vf_ldexp(vf a, vf n) {
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    vf first = _mm256_mul_ps(a, vf_exp2i(half));
    return _mm256_mul_ps(first, vf_exp2i(_mm256_sub_epi32(whole, half)));
}

/* Lanes 1 0 3 2 5 4 … */
static ALWAYS_INLINE vf vf_swap_pairs(vf a) {
    return _mm256_permute_ps(a, 0xB1);
}

/* p[0] p[0] p[1] p[1] … for the first n <= LANES / 2 floats at p */
static ALWAYS_INLINE vf vf_load_twice_n(const float *p, size_t n) {
    const __m256i index = _mm256_set_epi32(3, 3, 2, 2, 1, 1, 0, 0);
    return _mm256_permutevar8x32_ps(_mm256_maskload_ps(p, lanes_mask(n)), index);
}

/* The sum of all lanes, halves onto halves. */
static ALWAYS_INLINE float vf_sum(vf a) {
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

/* The greatest lane; none is a NaN. */
static ALWAYS_INLINE float vf_greatest(vf a) {
    __m128 g4 = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 g2 = _mm_max_ps(g4, _mm_movehl_ps(g4, g4));
    return _mm_cvtss_f32(_mm_max_ss(g2, _mm_movehdup_ps(g2)));
}

static ALWAYS_INLINE float vf_lane0(vf a) {
    return _mm256_cvtss_f32(a);
}

/* ---- integers ----------------------------------------------------------------------------- */

static ALWAYS_INLINE vi vi_set(int32_t x) {
    return _mm256_set1_epi32(x);
}

static ALWAYS_INLINE vi vi_load(const void *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}

/* LANES bytes, one per lane */
static ALWAYS_INLINE vi vi_load_u8(const void *p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
}

static ALWAYS_INLINE vi vi_load_i8(const void *p) {
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p));
}

/* Stores 32 whole numbers in [-127, 127] as bytes, and the sum of each half of 16, negated: of
 * unsigned bytes one instruction adds eight. */
static ALWAYS_INLINE void vi_store_block(int8_t *q, int32_t *minus_halves, const vi *whole) {
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7); // packs keeps to halves
    __m256i first = _mm256_packs_epi32(whole[0], whole[1]);
    __m256i second = _mm256_packs_epi32(whole[2], whole[3]);
    __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(first, second), order);
    __m256i above = _mm256_xor_si256(bytes, _mm256_set1_epi8(-128)); // each plus 128
    __m256i eights = _mm256_sad_epu8(above, _mm256_setzero_si256());
    __m256i halves = _mm256_add_epi64(eights, _mm256_bsrli_epi128(eights, 8));
    _mm256_storeu_si256((__m256i *)q, bytes);
    minus_halves[0] = 16 * 128 - _mm_cvtsi128_si32(_mm256_castsi256_si128(halves));
    minus_halves[1] = 16 * 128 - _mm_cvtsi128_si32(_mm256_extracti128_si256(halves, 1));
}

static ALWAYS_INLINE vi vi_and(vi a, vi b) {
    return _mm256_and_si256(a, b);
}

static ALWAYS_INLINE vi vi_or(vi a, vi b) {
    return _mm256_or_si256(a, b);
}

/* Shifts by a constant, without sign */
static ALWAYS_INLINE vi vi_shr(vi a, int n) {
    return (vi)((__v8su)a >> n);
}

static ALWAYS_INLINE vi vi_shl(vi a, int n) {
    return (vi)((__v8su)a << n);
}

static ALWAYS_INLINE vi vi_max(vi a, vi b) {
    return _mm256_max_epi32(a, b);
}

static ALWAYS_INLINE vf vf_of_vi(vi a) {
    return _mm256_cvtepi32_ps(a);
}

/* Round to nearest even */
static ALWAYS_INLINE vi vi_of_vf(vf a) {
    return _mm256_cvtps_epi32(a);
}

static ALWAYS_INLINE vi vi_bits(vf a) {
    return _mm256_castps_si256(a);
}

static ALWAYS_INLINE int32_t vi_greatest(vi a) {
    __m128i s4 = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    __m128i s2 = _mm_max_epi32(s4, _mm_shuffle_epi32(s4, 0x4E));
    return _mm_cvtsi128_si32(_mm_max_epi32(s2, _mm_shuffle_epi32(s2, 0xB1)));
}

/* ---- dot products ------------------------------------------------------------------------- */

/* The four activations at x in every lane */
static ALWAYS_INLINE vi vi_quad(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

/* Pairs of neighbouring 16-bit sums added into 32-bit lanes */
static ALWAYS_INLINE vi vi_add_pairs(vi sum, vi pairs) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/* The products of `fit` groups in pairs, in 16-bit lanes that cannot overflow. */
static ALWAYS_INLINE vi vi_pairs(const vi *w, const int8_t *x, int fit) {
    vi pairs = _mm256_maddubs_epi16(w[0], vi_quad(x));
    for (int i = 1; i < fit; i++)
        pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(w[i], vi_quad(x + 4 * i)));
    return pairs;
}

/* dot[t][v] += the sum over g < groups of the four products in each lane of w[v][g] (unsigned bytes
 * below 2^bits) and x[t][4g..4g+3] in [-127, 127], for all t < tokens.  Exact: a 16-bit lane takes
 * two products per group, and 8 groups of 4-bit weights (8 * 2 * 15 * 127 = 30480), 4 of 5-bit ones
 * (31496) or 2 of 6-bit ones (32004) stay below 32768 before they are widened. */
static ALWAYS_INLINE void vi_dots(vi (*dot)[PANEL_VECTORS], const vi *const *w,
                                  const int8_t *const *x, int groups, int tokens, int bits) {
    const int fit = bits == 4 ? 8 : bits == 5 ? 4 : 2;
    for (int t = 0; t < tokens; t++)
        for (int v = 0; v < PANEL_VECTORS; v++)
            for (int g = 0; g < groups; g += fit)
                dot[t][v] = vi_add_pairs(dot[t][v], vi_pairs(w[v] + g, x[t] + 4 * g, fit));
}

/* The same for signed bytes in the form that vi_of_signed gives: |w| times x with the sign of w.
 * |w| <= 128 keeps the sum of two products at 32512. */
static ALWAYS_INLINE vi vi_of_signed(vi bytes) {
    return bytes;
}

static ALWAYS_INLINE vi vi_dot_signed_start(int32_t minus_sum) {
    (void)minus_sum;
    return vi_set(0);
}

static ALWAYS_INLINE vi vi_signed_pairs(vi w, const int8_t *x) {
    return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(vi_quad(x), w));
}

static ALWAYS_INLINE void vi_dots_signed(vi (*dot)[PANEL_VECTORS], const vi *const *w,
                                         const int8_t *const *x, int groups, int tokens) {
    for (int t = 0; t < tokens; t++)
        for (int v = 0; v < PANEL_VECTORS; v++)
            for (int g = 0; g < groups; g++)
                dot[t][v] = vi_add_pairs(dot[t][v], vi_signed_pairs(w[v][g], x[t] + 4 * g));
}

#endif
