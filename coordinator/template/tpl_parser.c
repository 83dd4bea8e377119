// SPDX-License-Identifier: MIT
/* tpl_parser.c: see tpl_parser.h: statements. */

#include "coordinator/template/tpl_parser.h"

#include <string.h>

#include "coordinator/template/template.h"

/* ---- what both files use ---- */

err tpl_parser__at(uint32_t line, err e) {
    return error_prefix(e, "line %u", line);
}

err tpl_parser__enter(struct parser *p) {
    if (++p->depth > TEMPLATE_MAX_NESTING)
        return PARSE_FAIL(p, "brackets and blocks are nested deeper than %d", TEMPLATE_MAX_NESTING);
    return ERR_OK;
}

err tpl_parser__node(struct parser *p, enum node_kind kind, struct node **out) {
    struct node *n = *out = tpl_arena_alloc(p->arena, 1, sizeof *n);
    if (!n) return PARSE_FAIL(p, "the template takes too much memory");
    n->kind = kind;
    n->line = p->token->line;
    return ERR_OK;
}

/* Capacity is the next power of two, so it need not be kept. */
err tpl_parser__append(struct parser *p, struct node_list *list, struct node *item) {
    if ((list->count & (list->count - 1)) == 0) {
        size_t capacity = list->count ? 2 * (size_t)list->count : 1;
        struct node **items = tpl_arena_alloc(p->arena, capacity, sizeof *items);
        if (!items) return PARSE_FAIL(p, "the template takes too much memory");
        if (list->count) memcpy(items, list->items, list->count * sizeof *items);
        list->items = items;
    }
    list->items[list->count++] = item;
    return ERR_OK;
}

bool tpl_parser__is(const struct parser *p, enum token_kind kind) {
    return p->token->kind == kind;
}

bool tpl_parser__is_name(const struct parser *p, const char *name) {
    return p->token->kind == TOKEN_NAME && tpl_text_is(p->token->text, name);
}

void tpl_parser__next(struct parser *p) {
    if (tpl_parser__is_name(p, "kwargs")) p->keywords_seen++;
    if (tpl_parser__is_name(p, "varargs")) p->varargs_seen++;
    if (p->token->kind != TOKEN_END) p->token++;
}

err tpl_parser__expect(struct parser *p, enum token_kind kind, const char *what) {
    if (!tpl_parser__is(p, kind)) {
        if (tpl_parser__is(p, TOKEN_END))
            return PARSE_FAIL(p, "the template ends where %s should stand", what);
        return PARSE_FAIL(p, "%s should stand here", what);
    }
    tpl_parser__next(p);
    return ERR_OK;
}

err tpl_parser__name(struct parser *p, const char *what, struct text *name, uint32_t *hash) {
    *name = p->token->text;
    *hash = tpl_hash(*name);
    return tpl_parser__expect(p, TOKEN_NAME, what);
}

uint32_t tpl_hash(struct text t) {
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < t.length; i++) hash = (hash ^ (uint8_t)t.bytes[i]) * 16777619u;
    return hash;
}

/* ---- statements ---- */

static err parse_any(struct parser *p, struct node_list *out);

/* True before {% with one of the names. */
static bool at_statement(const struct parser *p, const char *const names[]) {
    if (p->token->kind != TOKEN_OPEN_STATEMENT) return false;
    for (size_t i = 0; names[i]; i++) {
        const struct token *t = p->token + 1;
        if (t->kind == TOKEN_NAME && tpl_text_is(t->text, names[i])) return true;
    }
    return false;
}

/* The statements up to a tag of `ends`; the {% of it is passed, its name is next. */
static err parse_body(struct parser *p, const char *const ends[], struct node_list *out) {
    TRY(tpl_parser__enter(p));
    uint32_t line = p->token[-1].line; // of the tag that opened the block
    while (!at_statement(p, ends)) {
        if (tpl_parser__is(p, TOKEN_END))
            return tpl_parser__at(line, FAIL(ERR_MODEL, "this block has no {%% %s %%}", ends[0]));
        TRY(parse_any(p, out));
    }
    tpl_parser__next(p);
    p->depth--;
    return ERR_OK;
}

static err close_tag(struct parser *p) {
    return tpl_parser__expect(p, TOKEN_CLOSE_STATEMENT, "%}");
}

/* The name of a tag that parse_body found, and its end. */
static err end_block(struct parser *p) {
    tpl_parser__next(p);
    return close_tag(p);
}

static err parse_set(struct parser *p, struct node *n) {
    static const char *const ends[] = {"endset", NULL};
    n->kind = NODE_SET;
    TRY(tpl_parser__sequence(p, false, &n->a));
    if (tpl_parser__is(p, TOKEN_EQUALS)) {
        tpl_parser__next(p);
        TRY(tpl_parser__sequence(p, false, &n->b));
        return close_tag(p);
    }
    TRY(close_tag(p));
    TRY(parse_body(p, ends, &n->body));
    return end_block(p);
}

/* A chain of elif is parsed in a loop, each in the `other` of the one before. */
static err parse_if(struct parser *p, struct node *n) {
    static const char *const branches[] = {"endif", "elif", "else", NULL};
    static const char *const ends[] = {"endif", NULL};
    for (;;) {
        n->kind = NODE_IF;
        TRY(tpl_parser__expression(p, &n->a));
        TRY(close_tag(p));
        TRY(parse_body(p, branches, &n->body));
        if (!tpl_parser__is_name(p, "elif")) break;
        tpl_parser__next(p);
        struct node *next;
        TRY(tpl_parser__node(p, NODE_IF, &next));
        TRY(tpl_parser__append(p, &n->other, next));
        n = next;
    }
    if (tpl_parser__is_name(p, "else")) {
        TRY(end_block(p));
        TRY(parse_body(p, ends, &n->other));
    }
    return end_block(p);
}

static err parse_for(struct parser *p, struct node *n) {
    static const char *const branches[] = {"endfor", "else", NULL};
    static const char *const ends[] = {"endfor", NULL};
    n->kind = NODE_FOR;
    TRY(tpl_parser__sequence(p, true, &n->a));
    if (n->a->kind != NODE_NAME && n->a->kind != NODE_TUPLE)
        return PARSE_FAIL(p, "a for loop needs a name, or names with commas, before its `in`");
    if (!tpl_parser__is_name(p, "in")) return PARSE_FAIL(p, "`in` should stand here");
    tpl_parser__next(p);
    TRY(tpl_parser__expression(p, &n->b));
    TRY(close_tag(p));
    TRY(parse_body(p, branches, &n->body));
    if (tpl_parser__is_name(p, "else")) {
        TRY(end_block(p));
        TRY(parse_body(p, ends, &n->other));
    }
    return end_block(p);
}

/* The body of a macro or of a call block, and whether it looks at surplus arguments. */
static err parse_macro_body(struct parser *p, struct node *n, const char *const ends[]) {
    uint32_t keywords = p->keywords_seen, varargs = p->varargs_seen;
    TRY(close_tag(p));
    TRY(parse_body(p, ends, &n->body));
    n->wants_keywords = p->keywords_seen != keywords;
    n->wants_varargs = p->varargs_seen != varargs;
    for (uint32_t i = 0; i < n->args.count; i++) {
        if (tpl_text_is(n->args.items[i]->text, "kwargs")) n->wants_keywords = false;
        if (tpl_text_is(n->args.items[i]->text, "varargs")) n->wants_varargs = false;
    }
    return end_block(p);
}

static err parse_macro(struct parser *p, struct node *n) {
    static const char *const ends[] = {"endmacro", NULL};
    n->kind = NODE_MACRO;
    TRY(tpl_parser__name(p, "the macro's name", &n->text, &n->hash));
    TRY(tpl_parser__arguments(p, true, &n->args));
    return parse_macro_body(p, n, ends);
}

static err parse_call(struct parser *p, struct node *n) {
    static const char *const ends[] = {"endcall", NULL};
    n->kind = NODE_CALL_BLOCK;
    if (tpl_parser__is(p, TOKEN_OPEN_PAREN)) TRY(tpl_parser__arguments(p, true, &n->args));
    TRY(tpl_parser__node(p, NODE_CALL, &n->a));
    TRY(tpl_parser__primary(p, &n->a->a));
    if (n->a->a->kind != NODE_NAME) return PARSE_FAIL(p, "a call block needs a macro's name");
    TRY(tpl_parser__arguments(p, false, &n->a->args));
    return parse_macro_body(p, n, ends);
}

static err parse_filter_block(struct parser *p, struct node *n) {
    static const char *const ends[] = {"endfilter", NULL};
    n->kind = NODE_FILTER_BLOCK;
    TRY(tpl_parser__filter(p, NULL, &n->a));
    TRY(close_tag(p));
    TRY(parse_body(p, ends, &n->body));
    return end_block(p);
}

static err parse_break(struct parser *p, struct node *n) {
    n->kind = NODE_BREAK;
    return close_tag(p);
}

static err parse_continue(struct parser *p, struct node *n) {
    n->kind = NODE_CONTINUE;
    return close_tag(p);
}

static const struct {
    const char *name;
    err (*parse)(struct parser *p, struct node *n);
} statements[] = {
    {"set", parse_set},     {"if", parse_if},
    {"for", parse_for},     {"macro", parse_macro},
    {"call", parse_call},   {"filter", parse_filter_block},
    {"break", parse_break}, {"continue", parse_continue},
};

static err parse_statement(struct parser *p, struct node_list *out) {
    struct node *n;
    TRY(tpl_parser__node(p, NODE_TEXT, &n));
    tpl_parser__next(p);
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (!tpl_parser__is_name(p, statements[i].name)) continue;
        tpl_parser__next(p);
        TRY(statements[i].parse(p, n));
        return tpl_parser__append(p, out, n);
    }
    struct text name = p->token->text;
    return PARSE_FAIL(p, "there is no statement {%% %.*s %%}", TEXT_SHOWN(name));
}

static err parse_any(struct parser *p, struct node_list *out) {
    struct node *n;
    switch (p->token->kind) {
    case TOKEN_COMMENT: tpl_parser__next(p); return ERR_OK;
    case TOKEN_TEXT:
        TRY(tpl_parser__node(p, NODE_TEXT, &n));
        n->text = p->token->text;
        tpl_parser__next(p);
        return tpl_parser__append(p, out, n);
    case TOKEN_OPEN_OUTPUT:
        TRY(tpl_parser__node(p, NODE_OUTPUT, &n));
        tpl_parser__next(p);
        TRY(tpl_parser__expression(p, &n->a));
        TRY(tpl_parser__expect(p, TOKEN_CLOSE_OUTPUT, "}}"));
        return tpl_parser__append(p, out, n);
    case TOKEN_OPEN_STATEMENT: return parse_statement(p, out);
    default: return PARSE_FAIL(p, "text, {{ or {%% should stand here");
    }
}

err tpl_parser_run(struct node_list *out, struct tpl_arena *a, const struct token *tokens) {
    struct parser p = {.arena = a, .token = tokens};
    while (p.token->kind != TOKEN_END) TRY(parse_any(&p, out));
    return ERR_OK;
}
