// SPDX-License-Identifier: MIT
/* tpl_statements.c: see tpl_eval.h: statements.  All text goes to run.out; what is captured (set
 * blocks, macros, filter blocks) is cut off from its end again. */

#include <string.h>

#include "coordinator/template/template.h"
#include "coordinator/template/tpl_builtins.h"
#include "coordinator/template/tpl_filters.h"
#include "coordinator/template/tpl_json.h"
#include "coordinator/template/tpl_parser.h"

static err put_text(struct run *r, struct text t) {
    buf_append(&r->out, t.bytes, t.length);
    if (r->out.failed)
        return TRY_FAIL("the text of the template grows beyond %zu MiB",
                        TEMPLATE_MAX_OUTPUT_BYTES >> 20);
    return tpl_run_spend(r, t.length / 64);
}

static err put_value(struct run *r, const struct value *v) {
    if (v->kind == VALUE_NONE || v->kind == VALUE_UNDEFINED) return ERR_OK;
    if (v->kind == VALUE_STRING) return put_text(r, tpl_text(v));
    struct builder b;
    struct value shown;
    tpl_builder_init(&b, r);
    TRY(tpl_json_put_shown(&b, v));
    TRY(tpl_builder_finish(&b, &shown));
    return put_text(r, tpl_text(&shown));
}

/* ---- set ---- */

static err unpack(struct run *r, const struct node *names, const struct value *v, struct scope *s) {
    if (!tpl_is_list(v)) return TRY_FAIL("%s cannot be unpacked", tpl_kind_name(v));
    if (v->list->count != names->args.count)
        return TRY_FAIL("there are %u items for %u names", v->list->count, names->args.count);
    for (uint32_t i = 0; i < names->args.count; i++) {
        const struct node *name = names->args.items[i];
        if (name->kind != NODE_NAME) return TRY_FAIL("values can be unpacked into names only");
        TRY(tpl_scope_set(r, s, name->text, v->list->items[i]));
    }
    return ERR_OK;
}

static err set_attribute(struct run *r, const struct node *target, const struct value *v,
                         struct scope *s) {
    struct value object;
    TRY(tpl_eval(r, target->a, s, &object));
    if (object.kind != VALUE_NAMESPACE)
        return TRY_FAIL("only attributes of a namespace can be set, this is %s",
                        tpl_kind_name(&object));
    return tpl_dict_set(r, object.dict, target->text, target->hash, *v);
}

static err assign(struct run *r, const struct node *target, const struct value *v,
                  struct scope *s) {
    if (target->kind == NODE_NAME) return tpl_scope_set(r, s, target->text, *v);
    if (target->kind == NODE_TUPLE) return unpack(r, target, v, s);
    if (target->kind == NODE_ATTRIBUTE && !target->b) return set_attribute(r, target, v, s);
    return TRY_FAIL("this cannot be set: use a name, names with commas, or namespace.name");
}

/* {% set name | filter %}…: the filters are applied to the text, innermost first. */
static err assign_block(struct run *r, const struct node *target, struct value *v,
                        struct scope *s) {
    if (target->kind != NODE_FILTER) return assign(r, target, v, s);
    const struct node *filters[16];
    size_t n = 0;
    for (; target->kind == NODE_FILTER && n < 16; target = target->a) filters[n++] = target;
    while (n > 0) {
        struct args args;
        struct value in = *v;
        const struct node *f = filters[--n];
        TRY(tpl_args_read(r, &f->args, s, &args));
        args.has_brackets = f->has_brackets;
        TRY(tpl_filters_apply(r, f->text, &in, &args, v));
    }
    return assign(r, target, v, s);
}

static err exec_set(struct run *r, const struct node *n, struct scope *s) {
    struct value v;
    if (n->b) {
        TRY(tpl_eval(r, n->b, s, &v));
        return assign(r, n->a, &v, s);
    }
    TRY(tpl_exec_captured(r, &n->body, s, &v));
    return assign_block(r, n->a, &v, s);
}

/* ---- for ---- */

static err loop_items(struct run *r, const struct value *v, struct value *out) {
    if (!tpl_is_list(v) && v->kind != VALUE_DICT && v->kind != VALUE_STRING)
        return TRY_FAIL("a loop needs a list or an object, this is %s", tpl_kind_name(v));
    return tpl_builtins_items(r, "for", v, out);
}

static err bind_item(struct run *r, const struct node *target, const struct value *item,
                     struct scope *s) {
    if (target->kind == NODE_NAME) return tpl_scope_set(r, s, target->text, *item);
    return unpack(r, target, item, s);
}

/* The items that pass the condition, each seen in a scope of its own. */
static err select_items(struct run *r, const struct node *n, struct scope *s, struct value *items) {
    struct list *kept;
    struct scope *inner;
    uint32_t count = 0;
    TRY(tpl_list_create(r, items->list->count, &kept));
    TRY(tpl_scope_create(r, s, &inner));
    for (uint32_t i = 0; i < items->list->count; i++) {
        struct value passes;
        TRY(bind_item(r, n->a, &items->list->items[i], inner));
        TRY(tpl_eval(r, n->b->b, inner, &passes));
        if (tpl_truth(&passes)) kept->items[count++] = items->list->items[i];
    }
    kept->count = count;
    *items = tpl_list(kept);
    return ERR_OK;
}

static err set_loop(struct run *r, struct dict *loop, const struct list *items, uint32_t i) {
    uint32_t count = items->count;
    const struct {
        const char *name;
        struct value v;
    } members[] = {
        {"index", tpl_integer(i + 1.0)},
        {"index0", tpl_integer(i)},
        {"revindex", tpl_integer(count - i)},
        {"revindex0", tpl_integer(count - i - 1)},
        {"first", tpl_boolean(i == 0)},
        {"last", tpl_boolean(i + 1 == count)},
        {"length", tpl_integer(count)},
        {"previtem", i > 0 ? items->items[i - 1] : tpl_undefined()},
        {"nextitem", i + 1 < count ? items->items[i + 1] : tpl_undefined()},
    };
    for (size_t k = 0; k < sizeof members / sizeof *members; k++) {
        struct text name = tpl_text_of(members[k].name);
        TRY(tpl_dict_put(r, loop, name, members[k].v));
    }
    return ERR_OK;
}

/* One turn; *left says how it was left before its end.  A turn that is left by break or continue
 * leaves no text, as in the reference. */
static err exec_turn(struct run *r, const struct node *n, struct scope *s, enum jump *left) {
    size_t mark = r->out.length;
    uint32_t depth = r->depth;
    err e = tpl_exec(r, &n->body, s);
    *left = r->jump;
    if (e == ERR_OK || r->jump == JUMP_NONE) return e;
    r->jump = JUMP_NONE; // it has come to its loop: the next error is one
    r->out.length = mark;
    r->depth = depth;
    return ERR_OK;
}

static err exec_for(struct run *r, const struct node *n, struct scope *outer) {
    struct scope *s;
    struct value v, items;
    struct dict *loop;
    bool select = n->b->kind == NODE_SELECT, any = false;
    TRY(tpl_scope_create(r, outer, &s));
    TRY(tpl_eval(r, select ? n->b->a : n->b, s, &v));
    TRY(loop_items(r, &v, &items));
    if (select) TRY(select_items(r, n, s, &items));
    TRY(tpl_dict_create(r, &loop));
    for (uint32_t i = 0; i < items.list->count; i++) {
        enum jump left;
        TRY(set_loop(r, loop, items.list, i));
        TRY(tpl_scope_set(r, s, TEXT("loop"), tpl_dict(loop)));
        TRY(bind_item(r, n->a, &items.list->items[i], s));
        TRY(exec_turn(r, n, s, &left));
        any |= left == JUMP_NONE;
        if (left == JUMP_BREAK) break;
    }
    return any ? ERR_OK : tpl_exec(r, &n->other, s);
}

/* ---- the others ---- */

static err exec_if(struct run *r, const struct node *n, struct scope *s) {
    for (;;) {
        struct value test;
        TRY(tpl_eval(r, n->a, s, &test));
        if (tpl_truth(&test)) return tpl_exec(r, &n->body, s);
        if (n->other.count != 1 || n->other.items[0]->kind != NODE_IF)
            return tpl_exec(r, &n->other, s);
        n = n->other.items[0];
    }
}

static err exec_macro(struct run *r, const struct node *n, struct scope *s) {
    struct value f;
    TRY(tpl_function_create(r, &(struct function){.node = n}, &f));
    return tpl_scope_set(r, s, n->text, f);
}

static err exec_filter_block(struct run *r, const struct node *n, struct scope *s) {
    struct value body, out;
    struct args args;
    TRY(tpl_exec_captured(r, &n->body, s, &body));
    TRY(tpl_args_read(r, &n->a->args, s, &args));
    args.has_brackets = n->a->has_brackets;
    TRY(tpl_filters_apply(r, n->a->text, &body, &args, &out));
    return put_value(r, &out);
}

static err jump_out(struct run *r, enum jump jump, const char *name) {
    r->jump = jump;
    return TRY_FAIL("%s stands outside of a loop", name);
}

static err exec_node(struct run *r, const struct node *n, struct scope *s) {
    struct value v;
    r->line = n->line;
    switch (n->kind) {
    case NODE_TEXT: return put_text(r, n->text);
    case NODE_OUTPUT: TRY(tpl_eval(r, n->a, s, &v)); return put_value(r, &v);
    case NODE_SET: return exec_set(r, n, s);
    case NODE_IF: return exec_if(r, n, s);
    case NODE_FOR: return exec_for(r, n, s);
    case NODE_MACRO: return exec_macro(r, n, s);
    case NODE_CALL_BLOCK: TRY(tpl_call_block(r, n, s, &v)); return put_value(r, &v);
    case NODE_FILTER_BLOCK: return exec_filter_block(r, n, s);
    case NODE_BREAK: return jump_out(r, JUMP_BREAK, "break");
    case NODE_CONTINUE: return jump_out(r, JUMP_CONTINUE, "continue");
    default: return TRY_FAIL("this is no statement");
    }
}

err tpl_exec(struct run *r, const struct node_list *body, struct scope *s) {
    TRY(tpl_run_enter(r));
    for (uint32_t i = 0; i < body->count; i++) {
        TRY(tpl_run_spend(r, 1));
        TRY(exec_node(r, body->items[i], s));
    }
    tpl_run_leave(r);
    return ERR_OK;
}

err tpl_exec_captured(struct run *r, const struct node_list *body, struct scope *s,
                      struct value *out) {
    size_t mark = r->out.length;
    TRY(tpl_exec(r, body, s));
    struct builder b;
    tpl_builder_init(&b, r);
    if (r->out.length > mark)
        tpl_builder_put(&b, (struct text){r->out.data + mark, (uint32_t)(r->out.length - mark)});
    r->out.length = mark;
    return tpl_builder_finish(&b, out);
}
