// SPDX-License-Identifier: MIT
/* gguf_header.c: the headers of one GGUF file, from bytes to tables.
 *
 * Pure: no I/O, any process, any thread.  Everything in these bytes may be a lie, so each number is
 * compared with what the file's length allows before anything is allocated or multiplied by it, and
 * the tables are charged to a budget of the file's size and a few MiB.
 *
 *   magic "GGUF" · version · counts │ key type value … │ name dims type offset … │ pad │ data …
 *                                     metadata           tensor directory
 *
 * The caller does not know how long the headers are.  It hands over a beginning; when the cursor
 * runs off its end, the tables are dropped and the caller comes back with more bytes.  Beginnings
 * double, so the repetition costs no more than the last attempt. */

#include "common/gguf_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/cursor.h"
#include "common/mem.h"

#define MAX_KEY_BYTES    65535                   // as the format says
#define MAX_NAME_BYTES   64                      // as the format says
#define MAX_STRING_BYTES ((size_t)16 << 20)      // chat templates have a few KiB
#define MIN_KV_BYTES     (8 + 1 + 4 + 1)         // key length, key, type, value
#define MIN_TENSOR_BYTES (8 + 1 + 4 + 8 + 4 + 8) // name, one dimension, type, offset

struct parser {
    struct cursor c;
    size_t at; // where the value being judged begins
    const struct gguf__source *source;
    uint64_t *memory_left;
    size_t n_strings, n_tensors_expected;
    struct gguf__header *h;
};

/* A sentence with the file and the offset in front. */
#define BAD(p, ...)                                                                                \
    error_prefix(FAIL(ERR_MODEL, __VA_ARGS__), "%s: at offset %zu", (p)->source->name, (p)->at)

static const struct {
    const char *name;
    size_t bytes;
} value_types[GGUF_TYPE_COUNT] = {
    [GGUF_U8] = {"u8", 1},       [GGUF_I8] = {"i8", 1},     [GGUF_U16] = {"u16", 2},
    [GGUF_I16] = {"i16", 2},     [GGUF_U32] = {"u32", 4},   [GGUF_I32] = {"i32", 4},
    [GGUF_F32] = {"f32", 4},     [GGUF_BOOL] = {"bool", 1}, [GGUF_STRING] = {"string", 0},
    [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"u64", 8},   [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

const char *gguf_type_name(enum gguf_type type) {
    return (size_t)type < GGUF_TYPE_COUNT ? value_types[type].name : "unknown";
}

size_t gguf_type_bytes(enum gguf_type type) {
    return (size_t)type < GGUF_TYPE_COUNT ? value_types[type].bytes : 0;
}

struct gguf_shown gguf_show(struct gguf_str s) {
    struct gguf_shown shown = {0};
    size_t room = sizeof shown.text - 4, n = s.length < room ? s.length : room;
    for (size_t i = 0; i < n; i++)
        shown.text[i] = s.data[i] >= 0x20 && s.data[i] < 0x7F ? s.data[i] : '?';
    if (n < s.length) memcpy(shown.text + n, "...", 3);
    return shown;
}

/* Bytes of the file after the cursor. */
static uint64_t file_rest(const struct parser *p) {
    return p->source->file_bytes - p->c.offset;
}

/* count * size zeroed bytes, charged to the budget. */
static err take_table(struct parser *p, size_t count, size_t size, void **out) {
    size_t bytes;
    if (!mem_mul(count, size, &bytes) || bytes > *p->memory_left)
        return BAD(p, "a table of %zu entries would take more memory than a file of this size may",
                   count);
    *out = mem_try_zalloc(count, size);
    if (!*out) return FAIL(ERR_MEMORY, "%s: no memory for %zu bytes", p->source->name, bytes);
    *p->memory_left -= bytes;
    return ERR_OK;
}

static err read_string(struct parser *p, const char *what, size_t limit, struct gguf_str *out) {
    p->at = p->c.offset;
    uint64_t length = cursor_u64(&p->c);
    if (length > limit)
        return BAD(p, "the length of %s is %" PRIu64 ", at most %zu is allowed", what, length,
                   limit);
    out->data = cursor_take(&p->c, (size_t)length);
    out->length = out->data ? (size_t)length : 0;
    return ERR_OK;
}

/* A key or a tensor's name. */
static err read_name(struct parser *p, const char *what, size_t limit, struct gguf_str *out) {
    TRY(read_string(p, what, limit, out));
    if (p->c.failed) return ERR_OK;
    if (out->length == 0) return BAD(p, "%s is empty", what);
    if (memchr(out->data, 0, out->length))
        return BAD(p, "%s \"%s\" holds a zero byte", what, gguf_show(*out).text);
    return ERR_OK;
}

static err read_array(struct parser *p, struct gguf_kv *kv) {
    struct gguf_array *a = &kv->a;
    uint32_t type = cursor_u32(&p->c);
    uint64_t count = cursor_u64(&p->c);
    if (p->c.failed) return ERR_OK;
    if (type >= GGUF_TYPE_COUNT || type == GGUF_ARRAY)
        return BAD(p, "the array %s has elements of type %" PRIu32 " (%s), which is not supported",
                   gguf_show(kv->key).text, type, gguf_type_name(type));
    size_t least = type == GGUF_STRING ? sizeof(uint64_t) : gguf_type_bytes(type);
    if (count > file_rest(p) / least)
        return BAD(p, "the array %s has %" PRIu64 " elements, more than the file could hold",
                   gguf_show(kv->key).text, count);
    a->type = type;
    a->count = (size_t)count;
    if (type != GGUF_STRING) {
        a->data = cursor_take(&p->c, a->count * least);
        return ERR_OK;
    }
    if (count > (p->c.size - p->c.offset) / least) { // the table is not built for nothing
        p->c.failed = true;
        p->c.failed_need = a->count * least;
        return ERR_OK;
    }
    p->n_strings += a->count;
    if (p->n_strings > GGUF_MAX_STRINGS)
        return BAD(p, "the array %s brings the strings to %zu, at most %zu are allowed",
                   gguf_show(kv->key).text, p->n_strings, GGUF_MAX_STRINGS);
    void *table = NULL;
    TRY(take_table(p, a->count, sizeof *a->strings, &table));
    struct gguf_str *strings = table;
    a->strings = strings;
    for (size_t i = 0; i < a->count && !p->c.failed; i++)
        TRY(read_string(p, "a string in an array", MAX_STRING_BYTES, &strings[i]));
    return ERR_OK;
}

static err read_value(struct parser *p, struct gguf_kv *kv) {
    p->at = p->c.offset;
    switch (kv->type) {
    case GGUF_U8:
    case GGUF_BOOL: kv->u = cursor_u8(&p->c); break;
    case GGUF_U16: kv->u = cursor_u16(&p->c); break;
    case GGUF_U32: kv->u = cursor_u32(&p->c); break;
    case GGUF_U64: kv->u = cursor_u64(&p->c); break;
    case GGUF_I8: kv->i = (int8_t)cursor_u8(&p->c); break;
    case GGUF_I16: kv->i = (int16_t)cursor_u16(&p->c); break;
    case GGUF_I32: kv->i = cursor_i32(&p->c); break;
    case GGUF_I64: kv->i = (int64_t)cursor_u64(&p->c); break;
    case GGUF_F32: kv->f = (double)cursor_f32(&p->c); break;
    case GGUF_F64: kv->f = cursor_f64(&p->c); break;
    case GGUF_STRING: return read_string(p, gguf_show(kv->key).text, MAX_STRING_BYTES, &kv->s);
    case GGUF_ARRAY: return read_array(p, kv);
    case GGUF_TYPE_COUNT: break;
    }
    if (kv->type == GGUF_BOOL && kv->u > 1)
        return BAD(p, "the value of %s is %" PRIu64 ", where a bool is 0 or 1",
                   gguf_show(kv->key).text, kv->u);
    return ERR_OK;
}

static err read_kv(struct parser *p, struct gguf_kv *kv) {
    TRY(read_name(p, "a key", MAX_KEY_BYTES, &kv->key));
    p->at = p->c.offset;
    uint32_t type = cursor_u32(&p->c);
    if (p->c.failed) return ERR_OK;
    if (type >= GGUF_TYPE_COUNT)
        return BAD(p, "the value of %s has the unknown type %" PRIu32, gguf_show(kv->key).text,
                   type);
    kv->type = type;
    return read_value(p, kv);
}

/* Fills everything but the absolute offset, which depends on where the directory ends. */
static err read_tensor(struct parser *p, struct gguf_tensor *t, size_t alignment) {
    TRY(read_name(p, "a tensor's name", MAX_NAME_BYTES, &t->name));
    t->n_dims = cursor_u32(&p->c);
    if (p->c.failed) return ERR_OK;
    struct gguf_shown name = gguf_show(t->name);
    if (t->n_dims < 1 || t->n_dims > GGUF_MAX_DIMS)
        return BAD(p, "the tensor %s has %" PRIu32 " dimensions, 1 to %d are allowed", name.text,
                   t->n_dims, GGUF_MAX_DIMS);
    for (uint32_t i = 0; i < GGUF_MAX_DIMS; i++) t->dims[i] = i < t->n_dims ? cursor_u64(&p->c) : 1;
    uint32_t type = cursor_u32(&p->c);
    t->offset = cursor_u64(&p->c);
    if (p->c.failed) return ERR_OK;

    const struct dtype_info *info = dtype_ggml_find(type);
    if (!info)
        return BAD(p,
                   "the tensor %s has type number %" PRIu32 " (%s), which this build cannot read",
                   name.text, type, dtype_ggml_name(type));
    t->type = (enum dtype)type;
    if (t->dims[0] % info->block_elems != 0)
        return BAD(p,
                   "the tensor %s has rows of %" PRIu64 " elements, no multiple of the %" PRIu32
                   " in a block of %s",
                   name.text, t->dims[0], info->block_elems, info->name);
    bool fits = mem_mul(t->dims[0] / info->block_elems, info->block_bytes, &t->row_bytes);
    t->rows = 1;
    for (int i = 1; i < GGUF_MAX_DIMS; i++) fits = fits && mem_mul(t->rows, t->dims[i], &t->rows);
    fits = fits && mem_mul(t->rows, t->row_bytes, &t->bytes);
    if (!fits || t->bytes > p->source->file_bytes || t->bytes == 0)
        return BAD(p,
                   "the tensor %s is said to be %" PRIu64 " x %" PRIu64 " x %" PRIu64 " x %" PRIu64
                   " of %s, %s",
                   name.text, t->dims[0], t->dims[1], t->dims[2], t->dims[3], info->name,
                   fits && t->bytes == 0 ? "which is nothing" : "more than the file could hold");
    if (t->offset % alignment != 0)
        return BAD(
            p, "the tensor %s begins at %" PRIu64 " of the data, no multiple of the alignment %zu",
            name.text, t->offset, alignment);
    return ERR_OK;
}

/* Magic, version and the two counts. */
static err read_preamble(struct parser *p) {
    const void *magic = cursor_take(&p->c, 4);
    if (magic && memcmp(magic, "GGUF", 4) != 0)
        return BAD(p, "this is not a GGUF file: it does not begin with the letters GGUF");
    p->at = p->c.offset;
    uint32_t version = cursor_u32(&p->c);
    p->h->version = version;
    if (p->c.failed) return ERR_OK;
    if (version != 0 && (version & 0xFFFFu) == 0)
        return BAD(p, "the file is big-endian (version %" PRIu32 "): convert it to little-endian",
                   __builtin_bswap32(version));
    if (version == 1)
        return BAD(p,
                   "GGUF version 1 is not supported: convert the model again with a current tool");
    if (version != 2 && version != 3)
        return BAD(p, "GGUF version %" PRIu32 " is not supported, only 2 and 3 are", version);
    uint64_t n_tensors = cursor_u64(&p->c), n_kvs = cursor_u64(&p->c);
    if (p->c.failed) return ERR_OK;
    p->at = 8;
    if (n_tensors > GGUF_MAX_TENSORS || n_tensors > file_rest(p) / MIN_TENSOR_BYTES)
        return BAD(p, "the file says it has %" PRIu64 " tensors, more than %s", n_tensors,
                   n_tensors > GGUF_MAX_TENSORS ? "are allowed" : "it could hold");
    p->at = 16;
    if (n_kvs > GGUF_MAX_KEYS || n_kvs > file_rest(p) / MIN_KV_BYTES)
        return BAD(p, "the file says it has %" PRIu64 " metadata keys, more than %s", n_kvs,
                   n_kvs > GGUF_MAX_KEYS ? "are allowed" : "it could hold");
    p->n_tensors_expected = (size_t)n_tensors;
    p->h->n_kvs = (size_t)n_kvs;
    return ERR_OK;
}

const struct gguf_kv *gguf__header_find(const struct gguf__header *h, const char *key) {
    for (size_t i = 0; i < h->n_kvs; i++)
        if (gguf_str_is(h->kvs[i].key, key)) return &h->kvs[i];
    return NULL;
}

static err find_alignment(struct parser *p, size_t *alignment) {
    uint64_t value = 32; // the format's default
    const struct gguf_kv *kv = gguf__header_find(p->h, "general.alignment");
    if (kv &&
        (!gguf__unsigned(kv, &value) || value < 8 || value > 65536 || (value & (value - 1)) != 0)) {
        p->at = (size_t)((const uint8_t *)kv->key.data - p->source->bytes);
        return BAD(p, "general.alignment must be a power of two from 8 to 65536");
    }
    *alignment = (size_t)value;
    return ERR_OK;
}

static int by_offset(const void *a, const void *b, void *tensors) {
    const struct gguf_tensor *t = tensors;
    uint64_t x = t[*(const uint32_t *)a].offset, y = t[*(const uint32_t *)b].offset;
    return x < y ? -1 : x > y;
}

/* Moves offsets to the beginning of the file; all data inside the file, no two tensors overlap. */
static err place_tensors(struct parser *p, size_t alignment) {
    struct gguf__header *h = p->h;
    uint64_t file_bytes = p->source->file_bytes;
    uint64_t data = ((uint64_t)h->header_bytes + alignment - 1) & ~(uint64_t)(alignment - 1);
    void *order_table = NULL;
    TRY(take_table(p, h->n_tensors, sizeof(uint32_t), &order_table));
    uint32_t *order = order_table;
    err e = ERR_OK;
    for (size_t i = 0; i < h->n_tensors && e == ERR_OK; i++) {
        struct gguf_tensor *t = &h->tensors[i];
        order[i] = (uint32_t)i;
        p->at = (size_t)((const uint8_t *)t->name.data - p->source->bytes);
        if (data > file_bytes || t->offset > file_bytes - data ||
            t->bytes > file_bytes - data - t->offset)
            e = BAD(p,
                    "the tensor %s (%zu bytes at %" PRIu64
                    " of the data) reaches beyond the end of "
                    "the file (%" PRIu64 " bytes): it is truncated or damaged",
                    gguf_show(t->name).text, t->bytes, t->offset, file_bytes);
        else
            t->offset += data;
    }
    if (e == ERR_OK) qsort_r(order, h->n_tensors, sizeof *order, by_offset, h->tensors);
    for (size_t i = 1; i < h->n_tensors && e == ERR_OK; i++) {
        const struct gguf_tensor *a = &h->tensors[order[i - 1]], *b = &h->tensors[order[i]];
        if (b->offset - a->offset >= a->bytes) continue;
        p->at = (size_t)((const uint8_t *)b->name.data - p->source->bytes);
        e = BAD(p, "the data of the tensors %s and %s overlap", gguf_show(a->name).text,
                gguf_show(b->name).text);
    }
    mem_free(order);
    return e;
}

/* Everything in file order; returns early, without an error, when the cursor has failed. */
static err read_all(struct parser *p) {
    struct gguf__header *h = p->h;
    size_t alignment = 0;
    void *table = NULL;
    TRY(read_preamble(p));
    if (p->c.failed) return ERR_OK;
    TRY(take_table(p, h->n_kvs, sizeof *h->kvs, &table));
    h->kvs = table;
    for (size_t i = 0; i < h->n_kvs && !p->c.failed; i++) TRY(read_kv(p, &h->kvs[i]));
    if (p->c.failed) return ERR_OK;
    TRY(find_alignment(p, &alignment));
    TRY(take_table(p, p->n_tensors_expected, sizeof *h->tensors, &table));
    h->tensors = table;
    h->n_tensors = p->n_tensors_expected;
    for (size_t i = 0; i < h->n_tensors && !p->c.failed; i++)
        TRY(read_tensor(p, &h->tensors[i], alignment));
    if (p->c.failed) return ERR_OK;
    h->header_bytes = p->c.offset;
    return place_tensors(p, alignment);
}

err gguf__header_parse(struct gguf__header *out, const struct gguf__source *source,
                       uint64_t *memory_left, size_t *need) {
    *out = (struct gguf__header){0};
    *need = 0;
    struct parser p = {.c = cursor_over(source->bytes, source->size),
                       .source = source,
                       .memory_left = memory_left,
                       .h = out};
    uint64_t memory_before = *memory_left;
    TRY(read_all(&p));
    if (!p.c.failed) return ERR_OK;

    p.at = p.c.offset;
    size_t wanted;
    if (!mem_add(p.c.offset, p.c.failed_need, &wanted) || wanted > source->file_bytes)
        return BAD(&p,
                   "the file (%" PRIu64 " bytes) ends within its headers: it is truncated or "
                   "damaged",
                   source->file_bytes);
    if (wanted > GGUF_MAX_HEADER_BYTES)
        return BAD(&p, "the headers are longer than %zu bytes", GGUF_MAX_HEADER_BYTES);
    gguf__header_deinit(out);
    *memory_left = memory_before;
    *need = wanted;
    return ERR_OK;
}

void gguf__header_deinit(struct gguf__header *h) {
    for (size_t i = 0; h->kvs && i < h->n_kvs; i++)
        if (h->kvs[i].type == GGUF_ARRAY) mem_free((void *)h->kvs[i].a.strings);
    mem_free(h->kvs);
    mem_free(h->tensors);
    *h = (struct gguf__header){0};
}
