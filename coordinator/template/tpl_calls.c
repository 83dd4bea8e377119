// SPDX-License-Identifier: MIT
/* tpl_calls.c: see tpl_eval.h: arguments, macros, call blocks.
 *
 * A macro's body sees the scope it is called from, as in the reference (not the one it was defined
 * in); the body of a call block sees the block's own. */

#include "coordinator/template/tpl_eval.h"
#include "coordinator/template/tpl_methods.h"
#include "coordinator/template/tpl_parser.h"

/* ---- arguments ---- */

static err add_keyword(struct run *r, struct args *a, struct text name, uint32_t hash,
                       struct value v) {
    if (tpl_dict_find(r, &a->keywords, name, hash))
        return TRY_FAIL("the argument %.*s is given twice", TEXT_SHOWN(name));
    return tpl_dict_set(r, &a->keywords, name, hash, v);
}

static err add_items(struct run *r, struct args *a, const struct list *spread, uint32_t room) {
    for (uint32_t i = 0; i < spread->count; i++) {
        CHECK(a->count < room);
        a->items[a->count++] = spread->items[i];
    }
    return tpl_run_spend(r, spread->count / 8);
}

/* Arguments without names, and how many there are: a * is evaluated to be counted. */
static err read_positional(struct run *r, const struct node_list *list, struct scope *s,
                           struct args *out) {
    struct value spread = tpl_undefined();
    uint32_t room = list->count;
    void *items;
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->items[i]->kind != NODE_SPREAD) continue;
        TRY(tpl_eval(r, list->items[i]->a, s, &spread));
        if (!tpl_is_list(&spread)) return TRY_FAIL("* cannot unpack %s", tpl_kind_name(&spread));
        room += spread.list->count;
    }
    TRY(tpl_run_alloc(r, room, sizeof *out->items, &items));
    out->items = items;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct node *n = list->items[i];
        if (n->kind == NODE_KEYWORD || n->kind == NODE_SPREAD_KEYWORDS) continue;
        if (n->kind == NODE_SPREAD)
            TRY(add_items(r, out, spread.list, room));
        else
            TRY(tpl_eval(r, n, s, &out->items[out->count++]));
    }
    return ERR_OK;
}

static err read_keyword(struct run *r, const struct node *n, struct scope *s, struct args *out) {
    struct value v;
    TRY(tpl_eval(r, n->a, s, &v));
    if (n->kind == NODE_KEYWORD) return add_keyword(r, out, n->text, n->hash, v);
    if (v.kind != VALUE_DICT) return TRY_FAIL("** cannot unpack %s", tpl_kind_name(&v));
    for (uint32_t i = 0; i < v.dict->count; i++) {
        const struct dict_entry *e = &v.dict->entries[i];
        TRY(add_keyword(r, out, e->key, e->hash, e->value));
    }
    return ERR_OK;
}

err tpl_args_read(struct run *r, const struct node_list *list, struct scope *s, struct args *out) {
    *out = (struct args){.has_brackets = true};
    if (list->count == 0) return ERR_OK;
    TRY(read_positional(r, list, s, out));
    for (uint32_t i = 0; i < list->count; i++) {
        const struct node *n = list->items[i];
        if (n->kind == NODE_KEYWORD || n->kind == NODE_SPREAD_KEYWORDS)
            TRY(read_keyword(r, n, s, out));
    }
    return ERR_OK;
}

const struct value *tpl_args_get(struct run *r, const struct args *a, uint32_t i,
                                 const char *name) {
    if (i < a->count) return &a->items[i];
    if (a->keywords.count == 0) return NULL;
    struct text t = tpl_text_of(name);
    return tpl_dict_get(r, &a->keywords, t);
}

/* ---- macros ---- */

/* The keyword arguments that no parameter took. */
static err bind_keywords(struct run *r, const struct node *n, const struct args *a,
                         struct scope *s) {
    struct dict *surplus;
    TRY(tpl_dict_create(r, &surplus));
    for (uint32_t i = 0; i < a->keywords.count; i++) {
        const struct dict_entry *e = &a->keywords.entries[i];
        uint32_t k = 0;
        while (k < n->args.count && !tpl_text_equal(n->args.items[k]->text, e->key)) k++;
        if (k < n->args.count && k >= a->count) continue;
        if (!n->wants_keywords)
            return TRY_FAIL("the macro takes no argument %.*s", TEXT_SHOWN(e->key));
        TRY(tpl_dict_set(r, surplus, e->key, e->hash, e->value));
    }
    return n->wants_keywords ? tpl_scope_set(r, s, TEXT("kwargs"), tpl_dict(surplus)) : ERR_OK;
}

static err bind_varargs(struct run *r, const struct node *n, const struct args *a,
                        struct scope *s) {
    struct list *surplus;
    uint32_t count = a->count > n->args.count ? a->count - n->args.count : 0;
    if (!n->wants_varargs) {
        if (count) return TRY_FAIL("the macro takes not more than %u arguments", n->args.count);
        return ERR_OK;
    }
    TRY(tpl_list_create(r, count, &surplus));
    for (uint32_t i = 0; i < count; i++) surplus->items[i] = a->items[n->args.count + i];
    return tpl_scope_set(r, s, TEXT("varargs"), tpl_list(surplus));
}

/* All parameters are bound before a default is evaluated, so a default sees the others. */
static err bind_parameters(struct run *r, const struct node *n, const struct args *a,
                           struct scope *s) {
    for (uint32_t i = 0; i < n->args.count; i++) {
        const struct node *p = n->args.items[i];
        const struct value *v =
            i < a->count ? &a->items[i] : tpl_dict_find(r, &a->keywords, p->text, p->hash);
        TRY(tpl_scope_set(r, s, p->text, v ? *v : tpl_undefined()));
    }
    TRY(bind_keywords(r, n, a, s));
    TRY(bind_varargs(r, n, a, s));
    for (uint32_t i = a->count; i < n->args.count; i++) {
        const struct node *p = n->args.items[i];
        struct value v;
        if (!p->a || tpl_dict_find(r, &a->keywords, p->text, p->hash)) continue;
        TRY(tpl_eval(r, p->a, s, &v));
        TRY(tpl_scope_set(r, s, p->text, v));
    }
    return ERR_OK;
}

err tpl_call(struct run *r, const struct value *function, const struct args *a, struct scope *s,
             struct value *out) {
    if (function->kind != VALUE_FUNCTION)
        return TRY_FAIL("%s cannot be called", tpl_kind_name(function));
    const struct function *f = function->function;
    TRY(tpl_run_enter(r));
    if (f->builtin) {
        TRY(f->builtin(r, &f->self, a, out));
    } else {
        struct scope *inner;
        TRY(tpl_scope_create(r, f->scope ? f->scope : s, &inner));
        TRY(bind_parameters(r, f->node, a, inner));
        TRY(tpl_exec_captured(r, &f->node->body, inner, out));
    }
    tpl_run_leave(r);
    return ERR_OK;
}

/* object.name before brackets: a method also where the object holds a member of that name that is
 * no function, as tool schemas hold "items". */
static err find_method(struct run *r, const struct value *object, struct text name,
                       struct value *out) {
    struct value key = tpl_string(name);
    TRY(tpl_member(r, object, &key, out));
    if (out->kind != VALUE_FUNCTION) TRY(tpl_methods_get(r, object, name, out));
    if (out->kind != VALUE_FUNCTION) TRY(tpl_methods_get_hidden(r, object, name, out));
    if (out->kind != VALUE_FUNCTION)
        return TRY_FAIL("%s has no method %.*s", tpl_kind_name(object), TEXT_SHOWN(name));
    return ERR_OK;
}

err tpl_call_node(struct run *r, const struct node *n, struct scope *s, struct value *out) {
    struct args args;
    struct value function, object;
    TRY(tpl_args_read(r, &n->args, s, &args));
    if (n->a->kind == NODE_ATTRIBUTE && !n->a->b) {
        TRY(tpl_eval(r, n->a->a, s, &object));
        r->line = n->line;
        TRY(find_method(r, &object, n->a->text, &function));
    } else {
        TRY(tpl_eval(r, n->a, s, &function));
        if (function.kind == VALUE_UNDEFINED && n->a->kind == NODE_NAME)
            return TRY_FAIL("there is no function %.*s", TEXT_SHOWN(n->a->text));
    }
    r->line = n->line;
    return tpl_call(r, &function, &args, s, out);
}

err tpl_call_block(struct run *r, const struct node *n, struct scope *s, struct value *out) {
    struct args args;
    struct scope *inner;
    struct value function, caller;
    TRY(tpl_function_create(r, &(struct function){.node = n, .scope = s}, &caller));
    TRY(tpl_args_read(r, &n->a->args, s, &args));
    TRY(tpl_eval(r, n->a->a, s, &function));
    TRY(tpl_scope_create(r, s, &inner));
    TRY(tpl_scope_set(r, inner, TEXT("caller"), caller));
    return tpl_call(r, &function, &args, inner, out);
}
