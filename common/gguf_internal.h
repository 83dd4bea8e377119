/* gguf_internal.h: what the three files of the GGUF reader share.
 *
 *   gguf_file.c    opens, reads, attaches files          (the only one with I/O)
 *   gguf_header.c  bytes of one part → tables            (pure, hostile input ends here)
 *   gguf.c         the object: look-ups, parts together, identity, headers for other processes
 *
 * Nobody else includes this header, tests of the parser excepted.  Local. */
// SPDX-License-Identifier: MIT
#ifndef COMMON_GGUF_INTERNAL_H
#define COMMON_GGUF_INTERNAL_H

#include "common/gguf.h"

/* Limits of what is believed.  The largest vocabularies of today need less than 20 MiB of headers.
 */
#define GGUF_MAX_HEADER_BYTES ((size_t)32 << 20) // of one part
#define GGUF_MAX_KEYS         65536
#define GGUF_MAX_TENSORS      65536
#define GGUF_MAX_STRINGS      ((size_t)2 << 20) // in the arrays of one part
#define GGUF_MAX_PARTS        256
/* Headers and their tables may take the size of the files and this much more. */
#define GGUF_EXTRA_MEMORY ((uint64_t)12 << 20)

/* The tables of one part.  Strings point into the bytes it was parsed from. */
struct gguf__header {
    uint32_t version;
    size_t header_bytes; // up to the end of the tensor directory
    size_t n_kvs, n_tensors;
    struct gguf_kv *kvs;         // [n_kvs], owned, and the string tables in it
    struct gguf_tensor *tensors; // [n_tensors], owned; offsets absolute, part still 0
};

/* The beginning of a part's file. */
struct gguf__source {
    const char *name;     // for messages
    const uint8_t *bytes; // [size]
    size_t size;
    uint64_t file_bytes; // >= size
};

/* Parses and checks one part, against the whole file's length too.  When `size` was too short,
 * *need says how many bytes it takes at least (at most file_bytes) and *out is empty; else *need is
 * 0.  Tables are charged to *memory_left.  Release with gguf__header_deinit, also after an error.
 */
MUST_USE err gguf__header_parse(struct gguf__header *out, const struct gguf__source *source,
                                uint64_t *memory_left, size_t *need);
void gguf__header_deinit(struct gguf__header *h);
/* The entry of a part's metadata, by comparing them all; NULL when absent. */
const struct gguf_kv *gguf__header_find(const struct gguf__header *h, const char *key);

struct gguf__part {
    char *name;     // path, or what stands for it; owned
    int fd;         // -1: no file
    uint8_t *bytes; // headers, owned; the tables point into them
    size_t header_bytes;
    uint64_t file_bytes;
};

struct gguf {
    size_t n_parts;
    struct gguf__part *parts; // [n_parts]
    uint32_t version;
    size_t n_kvs, n_tensors;
    struct gguf_kv *kvs;               // [n_kvs] of part 0
    struct gguf_tensor *tensors;       // [n_tensors] of all parts
    uint32_t *kv_order, *tensor_order; // indexes, sorted by name
    uint64_t memory_left;              // what further headers may take
    uint64_t identity;
};

/* An object of n_parts empty parts. */
struct gguf *gguf__new(size_t n_parts);
/* Takes over the tables of part i (parts come in order, their names and bytes are in place) and
 * checks that it belongs here.  `h` is empty afterwards if it went well. */
MUST_USE err gguf__add_part(struct gguf *g, size_t i, struct gguf__header *h);
/* After the last part: sorts names, refuses doubled ones, computes the identity. */
MUST_USE err gguf__finish(struct gguf *g);
/* True, with the value, for any integer type that holds a number >= 0. */
bool gguf__unsigned(const struct gguf_kv *kv, uint64_t *out);

#endif
