// SPDX-License-Identifier: MIT
/* dtype.c: the table of tensor types and the reference dequantisation.
 *
 * One row per type number: name, block geometry, and the function that turns blocks into floats.  A
 * row without that function is a type that ggml knows and we do not compute with: its geometry is
 * here all the same, so that a file's bounds can be checked and shown.  Any thread, any process.
 *
 * The order of the operations is that of ggml's reference functions, so the floats are the same
 * bit for bit; nothing here is hot, the kernels of the worker have their own code.
 * Layouts: github.com/ggml-org/ggml/blob/master/src/ggml-common.h. */

#include "common/dtype.h"

#include <string.h>

/* ---- half precision ---------------------------------------------------------------------- */

static float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t bits_of(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

float dtype_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = h >> 10 & 0x1Fu, mantissa = h & 0x3FFu;
    if (exponent == 0) { // zero or subnormal: mantissa * 2^-24
        float f = (float)mantissa * 0x1p-24f;
        return float_of(bits_of(f) | sign);
    }
    if (exponent == 31) { // a NaN comes out quiet, as from the hardware
        uint32_t quiet = mantissa ? 0x400000u : 0;
        return float_of(sign | 0x7F800000u | quiet | mantissa << 13);
    }
    return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t dtype_f32_to_f16(float f) {
    uint32_t bits = bits_of(f), sign = bits >> 16 & 0x8000u, a = bits & 0x7FFFFFFFu;
    if (a > 0x7F800000u) return (uint16_t)(sign | 0x7E00u | (a >> 13 & 0x3FFu));
    if (a >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u); // 65520 and above round to infinity
    if (a >= 0x38800000u) { // normal: add half a unit, less one if the result would be odd
        a += 0xFFFu + (a >> 13 & 1u);
        return (uint16_t)(sign | (a - 0x38000000u) >> 13);
    }
    if (a <= 0x33000000u) return (uint16_t)sign; // 2^-25 lies midway and goes to the even 0
    uint32_t shift = 126u - (a >> 23), mantissa = (a & 0x7FFFFFu) | 0x800000u; // shift: 14..24
    uint32_t kept = mantissa >> shift, rest = mantissa & ((1u << shift) - 1u);
    uint32_t half = 1u << (shift - 1);
    if (rest > half || (rest == half && (kept & 1u))) kept++;
    return (uint16_t)(sign | kept);
}

float dtype_bf16_to_f32(uint16_t h) {
    return float_of((uint32_t)h << 16);
}

uint16_t dtype_f32_to_bf16(float f) {
    uint32_t bits = bits_of(f);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(bits >> 16 | 64u); // stays a NaN
    return (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

/* ---- blocks to floats -------------------------------------------------------------------- */

static uint16_t load_u16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t load_u32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static float load_f16(const uint8_t *p) {
    return dtype_f16_to_f32(load_u16(p));
}

static void row_f32(float *y, const uint8_t *p, size_t n_blocks) {
    memcpy(y, p, n_blocks * sizeof *y);
}

static void row_f16(float *y, const uint8_t *p, size_t n_blocks) {
    for (size_t i = 0; i < n_blocks; i++) y[i] = load_f16(p + 2 * i);
}

static void row_bf16(float *y, const uint8_t *p, size_t n_blocks) {
    for (size_t i = 0; i < n_blocks; i++) y[i] = dtype_bf16_to_f32(load_u16(p + 2 * i));
}

/* f16 d, i8 q[32] */
static void row_q8_0(float *y, const uint8_t *p, size_t n_blocks) {
    for (; n_blocks > 0; n_blocks--, p += 34, y += 32) {
        float d = load_f16(p);
        for (int j = 0; j < 32; j++) y[j] = (float)(int8_t)p[2 + j] * d;
    }
}

/* f16 d, 4-bit q[32]: element j in the low half of byte j, element j+16 in the high half */
static void row_q4_0(float *y, const uint8_t *p, size_t n_blocks) {
    for (; n_blocks > 0; n_blocks--, p += 18, y += 32) {
        float d = load_f16(p);
        for (int j = 0; j < 16; j++) {
            y[j] = (float)((p[2 + j] & 15) - 8) * d;
            y[j + 16] = (float)((p[2 + j] >> 4) - 8) * d;
        }
    }
}

/* f16 d, f16 m, 4-bit q[32] */
static void row_q4_1(float *y, const uint8_t *p, size_t n_blocks) {
    for (; n_blocks > 0; n_blocks--, p += 20, y += 32) {
        float d = load_f16(p), m = load_f16(p + 2);
        for (int j = 0; j < 16; j++) {
            y[j] = (float)(p[4 + j] & 15) * d + m;
            y[j + 16] = (float)(p[4 + j] >> 4) * d + m;
        }
    }
}

/* The fifth bit of element j is bit j of `high`, in its place above four others. */
static int fifth_bit(uint32_t high, int j) {
    return (int)(high >> j & 1u) << 4;
}

/* f16 d, u32 fifth bits, 4-bit q[32] */
static void row_q5_0(float *y, const uint8_t *p, size_t n_blocks) {
    for (; n_blocks > 0; n_blocks--, p += 22, y += 32) {
        float d = load_f16(p);
        uint32_t high = load_u32(p + 2);
        for (int j = 0; j < 16; j++) {
            y[j] = (float)(((p[6 + j] & 15) | fifth_bit(high, j)) - 16) * d;
            y[j + 16] = (float)(((p[6 + j] >> 4) | fifth_bit(high, j + 16)) - 16) * d;
        }
    }
}

/* f16 d, f16 m, u32 fifth bits, 4-bit q[32] */
static void row_q5_1(float *y, const uint8_t *p, size_t n_blocks) {
    for (; n_blocks > 0; n_blocks--, p += 24, y += 32) {
        float d = load_f16(p), m = load_f16(p + 2);
        uint32_t high = load_u32(p + 4);
        for (int j = 0; j < 16; j++) {
            y[j] = (float)((p[8 + j] & 15) | fifth_bit(high, j)) * d + m;
            y[j + 16] = (float)((p[8 + j] >> 4) | fifth_bit(high, j + 16)) * d + m;
        }
    }
}

/* Scale and minimum, 6 bits each, of group j of 8 in the 12 packed bytes of Q4_K and Q5_K. */
static void k_scale_min(const uint8_t *s, int j, float *scale, float *min) {
    if (j < 4) {
        *scale = (float)(s[j] & 63);
        *min = (float)(s[j + 4] & 63);
    } else {
        *scale = (float)((s[j + 4] & 15) | (s[j - 4] >> 6) << 4);
        *min = (float)((s[j + 4] >> 4) | (s[j] >> 6) << 4);
    }
}

/* f16 d, f16 dmin, scales[12], 4-bit q[256]: 64 elements share 32 bytes, low halves first */
static void row_q4_k(float *y, const uint8_t *p, size_t n_blocks) {
    for (; n_blocks > 0; n_blocks--, p += 144) {
        float d = load_f16(p), dmin = load_f16(p + 2);
        const uint8_t *scales = p + 4, *q = p + 16;
        for (int group = 0; group < 8; group++, y += 32) {
            float scale, min;
            k_scale_min(scales, group, &scale, &min);
            float d1 = d * scale, m1 = dmin * min;
            const uint8_t *bytes = q + group / 2 * 32;
            int shift = group % 2 * 4;
            for (int j = 0; j < 32; j++) y[j] = d1 * (float)(bytes[j] >> shift & 15) - m1;
        }
    }
}

/* f16 d, f16 dmin, scales[12], fifth bits[32] (bit g of byte j: element j of group g), q[128] */
static void row_q5_k(float *y, const uint8_t *p, size_t n_blocks) {
    for (; n_blocks > 0; n_blocks--, p += 176) {
        float d = load_f16(p), dmin = load_f16(p + 2);
        const uint8_t *scales = p + 4, *high = p + 16, *q = p + 48;
        for (int group = 0; group < 8; group++, y += 32) {
            float scale, min;
            k_scale_min(scales, group, &scale, &min);
            float d1 = d * scale, m1 = dmin * min;
            const uint8_t *bytes = q + group / 2 * 32;
            int shift = group % 2 * 4;
            for (int j = 0; j < 32; j++) {
                int value = (bytes[j] >> shift & 15) + (high[j] >> group & 1) * 16;
                y[j] = d1 * (float)value - m1;
            }
        }
    }
}

/* low 4 bits[128], high 2 bits[64], i8 scales[16], f16 d.  Each half of 128 elements is four runs
 * of 32; run r takes low bits from bytes (r % 2) * 32 + j, half r / 2, and high bits 2r of byte j.
 */
static void row_q6_k(float *y, const uint8_t *p, size_t n_blocks) {
    for (; n_blocks > 0; n_blocks--, p += 210) {
        float d = load_f16(p + 208);
        for (int half = 0; half < 2; half++) {
            const uint8_t *low = p + half * 64, *high = p + 128 + half * 32;
            const uint8_t *scales = p + 192 + half * 8;
            for (int run = 0; run < 4; run++, y += 32) {
                for (int j = 0; j < 32; j++) {
                    int l = low[run % 2 * 32 + j] >> (run / 2 * 4) & 15;
                    int h = high[j] >> (2 * run) & 3;
                    float scale = (float)(int8_t)scales[run * 2 + j / 16];
                    y[j] = d * scale * (float)((l | h << 4) - 32);
                }
            }
        }
    }
}

/* ---- the table --------------------------------------------------------------------------- */

static const struct row {
    struct dtype_info info; // block_elems 0: the number has a name but ggml removed the type
    void (*dequantize)(float *y, const uint8_t *p, size_t n_blocks); // NULL: not supported
} rows[] = {
    [DTYPE_F32] = {{"F32", 1, 4, false}, row_f32},
    [DTYPE_F16] = {{"F16", 1, 2, false}, row_f16},
    [DTYPE_Q4_0] = {{"Q4_0", 32, 18, true}, row_q4_0},
    [DTYPE_Q4_1] = {{"Q4_1", 32, 20, true}, row_q4_1},
    [4] = {{"Q4_2", 0, 0, true}, NULL},
    [5] = {{"Q4_3", 0, 0, true}, NULL},
    [DTYPE_Q5_0] = {{"Q5_0", 32, 22, true}, row_q5_0},
    [DTYPE_Q5_1] = {{"Q5_1", 32, 24, true}, row_q5_1},
    [DTYPE_Q8_0] = {{"Q8_0", 32, 34, true}, row_q8_0},
    [9] = {{"Q8_1", 32, 36, true}, NULL},
    [10] = {{"Q2_K", 256, 84, true}, NULL},
    [11] = {{"Q3_K", 256, 110, true}, NULL},
    [DTYPE_Q4_K] = {{"Q4_K", 256, 144, true}, row_q4_k},
    [DTYPE_Q5_K] = {{"Q5_K", 256, 176, true}, row_q5_k},
    [DTYPE_Q6_K] = {{"Q6_K", 256, 210, true}, row_q6_k},
    [15] = {{"Q8_K", 256, 292, true}, NULL},
    [16] = {{"IQ2_XXS", 256, 66, true}, NULL},
    [17] = {{"IQ2_XS", 256, 74, true}, NULL},
    [18] = {{"IQ3_XXS", 256, 98, true}, NULL},
    [19] = {{"IQ1_S", 256, 50, true}, NULL},
    [20] = {{"IQ4_NL", 32, 18, true}, NULL},
    [21] = {{"IQ3_S", 256, 110, true}, NULL},
    [22] = {{"IQ2_S", 256, 82, true}, NULL},
    [23] = {{"IQ4_XS", 256, 136, true}, NULL},
    [24] = {{"I8", 1, 1, false}, NULL},
    [25] = {{"I16", 1, 2, false}, NULL},
    [26] = {{"I32", 1, 4, false}, NULL},
    [27] = {{"I64", 1, 8, false}, NULL},
    [28] = {{"F64", 1, 8, false}, NULL},
    [29] = {{"IQ1_M", 256, 56, true}, NULL},
    [DTYPE_BF16] = {{"BF16", 1, 2, false}, row_bf16},
    [31] = {{"Q4_0_4_4", 0, 0, true}, NULL},
    [32] = {{"Q4_0_4_8", 0, 0, true}, NULL},
    [33] = {{"Q4_0_8_8", 0, 0, true}, NULL},
    [34] = {{"TQ1_0", 256, 54, true}, NULL},
    [35] = {{"TQ2_0", 256, 66, true}, NULL},
    [36] = {{"IQ4_NL_4_4", 0, 0, true}, NULL},
    [37] = {{"IQ4_NL_4_8", 0, 0, true}, NULL},
    [38] = {{"IQ4_NL_8_8", 0, 0, true}, NULL},
    [39] = {{"MXFP4", 32, 17, true}, NULL},
    [40] = {{"NVFP4", 64, 36, true}, NULL},
    [41] = {{"Q1_0", 128, 18, true}, NULL},
    [42] = {{"Q2_0", 64, 18, true}, NULL},
};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

const struct dtype_info *dtype_find(uint32_t number) {
    return number < ROW_COUNT && rows[number].dequantize ? &rows[number].info : NULL;
}

const struct dtype_info *dtype_ggml_find(uint32_t number) {
    return number < ROW_COUNT && rows[number].info.block_elems ? &rows[number].info : NULL;
}

const struct dtype_info *dtype_info(enum dtype type) {
    const struct dtype_info *info = dtype_find(type);
    CHECK(info);
    return info;
}

const char *dtype_ggml_name(uint32_t number) {
    return number < ROW_COUNT ? rows[number].info.name : "unknown";
}

size_t dtype_row_bytes(enum dtype type, size_t n) {
    const struct dtype_info *info = dtype_info(type);
    CHECK(n % info->block_elems == 0);
    return n / info->block_elems * info->block_bytes;
}

void dtype_dequantize(enum dtype type, float *dst, const void *src, size_t n) {
    const struct dtype_info *info = dtype_info(type);
    CHECK(n % info->block_elems == 0);
    rows[type].dequantize(dst, src, n / info->block_elems);
}
