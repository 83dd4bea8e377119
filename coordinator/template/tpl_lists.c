// SPDX-License-Identifier: MIT
/* tpl_lists.c: see tpl_builtins.h: filters of lists, and those of any value. */

#include <string.h>

#include "coordinator/template/tpl_builtins.h"
#include "coordinator/template/tpl_json.h"
#include "coordinator/template/tpl_parser.h"

err tpl_lists_list(struct run *r, const struct value *self, const struct args *a,
                   struct value *out) {
    (void)a;
    return tpl_builtins_items(r, "list", self, out);
}

static err at_end(struct run *r, const char *name, const struct value *self, bool last,
                  struct value *out) {
    struct value items;
    if (!tpl_is_list(self) && self->kind != VALUE_STRING) return tpl_builtins_refuse(name, self);
    TRY(tpl_builtins_items(r, name, self, &items));
    uint32_t count = items.list->count;
    *out = count ? items.list->items[last ? count - 1 : 0] : tpl_undefined();
    return ERR_OK;
}

err tpl_lists_first(struct run *r, const struct value *self, const struct args *a,
                    struct value *out) {
    (void)a;
    return at_end(r, "first", self, false, out);
}

err tpl_lists_last(struct run *r, const struct value *self, const struct args *a,
                   struct value *out) {
    (void)a;
    return at_end(r, "last", self, true, out);
}

err tpl_lists_length(struct run *r, const struct value *self, const struct args *a,
                     struct value *out) {
    (void)a;
    if (self->kind == VALUE_STRING) {
        *out = tpl_integer(tpl_text_count_units(tpl_text(self)));
        return tpl_run_spend(r, self->length / 64);
    }
    if (!tpl_is_list(self) && self->kind != VALUE_DICT) return tpl_builtins_refuse("length", self);
    *out = tpl_integer(tpl_is_list(self) ? self->list->count : self->dict->count);
    return ERR_OK;
}

err tpl_lists_reverse(struct run *r, const struct value *self, const struct args *a,
                      struct value *out) {
    (void)a;
    const struct value parts[3] = {tpl_undefined(), tpl_undefined(), tpl_integer(-1)};
    if (!tpl_is_list(self) && self->kind != VALUE_STRING)
        return tpl_builtins_refuse("reverse", self);
    return tpl_slice(r, self, parts, out);
}

/* join(separator, attribute): none and undefined are empty. */
err tpl_lists_join(struct run *r, const struct value *self, const struct args *a,
                   struct value *out) {
    struct value items;
    struct text separator = {0}, attribute = {0};
    TRY(tpl_builtins_text(r, a, 0, "d", &separator));
    TRY(tpl_builtins_text(r, a, 0, "separator", &separator));
    TRY(tpl_builtins_text(r, a, 1, "attribute", &attribute));
    if (self->kind == VALUE_DICT) return tpl_builtins_refuse("join", self);
    TRY(tpl_builtins_items(r, "join", self, &items));
    struct builder b;
    tpl_builder_init(&b, r);
    for (uint32_t i = 0; i < items.list->count; i++) {
        struct value v = items.list->items[i];
        if (attribute.length) TRY(tpl_member_path(r, &items.list->items[i], attribute, &v));
        if (i) tpl_builder_put(&b, separator);
        if (v.kind > VALUE_NONE) TRY(tpl_json_put_raw(&b, &v));
        TRY(tpl_run_spend(r, 1));
    }
    return tpl_builder_finish(&b, out);
}

/* The place of v among kept[0..count): by hash for strings, one by one for the rest. */
static bool is_known(struct run *r, struct dict *strings, const struct value *kept, uint32_t count,
                     const struct value *v) {
    if (v->kind == VALUE_STRING) return tpl_dict_get(r, strings, tpl_text(v)) != NULL;
    r->steps += count / 4;
    for (uint32_t i = 0; i < count; i++)
        if (tpl_equal_strictly(r, &kept[i], v)) return true;
    return false;
}

err tpl_lists_unique(struct run *r, const struct value *self, const struct args *a,
                     struct value *out) {
    struct value items;
    struct list *kept;
    struct dict *strings;
    struct text attribute = {0};
    TRY(tpl_builtins_text(r, a, 1, "attribute", &attribute));
    TRY(tpl_builtins_items(r, "unique", self, &items));
    TRY(tpl_list_create(r, items.list->count, &kept));
    TRY(tpl_dict_create(r, &strings));
    struct list *keys;
    TRY(tpl_list_create(r, items.list->count, &keys));
    kept->count = 0;
    for (uint32_t i = 0; i < items.list->count; i++) {
        struct value key = items.list->items[i];
        if (attribute.length) TRY(tpl_member_path(r, &items.list->items[i], attribute, &key));
        if (is_known(r, strings, keys->items, kept->count, &key)) continue;
        keys->items[kept->count] = key;
        kept->items[kept->count++] = items.list->items[i];
        if (key.kind == VALUE_STRING) TRY(tpl_dict_put(r, strings, tpl_text(&key), key));
        TRY(tpl_run_spend(r, 1));
    }
    *out = tpl_list(kept);
    return ERR_OK;
}

/* sum(attribute, start) */
err tpl_lists_sum(struct run *r, const struct value *self, const struct args *a,
                  struct value *out) {
    struct value items;
    struct text attribute = {0};
    const struct value *start = tpl_args_get(r, a, 1, "start");
    TRY(tpl_builtins_text(r, a, 0, "attribute", &attribute));
    TRY(tpl_builtins_items(r, "sum", self, &items));
    *out = start ? *start : tpl_integer(0);
    for (uint32_t i = 0; i < items.list->count; i++) {
        struct value v = items.list->items[i], sum = *out;
        if (attribute.length) TRY(tpl_member_path(r, &items.list->items[i], attribute, &v));
        TRY(tpl_binary(r, OP_ADD, &sum, &v, out));
        TRY(tpl_run_spend(r, 1));
    }
    return ERR_OK;
}

/* Methods of lists. */
err tpl_lists_index(struct run *r, const struct value *self, const struct args *a,
                    struct value *out) {
    if (a->count != 1) return TRY_FAIL("index needs a value");
    for (uint32_t i = 0; i < self->list->count; i++) {
        r->steps++;
        if (!tpl_equal_strictly(r, &self->list->items[i], &a->items[0])) continue;
        *out = tpl_integer(i);
        return ERR_OK;
    }
    return TRY_FAIL("index: the value is not in the list");
}

err tpl_lists_count(struct run *r, const struct value *self, const struct args *a,
                    struct value *out) {
    uint32_t count = 0;
    if (a->count != 1) return TRY_FAIL("count needs a value");
    for (uint32_t i = 0; i < self->list->count; i++)
        count += tpl_equal_strictly(r, &self->list->items[i], &a->items[0]);
    *out = tpl_integer(count);
    return tpl_run_spend(r, self->list->count / 8);
}

/* ---- any value ---- */

/* default(value, boolean) */
err tpl_lists_default(struct run *r, const struct value *self, const struct args *a,
                      struct value *out) {
    bool also_false = false;
    const struct value *otherwise = tpl_args_get(r, a, 0, "default_value");
    TRY(tpl_builtins_flag(r, a, 1, "boolean", &also_false));
    *out = *self;
    if (self->kind == VALUE_UNDEFINED || (also_false && !tpl_truth(self)))
        *out = otherwise ? *otherwise : tpl_string(TEXT(""));
    return ERR_OK;
}

static err read_separators(struct run *r, const struct args *a, struct tpl_json_style *style) {
    const struct value *v = tpl_args_get(r, a, UINT32_MAX, "separators");
    if (!v || v->kind == VALUE_NONE) return ERR_OK;
    if (!tpl_is_list(v) || v->list->count != 2 || v->list->items[0].kind != VALUE_STRING ||
        v->list->items[1].kind != VALUE_STRING)
        return TRY_FAIL("separators should be two strings");
    style->item_separator = tpl_text(&v->list->items[0]);
    style->key_separator = tpl_text(&v->list->items[1]);
    return ERR_OK;
}

/* tojson(indent=, ensure_ascii=, sort_keys=, separators=), as Python's json.dumps. */
err tpl_lists_tojson(struct run *r, const struct value *self, const struct args *a,
                     struct value *out) {
    struct tpl_json_style style = tpl_json_plain_style();
    double indent = 0;
    TRY(tpl_builtins_number(r, a, UINT32_MAX, "indent", &indent));
    TRY(tpl_builtins_flag(r, a, UINT32_MAX, "ensure_ascii", &style.ascii));
    TRY(tpl_builtins_flag(r, a, UINT32_MAX, "sort_keys", &style.sort_keys));
    if (indent < 0 || indent > 1000) return TRY_FAIL("tojson indents by 0 to 1000 blanks");
    style.indent = (uint32_t)indent;
    if (style.indent) style.item_separator = TEXT(",");
    TRY(read_separators(r, a, &style));
    struct builder b;
    tpl_builder_init(&b, r);
    TRY(tpl_json_put(&b, self, &style));
    return tpl_builder_finish(&b, out);
}
