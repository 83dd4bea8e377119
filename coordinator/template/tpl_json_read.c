// SPDX-License-Identifier: MIT
/* tpl_json_read.c: see tpl_json.h: JSON → values. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/template/tpl_json.h"
#include "coordinator/template/tpl_parser.h"

/* The array index that a member's name is, or -1: "0", "42", not "042" (ECMA-262 6.1.7). */
static int64_t array_index(struct text key) {
    int64_t value = 0;
    if (key.length == 0 || key.length > 10 || (key.length > 1 && key.bytes[0] == '0')) return -1;
    for (uint32_t i = 0; i < key.length; i++) {
        if (key.bytes[i] < '0' || key.bytes[i] > '9') return -1;
        value = 10 * value + (key.bytes[i] - '0');
    }
    return value < 4294967295 ? value : -1;
}

static int compare_indices(const void *a, const void *b) {
    const struct dict_entry *x = a, *y = b;
    int64_t i = array_index(x->key), k = array_index(y->key);
    return (i > k) - (i < k);
}

static err set_member(struct run *r, struct dict *d, struct text key, const json_t *json) {
    struct value v;
    TRY(tpl_json_read(r, json, &v));
    return tpl_dict_put(r, d, key, v);
}

/* Indices first and sorted, then the other names in their order. */
static err read_dict(struct run *r, const json_t *json, struct value *out) {
    struct dict *d;
    TRY(tpl_dict_create(r, &d));
    *out = tpl_dict(d);
    for (int pass = 0; pass < 2; pass++) {
        for (void *i = json_object_iter((json_t *)json); i;
             i = json_object_iter_next((json_t *)json, i)) {
            struct text key = {json_object_iter_key(i), (uint32_t)json_object_iter_key_len(i)};
            bool is_index = array_index(key) >= 0;
            if (is_index == (pass == 0)) TRY(set_member(r, d, key, json_object_iter_value(i)));
        }
        if (pass == 1 || d->count < 2) continue;
        qsort(d->entries, d->count, sizeof *d->entries, compare_indices);
        tpl_dict_reindex(r, d);
    }
    return ERR_OK;
}

static err read_list(struct run *r, const json_t *json, struct value *out) {
    struct list *l;
    TRY(tpl_list_create(r, (uint32_t)json_array_size(json), &l));
    for (uint32_t i = 0; i < l->count; i++)
        TRY(tpl_json_read(r, json_array_get(json, i), &l->items[i]));
    *out = tpl_list(l);
    return ERR_OK;
}

err tpl_json_read(struct run *r, const json_t *json, struct value *out) {
    err e = ERR_OK;
    double number = json_number_value(json);
    TRY(tpl_run_enter(r));
    switch (json_typeof(json)) {
    case JSON_OBJECT: e = read_dict(r, json, out); break;
    case JSON_ARRAY: e = read_list(r, json, out); break;
    case JSON_STRING:
        *out =
            tpl_string((struct text){json_string_value(json), (uint32_t)json_string_length(json)});
        break;
    case JSON_INTEGER: *out = tpl_integer(number); break;
    case JSON_REAL: *out = number == floor(number) ? tpl_integer(number) : tpl_float(number); break;
    case JSON_TRUE: *out = tpl_boolean(true); break;
    case JSON_FALSE: *out = tpl_boolean(false); break;
    case JSON_NULL: *out = tpl_none(); break;
    }
    tpl_run_leave(r);
    return e;
}
