// SPDX-License-Identifier: MIT
/* tpl_methods.c: see tpl_methods.h, and the methods of dicts.  A new method is a row. */

#include "coordinator/template/tpl_methods.h"

#include "coordinator/template/tpl_builtins.h"
#include "coordinator/template/tpl_parser.h"

struct method {
    enum value_kind kind; // of the object; tuples have the methods of lists
    const char *name;
    tpl_builtin *call;
};

static const struct method methods[] = {
    {VALUE_STRING, "capitalize", tpl_strings_capitalize},
    {VALUE_STRING, "endswith", tpl_strings_endswith},
    {VALUE_STRING, "lower", tpl_strings_lower},
    {VALUE_STRING, "lstrip", tpl_strings_lstrip},
    {VALUE_STRING, "replace", tpl_strings_replace},
    {VALUE_STRING, "rstrip", tpl_strings_rstrip},
    {VALUE_STRING, "split", tpl_split_split},
    {VALUE_STRING, "startswith", tpl_strings_startswith},
    {VALUE_STRING, "strip", tpl_strings_strip},
    {VALUE_STRING, "title", tpl_strings_title},
    {VALUE_STRING, "upper", tpl_strings_upper},
    {VALUE_DICT, "dictsort", tpl_sorts_dictsort},
    {VALUE_DICT, "get", tpl_methods_dict_get},
    {VALUE_DICT, "items", tpl_methods_items},
    {VALUE_DICT, "keys", tpl_methods_keys},
    {VALUE_DICT, "values", tpl_methods_values},
};

static const struct method hidden[] = {
    {VALUE_STRING, "casefold", tpl_strings_lower},
    {VALUE_STRING, "count", tpl_strings_more_count},
    {VALUE_STRING, "find", tpl_strings_more_find},
    {VALUE_STRING, "format", tpl_format_method},
    {VALUE_STRING, "index", tpl_strings_more_index},
    {VALUE_STRING, "isalnum", tpl_strings_more_isalnum},
    {VALUE_STRING, "isalpha", tpl_strings_more_isalpha},
    {VALUE_STRING, "isdecimal", tpl_strings_more_isdigit},
    {VALUE_STRING, "isdigit", tpl_strings_more_isdigit},
    {VALUE_STRING, "islower", tpl_strings_more_islower},
    {VALUE_STRING, "isnumeric", tpl_strings_more_isdigit},
    {VALUE_STRING, "isspace", tpl_strings_more_isspace},
    {VALUE_STRING, "isupper", tpl_strings_more_isupper},
    {VALUE_STRING, "join", tpl_strings_more_join},
    {VALUE_STRING, "ljust", tpl_strings_more_ljust},
    {VALUE_STRING, "partition", tpl_split_partition},
    {VALUE_STRING, "removeprefix", tpl_strings_more_removeprefix},
    {VALUE_STRING, "removesuffix", tpl_strings_more_removesuffix},
    {VALUE_STRING, "rfind", tpl_strings_more_rfind},
    {VALUE_STRING, "rjust", tpl_strings_more_rjust},
    {VALUE_STRING, "rpartition", tpl_split_rpartition},
    {VALUE_STRING, "rsplit", tpl_split_rsplit},
    {VALUE_STRING, "splitlines", tpl_split_lines},
    {VALUE_STRING, "zfill", tpl_strings_more_zfill},
    {VALUE_LIST, "count", tpl_lists_count},
    {VALUE_LIST, "index", tpl_lists_index},
};

static err find(struct run *r, const struct method *table, size_t n, const struct value *object,
                struct text name, struct value *out) {
    enum value_kind kind = object->kind == VALUE_TUPLE ? VALUE_LIST : object->kind;
    *out = tpl_undefined();
    for (size_t i = 0; i < n; i++) {
        if (table[i].kind != kind || !tpl_text_is(name, table[i].name)) continue;
        const struct function f = {.builtin = table[i].call, .self = *object};
        return tpl_function_create(r, &f, out);
    }
    return ERR_OK;
}

err tpl_methods_get(struct run *r, const struct value *object, struct text name,
                    struct value *out) {
    bool has_length = tpl_is_list(object) || object->kind == VALUE_STRING;
    if (has_length && tpl_text_is(name, "length")) return tpl_lists_length(r, object, NULL, out);
    return find(r, methods, sizeof methods / sizeof *methods, object, name, out);
}

err tpl_methods_get_hidden(struct run *r, const struct value *object, struct text name,
                           struct value *out) {
    return find(r, hidden, sizeof hidden / sizeof *hidden, object, name, out);
}

/* ---- dicts ---- */

static err want_dict(const char *name, const struct value *self) {
    return self->kind == VALUE_DICT ? ERR_OK : tpl_builtins_refuse(name, self);
}

err tpl_methods_items(struct run *r, const struct value *self, const struct args *a,
                      struct value *out) {
    (void)a;
    TRY(want_dict("items", self));
    return tpl_dict_items(r, self->dict, out);
}

err tpl_methods_keys(struct run *r, const struct value *self, const struct args *a,
                     struct value *out) {
    (void)a;
    TRY(want_dict("keys", self));
    return tpl_dict_keys(r, self->dict, out);
}

err tpl_methods_values(struct run *r, const struct value *self, const struct args *a,
                       struct value *out) {
    (void)a;
    TRY(want_dict("values", self));
    return tpl_dict_values(r, self->dict, out);
}

/* get(key, default) */
err tpl_methods_dict_get(struct run *r, const struct value *self, const struct args *a,
                         struct value *out) {
    TRY(want_dict("get", self));
    if (a->count == 0 || a->items[0].kind != VALUE_STRING)
        return TRY_FAIL("get needs a string as its key");
    struct text key = tpl_text(&a->items[0]);
    const struct value *v = tpl_dict_get(r, self->dict, key);
    if (!v) v = tpl_args_get(r, a, 1, "default");
    *out = v ? *v : tpl_none();
    return ERR_OK;
}
