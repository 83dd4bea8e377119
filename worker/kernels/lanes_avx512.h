// SPDX-License-Identifier: MIT
/* lanes_avx512.h: the vocabulary of the lane templates in AVX-512 F, BW, VL, DQ and VNNI.
 *
 * The same names as in lanes_avx2.h, 16 lanes wide: vf is a vector of f32, vi one of 32-bit words
 * (or of four bytes per word).  A template (the other files named _lanes.h) is written once in
 * these words and compiled once per instruction set; only a file that is compiled with the flags of
 * this set may include this header.  `_n` reads or writes the first n lanes only, never a byte
 * beyond, and reads the others as 0.  Any thread, Local. */
#ifndef WORKER_KERNELS_LANES_AVX512_H
#define WORKER_KERNELS_LANES_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LANES                16
#define LANES_ISA            "avx512-vnni"
#define PANEL_VECTORS        2 // vectors of rows in a panel: 16 of 32 registers hold a block's weights
#define QUANT_GROUP          4 // tokens at once: 8 sums, for the latency of 4 and two products a cycle
#define QUANT_TILE           128  // tokens per pass over a panel: 16 KiB of sums stay in L1
#define QUANT_STREAMS        1    // panels of small blocks read at once by one and two tokens
#define QUANT_UNROLL         true // small blocks, several at once
#define QUANT_BYTES_IN_TURNS true // blocks of 8-bit weights, by one and two tokens
#define QUANT_LARGE_IN_TURNS true // large blocks, by one and two tokens
#define QUANT_INLINE         true // the loop over tokens in the loop over blocks
#define ATTN_ROWS            12 // queries per pass over a block of the cache: 24 sums of 32 registers

#define FLOAT_VECTORS        2  // of rows in a panel of floats
#define FLOAT_TOKENS         12 // per pass over it: 24 sums and 2 weights of 32 registers
#define FLOAT_EACH_TOKENS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define NO_INLINE     __attribute__((noinline))

typedef __m512 vf;
typedef __m512i vi;

static ALWAYS_INLINE __mmask16 lanes_mask(size_t n) {
    return (__mmask16)((1u << n) - 1u);
}

/* ---- floats ------------------------------------------------------------------------------- */

static ALWAYS_INLINE vf vf_zero(void) {
    return _mm512_setzero_ps();
}

static ALWAYS_INLINE vf vf_set(float x) {
    return _mm512_set1_ps(x);
}

static ALWAYS_INLINE vf vf_load(const float *p) {
    return _mm512_loadu_ps(p);
}

static ALWAYS_INLINE vf vf_load_n(const float *p, size_t n) {
    return _mm512_maskz_loadu_ps(lanes_mask(n), p);
}

static ALWAYS_INLINE void vf_store(float *p, vf v) {
    _mm512_storeu_ps(p, v);
}

static ALWAYS_INLINE void vf_store_n(float *p, vf v, size_t n) {
    _mm512_mask_storeu_ps(p, lanes_mask(n), v);
}

static ALWAYS_INLINE vf vf_load_f16(const void *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

static ALWAYS_INLINE vf vf_load_f16_n(const void *p, size_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes_mask(n), p));
}

static ALWAYS_INLINE void vf_store_f16(uint16_t *p, vf v) {
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

static ALWAYS_INLINE void vf_store_f16_n(uint16_t *p, vf v, size_t n) {
    _mm256_mask_storeu_epi16(p, lanes_mask(n), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

static ALWAYS_INLINE vf vf_of_bf16(__m256i h) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

static ALWAYS_INLINE vf vf_load_bf16(const void *p) {
    return vf_of_bf16(_mm256_loadu_si256((const __m256i *)p));
}

static ALWAYS_INLINE vf vf_load_bf16_n(const void *p, size_t n) {
    return vf_of_bf16(_mm256_maskz_loadu_epi16(lanes_mask(n), p));
}

static ALWAYS_INLINE vf vf_add(vf a, vf b) {
    return _mm512_add_ps(a, b);
}

static ALWAYS_INLINE vf vf_sub(vf a, vf b) {
    return _mm512_sub_ps(a, b);
}

static ALWAYS_INLINE vf vf_mul(vf a, vf b) {
    return _mm512_mul_ps(a, b);
}

static ALWAYS_INLINE vf vf_div(vf a, vf b) {
    return _mm512_div_ps(a, b);
}

/* a * b + c, rounded once */
static ALWAYS_INLINE vf vf_fma(vf a, vf b, vf c) {
    return _mm512_fmadd_ps(a, b, c);
}

/* a * b - c in even lanes, a * b + c in odd ones, rounded once */
static ALWAYS_INLINE vf vf_fmaddsub(vf a, vf b, vf c) {
    return _mm512_fmaddsub_ps(a, b, c);
}

/* The greater (smaller) of each lane; b where either is a NaN. */
static ALWAYS_INLINE vf vf_max(vf a, vf b) {
    return _mm512_max_ps(a, b);
}

static ALWAYS_INLINE vf vf_min(vf a, vf b) {
    return _mm512_min_ps(a, b);
}

/* The first n lanes of v, the others of rest */
static ALWAYS_INLINE vf vf_first_n(vf v, vf rest, size_t n) {
    return _mm512_mask_mov_ps(rest, lanes_mask(n), v);
}

static ALWAYS_INLINE vf vf_round(vf a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* a * 2^n for whole n, with overflow to infinity and correctly rounded subnormals */
static ALWAYS_INLINE vf vf_ldexp(vf a, vf n) {
    return _mm512_scalef_ps(a, n);
}

/* Lanes 1 0 3 2 5 4 … */
static ALWAYS_INLINE vf vf_swap_pairs(vf a) {
    return _mm512_permute_ps(a, 0xB1);
}

/* p[0] p[0] p[1] p[1] … for the first n <= LANES / 2 floats at p */
static ALWAYS_INLINE vf vf_load_twice_n(const float *p, size_t n) {
    const __m512i index = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    return _mm512_permutexvar_ps(index, _mm512_maskz_loadu_ps(lanes_mask(n), p));
}

/* The sum of all lanes, halves onto halves. */
static ALWAYS_INLINE float vf_sum(vf a) {
    __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

/* The greatest lane; none is a NaN. */
static ALWAYS_INLINE float vf_greatest(vf a) {
    return _mm512_reduce_max_ps(a);
}

static ALWAYS_INLINE float vf_lane0(vf a) {
    return _mm512_cvtss_f32(a);
}

/* ---- integers ----------------------------------------------------------------------------- */

static ALWAYS_INLINE vi vi_set(int32_t x) {
    return _mm512_set1_epi32(x);
}

static ALWAYS_INLINE vi vi_load(const void *p) {
    return _mm512_loadu_si512(p);
}

/* LANES bytes, one per lane */
static ALWAYS_INLINE vi vi_load_u8(const void *p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
}

static ALWAYS_INLINE vi vi_load_i8(const void *p) {
    return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p));
}

/* Stores 32 whole numbers in [-127, 127] as bytes, and the sum of each half of 16, negated: of
 * unsigned bytes one instruction adds eight. */
static ALWAYS_INLINE void vi_store_block(int8_t *q, int32_t *minus_halves, const vi *whole) {
    __m256i bytes = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm512_cvtepi32_epi8(whole[0])),
                                            _mm512_cvtepi32_epi8(whole[1]), 1);
    __m256i above = _mm256_xor_si256(bytes, _mm256_set1_epi8(-128)); // each plus 128
    __m256i eights = _mm256_sad_epu8(above, _mm256_setzero_si256());
    __m256i halves = _mm256_add_epi64(eights, _mm256_bsrli_epi128(eights, 8));
    _mm256_storeu_si256((__m256i *)q, bytes);
    minus_halves[0] = 16 * 128 - _mm_cvtsi128_si32(_mm256_castsi256_si128(halves));
    minus_halves[1] = 16 * 128 - _mm_cvtsi128_si32(_mm256_extracti128_si256(halves, 1));
}

static ALWAYS_INLINE vi vi_and(vi a, vi b) {
    return _mm512_and_si512(a, b);
}

static ALWAYS_INLINE vi vi_or(vi a, vi b) {
    return _mm512_or_si512(a, b);
}

/* Shifts by a constant, without sign */
static ALWAYS_INLINE vi vi_shr(vi a, int n) {
    return (vi)((__v16su)a >> n);
}

static ALWAYS_INLINE vi vi_shl(vi a, int n) {
    return (vi)((__v16su)a << n);
}

static ALWAYS_INLINE vi vi_add(vi a, vi b) {
    return _mm512_add_epi32(a, b);
}

static ALWAYS_INLINE vi vi_max(vi a, vi b) {
    return _mm512_max_epi32(a, b);
}

static ALWAYS_INLINE vf vf_of_vi(vi a) {
    return _mm512_cvtepi32_ps(a);
}

/* Round to nearest even */
static ALWAYS_INLINE vi vi_of_vf(vf a) {
    return _mm512_cvtps_epi32(a);
}

static ALWAYS_INLINE vi vi_bits(vf a) {
    return _mm512_castps_si512(a);
}

static ALWAYS_INLINE int32_t vi_greatest(vi a) {
    return _mm512_reduce_max_epi32(a);
}

/* ---- dot products ------------------------------------------------------------------------- */

/* The four activations at x in every lane */
static ALWAYS_INLINE vi vi_quad(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
}

/* dot[t][v] += the sum over g < groups of the four products in each lane of w[v][g] (unsigned bytes
 * below 2^bits) and x[t][4g..4g+3], for all t < tokens.  Exact. */
static ALWAYS_INLINE void vi_dots(vi (*dot)[PANEL_VECTORS], const vi *const *w,
                                  const int8_t *const *x, int groups, int tokens, int bits) {
    (void)bits; // 255 * 128 * 4 per step cannot overflow 32 bits
    vi odd[PANEL_VECTORS];
    for (int v = 0; v < PANEL_VECTORS; v++) odd[v] = vi_set(0);
    for (int g = 0; g < groups; g++) {
        for (int t = 0; t < tokens; t++) {
            vi quad = vi_quad(x[t] + 4 * g);
            for (int v = 0; v < PANEL_VECTORS; v++) {
                vi *sum = tokens == 1 && g % 2 ? &odd[v] : &dot[t][v]; // a lone chain is cut in two
                *sum = _mm512_dpbusd_epi32(*sum, w[v][g], quad);
            }
        }
    }
    if (tokens == 1)
        for (int v = 0; v < PANEL_VECTORS; v++) dot[0][v] = vi_add(dot[0][v], odd[v]);
}

/* The same for signed bytes in the form that vi_of_signed gives.  The instruction wants unsigned
 * weights: 128 is added to every weight, and the sums begin at -128 times that of x. */
static ALWAYS_INLINE vi vi_of_signed(vi bytes) {
    return _mm512_xor_si512(bytes, _mm512_set1_epi8(-128));
}

static ALWAYS_INLINE vi vi_dot_signed_start(int32_t minus_sum) {
    return vi_shl(vi_set(minus_sum), 7);
}

static ALWAYS_INLINE void vi_dots_signed(vi (*dot)[PANEL_VECTORS], const vi *const *w,
                                         const int8_t *const *x, int groups, int tokens) {
    vi_dots(dot, w, x, groups, tokens, 8);
}

#endif
