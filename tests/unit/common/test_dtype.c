// SPDX-License-Identifier: MIT
/* test_dtype.c: half precision against the definition and the hardware, dequantisation against
 * numbers that llama.cpp's ggml computed from the same bytes. */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/dtype.h"
#include "common/gguf.h"
#include "common/mem.h"

static uint64_t seed;
static uint8_t next_byte(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint8_t)(seed >> 56);
}

static uint32_t bits_of(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float float_of(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* IEEE 754 by its definition. */
static double half_value(uint16_t h) {
    int exponent = h >> 10 & 31, mantissa = h & 1023;
    double sign = h & 0x8000 ? -1 : 1;
    if (exponent == 31) return mantissa ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0) return sign * ldexp(mantissa, -24);
    return sign * ldexp(1024 + mantissa, exponent - 25);
}

static void test_every_half(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = dtype_f16_to_f32((uint16_t)h);
        double want = half_value((uint16_t)h);
        if (isnan(want)) {
            assert_true(isnan(f));
            assert_true(isnan(dtype_f16_to_f32(dtype_f32_to_f16(f))));
            continue;
        }
        assert_int_equal(bits_of(f), bits_of((float)want));
        assert_int_equal(dtype_f32_to_f16(f), h); // the way back, the sign of zero included
    }
}

/* Between two neighbours: just below the middle, the middle (to the even one), just above. */
static void test_halves_round_to_even(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x7C00; h++) {
        double low = half_value((uint16_t)h);
        double high = h + 1 == 0x7C00 ? 65536 : half_value((uint16_t)(h + 1));
        float middle = (float)((low + high) / 2); // exact: 12 bits
        uint32_t even = h & 1 ? h + 1 : h;
        assert_int_equal(dtype_f32_to_f16(nextafterf(middle, -1)), h);
        assert_int_equal(dtype_f32_to_f16(middle), even);
        assert_int_equal(dtype_f32_to_f16(nextafterf(middle, INFINITY)), h + 1);
        assert_int_equal(dtype_f32_to_f16(-middle), even | 0x8000);
    }
    assert_int_equal(dtype_f32_to_f16(1e30f), 0x7C00);
    assert_int_equal(dtype_f32_to_f16(-INFINITY), 0xFC00);
    assert_int_equal(dtype_f32_to_f16(1e-30f), 0);
}

/* What this CPU makes of them. */
#if defined(__x86_64__)
#include <immintrin.h>

static bool hardware_has_halves(void) {
    return __builtin_cpu_supports("f16c");
}

__attribute__((target("f16c"))) static float hardware_f16_to_f32(uint16_t h) {
    return _cvtsh_ss(h);
}

__attribute__((target("f16c"))) static uint16_t hardware_f32_to_f16(float f) {
    return _cvtss_sh(f, _MM_FROUND_TO_NEAREST_INT);
}
#elif defined(__aarch64__)
#include <arm_neon.h>

static bool hardware_has_halves(void) {
    return true;
}

static float hardware_f16_to_f32(uint16_t h) {
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(h))), 0);
}

static uint16_t hardware_f32_to_f16(float f) {
    return vget_lane_u16(vreinterpret_u16_f16(vcvt_f16_f32(vdupq_n_f32(f))), 0);
}
#endif

static void test_halves_like_the_hardware(void **state) {
    (void)state;
    if (!hardware_has_halves()) skip();
    for (uint32_t h = 0; h < 65536; h++)
        assert_int_equal(bits_of(dtype_f16_to_f32((uint16_t)h)),
                         bits_of(hardware_f16_to_f32((uint16_t)h)));
    for (uint64_t u = 0; u < 1ull << 32; u += 997) {
        float f = float_of((uint32_t)u);
        assert_int_equal(dtype_f32_to_f16(f), hardware_f32_to_f16(f));
    }
}

static void test_bfloat(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = dtype_bf16_to_f32((uint16_t)h);
        assert_int_equal(bits_of(f), h << 16);
        if (!isnan(f))
            assert_int_equal(dtype_f32_to_bf16(f), h);
        else
            assert_true(isnan(dtype_bf16_to_f32(dtype_f32_to_bf16(f))));
    }
    assert_int_equal(dtype_f32_to_bf16(float_of(0x3F808000)), 0x3F80); // midway, to even
    assert_int_equal(dtype_f32_to_bf16(float_of(0x3F818000)), 0x3F82);
    assert_int_equal(dtype_f32_to_bf16(float_of(0x3F808001)), 0x3F81);
    assert_int_equal(dtype_f32_to_bf16(float_of(0x7F800001)), 0x7FC0); // a NaN stays one
    assert_int_equal(dtype_f32_to_bf16(3.4e38f), 0x7F80);
}

/* 200 blocks of random bytes, scales that are infinite or NaN included; the hashes are of what
 * dequantize_row_* of ggml (llama.cpp in node-llama-cpp 3.22.1) made of the same bytes. */
static void test_dequantize_like_ggml(void **state) {
    (void)state;
    static const struct {
        enum dtype type;
        uint64_t hash;
    } pins[] = {
        {DTYPE_Q4_0, 0x759BC83BD2DBBB25}, {DTYPE_Q4_1, 0x764D9EA9C397E10B},
        {DTYPE_Q5_0, 0x8A759EADE67D8325}, {DTYPE_Q5_1, 0x7974B67EE1B851D8},
        {DTYPE_Q8_0, 0x0E9FD8D49E1D7B65}, {DTYPE_Q4_K, 0x4F64AF4D7CCB3835},
        {DTYPE_Q5_K, 0xBF94305771097CAE}, {DTYPE_Q6_K, 0x9ECA941AA9EFC85B},
    };
    static uint8_t bytes[200 * 210];
    static float floats[200 * 256];
    for (size_t k = 0; k < sizeof pins / sizeof pins[0]; k++) {
        const struct dtype_info *info = dtype_info(pins[k].type);
        size_t n = 200 * (size_t)info->block_elems;
        seed = pins[k].type;
        for (size_t i = 0; i < dtype_row_bytes(pins[k].type, n); i++) bytes[i] = next_byte();
        dtype_dequantize(pins[k].type, floats, bytes, n);
        uint64_t hash = 0xCBF29CE484222325;
        for (size_t i = 0; i < n; i++) {
            uint32_t word = isnan(floats[i]) ? 0x7FC00000 : bits_of(floats[i]);
            hash = (hash ^ word) * 0x100000001B3;
        }
        if (hash != pins[k].hash)
            fail_msg("%s: hash %016llx, ggml has %016llx", info->name, (unsigned long long)hash,
                     (unsigned long long)pins[k].hash);
    }
}

static void test_dequantize_plain(void **state) {
    (void)state;
    const float f32[3] = {1.5f, -0.0f, 3e38f};
    const uint16_t f16[3] = {0x3C00, 0xC000, 0x0001}, bf16[3] = {0x3F80, 0xC000, 0x0001};
    float out[3];
    dtype_dequantize(DTYPE_F32, out, f32, 3);
    assert_memory_equal(out, f32, sizeof out);
    dtype_dequantize(DTYPE_F16, out, f16, 3);
    assert_true(out[0] == 1 && out[1] == -2 && out[2] == 0x1p-24f);
    dtype_dequantize(DTYPE_BF16, out, bf16, 3);
    assert_true(out[0] == 1 && out[1] == -2 && bits_of(out[2]) == 0x10000);
}

static void test_table(void **state) {
    (void)state;
    static const uint32_t supported[] = {0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 30};
    size_t n = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        if (!dtype_find(i)) continue;
        assert_int_equal(i, supported[n++]);
        assert_true(i < DTYPE_LIMIT);
        assert_ptr_equal(dtype_find(i), dtype_ggml_find(i));
    }
    assert_int_equal(n, sizeof supported / sizeof supported[0]);
    assert_string_equal(dtype_info(DTYPE_Q5_K)->name, "Q5_K");
    assert_int_equal(dtype_row_bytes(DTYPE_Q6_K, 512), 420);
    assert_string_equal(dtype_ggml_name(17), "IQ2_XS");
    assert_int_equal(dtype_ggml_find(17)->block_bytes, 74);
    assert_string_equal(dtype_ggml_name(31), "Q4_0_4_4"); // removed: a name without a geometry
    assert_null(dtype_ggml_find(31));
    assert_string_equal(dtype_ggml_name(UINT32_MAX), "unknown");
    assert_null(dtype_ggml_find(UINT32_MAX));
}

static float *dequantize_tensor(const struct gguf *g, const char *name, size_t *n) {
    const struct gguf_tensor *t = gguf_tensor_find(g, name);
    assert_non_null(t);
    void *bytes = mem_alloc(t->bytes);
    *n = (size_t)t->dims[0] * t->rows;
    float *floats = mem_alloc(*n * sizeof *floats);
    assert_int_equal(gguf_read(g, t, 0, bytes, t->bytes), ERR_OK);
    dtype_dequantize(t->type, floats, bytes, *n);
    mem_free(bytes);
    return floats;
}

/* The quantised demo models are the f16 one, up to what their bits can hold. */
static void test_demo_models_agree(void **state) {
    (void)state;
    static const struct {
        const char *file;
        double tolerance; // of the RMS difference, relative
    } files[] = {{"q8_0", 0.01}, {"q4_0", 0.12}, {"q4_k_m", 0.1}};
    const char *shared = getenv("LOCKSTEP_SHARED");
    char path[512];
    struct gguf *original, *g;
    snprintf(path, sizeof path, "%s/models/demo-f16.gguf", shared ? shared : "");
    if (!shared || access(path, R_OK) != 0) skip();
    assert_int_equal(gguf_open(&original, path), ERR_OK);
    for (size_t k = 0; k < 3; k++) {
        snprintf(path, sizeof path, "%s/models/demo-%s.gguf", shared, files[k].file);
        assert_int_equal(gguf_open(&g, path), ERR_OK);
        for (size_t i = 0; i < gguf_tensor_count(g); i++) {
            struct gguf_str s = gguf_tensor_at(g, i)->name;
            char *name = mem_strndup(s.data, s.length);
            size_t n, n_original;
            float *a = dequantize_tensor(original, name, &n_original);
            float *b = dequantize_tensor(g, name, &n);
            assert_int_equal(n, n_original);
            double difference = 0, size = 0;
            for (size_t j = 0; j < n; j++) {
                double d = (double)(a[j] - b[j]);
                difference += d * d;
                size += (double)a[j] * (double)a[j];
            }
            if (sqrt(difference / size) > files[k].tolerance)
                fail_msg("%s of %s: %g", name, files[k].file, sqrt(difference / size));
            mem_free(a);
            mem_free(b);
            mem_free(name);
        }
        gguf_close(g);
    }
    gguf_close(original);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_half),
        cmocka_unit_test(test_halves_round_to_even),
        cmocka_unit_test(test_halves_like_the_hardware),
        cmocka_unit_test(test_bfloat),
        cmocka_unit_test(test_dequantize_like_ggml),
        cmocka_unit_test(test_dequantize_plain),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_demo_models_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
