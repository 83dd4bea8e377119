// SPDX-License-Identifier: MIT
/* gguf.c: the GGUF object: parts together, look-ups, identity, headers for other processes.
 *
 * No I/O here: gguf_file.c brings the bytes, gguf_header.c makes tables of them.  Names are found
 * by binary search in a sorted index and not in a hash table: n log n for any names, so a file
 * cannot be made whose keys collide, and doubled names lie side by side.
 * Any thread, one at a time. */

#include "common/gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cursor.h"
#include "common/gguf_internal.h"
#include "common/mem.h"

#define HEADERS_MAGIC 0x31474B4Cu // "LKG1": the form in which headers travel

/* ---- names ------------------------------------------------------------------------------- */

static int compare_names(struct gguf_str a, struct gguf_str b) {
    if (a.length != b.length) return a.length < b.length ? -1 : 1;
    return memcmp(a.data, b.data, a.length);
}

bool gguf_str_is(struct gguf_str s, const char *text) {
    size_t n = strlen(text);
    return s.length == n && memcmp(s.data, text, n) == 0;
}

/* Rows of a table that begin with their name. */
struct named {
    const char *rows;
    size_t stride, count;
};

static struct gguf_str name_of(const struct named *t, uint32_t i) {
    struct gguf_str name;
    memcpy(&name, t->rows + i * t->stride, sizeof name);
    return name;
}

static int by_name(const void *a, const void *b, void *table) {
    return compare_names(name_of(table, *(const uint32_t *)a),
                         name_of(table, *(const uint32_t *)b));
}

/* Sorts the indexes of `t` by name; *twin is a row whose name another row has too, or t->count. */
static err sort_names(struct named t, uint32_t **order, uint32_t *twin) {
    *twin = (uint32_t)t.count;
    *order = mem_try_zalloc(t.count, sizeof **order);
    if (!*order) return FAIL(ERR_MEMORY, "no memory for an index of %zu names", t.count);
    for (uint32_t i = 0; i < t.count; i++) (*order)[i] = i;
    qsort_r(*order, t.count, sizeof **order, by_name, &t);
    for (size_t i = 1; i < t.count; i++)
        if (by_name(&(*order)[i - 1], &(*order)[i], &t) == 0) *twin = (*order)[i];
    return ERR_OK;
}

/* The row with that name, or t.count. */
static size_t find_name(struct named t, const uint32_t *order, struct gguf_str name) {
    size_t low = 0, high = t.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = compare_names(name, name_of(&t, order[middle]));
        if (c == 0) return order[middle];
        if (c < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return t.count;
}

static struct named keys_of(const struct gguf *g) {
    return (struct named){(const char *)g->kvs, sizeof *g->kvs, g->n_kvs};
}

static struct named tensors_of(const struct gguf *g) {
    return (struct named){(const char *)g->tensors, sizeof *g->tensors, g->n_tensors};
}

_Static_assert(offsetof(struct gguf_kv, key) == 0, "rows begin with their name");
_Static_assert(offsetof(struct gguf_tensor, name) == 0, "rows begin with their name");

/* ---- making an object -------------------------------------------------------------------- */

struct gguf *gguf__new(size_t n_parts) {
    struct gguf *g = mem_zalloc(sizeof *g);
    g->parts = mem_zalloc_array(n_parts, sizeof *g->parts);
    g->n_parts = n_parts;
    g->memory_left = GGUF_EXTRA_MEMORY;
    for (size_t i = 0; i < n_parts; i++) g->parts[i].fd = -1;
    return g;
}

void gguf_close(struct gguf *g) {
    if (!g) return;
    for (size_t i = 0; i < g->n_parts; i++) {
        if (g->parts[i].fd >= 0) close(g->parts[i].fd);
        mem_free(g->parts[i].name);
        mem_free(g->parts[i].bytes);
    }
    struct gguf__header tables = {
        .n_kvs = g->n_kvs, .n_tensors = g->n_tensors, .kvs = g->kvs, .tensors = g->tensors};
    gguf__header_deinit(&tables);
    mem_free(g->parts);
    mem_free(g->kv_order);
    mem_free(g->tensor_order);
    mem_free(g);
}

/* A split file says in its metadata which part of how many it is. */
static err check_split(const struct gguf *g, size_t i, const struct gguf__header *h) {
    const char *name = g->parts[i].name;
    const struct gguf_kv *no = gguf__header_find(h, "split.no");
    const struct gguf_kv *count = gguf__header_find(h, "split.count");
    uint64_t value;
    if (no && (!gguf__unsigned(no, &value) || value != i))
        return FAIL(ERR_MODEL,
                    "%s: split.no says that this is not part %zu of a split model: give "
                    "all parts their original names",
                    name, i + 1);
    if (count &&
        (!gguf__unsigned(count, &value) || (value != g->n_parts && value + g->n_parts > 1)))
        return FAIL(ERR_MODEL, "%s: split.count says %" PRIu64 " parts, but the name says %zu",
                    name, gguf__unsigned(count, &value) ? value : 0, g->n_parts);
    return ERR_OK;
}

err gguf__add_part(struct gguf *g, size_t i, struct gguf__header *h) {
    struct gguf__part *part = &g->parts[i];
    TRY(check_split(g, i, h));
    if (g->n_tensors + h->n_tensors > GGUF_MAX_TENSORS)
        return FAIL(ERR_MODEL, "%s: with this part there are %zu tensors, at most %d are allowed",
                    part->name, g->n_tensors + h->n_tensors, GGUF_MAX_TENSORS);
    for (size_t k = 0; k < h->n_tensors; k++) h->tensors[k].part = (uint32_t)i;
    part->header_bytes = h->header_bytes;
    if (i == 0) { // metadata is the first part's
        g->version = h->version;
        g->kvs = h->kvs;
        g->n_kvs = h->n_kvs;
        g->tensors = h->tensors;
        g->n_tensors = h->n_tensors;
        *h = (struct gguf__header){0};
        return ERR_OK;
    }
    size_t total = g->n_tensors + h->n_tensors;
    g->tensors = mem_realloc(g->tensors, total * sizeof *g->tensors);
    memcpy(g->tensors + g->n_tensors, h->tensors, h->n_tensors * sizeof *g->tensors);
    g->n_tensors = total;
    gguf__header_deinit(h);
    return ERR_OK;
}

/* FNV-1a's recurrence over 8-byte words with a fold, as headers have megabytes. */
static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t n) {
    const uint8_t *p = bytes;
    while (n > 0) {
        uint64_t word = 0;
        size_t width = n < sizeof word ? n : sizeof word;
        memcpy(&word, p, width);
        h = (h ^ word) * 0x100000001B3u;
        h ^= h >> 32;
        p += width, n -= width;
    }
    return h;
}

static uint64_t identity_of(const struct gguf *g) {
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < g->n_parts; i++) {
        const struct gguf__part *part = &g->parts[i];
        uint64_t sizes[2] = {part->header_bytes, part->file_bytes};
        h = hash_bytes(h, sizes, sizeof sizes);
        h = hash_bytes(h, part->bytes, part->header_bytes);
    }
    return h;
}

err gguf__finish(struct gguf *g) {
    uint32_t twin;
    TRY(sort_names(keys_of(g), &g->kv_order, &twin));
    if (twin < g->n_kvs)
        return FAIL(ERR_MODEL, "%s: at offset %td: the key %s is there twice", g->parts[0].name,
                    (const uint8_t *)g->kvs[twin].key.data - g->parts[0].bytes,
                    gguf_show(g->kvs[twin].key).text);
    TRY(sort_names(tensors_of(g), &g->tensor_order, &twin));
    if (twin < g->n_tensors) {
        const struct gguf__part *part = &g->parts[g->tensors[twin].part];
        return FAIL(ERR_MODEL, "%s: at offset %td: the tensor %s is there twice", part->name,
                    (const uint8_t *)g->tensors[twin].name.data - part->bytes,
                    gguf_show(g->tensors[twin].name).text);
    }
    const struct gguf_kv *total = gguf_find(g, "split.tensors.count");
    uint64_t expected;
    if (g->n_parts > 1 && total && (!gguf__unsigned(total, &expected) || expected != g->n_tensors))
        return FAIL(ERR_MODEL,
                    "%s: the parts hold %zu tensors together, split.tensors.count says "
                    "otherwise",
                    g->parts[0].name, g->n_tensors);
    g->identity = identity_of(g);
    return ERR_OK;
}

/* ---- headers for another process: magic, parts; for each: file bytes, header bytes, header --- */

void gguf_put_headers(const struct gguf *g, struct buf *out) {
    uint32_t head[2] = {HEADERS_MAGIC, (uint32_t)g->n_parts};
    buf_append(out, head, sizeof head);
    for (size_t i = 0; i < g->n_parts; i++) {
        const struct gguf__part *part = &g->parts[i];
        uint64_t sizes[2] = {part->file_bytes, part->header_bytes};
        buf_append(out, sizes, sizeof sizes);
        buf_append(out, part->bytes, part->header_bytes);
    }
}

static err add_part_from_cursor(struct gguf *g, size_t i, struct cursor *c) {
    struct gguf__part *part = &g->parts[i];
    struct gguf__header h = {0};
    char name[64];
    snprintf(name, sizeof name, "the model's headers (part %zu)", i + 1);
    part->name = mem_strdup(name);
    part->file_bytes = cursor_u64(c);
    uint64_t bytes = cursor_u64(c);
    const void *data = bytes <= GGUF_MAX_HEADER_BYTES ? cursor_take(c, (size_t)bytes) : NULL;
    if (!data || bytes > part->file_bytes)
        return FAIL(ERR_MODEL, "%s are cut off or damaged", name);
    part->bytes = mem_try_zalloc((size_t)bytes, 1);
    if (!part->bytes) return FAIL(ERR_MEMORY, "no memory for %" PRIu64 " bytes of headers", bytes);
    memcpy(part->bytes, data, (size_t)bytes);

    struct gguf__source source = {name, part->bytes, (size_t)bytes, part->file_bytes};
    size_t need = 0;
    err e = gguf__header_parse(&h, &source, &g->memory_left, &need);
    if (e == ERR_OK && (need > 0 || h.header_bytes != bytes))
        e = FAIL(ERR_MODEL, "%s do not end where they should", name);
    if (e == ERR_OK) e = gguf__add_part(g, i, &h);
    gguf__header_deinit(&h);
    return e;
}

err gguf_from_headers(struct gguf **out, const void *bytes, size_t n) {
    struct cursor c = cursor_over(bytes, n);
    uint32_t magic = cursor_u32(&c), n_parts = cursor_u32(&c);
    if (c.failed || magic != HEADERS_MAGIC || n_parts < 1 || n_parts > GGUF_MAX_PARTS)
        return FAIL(ERR_MODEL, "the model's headers that were received are damaged");
    struct gguf *g = gguf__new(n_parts);
    g->memory_left += 4 * (uint64_t)n; // tables take at most four times the bytes they come from
    err e = ERR_OK;
    for (size_t i = 0; i < n_parts; i++) TRY_GOTO(e, add_part_from_cursor(g, i, &c), fail);
    if (c.offset != n) {
        e = FAIL(ERR_MODEL, "the model's headers have %zu bytes too many", n - c.offset);
        goto fail;
    }
    TRY_GOTO(e, gguf__finish(g), fail);
    *out = g;
    return ERR_OK;

fail:
    gguf_close(g);
    return e;
}

/* ---- questions --------------------------------------------------------------------------- */

uint64_t gguf_identity(const struct gguf *g) {
    return g->identity;
}

bool gguf_has_files(const struct gguf *g) {
    return g->parts[0].fd >= 0;
}

const char *gguf_name(const struct gguf *g) {
    return gguf_has_files(g) ? g->parts[0].name : "the model's headers";
}

uint32_t gguf_version(const struct gguf *g) {
    return g->version;
}

size_t gguf_part_count(const struct gguf *g) {
    return g->n_parts;
}

uint64_t gguf_file_bytes(const struct gguf *g) {
    uint64_t sum = 0;
    for (size_t i = 0; i < g->n_parts; i++) sum += g->parts[i].file_bytes;
    return sum;
}

size_t gguf_kv_count(const struct gguf *g) {
    return g->n_kvs;
}

const struct gguf_kv *gguf_kv_at(const struct gguf *g, size_t i) {
    CHECK(i < g->n_kvs);
    return &g->kvs[i];
}

const struct gguf_kv *gguf_find(const struct gguf *g, const char *key) {
    size_t i = find_name(keys_of(g), g->kv_order, (struct gguf_str){key, strlen(key)});
    return i < g->n_kvs ? &g->kvs[i] : NULL;
}

size_t gguf_tensor_count(const struct gguf *g) {
    return g->n_tensors;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i) {
    CHECK(i < g->n_tensors);
    return &g->tensors[i];
}

const struct gguf_tensor *gguf_tensor_find(const struct gguf *g, const char *name) {
    size_t i = find_name(tensors_of(g), g->tensor_order, (struct gguf_str){name, strlen(name)});
    return i < g->n_tensors ? &g->tensors[i] : NULL;
}

bool gguf__unsigned(const struct gguf_kv *kv, uint64_t *out) {
    switch (kv->type) {
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_U64: *out = kv->u; return true;
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64: *out = (uint64_t)kv->i; return kv->i >= 0;
    default: return false;
    }
}

static err wrong_type(const struct gguf *g, const struct gguf_kv *kv, const char *wanted) {
    bool array = kv->type == GGUF_ARRAY;
    return FAIL(ERR_MODEL, "%s: the key %s is %s%s, where %s is expected", gguf_name(g),
                gguf_show(kv->key).text, array ? "an array of " : "of type ",
                gguf_type_name(array ? kv->a.type : kv->type), wanted);
}

err gguf_get_u32(const struct gguf *g, const char *key, uint32_t *out) {
    const struct gguf_kv *kv = gguf_find(g, key);
    uint64_t value;
    if (!kv) return ERR_OK;
    if (!gguf__unsigned(kv, &value)) return wrong_type(g, kv, "an integer not below 0 (u32)");
    if (value > UINT32_MAX)
        return FAIL(ERR_MODEL, "%s: the key %s is %" PRIu64 ", too large for u32", gguf_name(g),
                    key, value);
    *out = (uint32_t)value;
    return ERR_OK;
}

err gguf_get_f32(const struct gguf *g, const char *key, float *out) {
    const struct gguf_kv *kv = gguf_find(g, key);
    if (!kv) return ERR_OK;
    if (kv->type != GGUF_F32 && kv->type != GGUF_F64)
        return wrong_type(g, kv, "a number of type f32");
    *out = (float)kv->f;
    return ERR_OK;
}

err gguf_get_bool(const struct gguf *g, const char *key, bool *out) {
    const struct gguf_kv *kv = gguf_find(g, key);
    if (!kv) return ERR_OK;
    if (kv->type != GGUF_BOOL) return wrong_type(g, kv, "a bool");
    *out = kv->u != 0;
    return ERR_OK;
}

err gguf_get_str(const struct gguf *g, const char *key, struct gguf_str *out) {
    const struct gguf_kv *kv = gguf_find(g, key);
    if (!kv) return ERR_OK;
    if (kv->type != GGUF_STRING) return wrong_type(g, kv, "a string");
    *out = kv->s;
    return ERR_OK;
}

err gguf_get_array(const struct gguf *g, const char *key, enum gguf_type type,
                   const struct gguf_array **out) {
    const struct gguf_kv *kv = gguf_find(g, key);
    *out = NULL;
    if (!kv) return ERR_OK;
    char wanted[32];
    snprintf(wanted, sizeof wanted, "an array of %s", gguf_type_name(type));
    if (kv->type != GGUF_ARRAY || kv->a.type != type) return wrong_type(g, kv, wanted);
    *out = &kv->a;
    return ERR_OK;
}
