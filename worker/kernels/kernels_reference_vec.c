// SPDX-License-Identifier: MIT
/* kernels_reference_vec.c: vector functions in portable C.
 *
 * The definition of each slot of the table, written as in the papers, and what a machine without
 * AVX2 runs.  Sums of floats keep SUMS partial sums, so that their error does not grow with n as a
 * single running sum's would; the order is fixed.  Any thread. */

#include "worker/kernels/kernels_isa.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define SUMS 8

static float sum_parts(const float *part) {
    float sum = 0;
    for (size_t j = 0; j < SUMS; j++) sum += part[j];
    return sum;
}

/* ---- quantisation of activations ------------------------------------------------------------ */

/* The greatest magnitude of 32 floats.  Bit patterns of magnitudes are ordered as integers: finite
 * < infinity < NaN, so that a NaN is not lost. */
static float greatest_magnitude(const float *x) {
    uint32_t greatest = 0;
    for (int i = 0; i < ACT_BLOCK; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= INT32_MAX;
        greatest = bits > greatest ? bits : greatest;
    }
    float f;
    memcpy(&f, &greatest, sizeof f);
    return f;
}

/* Nearest integer, ties to even, of |v| < 2^22: what lies behind the point is rounded away. */
static int round_even(float v) {
    const float shift = 0x1.8p23f;
    return (int)(v + shift - shift);
}

/* x becomes the rest, x - scale q. */
static void quantize_block(struct act_block *out, float *x) {
    const float magnitude = greatest_magnitude(x), scale = magnitude / 127.0f;
    const float inverse = 127.0f / magnitude;

    *out = (struct act_block){.scale = scale < FLT_MIN ? 0 : scale};
    if (scale < FLT_MIN) return; // the reciprocal could be infinite; the rest is x as it is
    for (int i = 0; i < ACT_BLOCK && scale <= FLT_MAX; i++) {
        out->q[i] = (int8_t)round_even(x[i] * inverse);
        out->minus_halves[i / (ACT_BLOCK / 2)] -= out->q[i];
        x[i] -= scale * (float)out->q[i];
    }
    for (int i = 0; i < ACT_BLOCK && !(scale <= FLT_MAX); i++) x[i] = NAN; // see kernels.h
    out->minus_sum = out->minus_halves[0] + out->minus_halves[1];
}

/* x[k], …, x[k + 31], zeros from n on. */
static void load_block(float *block, const float *x, size_t k, size_t n) {
    size_t some = k >= n ? 0 : n - k < ACT_BLOCK ? n - k : ACT_BLOCK;
    memset(block, 0, ACT_BLOCK * sizeof *block);
    if (some > 0) memcpy(block, x + k, some * sizeof *block);
}

static void quantize_row(struct act_rows *out, size_t token, const float *x, size_t n) {
    for (size_t k = 0; k < out->cols; k += ACT_BLOCK) {
        float block[ACT_BLOCK];
        load_block(block, x, k, n);
        quantize_block(act_rows_block(out, token, k / ACT_BLOCK), block);
    }
}

static void quantize_twice(struct act_rows *out, size_t token, size_t rest, const float *x,
                           size_t n) {
    for (size_t k = 0; k < out->cols; k += ACT_BLOCK) {
        float block[ACT_BLOCK];
        load_block(block, x, k, n);
        quantize_block(act_rows_block(out, token, k / ACT_BLOCK), block);
        quantize_block(act_rows_block(out, rest, k / ACT_BLOCK), block);
    }
}

/* ---- elementwise ---------------------------------------------------------------------------- */

static void rms_norm(float *y, const float *x, const float *weight, size_t n, float eps) {
    float part[SUMS] = {0};
    for (size_t i = 0; i < n; i++) part[i % SUMS] += x[i] * x[i];
    const float scale = 1.0f / sqrtf(sum_parts(part) / (float)n + eps);
    for (size_t i = 0; i < n; i++) y[i] = x[i] * scale * weight[i];
}

static void add(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}

static void silu_mul(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

static float greatest(const float *x, size_t n) {
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
    return max;
}

static double sum_exp(const float *x, size_t n, float max, float scale) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)expf(scale * (x[i] - max));
    return sum;
}

static void f32_to_f16(uint16_t *dst, const float *src, size_t n) {
    for (size_t i = 0; i < n; i++) dst[i] = dtype_f32_to_f16(src[i]);
}

static void f16_to_f32(float *dst, const uint16_t *src, size_t n) {
    for (size_t i = 0; i < n; i++) dst[i] = dtype_f16_to_f32(src[i]);
}

/* ---- rotary positions ----------------------------------------------------------------------- */

static void rotate(float *a, float *b, float cos, float sin) {
    float x = *a, y = *b;
    *a = x * cos - y * sin;
    *b = y * cos + x * sin;
}

static void rope_interleaved(float *head, const float *cos, const float *sin, size_t rope_dim) {
    for (size_t i = 0; i < rope_dim / 2; i++)
        rotate(&head[2 * i], &head[2 * i + 1], cos[i], sin[i]);
}

static void rope_neox(float *head, const float *cos, const float *sin, size_t rope_dim) {
    const size_t half = rope_dim / 2;
    for (size_t i = 0; i < half; i++) rotate(&head[i], &head[half + i], cos[i], sin[i]);
}

void kernels_reference_fill_vec(struct kernels *k) {
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
