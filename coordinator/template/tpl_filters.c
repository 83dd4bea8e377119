// SPDX-License-Identifier: MIT
/* tpl_filters.c: see tpl_filters.h.  A new filter is a row. */

#include "coordinator/template/tpl_filters.h"

#include "coordinator/template/tpl_builtins.h"

static const struct {
    const char *name;
    tpl_builtin *apply;
} filters[] = {
    {"abs", tpl_numbers_abs},
    {"bool", tpl_numbers_bool},
    {"capitalize", tpl_strings_capitalize},
    {"count", tpl_lists_length},
    {"d", tpl_lists_default},
    {"default", tpl_lists_default},
    {"dictsort", tpl_sorts_dictsort},
    {"e", tpl_strings_escape},
    {"escape", tpl_strings_escape},
    {"first", tpl_lists_first},
    {"float", tpl_numbers_float},
    {"format", tpl_format_filter},
    {"get", tpl_methods_dict_get},
    {"indent", tpl_strings_indent},
    {"int", tpl_numbers_int},
    {"items", tpl_methods_items},
    {"join", tpl_lists_join},
    {"keys", tpl_methods_keys},
    {"last", tpl_lists_last},
    {"length", tpl_lists_length},
    {"list", tpl_lists_list},
    {"lower", tpl_strings_lower},
    {"map", tpl_selects_map},
    {"max", tpl_sorts_max},
    {"min", tpl_sorts_min},
    {"reject", tpl_selects_reject},
    {"rejectattr", tpl_selects_rejectattr},
    {"replace", tpl_strings_replace},
    {"reverse", tpl_lists_reverse},
    {"round", tpl_numbers_round},
    {"safe", tpl_strings_safe},
    {"select", tpl_selects_select},
    {"selectattr", tpl_selects_selectattr},
    {"sort", tpl_sorts_sort},
    {"string", tpl_strings_string},
    {"sum", tpl_lists_sum},
    {"title", tpl_strings_title},
    {"tojson", tpl_lists_tojson},
    {"trim", tpl_strings_trim},
    {"unique", tpl_lists_unique},
    {"upper", tpl_strings_upper},
    {"values", tpl_methods_values},
};

err tpl_filters_apply(struct run *r, struct text name, const struct value *operand,
                      const struct args *a, struct value *out) {
    TRY(tpl_run_enter(r));
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        if (!tpl_text_is(name, filters[i].name)) continue;
        TRY(filters[i].apply(r, operand, a, out));
        tpl_run_leave(r);
        return ERR_OK;
    }
    return TRY_FAIL("there is no filter %.*s", TEXT_SHOWN(name));
}
