// SPDX-License-Identifier: MIT
/* element_lanes.h: elements of F32, F16 and BF16 as vectors of f32, a template over lanes_*.h.
 *
 * Included by the templates that read such elements, after the vocabulary of an instruction set.
 * The element type is a constant in always-inline functions, as in quant_lanes.h. */
#ifndef WORKER_KERNELS_ELEMENT_LANES_H
#define WORKER_KERNELS_ELEMENT_LANES_H

#include "worker/kernels/kernels.h"

static ALWAYS_INLINE size_t element_bytes(enum dtype type) {
    return type == DTYPE_F32 ? sizeof(float) : sizeof(uint16_t);
}

static ALWAYS_INLINE const void *element_at(enum dtype type, const void *p, size_t i) {
    return (const char *)p + i * element_bytes(type);
}

/* LANES elements from index i on. */
static ALWAYS_INLINE vf load_elements(enum dtype type, const void *p, size_t i) {
    const void *at = element_at(type, p, i);
    return type == DTYPE_F32 ? vf_load(at) : type == DTYPE_F16 ? vf_load_f16(at) : vf_load_bf16(at);
}

/* The first n < LANES of them, 0 in the other lanes. */
static ALWAYS_INLINE vf load_elements_n(enum dtype type, const void *p, size_t i, size_t n) {
    const void *at = element_at(type, p, i);
    return type == DTYPE_F32   ? vf_load_n(at, n)
           : type == DTYPE_F16 ? vf_load_f16_n(at, n)
                               : vf_load_bf16_n(at, n);
}

static ALWAYS_INLINE void convert_elements(enum dtype type, float *dst, const void *src, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) vf_store(dst + i, load_elements(type, src, i));
    if (i < n) vf_store_n(dst + i, load_elements_n(type, src, i, n - i), n - i);
}

#endif
