// SPDX-License-Identifier: MIT
/* tpl_compare.c: truth, equality and order of values.  Equality is JavaScript's, as the reference
 * has it: '1' == 1 and none == undefined hold, lists and objects equal only themselves. */

#include <math.h>

#include "coordinator/template/tpl_json.h"
#include "coordinator/template/tpl_number.h"
#include "coordinator/template/tpl_case.h"
#include "coordinator/template/tpl_value.h"

bool tpl_is_number(const struct value *v) {
    return v->kind == VALUE_INTEGER || v->kind == VALUE_FLOAT;
}

bool tpl_is_list(const struct value *v) {
    return v->kind == VALUE_LIST || v->kind == VALUE_TUPLE;
}

bool tpl_is_dict(const struct value *v) {
    return v->kind == VALUE_DICT || v->kind == VALUE_NAMESPACE;
}

bool tpl_truth(const struct value *v) {
    switch ((enum value_kind)v->kind) {
    case VALUE_UNDEFINED:
    case VALUE_NONE: return false;
    case VALUE_BOOLEAN: return v->boolean;
    case VALUE_INTEGER:
    case VALUE_FLOAT: return v->number != 0 && !isnan(v->number);
    case VALUE_STRING: return v->length > 0;
    case VALUE_LIST:
    case VALUE_TUPLE: return v->list->count > 0;
    case VALUE_DICT: return v->dict->count > 0;
    case VALUE_NAMESPACE:
    case VALUE_FUNCTION: return true;
    }
    return false;
}

const char *tpl_kind_name(const struct value *v) {
    static const char *const names[] = {
        [VALUE_UNDEFINED] = "undefined", [VALUE_NONE] = "none",
        [VALUE_BOOLEAN] = "a boolean",   [VALUE_INTEGER] = "an integer",
        [VALUE_FLOAT] = "a float",       [VALUE_STRING] = "a string",
        [VALUE_LIST] = "a list",         [VALUE_TUPLE] = "a tuple",
        [VALUE_DICT] = "an object",      [VALUE_NAMESPACE] = "a namespace",
        [VALUE_FUNCTION] = "a function",
    };
    return names[v->kind];
}

static bool is_object(const struct value *v) {
    return v->kind >= VALUE_LIST;
}

static bool is_nothing(const struct value *v) {
    return v->kind <= VALUE_NONE;
}

static bool same_object(const struct value *a, const struct value *b) {
    if (tpl_is_list(a) && tpl_is_list(b)) return a->list == b->list;
    if (tpl_is_dict(a) && tpl_is_dict(b)) return a->dict == b->dict;
    if (a->kind != VALUE_FUNCTION || b->kind != VALUE_FUNCTION) return false;
    // A method of one dict is one function, however often it is asked for.
    const struct function *f = a->function, *g = b->function;
    return f == g || (f->builtin && f->builtin == g->builtin && tpl_is_dict(&f->self) &&
                      tpl_is_dict(&g->self) && f->self.dict == g->self.dict);
}

bool tpl_equal_strictly(struct run *r, const struct value *a, const struct value *b) {
    if (is_object(a) && is_object(b)) return same_object(a, b);
    if (is_nothing(a) && is_nothing(b)) return true;
    if (tpl_is_number(a) && tpl_is_number(b)) return a->number == b->number;
    if (a->kind != b->kind) return false;
    if (a->kind == VALUE_BOOLEAN) return a->boolean == b->boolean;
    if (a->kind == VALUE_STRING && a->length == b->length) {
        r->steps += a->length / 64;
        return tpl_text_equal(tpl_text(a), tpl_text(b));
    }
    if (a->kind == VALUE_STRING) return false;
    return true;
}

static double number_of(const struct value *v) {
    if (v->kind == VALUE_BOOLEAN) return v->boolean;
    return v->kind == VALUE_STRING ? tpl_number_of(tpl_text(v)) : v->number;
}

err tpl_equal_loosely(struct run *r, const struct value *a, const struct value *b, bool *out) {
    *out = tpl_equal_strictly(r, a, b);
    if (is_nothing(a) || is_nothing(b)) {
        *out = is_nothing(a) && is_nothing(b);
        return ERR_OK;
    }
    if (*out || (is_object(a) && is_object(b))) return ERR_OK;
    if (a->kind == VALUE_FUNCTION || b->kind == VALUE_FUNCTION) return ERR_OK;
    // An object meets a string or a number as the string that it converts to.
    struct value left = *a, right = *b;
    if (is_object(a)) TRY(tpl_json_raw_string(r, a, &left));
    if (is_object(b)) TRY(tpl_json_raw_string(r, b, &right));
    if (left.kind == VALUE_STRING && right.kind == VALUE_STRING)
        *out = tpl_equal_strictly(r, &left, &right);
    else
        *out = number_of(&left) == number_of(&right);
    // Reading a number looks at every byte; length is 0 of what is no string.
    return tpl_run_spend(r, (uint64_t)left.length / 64 + right.length / 64);
}

static bool is_orderable_number(const struct value *v) {
    return tpl_is_number(v) || v->kind == VALUE_BOOLEAN;
}

err tpl_compare(struct run *r, const struct value *a, const struct value *b, bool case_sensitive,
                int *out) {
    TRY(tpl_run_spend(r, 1));
    if (is_nothing(a) && a->kind == b->kind) {
        *out = 0;
        return ERR_OK;
    }
    if (is_orderable_number(a) && is_orderable_number(b)) {
        double x = number_of(a), y = number_of(b);
        *out = (x > y) - (x < y);
        return ERR_OK;
    }
    if (a->kind != VALUE_STRING || b->kind != VALUE_STRING)
        return TRY_FAIL("%s and %s have no order", tpl_kind_name(a), tpl_kind_name(b));
    struct value x = *a, y = *b;
    if (!case_sensitive) {
        TRY(tpl_case_lower(r, tpl_text(a), &x));
        TRY(tpl_case_lower(r, tpl_text(b), &y));
    }
    TRY(tpl_run_spend(r, x.length / 64));
    *out = tpl_text_compare(tpl_text(&x), tpl_text(&y));
    return ERR_OK;
}
