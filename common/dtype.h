/* dtype.h: the tensor types of a GGUF file, as a table.
 *
 * A type stores elements in blocks along the fastest dimension.  Layouts are those of ggml
 * (ggml-common.h, block_q4_0 … block_q6_K).  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COMMON_DTYPE_H
#define COMMON_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* Values are the numbers in the file. */
enum dtype {
    DTYPE_F32 = 0,
    DTYPE_F16 = 1,
    DTYPE_Q4_0 = 2,
    DTYPE_Q4_1 = 3,
    DTYPE_Q5_0 = 6,
    DTYPE_Q5_1 = 7,
    DTYPE_Q8_0 = 8,
    DTYPE_Q4_K = 12,
    DTYPE_Q5_K = 13,
    DTYPE_Q6_K = 14,
    DTYPE_BF16 = 30,
    DTYPE_LIMIT = 31 // one past the largest number of a supported type
};

struct dtype_info {
    const char *name;     // "Q4_0"; NULL for a number that is not supported
    uint32_t block_elems; // elements per block: 1, 32 or 256
    uint32_t block_bytes;
    bool quantized;
};

/* The row of a type number from a file; NULL when this build does not support it. */
const struct dtype_info *dtype_find(uint32_t number);
/* The row of any type ggml knows, supported or not: enough to check a tensor's bounds and to show
 * it.  NULL for numbers that ggml does not know or has removed. */
const struct dtype_info *dtype_ggml_find(uint32_t number);
/* The row of a supported type. */
const struct dtype_info *dtype_info(enum dtype type);
/* The name ggml gives to any type number ("IQ2_XS"), "unknown" otherwise: for error messages. */
const char *dtype_ggml_name(uint32_t number);
/* Bytes of a row of n elements (n a multiple of block_elems). */
size_t dtype_row_bytes(enum dtype type, size_t n);

/* dst[n] = the n elements stored at src, exactly as ggml's reference dequantisation. */
void dtype_dequantize(enum dtype type, float *dst, const void *src, size_t n);

/* IEEE half and bfloat16 ↔ float; to_* round to nearest even. */
float dtype_f16_to_f32(uint16_t h);
uint16_t dtype_f32_to_f16(float f);
float dtype_bf16_to_f32(uint16_t h);
uint16_t dtype_f32_to_bf16(float f);

#endif
