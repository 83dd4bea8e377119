// SPDX-License-Identifier: MIT
/* vector_lanes.h: everything of a step that is no matrix product, a template over lanes_*.h.
 *
 * Included once by the _vec.c file of each instruction set, after its vocabulary.
 * A reduction keeps LANES partial sums, lane l adding elements l, l + LANES, … in order, and puts
 * them together by vf_sum; so its bits depend on the data and n alone.  Tails are partial vectors,
 * computed like whole ones; an empty one is left out, as its memory may begin a page that was never
 * touched, and even asking for no lane of that costs half a microsecond. */
#ifndef WORKER_KERNELS_VECTOR_LANES_H
#define WORKER_KERNELS_VECTOR_LANES_H

#include <float.h>
#include <math.h>

#include "worker/kernels/kernels.h"
#include "worker/kernels/element_lanes.h"

/* ---- quantisation of activations ----------------------------------------------------------- */

#define BLOCK_VECTORS (ACT_BLOCK / LANES)

/* Hot: every input of a quantised matrix comes through here.  x becomes the rest, x - scale q. */
static ALWAYS_INLINE void quantize_block(struct act_block *out, vf *x) {
    vi greatest = vi_set(0), whole[BLOCK_VECTORS];

    /* Bit patterns of magnitudes are ordered as integers: finite < infinity < NaN. */
    for (int i = 0; i < BLOCK_VECTORS; i++)
        greatest = vi_max(greatest, vi_and(vi_bits(x[i]), vi_set(INT32_MAX)));
    const int32_t bits = vi_greatest(greatest);
    float magnitude;
    memcpy(&magnitude, &bits, sizeof magnitude);
    const float scale = magnitude / 127.0f;
    if (scale < FLT_MIN) { // its reciprocal could be infinite; the rest is x as it is
        *out = (struct act_block){.scale = 0};
        return;
    }
    if (!(scale <= FLT_MAX)) { // not finite: see kernels.h
        *out = (struct act_block){.scale = scale};
        for (int i = 0; i < BLOCK_VECTORS; i++) x[i] = vf_set(NAN);
        return;
    }
    const vf inverse = vf_set(127.0f / magnitude);
    for (int i = 0; i < BLOCK_VECTORS; i++) {
        whole[i] = vi_of_vf(vf_mul(x[i], inverse));
        x[i] = vf_sub(x[i], vf_mul(vf_set(scale), vf_of_vi(whole[i])));
    }
    vi_store_block(out->q, out->minus_halves, whole);
    out->scale = scale;
    out->minus_sum = out->minus_halves[0] + out->minus_halves[1];
}

/* x[k], …, x[k + 31], zeros from n on. */
static ALWAYS_INLINE void load_block(vf *v, const float *x, size_t k, size_t n) {
    for (int i = 0; i < BLOCK_VECTORS; i++, k += LANES) {
        if (k + LANES <= n)
            v[i] = vf_load(x + k);
        else
            v[i] = k < n ? vf_load_n(x + k, n - k) : vf_zero();
    }
}

static void quantize_row(struct act_rows *out, size_t token, const float *x, size_t n) {
    struct act_block *block = act_rows_block(out, token, 0);
    vf v[BLOCK_VECTORS];

    for (size_t k = 0; k < out->cols; k += ACT_BLOCK, block += out->stride) {
        load_block(v, x, k, n);
        quantize_block(block, v);
    }
}

static void quantize_twice(struct act_rows *out, size_t token, size_t rest, const float *x,
                           size_t n) {
    struct act_block *block = act_rows_block(out, token, 0);
    struct act_block *second = act_rows_block(out, rest, 0);
    vf v[BLOCK_VECTORS];

    for (size_t k = 0; k < out->cols; k += ACT_BLOCK) {
        load_block(v, x, k, n);
        quantize_block(block, v);
        quantize_block(second, v);
        block += out->stride;
        second += out->stride;
    }
}

/* ---- elementwise --------------------------------------------------------------------------- */

static void rms_norm(float *y, const float *x, const float *weight, size_t n, float eps) {
    vf squares = vf_zero();
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) squares = vf_fma(vf_load(x + i), vf_load(x + i), squares);
    if (i < n) {
        vf tail = vf_load_n(x + i, n - i);
        squares = vf_fma(tail, tail, squares);
    }
    const vf scale = vf_set(1.0f / sqrtf(vf_sum(squares) / (float)n + eps));
    for (i = 0; i + LANES <= n; i += LANES)
        vf_store(y + i, vf_mul(vf_mul(vf_load(x + i), scale), vf_load(weight + i)));
    if (i == n) return;
    vf tail = vf_mul(vf_mul(vf_load_n(x + i, n - i), scale), vf_load_n(weight + i, n - i));
    vf_store_n(y + i, tail, n - i);
}

static void add(float *y, const float *x, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) vf_store(y + i, vf_add(vf_load(y + i), vf_load(x + i)));
    if (i == n) return;
    vf_store_n(y + i, vf_add(vf_load_n(y + i, n - i), vf_load_n(x + i, n - i)), n - i);
}

/* e^x to about 1e-7 relative: x = n ln 2 + r with |r| <= ln 2 / 2, the Taylor series of e^r up to
 * r^7 / 7! (the next term is below 6e-9), times 2^n.  Infinity above 88.73, 0 below -103.98 (with
 * subnormals between), NaN for NaN. */
static ALWAYS_INLINE vf vf_exp(vf x) {
    static const float factors[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1, 1};
    const float ln2_high = 0x1.62e430p-1f, ln2_low = -0x1.05c610p-29f; // their sum is ln 2

    x = vf_min(vf_set(89.0f), vf_max(vf_set(-104.0f), x)); // a NaN stays: it is the second operand
    vf n = vf_round(vf_mul(x, vf_set(0x1.715476p+0f)));    // log2(e)
    vf r = vf_fma(n, vf_set(-ln2_high), x);
    r = vf_fma(n, vf_set(-ln2_low), r);
    vf p = vf_set(1.0f / 5040);
    for (int i = 0; i < 7; i++) p = vf_fma(p, r, vf_set(factors[i]));
    return vf_ldexp(p, n);
}

static ALWAYS_INLINE vf vf_silu_mul(vf gate, vf up) {
    vf e = vf_exp(vf_sub(vf_zero(), gate));
    return vf_mul(vf_div(gate, vf_add(vf_set(1), e)), up);
}

static void silu_mul(float *y, const float *gate, const float *up, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vf_store(y + i, vf_silu_mul(vf_load(gate + i), vf_load(up + i)));
    if (i == n) return;
    vf_store_n(y + i, vf_silu_mul(vf_load_n(gate + i, n - i), vf_load_n(up + i, n - i)), n - i);
}

static float greatest(const float *x, size_t n) {
    float max = -INFINITY;
    if (n >= LANES) { // the last vector begins where it fits: what it sees twice changes nothing
        vf found = vf_load(x + n - LANES);
        for (size_t i = 0; i + LANES <= n; i += LANES) found = vf_max(found, vf_load(x + i));
        float lanes[LANES];
        vf_store(lanes, found);
        for (size_t l = 0; l < LANES; l++) max = lanes[l] > max ? lanes[l] : max;
        return max;
    }
    for (size_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
    return max;
}

#define SUM_EXP_TERMS ((size_t)64 * LANES) // summed in f32 before they go to f64

static double sum_exp(const float *x, size_t n, float max, float scale) {
    double total = 0;
    for (size_t begin = 0; begin < n; begin += SUM_EXP_TERMS) {
        size_t end = n - begin < SUM_EXP_TERMS ? n : begin + SUM_EXP_TERMS, i = begin;
        vf sum = vf_zero();
        for (; i + LANES <= end; i += LANES) {
            vf below = vf_sub(vf_load(x + i), vf_set(max));
            sum = vf_add(sum, vf_exp(vf_mul(below, vf_set(scale))));
        }
        total += (double)vf_sum(sum);
        if (i < end) {
            float rest[LANES];
            vf below = vf_sub(vf_load_n(x + i, end - i), vf_set(max));
            vf_store(rest, vf_exp(vf_mul(below, vf_set(scale))));
            for (size_t l = 0; l < end - i; l++) total += (double)rest[l];
        }
    }
    return total;
}

static void f32_to_f16(uint16_t *dst, const float *src, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) vf_store_f16(dst + i, vf_load(src + i));
    if (i == n) return;
    vf_store_f16_n(dst + i, vf_load_n(src + i, n - i), n - i);
}

static void f16_to_f32(float *dst, const uint16_t *src, size_t n) {
    convert_elements(DTYPE_F16, dst, src, n);
}

/* ---- rotary positions ---------------------------------------------------------------------- */

/* (a, b) -> (a cos - b sin, b cos + a sin) for n <= LANES / 2 neighbours (a, b). */
static ALWAYS_INLINE vf rotate_pairs(vf v, const float *cos, const float *sin, size_t n) {
    vf sines = vf_mul(vf_swap_pairs(v), vf_load_twice_n(sin, n));
    return vf_fmaddsub(v, vf_load_twice_n(cos, n), sines);
}

static void rope_interleaved(float *head, const float *cos, const float *sin, size_t rope_dim) {
    size_t i = 0;
    for (; i + LANES <= rope_dim; i += LANES)
        vf_store(head + i, rotate_pairs(vf_load(head + i), cos + i / 2, sin + i / 2, LANES / 2));
    if (i == rope_dim) return;
    vf v = vf_load_n(head + i, rope_dim - i);
    v = rotate_pairs(v, cos + i / 2, sin + i / 2, (rope_dim - i) / 2);
    vf_store_n(head + i, v, rope_dim - i);
}

static void rope_neox(float *head, const float *cos, const float *sin, size_t rope_dim) {
    const size_t half = rope_dim / 2;
    for (size_t i = 0; i < half; i += LANES) {
        size_t n = half - i < LANES ? half - i : LANES;
        vf a = vf_load_n(head + i, n), b = vf_load_n(head + half + i, n);
        vf c = vf_load_n(cos + i, n), s = vf_load_n(sin + i, n);
        vf_store_n(head + i, vf_fma(a, c, vf_sub(vf_zero(), vf_mul(b, s))), n);
        vf_store_n(head + half + i, vf_fma(b, c, vf_mul(a, s)), n);
    }
}

/* Puts the vector functions of this instruction set into a table. */
static void vector_fill(struct kernels *k) {
    k->quantize_row = quantize_row;
    k->quantize_twice = quantize_twice;
    k->rms_norm = rms_norm;
    k->add = add;
    k->silu_mul = silu_mul;
    k->greatest = greatest;
    k->sum_exp = sum_exp;
    k->rope_interleaved = rope_interleaved;
    k->rope_neox = rope_neox;
    k->f32_to_f16 = f32_to_f16;
    k->f16_to_f32 = f16_to_f32;
}

#endif
