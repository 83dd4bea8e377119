/* gguf.h: the GGUF container (versions 2 and 3, little endian), one file or split into parts.
 *
 * Format: github.com/ggml-org/ggml/blob/master/docs/gguf.md.  A gguf object holds the headers: the
 * metadata and the tensor directory of all parts; tensor data is read on demand with pread.  Every
 * count, length, offset and product is checked against overflow and against the file's length
 * before memory is taken for it: a file is hostile until checked.  An object can also be made from
 * header bytes that another rank sent, by a process that has no file.
 * Any thread; one object, one thread (several may read tensors at once).  Everything here is
 * Local. */
// SPDX-License-Identifier: MIT
#ifndef COMMON_GGUF_H
#define COMMON_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/dtype.h"
#include "common/error.h"

struct gguf;

/* Bytes inside the object's header memory; not NUL-terminated. */
struct gguf_str {
    const char *data;
    size_t length;
};

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT
};

struct gguf_array {
    enum gguf_type type; // of the elements; never GGUF_ARRAY
    size_t count;
    const uint8_t *data;            // elements in file order, unaligned; NULL for strings
    const struct gguf_str *strings; // [count] for GGUF_STRING, else NULL
};

struct gguf_kv {
    struct gguf_str key;
    enum gguf_type type;
    union {
        uint64_t u; // unsigned and bool
        int64_t i;  // signed
        double f;
        struct gguf_str s;
        struct gguf_array a;
    };
};

#define GGUF_MAX_DIMS 4

struct gguf_tensor {
    struct gguf_str name;
    enum dtype type; // the number in the file: a type that dtype_ggml_find knows, perhaps one that
                     // this build does not support (dtype_find is NULL; model_create refuses it)
    uint32_t n_dims;
    uint64_t dims[GGUF_MAX_DIMS]; // dims[0] is the fastest (a row's length); unused ones are 1
    size_t rows;                  // product of dims[1..]
    size_t row_bytes, bytes;      // bytes = rows * row_bytes
    uint32_t part;                // which file of a split model
    uint64_t offset;              // of the data, from the beginning of that file
};

/* Opens a model.  For a file named …-00001-of-000NN.gguf (or when the metadata says split.count)
 * all parts beside it are opened.  Reads headers only.  ERR_MODEL with the file, the offset and
 * what is wrong. */
MUST_USE err gguf_open(struct gguf **out, const char *path);
void gguf_close(struct gguf *g);

/* Headers as bytes (for another process), and back.  gguf_from_headers copies what it needs;
 * ERR_MODEL on damaged bytes.  Such an object has no files until gguf_attach opens them: ERR_MODEL
 * when `path` is missing or is not the same model (different headers or sizes). */
void gguf_put_headers(const struct gguf *g, struct buf *out);
MUST_USE err gguf_from_headers(struct gguf **out, const void *bytes, size_t n);
MUST_USE err gguf_attach(struct gguf *g, const char *path);
bool gguf_has_files(const struct gguf *g);

/* 64-bit hash of headers and file sizes: the model's identity.  Its bytes are not read. */
uint64_t gguf_identity(const struct gguf *g);
/* What messages about this model begin with: the path of the first part, or "the model's headers"
 * for an object without files. */
const char *gguf_name(const struct gguf *g);
uint32_t gguf_version(const struct gguf *g);
size_t gguf_part_count(const struct gguf *g);
uint64_t gguf_file_bytes(const struct gguf *g); // all parts together

size_t gguf_kv_count(const struct gguf *g);
const struct gguf_kv *gguf_kv_at(const struct gguf *g, size_t i);
/* NULL when there is no such key. */
const struct gguf_kv *gguf_find(const struct gguf *g, const char *key);
/* Typed look-ups: *out is left alone when the key is absent; ERR_MODEL names key and both types
 * when the type is another (any integer type counts as unsigned when it is not negative). */
MUST_USE err gguf_get_u32(const struct gguf *g, const char *key, uint32_t *out);
MUST_USE err gguf_get_f32(const struct gguf *g, const char *key, float *out);
MUST_USE err gguf_get_bool(const struct gguf *g, const char *key, bool *out);
MUST_USE err gguf_get_str(const struct gguf *g, const char *key, struct gguf_str *out);
/* NULL in *out when absent; ERR_MODEL when it is no array of `type`. */
MUST_USE err gguf_get_array(const struct gguf *g, const char *key, enum gguf_type type,
                            const struct gguf_array **out);
bool gguf_str_is(struct gguf_str s, const char *text);
/* "u32", "string", …, and the bytes of one element (0 for strings and arrays). */
const char *gguf_type_name(enum gguf_type type);
size_t gguf_type_bytes(enum gguf_type type);
/* `s` made fit for a message or a terminal: cut at about 60 bytes, anything but printable ASCII
 * becomes '?'.  For printf: "%s", gguf_show(s).text. */
struct gguf_shown {
    char text[68];
};
struct gguf_shown gguf_show(struct gguf_str s);

size_t gguf_tensor_count(const struct gguf *g);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i);
const struct gguf_tensor *gguf_tensor_find(const struct gguf *g, const char *name); // or NULL

/* Reads n bytes of a tensor from `offset` within its data.  ERR_MODEL when the file has become
 * shorter, ERR_IO on a read error; both name the file.  Blocks. */
MUST_USE err gguf_read(const struct gguf *g, const struct gguf_tensor *t, uint64_t offset,
                       void *dst, size_t n);
/* Asks the system to have these bytes ready when they are read.  A hint; does not wait. */
void gguf_read_soon(const struct gguf *g, const struct gguf_tensor *t, uint64_t offset, size_t n);

#endif
