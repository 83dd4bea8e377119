/* tpl_builtins.h: the C code behind filters, methods and functions.
 *
 * All have one form, tpl_builtin: a filter's operand and a method's object are `self`; functions
 * have none.  They are found through the tables in tpl_filters.c, tpl_methods.c and tpl_globals.c.
 * Local. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TPL_BUILTINS_H
#define COORDINATOR_TPL_BUILTINS_H

#include "coordinator/template/tpl_eval.h"

/* "NAME cannot be used on KIND" */
MUST_USE err tpl_builtins_refuse(const char *name, const struct value *self);
/* Arguments with a default: the i-th or the named one.  ERR_REQUEST when it is of another kind.
 * none counts as not given. */
MUST_USE err tpl_builtins_flag(struct run *r, const struct args *a, uint32_t i, const char *name,
                               bool *flag);
MUST_USE err tpl_builtins_number(struct run *r, const struct args *a, uint32_t i, const char *name,
                                 double *number);
MUST_USE err tpl_builtins_text(struct run *r, const struct args *a, uint32_t i, const char *name,
                               struct text *text);
/* The items of a list, the characters of a string, the keys of a dict, as a list. */
MUST_USE err tpl_builtins_items(struct run *r, const char *name, const struct value *self,
                                struct value *out);

/* tpl_strings.c: what the reference does to strings */
tpl_builtin tpl_strings_upper, tpl_strings_lower, tpl_strings_title, tpl_strings_capitalize,
    tpl_strings_strip, tpl_strings_lstrip, tpl_strings_rstrip, tpl_strings_trim,
    tpl_strings_startswith, tpl_strings_endswith, tpl_strings_replace, tpl_strings_indent,
    tpl_strings_string, tpl_strings_escape, tpl_strings_safe;
/* tpl_split.c */
tpl_builtin tpl_split_split, tpl_split_rsplit, tpl_split_lines, tpl_split_partition,
    tpl_split_rpartition;
/* tpl_strings_more.c: other methods of Python's strings */
tpl_builtin tpl_strings_more_find, tpl_strings_more_rfind, tpl_strings_more_index,
    tpl_strings_more_count, tpl_strings_more_join, tpl_strings_more_removeprefix,
    tpl_strings_more_removesuffix, tpl_strings_more_isdigit, tpl_strings_more_isalpha,
    tpl_strings_more_isalnum, tpl_strings_more_isspace, tpl_strings_more_isupper,
    tpl_strings_more_islower, tpl_strings_more_ljust, tpl_strings_more_rjust,
    tpl_strings_more_zfill;
/* tpl_format.c */
tpl_builtin tpl_format_method, tpl_format_filter;
/* tpl_numbers.c */
tpl_builtin tpl_numbers_abs, tpl_numbers_int, tpl_numbers_float, tpl_numbers_round,
    tpl_numbers_bool;
/* tpl_lists.c */
tpl_builtin tpl_lists_list, tpl_lists_first, tpl_lists_last, tpl_lists_length, tpl_lists_reverse,
    tpl_lists_join, tpl_lists_unique, tpl_lists_sum, tpl_lists_index, tpl_lists_count,
    tpl_lists_default, tpl_lists_tojson;
/* tpl_sorts.c */
tpl_builtin tpl_sorts_sort, tpl_sorts_dictsort, tpl_sorts_min, tpl_sorts_max;
/* tpl_selects.c */
tpl_builtin tpl_selects_map, tpl_selects_select, tpl_selects_reject, tpl_selects_selectattr,
    tpl_selects_rejectattr;
/* tpl_methods.c */
tpl_builtin tpl_methods_items, tpl_methods_keys, tpl_methods_values, tpl_methods_dict_get;

#endif
