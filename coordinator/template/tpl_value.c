// SPDX-License-Identifier: MIT
/* tpl_value.c: see tpl_value.h: bounds, making values, dicts, growing strings. */

#include "coordinator/template/tpl_value.h"

#include <string.h>

#include "coordinator/template/template.h"
#include "coordinator/template/tpl_number.h"
#include "coordinator/template/tpl_parser.h"

#define SMALL_DICT 8 // up to so many entries are searched without an index

/* ---- bounds ---- */

err tpl_run_spend(struct run *r, uint64_t work) {
    r->steps += work;
    if (r->steps > TEMPLATE_MAX_STEPS)
        return TRY_FAIL("the template takes too many steps (more than %llu)",
                        (unsigned long long)TEMPLATE_MAX_STEPS);
    return ERR_OK;
}

static err no_memory(void) {
    return TRY_FAIL("the template takes too much memory (more than %zu MiB)",
                    TEMPLATE_MAX_MEMORY_BYTES >> 20);
}

err tpl_run_alloc(struct run *r, size_t count, size_t size, void **out) {
    *out = tpl_arena_alloc(&r->arena, count, size);
    return *out ? ERR_OK : no_memory();
}

err tpl_run_enter(struct run *r) {
    if (++r->depth > TEMPLATE_MAX_DEPTH)
        return TRY_FAIL("the template is nested too deep (more than %d levels)",
                        TEMPLATE_MAX_DEPTH);
    return tpl_run_spend(r, 1);
}

void tpl_run_leave(struct run *r) {
    r->depth--;
}

/* ---- making values ---- */

struct value tpl_undefined(void) {
    return (struct value){.kind = VALUE_UNDEFINED};
}

struct value tpl_none(void) {
    return (struct value){.kind = VALUE_NONE};
}

struct value tpl_boolean(bool b) {
    return (struct value){.kind = VALUE_BOOLEAN, .boolean = b};
}

struct value tpl_integer(double v) {
    return (struct value){.kind = VALUE_INTEGER, .number = v};
}

struct value tpl_float(double v) {
    return (struct value){.kind = VALUE_FLOAT, .number = v};
}

struct value tpl_string(struct text t) {
    return (struct value){.kind = VALUE_STRING, .length = t.length, .bytes = t.bytes};
}

struct text tpl_text(const struct value *string) {
    return (struct text){string->bytes, string->length};
}

err tpl_list_create(struct run *r, uint32_t count, struct list **out) {
    void *list, *items;
    TRY(tpl_run_spend(r, 1 + count / 8));
    TRY(tpl_run_alloc(r, 1, sizeof **out, &list));
    TRY(tpl_run_alloc(r, count, sizeof(struct value), &items));
    *out = list;
    **out = (struct list){.items = items, .count = count};
    return ERR_OK;
}

struct value tpl_list(const struct list *l) {
    return (struct value){.kind = VALUE_LIST, .list = l};
}

err tpl_function_create(struct run *r, const struct function *f, struct value *out) {
    void *copy;
    TRY(tpl_run_alloc(r, 1, sizeof *f, &copy));
    *(struct function *)copy = *f;
    *out = (struct value){.kind = VALUE_FUNCTION, .function = copy};
    return ERR_OK;
}

/* ---- dicts ---- */

err tpl_dict_create(struct run *r, struct dict **out) {
    void *d;
    TRY(tpl_run_alloc(r, 1, sizeof **out, &d));
    *out = d;
    return ERR_OK;
}

struct value tpl_dict(struct dict *d) {
    return (struct value){.kind = VALUE_DICT, .dict = d};
}

static bool entry_is(const struct dict_entry *e, struct text key, uint32_t hash) {
    return e->hash == hash && tpl_text_equal(e->key, key);
}

/* Open addressing, at most half full.  Probes are steps, so colliding keys hit that limit. */
static uint32_t probe(struct run *r, const struct dict *d, struct text key, uint32_t hash) {
    uint32_t mask = d->index_size - 1, at = hash & mask;
    while (d->index[at] && !entry_is(&d->entries[d->index[at] - 1], key, hash)) {
        at = (at + 1) & mask;
        r->steps++;
    }
    return at;
}

struct value *tpl_dict_find(struct run *r, const struct dict *d, struct text key, uint32_t hash) {
    if (d->index) {
        uint32_t place = d->index[probe(r, d, key, hash)];
        return place ? &d->entries[place - 1].value : NULL;
    }
    for (uint32_t i = 0; i < d->count; i++)
        if (entry_is(&d->entries[i], key, hash)) return &d->entries[i].value;
    return NULL;
}

struct value *tpl_dict_get(struct run *r, const struct dict *d, struct text key) {
    r->steps += key.length / 16;
    return tpl_dict_find(r, d, key, tpl_hash(key));
}

void tpl_dict_reindex(struct run *r, struct dict *d) {
    if (!d->index) return;
    memset(d->index, 0, d->index_size * sizeof *d->index);
    for (uint32_t i = 0; i < d->count; i++)
        d->index[probe(r, d, d->entries[i].key, d->entries[i].hash)] = i + 1;
}

static err dict_grow(struct run *r, struct dict *d) {
    void *entries, *index;
    uint32_t capacity = d->capacity ? 2 * d->capacity : 4;
    TRY(tpl_run_spend(r, 1 + capacity / 8));
    TRY(tpl_run_alloc(r, capacity, sizeof *d->entries, &entries));
    if (d->count) memcpy(entries, d->entries, d->count * sizeof *d->entries);
    d->entries = entries;
    d->capacity = capacity;
    if (capacity <= SMALL_DICT) return ERR_OK;
    TRY(tpl_run_alloc(r, 2 * (size_t)capacity, sizeof *d->index, &index));
    d->index = index;
    d->index_size = 2 * capacity;
    tpl_dict_reindex(r, d);
    return ERR_OK;
}

err tpl_dict_put(struct run *r, struct dict *d, struct text key, struct value v) {
    r->steps += key.length / 16;
    return tpl_dict_set(r, d, key, tpl_hash(key), v);
}

err tpl_dict_set(struct run *r, struct dict *d, struct text key, uint32_t hash, struct value v) {
    struct value *place = tpl_dict_find(r, d, key, hash);
    if (place) {
        *place = v;
        return ERR_OK;
    }
    if (d->count == d->capacity) TRY(dict_grow(r, d));
    d->entries[d->count] = (struct dict_entry){.key = key, .hash = hash, .value = v};
    if (d->index) d->index[probe(r, d, key, hash)] = d->count + 1;
    d->count++;
    return tpl_run_spend(r, 1);
}

static err integer_key(struct run *r, double key, struct text *out) {
    char digits[TPL_NUMBER_BYTES];
    struct builder b;
    struct value v = tpl_undefined();
    tpl_builder_init(&b, r);
    tpl_builder_put(&b, (struct text){digits, tpl_number_put(digits, key)});
    TRY(tpl_builder_finish(&b, &v));
    *out = tpl_text(&v);
    return ERR_OK;
}

err tpl_dict_find_integer(struct run *r, const struct dict *d, double key, struct value **out) {
    struct text name;
    TRY(integer_key(r, key, &name));
    *out = tpl_dict_get(r, d, name);
    return ERR_OK;
}

err tpl_dict_set_integer(struct run *r, struct dict *d, double key, struct value v) {
    struct text name;
    uint32_t count = d->count;
    TRY(integer_key(r, key, &name));
    TRY(tpl_dict_put(r, d, name, v));
    if (d->count > count) d->entries[count].is_integer = true;
    return ERR_OK;
}

static struct value key_of(const struct dict_entry *e) {
    return e->is_integer ? tpl_integer(tpl_number_of(e->key)) : tpl_string(e->key);
}

err tpl_dict_keys(struct run *r, const struct dict *d, struct value *out) {
    struct list *l;
    TRY(tpl_list_create(r, d->count, &l));
    for (uint32_t i = 0; i < d->count; i++) l->items[i] = key_of(&d->entries[i]);
    *out = tpl_list(l);
    return ERR_OK;
}

err tpl_dict_values(struct run *r, const struct dict *d, struct value *out) {
    struct list *l;
    TRY(tpl_list_create(r, d->count, &l));
    for (uint32_t i = 0; i < d->count; i++) l->items[i] = d->entries[i].value;
    *out = tpl_list(l);
    return ERR_OK;
}

err tpl_dict_items(struct run *r, const struct dict *d, struct value *out) {
    struct list *l, *pair;
    TRY(tpl_list_create(r, d->count, &l));
    for (uint32_t i = 0; i < d->count; i++) {
        TRY(tpl_list_create(r, 2, &pair));
        pair->items[0] = key_of(&d->entries[i]);
        pair->items[1] = d->entries[i].value;
        l->items[i] = tpl_list(pair);
    }
    *out = tpl_list(l);
    return ERR_OK;
}

/* ---- strings that grow ---- */

void tpl_builder_init(struct builder *b, struct run *r) {
    *b = (struct builder){.run = r};
}

void tpl_builder_init_with(struct builder *b, struct run *r, struct text t) {
    *b = (struct builder){.run = r, .bytes = (char *)t.bytes, .length = t.length};
}

void tpl_builder_put(struct builder *b, struct text t) {
    char pair[4];
    if (t.length == 0 || b->failed) return;
    if (tpl_text_joins((struct text){b->bytes, b->length}, t, pair)) {
        b->length -= 3;
        tpl_builder_put(b, (struct text){pair, 4});
        t = tpl_text_part(t, 3, t.length);
    }
    b->failed = (uint64_t)b->length + t.length > UINT32_MAX;
    char *grown = b->failed ? NULL : tpl_arena_grow(&b->run->arena, b->bytes, b->length, t.length);
    if (!grown) {
        b->failed = true;
        return;
    }
    if (t.length) memcpy(grown + b->length, t.bytes, t.length);
    b->bytes = grown;
    b->length += t.length;
    b->run->steps += t.length / 64;
}

void tpl_builder_put_c(struct builder *b, const char *s) {
    tpl_builder_put(b, tpl_text_of(s));
}

err tpl_builder_finish(struct builder *b, struct value *out) {
    if (b->failed) return no_memory();
    *out = tpl_string((struct text){b->bytes ? b->bytes : "", b->length});
    return tpl_run_spend(b->run, 1);
}
