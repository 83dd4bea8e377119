// SPDX-License-Identifier: MIT
/* tpl_selects.c: see tpl_builtins.h: filters that apply a filter or a test to every item. */

#include "coordinator/template/tpl_builtins.h"
#include "coordinator/template/tpl_filters.h"
#include "coordinator/template/tpl_parser.h"
#include "coordinator/template/tpl_tests.h"

/* The items of self; none has none, as in Jinja: `tools|selectattr(…)` where there are no tools. */
static err items_of(struct run *r, const char *name, const struct value *self, struct value *out) {
    struct list *empty;
    if (self->kind != VALUE_NONE) return tpl_builtins_items(r, name, self, out);
    TRY(tpl_list_create(r, 0, &empty));
    *out = tpl_list(empty);
    return ERR_OK;
}

/* The arguments behind the first `n`, for the filter or test that the n-th one names. */
static struct args rest(const struct args *a, uint32_t n) {
    struct args inner = *a;
    inner.has_brackets = a->count > n;
    inner.items = a->count > n ? a->items + n : NULL;
    inner.count = a->count > n ? a->count - n : 0;
    return inner;
}

static err map_attribute(struct run *r, const struct list *items, struct text path,
                         const struct value *otherwise, struct list *out) {
    for (uint32_t i = 0; i < items->count; i++) {
        if (!tpl_is_dict(&items->items[i]) && !tpl_is_list(&items->items[i]))
            return TRY_FAIL("map(attribute=) needs a list of objects, an item is %s",
                            tpl_kind_name(&items->items[i]));
        TRY(tpl_member_path(r, &items->items[i], path, &out->items[i]));
        if (otherwise && out->items[i].kind == VALUE_UNDEFINED) out->items[i] = *otherwise;
    }
    return ERR_OK;
}

/* map(attribute=, default=), or map("filter", arguments…) */
err tpl_selects_map(struct run *r, const struct value *self, const struct args *a,
                    struct value *out) {
    struct value items;
    struct list *mapped;
    struct text attribute = {0};
    TRY(tpl_builtins_text(r, a, UINT32_MAX, "attribute", &attribute));
    TRY(items_of(r, "map", self, &items));
    TRY(tpl_list_create(r, items.list->count, &mapped));
    *out = tpl_list(mapped);
    if (attribute.bytes)
        return map_attribute(r, items.list, attribute, tpl_args_get(r, a, UINT32_MAX, "default"),
                             mapped);
    if (a->count == 0 || a->items[0].kind != VALUE_STRING)
        return TRY_FAIL("map needs a filter's name or attribute=");
    struct args inner = rest(a, 1);
    for (uint32_t i = 0; i < mapped->count; i++)
        TRY(tpl_filters_apply(r, tpl_text(&a->items[0]), &items.list->items[i], &inner,
                              &mapped->items[i]));
    return ERR_OK;
}

/* Whether v passes the test that a->items[n] names; its truth when there is none. */
static err passes(struct run *r, const struct value *v, const struct args *a, uint32_t n,
                  bool *out) {
    TRY(tpl_run_spend(r, 1));
    *out = tpl_truth(v);
    if (a->count <= n) return ERR_OK;
    if (a->items[n].kind != VALUE_STRING)
        return TRY_FAIL("a test's name should be a string, it is %s", tpl_kind_name(&a->items[n]));
    struct args inner = rest(a, n + 1);
    return tpl_tests_apply(r, tpl_text(&a->items[n]), v, &inner, out);
}

static err select(struct run *r, const struct value *self, const struct args *a, bool keep,
                  struct value *out) {
    struct value items;
    struct list *kept;
    uint32_t count = 0;
    TRY(items_of(r, keep ? "select" : "reject", self, &items));
    TRY(tpl_list_create(r, items.list->count, &kept));
    for (uint32_t i = 0; i < items.list->count; i++) {
        bool yes;
        TRY(passes(r, &items.list->items[i], a, 0, &yes));
        if (yes == keep) kept->items[count++] = items.list->items[i];
    }
    kept->count = count;
    *out = tpl_list(kept);
    return ERR_OK;
}

err tpl_selects_select(struct run *r, const struct value *self, const struct args *a,
                       struct value *out) {
    return select(r, self, a, true, out);
}

err tpl_selects_reject(struct run *r, const struct value *self, const struct args *a,
                       struct value *out) {
    return select(r, self, a, false, out);
}

/* An item without the attribute passes no test, not even `undefined`: so the reference. */
static err select_attribute(struct run *r, const struct value *self, const struct args *a,
                            bool keep, struct value *out) {
    const char *name = keep ? "selectattr" : "rejectattr";
    struct value items;
    struct list *kept;
    uint32_t count = 0;
    TRY(items_of(r, name, self, &items));
    if (a->count == 0 || a->items[0].kind != VALUE_STRING)
        return TRY_FAIL("%s needs an attribute's name", name);
    struct text attribute = tpl_text(&a->items[0]);
    TRY(tpl_list_create(r, items.list->count, &kept));
    for (uint32_t i = 0; i < items.list->count; i++) {
        const struct value *item = &items.list->items[i];
        bool yes = false;
        if (!tpl_is_dict(item))
            return TRY_FAIL("%s needs a list of objects, an item is %s", name, tpl_kind_name(item));
        const struct value *v = tpl_dict_get(r, item->dict, attribute);
        if (v) TRY(passes(r, v, a, 1, &yes));
        if (yes == keep) kept->items[count++] = *item;
    }
    kept->count = count;
    *out = tpl_list(kept);
    return ERR_OK;
}

err tpl_selects_selectattr(struct run *r, const struct value *self, const struct args *a,
                           struct value *out) {
    return select_attribute(r, self, a, true, out);
}

err tpl_selects_rejectattr(struct run *r, const struct value *self, const struct args *a,
                           struct value *out) {
    return select_attribute(r, self, a, false, out);
}
