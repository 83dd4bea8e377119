// SPDX-License-Identifier: MIT
/* gguf_builder.c: see gguf_builder.h.  A test helper: fails by CHECK. */

#include "tests/unit/common/gguf_builder.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void gguf_builder_init(struct gguf_builder *b) {
    *b = (struct gguf_builder){.alignment = 32, .version = 3};
    buf_init(&b->kvs, 0);
    buf_init(&b->directory, 0);
}

void gguf_builder_deinit(struct gguf_builder *b) {
    buf_deinit(&b->kvs);
    buf_deinit(&b->directory);
}

void gguf_builder_put_string(struct buf *out, const char *s) {
    uint64_t n = strlen(s);
    buf_append(out, &n, sizeof n);
    buf_append(out, s, n);
}

void gguf_builder_key(struct gguf_builder *b, const char *key, uint32_t type) {
    gguf_builder_put_string(&b->kvs, key);
    buf_append(&b->kvs, &type, sizeof type);
    b->n_kvs++;
}

void gguf_builder_u32(struct gguf_builder *b, const char *key, uint32_t value) {
    gguf_builder_key(b, key, GGUF_U32);
    buf_append(&b->kvs, &value, sizeof value);
}

void gguf_builder_f32(struct gguf_builder *b, const char *key, float value) {
    gguf_builder_key(b, key, GGUF_F32);
    buf_append(&b->kvs, &value, sizeof value);
}

void gguf_builder_str(struct gguf_builder *b, const char *key, const char *value) {
    gguf_builder_key(b, key, GGUF_STRING);
    gguf_builder_put_string(&b->kvs, value);
}

void gguf_builder_array(struct gguf_builder *b, const char *key, uint32_t type, uint64_t count) {
    gguf_builder_key(b, key, GGUF_ARRAY);
    buf_append(&b->kvs, &type, sizeof type);
    buf_append(&b->kvs, &count, sizeof count);
}

void gguf_builder_entry(struct gguf_builder *b, const char *name, uint32_t n_dims,
                        const uint64_t *dims, uint32_t type, uint64_t offset) {
    gguf_builder_put_string(&b->directory, name);
    buf_append(&b->directory, &n_dims, sizeof n_dims);
    buf_append(&b->directory, dims, n_dims * sizeof *dims);
    buf_append(&b->directory, &type, sizeof type);
    buf_append(&b->directory, &offset, sizeof offset);
    b->n_tensors++;
}

static uint64_t align_up(uint64_t n, uint64_t alignment) {
    return (n + alignment - 1) / alignment * alignment;
}

void gguf_builder_tensor(struct gguf_builder *b, const char *name, uint32_t type, uint64_t dim0,
                         uint64_t dim1) {
    const struct dtype_info *info = dtype_ggml_find(type);
    CHECK(info && dim0 % info->block_elems == 0);
    uint64_t bytes = dim0 / info->block_elems * info->block_bytes * (dim1 ? dim1 : 1);
    gguf_builder_entry(b, name, dim1 ? 2 : 1, (uint64_t[]){dim0, dim1}, type, b->data_bytes);
    b->data_bytes += align_up(bytes, b->alignment);
}

size_t gguf_builder_header_bytes(const struct gguf_builder *b) {
    return 24 + b->kvs.length + b->directory.length;
}

void gguf_builder_finish(const struct gguf_builder *b, struct buf *out) {
    buf_init(out, 0);
    buf_append(out, "GGUF", 4);
    buf_append(out, &b->version, sizeof b->version);
    buf_append(out, &b->n_tensors, sizeof b->n_tensors);
    buf_append(out, &b->n_kvs, sizeof b->n_kvs);
    buf_append(out, b->kvs.data, b->kvs.length);
    buf_append(out, b->directory.data, b->directory.length);
    if (b->n_tensors == 0) return;
    while (out->length % b->alignment != 0) buf_putc(out, 0);
    for (uint64_t i = 0; i < b->data_bytes; i++) buf_putc(out, (char)(i % 251));
}

int gguf_builder_memory_file(const struct buf *bytes, char path[64]) {
    int fd = memfd_create("gguf", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(write(fd, bytes->data, bytes->length) == (ssize_t)bytes->length);
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

err gguf_builder_open(struct gguf **out, const struct buf *bytes) {
    char path[64];
    int fd = gguf_builder_memory_file(bytes, path);
    err e = gguf_open(out, path);
    close(fd);
    return e;
}

void gguf_builder_small(struct gguf_builder *b) {
    gguf_builder_init(b);
    gguf_builder_str(b, "general.architecture", "llama");
    gguf_builder_u32(b, "llama.block_count", 7);
    gguf_builder_array(b, "tokens", GGUF_STRING, 3);
    gguf_builder_put_string(&b->kvs, "a");
    gguf_builder_put_string(&b->kvs, "");
    gguf_builder_put_string(&b->kvs, "ccc");
    gguf_builder_tensor(b, "norm", DTYPE_F32, 10, 0);
    gguf_builder_tensor(b, "matrix", DTYPE_Q4_K, 512, 3);
    gguf_builder_tensor(b, "exotic", 17, 256, 2);
}
