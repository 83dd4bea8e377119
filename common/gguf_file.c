// SPDX-License-Identifier: MIT
/* gguf_file.c: the files of a GGUF model: open, read headers, attach, read tensor data.
 *
 * All I/O of the reader is here and all of it is pread: a file that shrinks is an error with a
 * sentence, not a SIGBUS.  Descriptors stay open, so the file that was checked is the file that is
 * loaded, whatever happens to its name.  A model split into parts is named
 * NAME-00001-of-00003.gguf and so on; its metadata is in the first part.
 * Any process, any thread, one at a time.  Blocks on storage. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/gguf_internal.h"
#include "common/mem.h"

#define FIRST_READ_BYTES   ((size_t)1 << 20)
#define SPLIT_SUFFIX_BYTES (sizeof "-00001-of-00003.gguf" - 1)

/* ---- names of parts ---------------------------------------------------------------------- */

static bool five_digits(const char *s, uint32_t *value) {
    *value = 0;
    for (int i = 0; i < 5; i++) {
        if (s[i] < '0' || s[i] > '9') return false;
        *value = *value * 10 + (uint32_t)(s[i] - '0');
    }
    return true;
}

/* True when the path is that of a part; *no counts from 1. */
static bool split_name(const char *path, uint32_t *no, uint32_t *count) {
    size_t n = strlen(path);
    if (n <= SPLIT_SUFFIX_BYTES) return false;
    const char *s = path + n - SPLIT_SUFFIX_BYTES;
    return s[0] == '-' && five_digits(s + 1, no) && memcmp(s + 6, "-of-", 4) == 0 &&
           five_digits(s + 10, count) && strcmp(s + 15, ".gguf") == 0;
}

/* The path of part i (from 0) beside `path`, which is the name of a part.  The caller frees it. */
static char *part_path(const char *path, size_t i, size_t count) {
    struct buf b;
    buf_init(&b, 0);
    buf_append(&b, path, strlen(path) - SPLIT_SUFFIX_BYTES);
    buf_printf(&b, "-%05zu-of-%05zu.gguf", i + 1, count);
    return b.data;
}

/* ---- reading ----------------------------------------------------------------------------- */

static err read_exact(const struct gguf__part *part, uint64_t offset, void *dst, size_t n) {
    uint8_t *p = dst;
    while (n > 0) {
        ssize_t got = pread(part->fd, p, n, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            return FAIL(ERR_IO, "%s: reading %zu bytes at offset %" PRIu64 " failed: %s",
                        part->name, n, offset, strerror(errno));
        if (got == 0)
            return FAIL(ERR_MODEL,
                        "%s: the file has become shorter: %zu bytes at offset %" PRIu64
                        " are missing (it had %" PRIu64 " bytes when it was opened)",
                        part->name, n, offset, part->file_bytes);
        p += got, n -= (size_t)got, offset += (uint64_t)got;
    }
    return ERR_OK;
}

err gguf_read(const struct gguf *g, const struct gguf_tensor *t, uint64_t offset, void *dst,
              size_t n) {
    CHECK(t->part < g->n_parts && g->parts[t->part].fd >= 0);
    CHECK(offset <= t->bytes && n <= t->bytes - offset);
    return read_exact(&g->parts[t->part], t->offset + offset, dst, n);
}

void gguf_read_soon(const struct gguf *g, const struct gguf_tensor *t, uint64_t offset, size_t n) {
    (void)posix_fadvise(g->parts[t->part].fd, (off_t)(t->offset + offset), (off_t)n,
                        POSIX_FADV_WILLNEED);
}

/* O_NONBLOCK: opening a pipe must not wait for somebody who writes into it. */
static err open_part(const struct gguf *g, size_t i, struct gguf__part *part) {
    struct stat st;
    part->fd = open(part->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (part->fd < 0 && i == 0)
        return FAIL(ERR_MODEL, "%s cannot be opened: %s", part->name, strerror(errno));
    if (part->fd < 0)
        return FAIL(ERR_MODEL,
                    "%s cannot be opened: %s; it is part %zu of the %zu parts of the model",
                    part->name, strerror(errno), i + 1, g->n_parts);
    if (fstat(part->fd, &st) != 0)
        return FAIL(ERR_IO, "%s: fstat failed: %s", part->name, strerror(errno));
    if (!S_ISREG(st.st_mode)) return FAIL(ERR_MODEL, "%s is not a regular file", part->name);
    part->file_bytes = (uint64_t)st.st_size;
    return ERR_OK;
}

static size_t min_size(uint64_t a, uint64_t b) {
    return (size_t)(a < b ? a : b);
}

/* Reads the beginning of the file, more of it each time, until the headers are complete.  The old
 * piece is given back before a larger one is taken. */
static err read_header(struct gguf *g, struct gguf__part *part, struct gguf__header *h) {
    size_t size = min_size(FIRST_READ_BYTES, part->file_bytes), need = 0;
    do {
        uint64_t left = g->memory_left - size;
        part->bytes = mem_try_zalloc(size, 1);
        if (!part->bytes)
            return FAIL(ERR_MEMORY, "%s: no memory for %zu bytes of headers", part->name, size);
        TRY(read_exact(part, 0, part->bytes, size));
        struct gguf__source source = {part->name, part->bytes, size, part->file_bytes};
        TRY(gguf__header_parse(h, &source, &left, &need));
        if (need == 0) {
            g->memory_left = left;
            break;
        }
        mem_free(part->bytes);
        part->bytes = NULL;
        size = min_size(2 * size, min_size(part->file_bytes, GGUF_MAX_HEADER_BYTES));
        if (size < need) size = need;
    } while (true);
    return ERR_OK;
}

/* Opens and reads part i; takes over `path`. */
static err load_part(struct gguf *g, size_t i, char *path, struct gguf__header *h) {
    struct gguf__part *part = &g->parts[i];
    part->name = path;
    TRY(open_part(g, i, part));
    g->memory_left += part->file_bytes;
    return read_header(g, part, h);
}

/* ---- opening ----------------------------------------------------------------------------- */

/* How many parts a model has, from the name of its first file; refuses other parts' names. */
static err count_parts(const char *path, size_t *n_parts) {
    uint32_t no, count;
    *n_parts = 1;
    if (!split_name(path, &no, &count)) return ERR_OK;
    if (no != 1)
        return FAIL(ERR_MODEL,
                    "%s is part %" PRIu32 " of %" PRIu32 ": give the first part, whose name "
                    "ends in -00001-of-%05" PRIu32 ".gguf",
                    path, no, count, count);
    if (count < 1 || count > GGUF_MAX_PARTS)
        return FAIL(ERR_MODEL, "%s: a model of %" PRIu32 " parts is not supported, at most %d are",
                    path, count, GGUF_MAX_PARTS);
    *n_parts = count;
    return ERR_OK;
}

/* A file that is the first of several must have a name from which the others' names follow. */
static err check_named(const struct gguf *g, const struct gguf__header *h) {
    const struct gguf_kv *kv = gguf__header_find(h, "split.count");
    uint64_t count;
    if (g->n_parts > 1 || !kv || !gguf__unsigned(kv, &count) || count <= 1) return ERR_OK;
    return FAIL(ERR_MODEL,
                "%s is one of %" PRIu64 " parts, but its name does not end in -00001-of-%05" PRIu64
                ".gguf: give all parts their original names",
                g->parts[0].name, count, count);
}

err gguf_open(struct gguf **out, const char *path) {
    size_t n_parts;
    TRY(count_parts(path, &n_parts));
    struct gguf *g = gguf__new(n_parts);
    struct gguf__header h = {0};
    err e = ERR_OK;

    for (size_t i = 0; i < n_parts; i++) {
        char *name = n_parts > 1 ? part_path(path, i, n_parts) : mem_strdup(path);
        TRY_GOTO(e, load_part(g, i, name, &h), fail);
        TRY_GOTO(e, check_named(g, &h), fail);
        TRY_GOTO(e, gguf__add_part(g, i, &h), fail);
    }
    TRY_GOTO(e, gguf__finish(g), fail);
    *out = g;
    return ERR_OK;

fail:
    gguf__header_deinit(&h);
    gguf_close(g);
    return e;
}

err gguf_attach(struct gguf *g, const char *path) {
    struct gguf *files = NULL;
    TRY(gguf_open(&files, path));
    err e = ERR_OK;
    if (files->identity != g->identity || files->n_parts != g->n_parts) {
        e = FAIL(ERR_MODEL,
                 "%s is not the model that the others use: its headers or its size differ "
                 "(identity %016" PRIx64 ", expected %016" PRIx64 ")",
                 path, files->identity, g->identity);
    } else {
        for (size_t i = 0; i < g->n_parts; i++) { // the other object closes what g had before
            struct gguf__part *mine = &g->parts[i], *fresh = &files->parts[i], old = *mine;
            mine->name = fresh->name, mine->fd = fresh->fd;
            fresh->name = old.name, fresh->fd = old.fd;
        }
    }
    gguf_close(files);
    return e;
}
