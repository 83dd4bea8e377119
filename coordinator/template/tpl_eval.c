// SPDX-License-Identifier: MIT
/* tpl_eval.c: see tpl_eval.h: expressions and scopes. */

#include "coordinator/template/tpl_eval.h"

#include <math.h>

#include "coordinator/template/tpl_filters.h"
#include "coordinator/template/tpl_methods.h"
#include "coordinator/template/tpl_number.h"
#include "coordinator/template/tpl_parser.h"
#include "coordinator/template/tpl_tests.h"

/* ---- scopes ---- */

err tpl_scope_create(struct run *r, struct scope *parent, struct scope **out) {
    void *s;
    TRY(tpl_run_alloc(r, 1, sizeof **out, &s));
    *out = s;
    (*out)->parent = parent;
    return tpl_run_spend(r, 1);
}

err tpl_scope_set(struct run *r, struct scope *s, struct text name, struct value v) {
    return tpl_dict_put(r, &s->names, name, v);
}

static struct value find_name(struct run *r, const struct scope *s, struct text name,
                              uint32_t hash) {
    for (; s; s = s->parent) {
        const struct value *v = tpl_dict_find(r, &s->names, name, hash);
        if (v) return *v;
        r->steps++;
    }
    return tpl_undefined();
}

/* ---- members ---- */

static err string_unit(struct run *r, const struct value *string, double index, struct value *out) {
    struct text t = tpl_text(string);
    char bytes[4];
    TRY(tpl_run_spend(r, t.length / 16));
    if (index < 0) index += tpl_text_count_units(t);
    uint32_t n = index < 0 ? 0 : tpl_text_unit(t, (uint64_t)index, bytes);
    if (n == 0) return ERR_OK;
    struct builder b;
    tpl_builder_init(&b, r);
    tpl_builder_put(&b, (struct text){bytes, n});
    return tpl_builder_finish(&b, out);
}

/* object[i] of lists and strings, counted from the end when negative. */
static err item_at(struct run *r, const struct value *object, double index, struct value *out) {
    index = isnan(index) ? 0 : trunc(index);
    if (fabs(index) > UINT32_MAX) return ERR_OK;
    if (object->kind == VALUE_STRING) return string_unit(r, object, index, out);
    if (index < 0) index += object->list->count;
    if (index >= 0 && index < object->list->count) *out = object->list->items[(uint32_t)index];
    return ERR_OK;
}

err tpl_member(struct run *r, const struct value *object, const struct value *key,
               struct value *out) {
    *out = tpl_undefined();
    bool indexed = tpl_is_list(object) || object->kind == VALUE_STRING;
    if (indexed && key->kind == VALUE_INTEGER) return item_at(r, object, key->number, out);
    if (object->kind == VALUE_DICT && key->kind == VALUE_INTEGER) {
        struct value *found;
        TRY(tpl_dict_find_integer(r, object->dict, key->number, &found));
        if (found) *out = *found;
        return ERR_OK;
    }
    if (key->kind != VALUE_STRING)
        return TRY_FAIL("%s is no key of %s", tpl_kind_name(key), tpl_kind_name(object));
    struct text name = tpl_text(key);
    if (tpl_is_dict(object)) {
        const struct value *v = tpl_dict_get(r, object->dict, name);
        if (v) {
            *out = *v;
            return ERR_OK;
        }
    }
    return tpl_methods_get(r, object, name, out);
}

err tpl_member_path(struct run *r, const struct value *object, struct text path,
                    struct value *out) {
    *out = *object;
    for (bool more = true; more;) {
        uint32_t dot = tpl_text_find(path, TEXT("."), 0);
        more = dot != TEXT_NOT_FOUND;
        struct text part = tpl_text_part(path, 0, more ? dot : path.length);
        struct value in = *out;
        *out = tpl_undefined();
        TRY(tpl_run_spend(r, 1 + part.length / 64));
        if (tpl_is_dict(&in)) {
            const struct value *v = tpl_dict_get(r, in.dict, part);
            if (v) *out = *v;
        } else if (tpl_is_list(&in)) {
            double index = tpl_number_parse_int(part);
            if (index >= 0 && index < in.list->count) *out = in.list->items[(uint32_t)index];
        }
        if (more) path = tpl_text_part(path, dot + 1, path.length);
    }
    return ERR_OK;
}

/* ---- expressions ---- */

static err eval_items(struct run *r, const struct node *n, struct scope *s, struct value *out) {
    struct list *l;
    TRY(tpl_list_create(r, n->args.count, &l));
    for (uint32_t i = 0; i < l->count; i++) TRY(tpl_eval(r, n->args.items[i], s, &l->items[i]));
    *out = tpl_list(l);
    if (n->kind == NODE_TUPLE) out->kind = VALUE_TUPLE;
    return ERR_OK;
}

static err eval_dict(struct run *r, const struct node *n, struct scope *s, struct value *out) {
    struct dict *d;
    TRY(tpl_dict_create(r, &d));
    for (uint32_t i = 0; i + 1 < n->args.count; i += 2) {
        struct value key, value;
        TRY(tpl_eval(r, n->args.items[i], s, &key));
        TRY(tpl_eval(r, n->args.items[i + 1], s, &value));
        if (key.kind == VALUE_INTEGER) {
            TRY(tpl_dict_set_integer(r, d, key.number, value));
            continue;
        }
        if (key.kind != VALUE_STRING)
            return TRY_FAIL("%s is no key of an object", tpl_kind_name(&key));
        struct text name = tpl_text(&key);
        TRY(tpl_dict_put(r, d, name, value));
    }
    *out = tpl_dict(d);
    return ERR_OK;
}

static err eval_unary(struct run *r, const struct node *n, struct scope *s, struct value *out) {
    struct value v;
    TRY(tpl_eval(r, n->a, s, &v));
    if (n->op != OP_NOT) return tpl_negate(&v, n->op, out);
    *out = tpl_boolean(!tpl_truth(&v));
    return ERR_OK;
}

static err eval_binary(struct run *r, const struct node *n, struct scope *s, struct value *out) {
    struct value left, right;
    TRY(tpl_eval(r, n->a, s, &left));
    if (n->op == OP_AND || n->op == OP_OR) {
        *out = left;
        return tpl_truth(&left) == (n->op == OP_AND) ? tpl_eval(r, n->b, s, out) : ERR_OK;
    }
    TRY(tpl_eval(r, n->b, s, &right));
    r->line = n->line;
    return tpl_binary(r, n->op, &left, &right, out);
}

static err eval_choice(struct run *r, const struct node *n, struct scope *s, struct value *out) {
    struct value test;
    bool select = n->kind == NODE_SELECT;
    TRY(tpl_eval(r, select ? n->b : n->a, s, &test));
    *out = tpl_undefined();
    if (select) return tpl_truth(&test) ? tpl_eval(r, n->a, s, out) : ERR_OK;
    return tpl_eval(r, tpl_truth(&test) ? n->b : n->c, s, out);
}

static err eval_member(struct run *r, const struct node *n, struct scope *s, struct value *out) {
    struct value object, key;
    TRY(tpl_eval(r, n->a, s, &object));
    if (n->b)
        TRY(tpl_eval(r, n->b, s, &key));
    else
        key = tpl_string(n->text);
    r->line = n->line;
    return tpl_member(r, &object, &key, out);
}

static err eval_slice(struct run *r, const struct node *n, struct scope *s, struct value *out) {
    struct value object, parts[3] = {tpl_undefined(), tpl_undefined(), tpl_undefined()};
    TRY(tpl_eval(r, n->a, s, &object));
    for (uint32_t i = 0; i < n->args.count; i++)
        if (n->args.items[i]) TRY(tpl_eval(r, n->args.items[i], s, &parts[i]));
    r->line = n->line;
    return tpl_slice(r, &object, parts, out);
}

static err eval_filter(struct run *r, const struct node *n, struct scope *s, struct value *out) {
    struct value operand;
    struct args args;
    TRY(tpl_eval(r, n->a, s, &operand));
    TRY(tpl_args_read(r, &n->args, s, &args));
    args.has_brackets = n->has_brackets;
    r->line = n->line;
    return tpl_filters_apply(r, n->text, &operand, &args, out);
}

static err eval_test(struct run *r, const struct node *n, struct scope *s, struct value *out) {
    struct value operand;
    struct args args;
    bool result;
    TRY(tpl_eval(r, n->a, s, &operand));
    TRY(tpl_args_read(r, &n->args, s, &args));
    r->line = n->line;
    TRY(tpl_tests_apply(r, n->text, &operand, &args, &result));
    *out = tpl_boolean(result != n->negated);
    return ERR_OK;
}

static err eval_node(struct run *r, const struct node *n, struct scope *s, struct value *out) {
    switch (n->kind) {
    case NODE_INTEGER: *out = tpl_integer(n->number); return ERR_OK;
    case NODE_FLOAT: *out = tpl_float(n->number); return ERR_OK;
    case NODE_STRING: *out = tpl_string(n->text); return ERR_OK;
    case NODE_NAME: *out = find_name(r, s, n->text, n->hash); return ERR_OK;
    case NODE_LIST:
    case NODE_TUPLE: return eval_items(r, n, s, out);
    case NODE_DICT: return eval_dict(r, n, s, out);
    case NODE_UNARY: return eval_unary(r, n, s, out);
    case NODE_BINARY: return eval_binary(r, n, s, out);
    case NODE_TERNARY:
    case NODE_SELECT: return eval_choice(r, n, s, out);
    case NODE_ATTRIBUTE:
    case NODE_INDEX: return eval_member(r, n, s, out);
    case NODE_SLICE: return eval_slice(r, n, s, out);
    case NODE_CALL: return tpl_call_node(r, n, s, out);
    case NODE_FILTER: return eval_filter(r, n, s, out);
    case NODE_TEST: return eval_test(r, n, s, out);
    default: return TRY_FAIL("an argument with = or * stands outside of a call");
    }
}

err tpl_eval(struct run *r, const struct node *n, struct scope *s, struct value *out) {
    TRY(tpl_run_enter(r));
    r->line = n->line;
    TRY(eval_node(r, n, s, out));
    tpl_run_leave(r);
    return ERR_OK;
}
