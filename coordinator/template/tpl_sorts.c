// SPDX-License-Identifier: MIT
/* tpl_sorts.c: see tpl_builtins.h: what needs an order: sort, dictsort, min, max.
 *
 * A merge sort from the bottom up: stable, no recursion, and an error in a comparison ends it. */

#include <string.h>

#include "coordinator/template/tpl_builtins.h"

struct order {
    bool case_sensitive, reverse;
    struct text attribute; // a path in each item; empty: the item itself
};

static err key_of(struct run *r, const struct order *o, const struct value *item,
                  struct value *out) {
    *out = *item;
    return o->attribute.length ? tpl_member_path(r, item, o->attribute, out) : ERR_OK;
}

static err compare(struct run *r, const struct order *o, const struct value *a,
                   const struct value *b, int *out) {
    struct value x, y;
    TRY(key_of(r, o, a, &x));
    TRY(key_of(r, o, b, &y));
    TRY(tpl_compare(r, &x, &y, o->case_sensitive, out));
    if (o->reverse) *out = -*out;
    return ERR_OK;
}

/* from[begin..middle) and from[middle..end), both sorted, into to[begin..end). */
static err merge(struct run *r, const struct order *o, const struct value *from, struct value *to,
                 uint32_t begin, uint32_t middle, uint32_t end) {
    uint32_t i = begin, k = middle;
    for (uint32_t out = begin; out < end; out++) {
        int which = i < middle ? -1 : 1;
        if (i < middle && k < end) TRY(compare(r, o, &from[i], &from[k], &which));
        to[out] = which <= 0 ? from[i++] : from[k++];
    }
    return ERR_OK;
}

static err sort(struct run *r, const struct order *o, const struct list *items, struct value *out) {
    struct list *from, *to;
    uint32_t n = items->count;
    TRY(tpl_list_create(r, n, &from));
    TRY(tpl_list_create(r, n, &to));
    if (n) memcpy(from->items, items->items, n * sizeof *from->items);
    for (uint32_t width = 1; width < n; width *= 2) {
        for (uint32_t begin = 0; begin < n; begin += 2 * width) {
            uint32_t middle = n - begin > width ? begin + width : n;
            uint32_t end = n - middle > width ? middle + width : n;
            TRY(merge(r, o, from->items, to->items, begin, middle, end));
        }
        struct list *swap = from;
        from = to;
        to = swap;
    }
    *out = tpl_list(from);
    return ERR_OK;
}

/* "name", or an index as an integer. */
static err read_attribute(struct run *r, const struct args *a, uint32_t i, struct text *out) {
    const struct value *v = tpl_args_get(r, a, i, "attribute");
    struct value shown;
    if (!v || v->kind == VALUE_NONE) return ERR_OK;
    if (v->kind != VALUE_STRING && v->kind != VALUE_INTEGER)
        return TRY_FAIL("attribute should be a string or an integer, it is %s", tpl_kind_name(v));
    TRY(tpl_strings_string(r, v, a, &shown));
    *out = tpl_text(&shown);
    return ERR_OK;
}

/* sort(reverse, case_sensitive, attribute) */
err tpl_sorts_sort(struct run *r, const struct value *self, const struct args *a,
                   struct value *out) {
    struct order o = {0};
    struct value items;
    TRY(tpl_builtins_flag(r, a, 0, "reverse", &o.reverse));
    TRY(tpl_builtins_flag(r, a, 1, "case_sensitive", &o.case_sensitive));
    TRY(read_attribute(r, a, 2, &o.attribute));
    TRY(tpl_builtins_items(r, "sort", self, &items));
    return sort(r, &o, items.list, out);
}

/* dictsort(case_sensitive, by, reverse): [key, value] pairs, by "key" or "value". */
err tpl_sorts_dictsort(struct run *r, const struct value *self, const struct args *a,
                       struct value *out) {
    struct order o = {0};
    struct text by = TEXT("key");
    struct value pairs;
    TRY(tpl_builtins_flag(r, a, 0, "case_sensitive", &o.case_sensitive));
    TRY(tpl_builtins_text(r, a, 1, "by", &by));
    TRY(tpl_builtins_flag(r, a, 2, "reverse", &o.reverse));
    if (self->kind != VALUE_DICT) return tpl_builtins_refuse("dictsort", self);
    if (!tpl_text_is(by, "key") && !tpl_text_is(by, "value"))
        return TRY_FAIL("dictsort sorts by key or by value");
    o.attribute = tpl_text_is(by, "key") ? TEXT("0") : TEXT("1");
    TRY(tpl_dict_items(r, self->dict, &pairs));
    return sort(r, &o, pairs.list, out);
}

/* (case_sensitive, attribute); undefined for an empty list. */
static err extreme(struct run *r, const char *name, const struct value *self, const struct args *a,
                   bool reverse, struct value *out) {
    struct order o = {.reverse = reverse};
    struct value items;
    TRY(tpl_builtins_flag(r, a, 0, "case_sensitive", &o.case_sensitive));
    TRY(read_attribute(r, a, 1, &o.attribute));
    TRY(tpl_builtins_items(r, name, self, &items));
    *out = tpl_undefined();
    if (items.list->count) *out = items.list->items[0];
    for (uint32_t i = 1; i < items.list->count; i++) {
        int which;
        TRY(compare(r, &o, &items.list->items[i], out, &which));
        if (which < 0) *out = items.list->items[i];
    }
    return ERR_OK;
}

err tpl_sorts_min(struct run *r, const struct value *self, const struct args *a,
                  struct value *out) {
    return extreme(r, "min", self, a, false, out);
}

err tpl_sorts_max(struct run *r, const struct value *self, const struct args *a,
                  struct value *out) {
    return extreme(r, "max", self, a, true, out);
}
