// SPDX-License-Identifier: MIT
/* tpl_builtins.c: see tpl_builtins.h: what builtins share. */

#include "coordinator/template/tpl_builtins.h"

err tpl_builtins_refuse(const char *name, const struct value *self) {
    return TRY_FAIL("%s cannot be used on %s", name, tpl_kind_name(self));
}

/* NULL when it was not given, or is none. */
static const struct value *given(struct run *r, const struct args *a, uint32_t i,
                                 const char *name) {
    const struct value *v = tpl_args_get(r, a, i, name);
    return v && v->kind != VALUE_NONE ? v : NULL;
}

err tpl_builtins_flag(struct run *r, const struct args *a, uint32_t i, const char *name,
                      bool *flag) {
    const struct value *v = given(r, a, i, name);
    if (!v) return ERR_OK;
    if (v->kind != VALUE_BOOLEAN)
        return TRY_FAIL("the argument %s should be true or false, it is %s", name,
                        tpl_kind_name(v));
    *flag = v->boolean;
    return ERR_OK;
}

err tpl_builtins_number(struct run *r, const struct args *a, uint32_t i, const char *name,
                        double *number) {
    const struct value *v = given(r, a, i, name);
    if (!v) return ERR_OK;
    if (v->kind != VALUE_INTEGER)
        return TRY_FAIL("the argument %s should be an integer, it is %s", name, tpl_kind_name(v));
    *number = v->number;
    return ERR_OK;
}

err tpl_builtins_text(struct run *r, const struct args *a, uint32_t i, const char *name,
                      struct text *text) {
    const struct value *v = given(r, a, i, name);
    if (!v) return ERR_OK;
    if (v->kind != VALUE_STRING)
        return TRY_FAIL("the argument %s should be a string, it is %s", name, tpl_kind_name(v));
    *text = tpl_text(v);
    return ERR_OK;
}

static err characters(struct run *r, struct text t, struct value *out) {
    struct list *l;
    uint32_t at = 0, n;
    TRY(tpl_list_create(r, tpl_text_count_points(t), &l));
    for (uint32_t i = 0; i < l->count; i++, at += n) {
        tpl_text_point(t, at, &n);
        l->items[i] = tpl_string(tpl_text_part(t, at, at + n));
    }
    *out = tpl_list(l);
    return ERR_OK;
}

err tpl_builtins_items(struct run *r, const char *name, const struct value *self,
                       struct value *out) {
    *out = *self;
    if (tpl_is_list(self)) return ERR_OK;
    if (self->kind == VALUE_STRING) return characters(r, tpl_text(self), out);
    if (self->kind == VALUE_DICT) return tpl_dict_keys(r, self->dict, out);
    return tpl_builtins_refuse(name, self);
}
