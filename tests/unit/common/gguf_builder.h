/* gguf_builder.h: writes small GGUF files for tests, right ones and wrong ones.
 *
 * Unlike tests/fixtures, which makes models that run, this writes exactly the bytes it is told to:
 * any type number, any offset, any count.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef TESTS_UNIT_COMMON_GGUF_BUILDER_H
#define TESTS_UNIT_COMMON_GGUF_BUILDER_H

#include <stdint.h>

#include "common/buf.h"
#include "common/gguf.h"

struct gguf_builder {
    struct buf kvs, directory;
    uint64_t n_kvs, n_tensors;
    uint64_t data_bytes; // of the tensors so far, padded
    uint64_t alignment;
    uint32_t version;
};

void gguf_builder_init(struct gguf_builder *b); // version 3, alignment 32
void gguf_builder_deinit(struct gguf_builder *b);

void gguf_builder_put_string(struct buf *out, const char *s);
/* Key and type number; the caller appends the value to b->kvs. */
void gguf_builder_key(struct gguf_builder *b, const char *key, uint32_t type);
void gguf_builder_u32(struct gguf_builder *b, const char *key, uint32_t value);
void gguf_builder_f32(struct gguf_builder *b, const char *key, float value);
void gguf_builder_str(struct gguf_builder *b, const char *key, const char *value);
/* Type and count of an array; the caller appends the elements. */
void gguf_builder_array(struct gguf_builder *b, const char *key, uint32_t type, uint64_t count);

/* A tensor of one (dim1 = 0) or two dimensions after the ones before it. */
void gguf_builder_tensor(struct gguf_builder *b, const char *name, uint32_t type, uint64_t dim0,
                         uint64_t dim1);
/* A directory entry as told, with no data. */
void gguf_builder_entry(struct gguf_builder *b, const char *name, uint32_t n_dims,
                        const uint64_t *dims, uint32_t type, uint64_t offset);

/* The whole file; data bytes count up from 0, modulo 251.  The caller releases `out`. */
void gguf_builder_finish(const struct gguf_builder *b, struct buf *out);
/* The length of the headers alone. */
size_t gguf_builder_header_bytes(const struct gguf_builder *b);

/* Writes `bytes` to an unnamed file; returns its descriptor and a path to open it by. */
int gguf_builder_memory_file(const struct buf *bytes, char path[64]);
/* Opens `bytes` as a file that exists in memory only. */
MUST_USE err gguf_builder_open(struct gguf **out, const struct buf *bytes);

/* A builder that holds three keys (general.architecture, llama.block_count = 7, tokens = "a", "",
 * "ccc") and three tensors: norm (F32, 10), matrix (Q4_K, 512 x 3), exotic (IQ2_XS, 256 x 2). */
void gguf_builder_small(struct gguf_builder *b);

#endif
