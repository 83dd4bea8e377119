// SPDX-License-Identifier: MIT
/* tpl_operators.c: see tpl_eval.h: operators with two operands, signs, slices.
 *
 * Where the reference has an answer it is this one, and where it refuses undefined and none they
 * are refused; the rest (comparison of strings, repetition, booleans as numbers, formatting by %)
 * is Jinja's. */

#include <math.h>
#include <string.h>

#include "coordinator/template/template.h"
#include "coordinator/template/tpl_eval.h"
#include "coordinator/template/tpl_format.h"
#include "coordinator/template/tpl_json.h"
#include "coordinator/template/tpl_parser.h"

static err refuse(enum node_op op, const struct value *a, const struct value *b) {
    return TRY_FAIL("%s cannot be used between %s and %s", tpl_op_name(op), tpl_kind_name(a),
                    tpl_kind_name(b));
}

static bool is_numeric(const struct value *v) {
    return tpl_is_number(v) || v->kind == VALUE_BOOLEAN;
}

static double number_of(const struct value *v) {
    return v->kind == VALUE_BOOLEAN ? (double)v->boolean : v->number;
}

/* ---- numbers ---- */

static err raise_to_power(double x, double y, bool is_float, struct value *out) {
    if (x == 0 && y < 0) return TRY_FAIL("0 cannot be raised to a negative power");
    double v = pow(x, y);
    if (!isfinite(v)) return TRY_FAIL("%g ** %g is no finite number", x, y);
    *out = is_float || y < 0 ? tpl_float(v) : tpl_integer(v);
    return ERR_OK;
}

static err calculate(enum node_op op, const struct value *a, const struct value *b,
                     struct value *out) {
    double x = number_of(a), y = number_of(b), v = 0;
    bool is_float = a->kind == VALUE_FLOAT || b->kind == VALUE_FLOAT;
    switch (op) {
    case OP_LT: *out = tpl_boolean(x < y); return ERR_OK;
    case OP_GT: *out = tpl_boolean(x > y); return ERR_OK;
    case OP_LE: *out = tpl_boolean(x <= y); return ERR_OK;
    case OP_GE: *out = tpl_boolean(x >= y); return ERR_OK;
    case OP_POW: return raise_to_power(x, y, is_float, out);
    case OP_DIV: *out = tpl_float(x / y); return ERR_OK;
    case OP_ADD: v = x + y; break;
    case OP_SUB: v = x - y; break;
    case OP_MUL: v = x * y; break;
    case OP_FLOOR_DIV: v = floor(x / y); break;
    case OP_MOD: v = fmod(x, y); break;
    default: return refuse(op, a, b);
    }
    *out = is_float ? tpl_float(v) : tpl_integer(v);
    return ERR_OK;
}

/* ---- strings and lists ---- */

static err concatenate(struct run *r, const struct value *a, const struct value *b,
                       struct value *out) {
    struct builder text;
    tpl_builder_init(&text, r);
    if (a->kind == VALUE_STRING)
        tpl_builder_init_with(&text, r, tpl_text(a));
    else
        TRY(tpl_json_put_raw(&text, a));
    TRY(tpl_json_put_raw(&text, b));
    return tpl_builder_finish(&text, out);
}

static err join_lists(struct run *r, const struct list *a, const struct list *b,
                      struct value *out) {
    struct list *l;
    TRY(tpl_list_create(r, a->count + b->count, &l));
    if (a->count) memcpy(l->items, a->items, a->count * sizeof *l->items);
    if (b->count) memcpy(l->items + a->count, b->items, b->count * sizeof *l->items);
    *out = tpl_list(l);
    return ERR_OK;
}

/* The number of copies, or an error when they would pass the memory's limit. */
static err count_copies(double times, size_t bytes_each, uint32_t *out) {
    *out = 0;
    if (!(times > 0) || bytes_each == 0) return ERR_OK;
    if (times * (double)bytes_each > (double)TEMPLATE_MAX_MEMORY_BYTES)
        return TRY_FAIL("%g copies of %zu bytes take too much memory", times, bytes_each);
    *out = (uint32_t)times;
    return ERR_OK;
}

static err repeat_string(struct run *r, struct text t, double times, struct value *out) {
    uint32_t n;
    TRY(count_copies(times, t.length, &n));
    size_t bytes = (size_t)t.length * n, done = t.length;
    char *copies = tpl_arena_grow(&r->arena, NULL, 0, bytes);
    if (!copies) return TRY_FAIL("%g copies of %u bytes take too much memory", times, t.length);
    if (bytes) memcpy(copies, t.bytes, t.length);
    for (; done < bytes; done *= 2)
        memcpy(copies + done, copies, done < bytes - done ? done : bytes - done);
    *out = tpl_string((struct text){bytes ? copies : "", (uint32_t)bytes});
    return tpl_run_spend(r, bytes / 64);
}

static err repeat_list(struct run *r, const struct list *source, double times, struct value *out) {
    struct list *l;
    uint32_t n;
    TRY(count_copies(times, source->count * sizeof *l->items, &n));
    TRY(tpl_list_create(r, source->count * n, &l));
    for (uint32_t i = 0; i < n; i++)
        memcpy(l->items + i * source->count, source->items, source->count * sizeof *l->items);
    *out = tpl_list(l);
    return ERR_OK;
}

static err repeat(struct run *r, const struct value *a, const struct value *b, struct value *out) {
    const struct value *times = is_numeric(a) ? a : b, *what = is_numeric(a) ? b : a;
    if (is_numeric(times) && what->kind == VALUE_STRING)
        return repeat_string(r, tpl_text(what), number_of(times), out);
    if (is_numeric(times) && tpl_is_list(what))
        return repeat_list(r, what->list, number_of(times), out);
    return refuse(OP_MUL, a, b);
}

static err is_member(struct run *r, const struct value *a, const struct value *b, bool *out) {
    if (tpl_is_list(b)) {
        *out = false;
        for (uint32_t i = 0; i < b->list->count && !*out; i++)
            *out = tpl_equal_strictly(r, &b->list->items[i], a);
        return tpl_run_spend(r, b->list->count / 8);
    }
    if (a->kind != VALUE_STRING || (b->kind != VALUE_STRING && b->kind != VALUE_DICT))
        return refuse(OP_IN, a, b);
    struct text t = tpl_text(a);
    if (b->kind == VALUE_DICT) {
        *out = tpl_dict_get(r, b->dict, t) != NULL;
        return ERR_OK;
    }
    *out = tpl_text_find(tpl_text(b), t, 0) != TEXT_NOT_FOUND;
    return tpl_run_spend(r, b->length / 64);
}

/* ---- all of them ---- */

static err compare_strings(struct run *r, enum node_op op, const struct value *a,
                           const struct value *b, struct value *out) {
    int order;
    TRY(tpl_compare(r, a, b, true, &order));
    *out = tpl_boolean(op == OP_LT   ? order < 0
                       : op == OP_GT ? order > 0
                       : op == OP_LE ? order <= 0
                                     : order >= 0);
    return ERR_OK;
}

static err operate(struct run *r, enum node_op op, const struct value *a, const struct value *b,
                   struct value *out) {
    bool has_string = a->kind == VALUE_STRING || b->kind == VALUE_STRING;
    if (op == OP_CONCAT || (op == OP_ADD && has_string)) return concatenate(r, a, b, out);
    if (is_numeric(a) && is_numeric(b)) return calculate(op, a, b, out);
    if (op == OP_ADD && tpl_is_list(a) && tpl_is_list(b))
        return join_lists(r, a->list, b->list, out);
    if (op == OP_MUL) return repeat(r, a, b, out);
    if (op == OP_MOD && a->kind == VALUE_STRING) return tpl_format_percent(r, tpl_text(a), b, out);
    if (op >= OP_LT && op <= OP_GE && a->kind == VALUE_STRING && b->kind == VALUE_STRING)
        return compare_strings(r, op, a, b, out);
    return refuse(op, a, b);
}

err tpl_binary(struct run *r, enum node_op op, const struct value *a, const struct value *b,
               struct value *out) {
    bool yes = false, is_in = op == OP_IN || op == OP_NOT_IN;
    if (op == OP_EQ || op == OP_NE) {
        TRY(tpl_equal_loosely(r, a, b, &yes));
        *out = tpl_boolean(yes == (op == OP_EQ));
        return ERR_OK;
    }
    if (b->kind == VALUE_UNDEFINED && is_in) {
        *out = tpl_boolean(op == OP_NOT_IN);
        return ERR_OK;
    }
    if (a->kind <= VALUE_NONE || b->kind <= VALUE_NONE) return refuse(op, a, b);
    if (!is_in) return operate(r, op, a, b, out);
    TRY(is_member(r, a, b, &yes));
    *out = tpl_boolean(yes == (op == OP_IN));
    return ERR_OK;
}

err tpl_negate(const struct value *v, enum node_op sign, struct value *out) {
    if (!is_numeric(v)) return TRY_FAIL("%s has no sign", tpl_kind_name(v));
    double number = sign == OP_SUB ? -number_of(v) : number_of(v);
    *out = v->kind == VALUE_FLOAT ? tpl_float(number) : tpl_integer(number);
    return ERR_OK;
}

/* ---- slices ---- */

struct range {
    double begin, end, step;
};

/* Python's rules for a sequence of `length` items. */
static struct range resolve(const struct value parts[3], double length) {
    bool begins = parts[0].kind == VALUE_INTEGER, ends = parts[1].kind == VALUE_INTEGER;
    struct range s = {.step = parts[2].kind == VALUE_INTEGER ? parts[2].number : 1};
    if (s.step >= 0) {
        s.begin = begins ? parts[0].number : 0;
        s.end = ends ? parts[1].number : length;
        s.begin = s.begin < 0 ? fmax(length + s.begin, 0) : fmin(s.begin, length);
        s.end = s.end < 0 ? fmax(length + s.end, 0) : fmin(s.end, length);
    } else {
        s.begin = begins ? parts[0].number : length - 1;
        s.begin = s.begin < 0 ? fmax(length + s.begin, -1) : fmin(s.begin, length - 1);
        s.end = ends ? parts[1].number : -1;
        s.end = s.end < -1 ? fmax(length + s.end, -1) : fmin(s.end, length - 1);
    }
    return s;
}

static bool goes_on(const struct range *s, double i) {
    return s->step > 0 ? i < s->end : s->step < 0 && i > s->end;
}

static err slice_list(struct run *r, const struct list *source, const struct range *s,
                      struct value *out) {
    struct list *l;
    uint32_t count = 0;
    for (double i = s->begin; goes_on(s, i); i += s->step) count++;
    TRY(tpl_list_create(r, count, &l));
    count = 0;
    for (double i = s->begin; goes_on(s, i); i += s->step)
        l->items[count++] = source->items[(uint32_t)i];
    *out = tpl_list(l);
    return ERR_OK;
}

static err slice_string(struct run *r, struct text t, const struct range *s, struct value *out) {
    TRY(tpl_run_spend(r, t.length / 16));
    if (s->step == 1) {
        uint32_t begin = tpl_text_skip_points(t, 0, (uint64_t)s->begin), end = begin;
        if (s->end > s->begin) end = tpl_text_skip_points(t, begin, (uint64_t)(s->end - s->begin));
        *out = tpl_string(tpl_text_part(t, begin, end));
        return ERR_OK;
    }
    void *memory;
    uint32_t count = 0, n;
    TRY(tpl_run_alloc(r, t.length + (size_t)1, sizeof(uint32_t), &memory));
    uint32_t *places = memory;
    for (uint32_t at = 0; at < t.length; at += n) {
        tpl_text_point(t, at, &n);
        places[count++] = at;
    }
    places[count] = t.length;
    struct builder b;
    tpl_builder_init(&b, r);
    for (double i = s->begin; goes_on(s, i); i += s->step)
        tpl_builder_put(&b, tpl_text_part(t, places[(uint32_t)i], places[(uint32_t)i + 1]));
    return tpl_builder_finish(&b, out);
}

err tpl_slice(struct run *r, const struct value *object, const struct value parts[3],
              struct value *out) {
    bool is_string = object->kind == VALUE_STRING;
    if (!is_string && !tpl_is_list(object))
        return TRY_FAIL("%s has no slices", tpl_kind_name(object));
    for (int i = 0; i < 3; i++)
        if (parts[i].kind != VALUE_INTEGER && parts[i].kind != VALUE_UNDEFINED)
            return TRY_FAIL("%s is no bound of a slice", tpl_kind_name(&parts[i]));
    double length = is_string ? tpl_text_count_points(tpl_text(object)) : object->list->count;
    struct range s = resolve(parts, length);
    return is_string ? slice_string(r, tpl_text(object), &s, out)
                     : slice_list(r, object->list, &s, out);
}
