// SPDX-License-Identifier: MIT
/* tpl_parser_expr.c: see tpl_parser.h: expressions. */

#include <math.h>
#include <string.h>

#include "coordinator/template/tpl_number.h"
#include "coordinator/template/tpl_parser.h"
#include "coordinator/template/tpl_tests.h"

/* Levels of operators with two operands, loosest first. */
enum level { LEVEL_OR, LEVEL_AND, LEVEL_NOT, LEVEL_COMPARE, LEVEL_ADD, LEVEL_MUL, LEVEL_POW };

const char *tpl_op_name(enum node_op op) {
    static const char *const names[] = {
        [OP_NONE] = "", [OP_OR] = "or",        [OP_AND] = "and",  [OP_NOT] = "not",
        [OP_EQ] = "==", [OP_NE] = "!=",        [OP_LT] = "<",     [OP_GT] = ">",
        [OP_LE] = "<=", [OP_GE] = ">=",        [OP_IN] = "in",    [OP_NOT_IN] = "not in",
        [OP_ADD] = "+", [OP_SUB] = "-",        [OP_CONCAT] = "~", [OP_MUL] = "*",
        [OP_DIV] = "/", [OP_FLOOR_DIV] = "//", [OP_MOD] = "%",    [OP_POW] = "**",
    };
    return names[op];
}

/* ---- arguments ---- */

/* What an argument list has had so far: some orders are refused. */
struct argument_order {
    bool keyword, spread;
};

static err check_parameter(struct parser *p, const struct node_list *list, const struct node *n) {
    if (n->kind != NODE_NAME && n->kind != NODE_KEYWORD)
        return PARSE_FAIL(p, "a parameter must be a name");
    for (uint32_t i = 0; i < list->count; i++)
        if (tpl_text_equal(list->items[i]->text, n->text))
            return PARSE_FAIL(p, "two parameters have the same name");
    return ERR_OK;
}

static err parse_argument(struct parser *p, bool declaration, const struct node_list *list,
                          struct argument_order *order, struct node **out) {
    if (tpl_parser__is(p, TOKEN_MULTIPLICATIVE) && p->token->op == OP_MUL) {
        if (declaration || order->spread)
            return PARSE_FAIL(p, "* may stand once in a call, and not in a declaration");
        order->spread = true;
        TRY(tpl_parser__node(p, NODE_SPREAD, out));
        tpl_parser__next(p);
        return tpl_parser__expression(p, &(*out)->a);
    }
    TRY(tpl_parser__expression(p, out));
    struct node *n = *out;
    if (tpl_parser__is(p, TOKEN_EQUALS)) {
        if (n->kind != NODE_NAME) return PARSE_FAIL(p, "a name should stand before =");
        tpl_parser__next(p);
        n->kind = NODE_KEYWORD;
        TRY(tpl_parser__expression(p, &n->a));
    }
    if (declaration) TRY(check_parameter(p, list, n));
    if (n->kind != NODE_KEYWORD && (order->keyword || order->spread))
        return PARSE_FAIL(p, "an argument without a name stands behind one with a name or a *");
    order->keyword |= n->kind == NODE_KEYWORD;
    return ERR_OK;
}

err tpl_parser__arguments(struct parser *p, bool declaration, struct node_list *out) {
    struct argument_order order = {0};
    TRY(tpl_parser__expect(p, TOKEN_OPEN_PAREN, "("));
    while (!tpl_parser__is(p, TOKEN_CLOSE_PAREN)) {
        struct node *n;
        bool last = tpl_parser__is(p, TOKEN_POWER);
        if (last && declaration) return PARSE_FAIL(p, "** may not stand in a declaration");
        if (last) {
            TRY(tpl_parser__node(p, NODE_SPREAD_KEYWORDS, &n));
            tpl_parser__next(p);
            TRY(tpl_parser__expression(p, &n->a));
        } else {
            TRY(parse_argument(p, declaration, out, &order, &n));
        }
        TRY(tpl_parser__append(p, out, n));
        if (tpl_parser__is(p, TOKEN_COMMA)) tpl_parser__next(p);
        if (last) break;
    }
    return tpl_parser__expect(p, TOKEN_CLOSE_PAREN, ")");
}

/* ---- primaries and what follows them ---- */

static err parse_string(struct parser *p, struct node *n) {
    n->kind = NODE_STRING;
    n->text = p->token->text;
    tpl_parser__next(p);
    for (; tpl_parser__is(p, TOKEN_STRING); tpl_parser__next(p)) {
        struct text more = p->token->text;
        char *joined = tpl_arena_grow(p->arena, n->text.bytes, n->text.length, more.length);
        if (!joined) return PARSE_FAIL(p, "the template takes too much memory");
        memcpy(joined + n->text.length, more.bytes, more.length);
        n->text = (struct text){joined, n->text.length + more.length};
    }
    return ERR_OK;
}

/* The reference takes commas here as it finds them. */
static err parse_list(struct parser *p, struct node *n) {
    n->kind = NODE_LIST;
    tpl_parser__next(p);
    while (!tpl_parser__is(p, TOKEN_CLOSE_SQUARE)) {
        struct node *item;
        TRY(tpl_parser__expression(p, &item));
        TRY(tpl_parser__append(p, &n->args, item));
        if (tpl_parser__is(p, TOKEN_COMMA)) tpl_parser__next(p);
    }
    tpl_parser__next(p);
    return ERR_OK;
}

static err parse_dict(struct parser *p, struct node *n) {
    n->kind = NODE_DICT;
    tpl_parser__next(p);
    while (!tpl_parser__is(p, TOKEN_CLOSE_CURLY)) {
        struct node *key, *value;
        TRY(tpl_parser__expression(p, &key));
        TRY(tpl_parser__expect(p, TOKEN_COLON, ":"));
        TRY(tpl_parser__expression(p, &value));
        TRY(tpl_parser__append(p, &n->args, key));
        TRY(tpl_parser__append(p, &n->args, value));
        if (tpl_parser__is(p, TOKEN_COMMA)) tpl_parser__next(p);
    }
    tpl_parser__next(p);
    return ERR_OK;
}

err tpl_parser__primary(struct parser *p, struct node **out) {
    struct node *n;
    struct text text = p->token->text;
    TRY(tpl_parser__node(p, NODE_NAME, &n));
    *out = n;
    switch (p->token->kind) {
    case TOKEN_NUMBER:
        n->kind = tpl_text_find(text, TEXT("."), 0) == TEXT_NOT_FOUND ? NODE_INTEGER : NODE_FLOAT;
        n->number = tpl_number_of(text);
        tpl_parser__next(p);
        return ERR_OK;
    case TOKEN_STRING: return parse_string(p, n);
    case TOKEN_NAME: return tpl_parser__name(p, "a name", &n->text, &n->hash);
    case TOKEN_OPEN_SQUARE: return parse_list(p, n);
    case TOKEN_OPEN_CURLY: return parse_dict(p, n);
    case TOKEN_OPEN_PAREN:
        tpl_parser__next(p);
        if (tpl_parser__is(p, TOKEN_CLOSE_PAREN))
            n->kind = NODE_TUPLE;
        else
            TRY(tpl_parser__sequence(p, false, out));
        return tpl_parser__expect(p, TOKEN_CLOSE_PAREN, ")");
    default: return tpl_parser__expect(p, TOKEN_NAME, "an expression");
    }
}

/* What stands between [ and ]: a key, or up to three parts of a slice. */
static err parse_subscript(struct parser *p, struct node *n) {
    struct node *part = NULL;
    while (!tpl_parser__is(p, TOKEN_CLOSE_SQUARE)) {
        part = NULL;
        bool colon = tpl_parser__is(p, TOKEN_COLON);
        if (!colon) TRY(tpl_parser__expression(p, &part));
        TRY(tpl_parser__append(p, &n->args, part));
        if (tpl_parser__is(p, TOKEN_COLON)) {
            n->kind = NODE_SLICE;
            tpl_parser__next(p);
        }
    }
    tpl_parser__next(p);
    if (n->args.count == 0) return PARSE_FAIL(p, "[] needs an index");
    if (n->kind == NODE_SLICE && n->args.count > 3)
        return PARSE_FAIL(p, "a slice has at most three parts");
    n->b = n->args.items[0];
    return ERR_OK;
}

static err parse_attribute(struct parser *p, struct node *n) {
    struct node *name;
    n->kind = NODE_ATTRIBUTE;
    TRY(tpl_parser__primary(p, &name));
    if (name->kind != NODE_NAME && name->kind != NODE_INTEGER)
        return PARSE_FAIL(p, "a name or a whole number should stand behind the dot");
    n->text = name->text;
    n->hash = name->hash;
    if (name->kind == NODE_INTEGER) n->b = name;
    return ERR_OK;
}

static err parse_postfix(struct parser *p, struct node **out) {
    TRY(tpl_parser__primary(p, out));
    for (;;) {
        enum token_kind kind = p->token->kind;
        if (kind != TOKEN_DOT && kind != TOKEN_OPEN_SQUARE && kind != TOKEN_OPEN_PAREN)
            return ERR_OK;
        struct node *n;
        TRY(tpl_parser__node(p, NODE_INDEX, &n));
        n->a = *out;
        *out = n;
        if (kind == TOKEN_OPEN_PAREN) {
            n->kind = NODE_CALL;
            TRY(tpl_parser__arguments(p, false, &n->args));
            continue;
        }
        tpl_parser__next(p);
        TRY(kind == TOKEN_DOT ? parse_attribute(p, n) : parse_subscript(p, n));
    }
}

/* ---- operators ---- */

static err parse_signed(struct parser *p, struct node **out) {
    bool sign = tpl_parser__is(p, TOKEN_SIGN) ||
                (tpl_parser__is(p, TOKEN_ADDITIVE) && p->token->op != OP_CONCAT);
    if (!sign) return parse_postfix(p, out);
    TRY(tpl_parser__enter(p));
    TRY(tpl_parser__node(p, NODE_UNARY, out));
    (*out)->op = p->token->op;
    tpl_parser__next(p);
    TRY(parse_signed(p, &(*out)->a));
    p->depth--;
    return ERR_OK;
}

err tpl_parser__filter(struct parser *p, struct node *operand, struct node **out) {
    TRY(tpl_parser__node(p, NODE_FILTER, out));
    (*out)->a = operand;
    TRY(tpl_parser__name(p, "a filter's name", &(*out)->text, &(*out)->hash));
    (*out)->has_brackets = tpl_parser__is(p, TOKEN_OPEN_PAREN);
    return (*out)->has_brackets ? tpl_parser__arguments(p, false, &(*out)->args) : ERR_OK;
}

static err parse_filtered(struct parser *p, struct node **out) {
    TRY(parse_signed(p, out));
    while (tpl_parser__is(p, TOKEN_PIPE)) {
        tpl_parser__next(p);
        TRY(tpl_parser__filter(p, *out, out));
    }
    return ERR_OK;
}

/* True when the next token can be the argument of a test without brackets: `is divisibleby 3`. */
static bool at_bare_argument(const struct parser *p) {
    static const char *const operators[] = {"else", "or", "and", "if", "in", "not", "is", NULL};
    for (size_t i = 0; operators[i]; i++)
        if (tpl_parser__is_name(p, operators[i])) return false;
    enum token_kind k = p->token->kind;
    return k == TOKEN_NAME || k == TOKEN_STRING || k == TOKEN_NUMBER || k == TOKEN_OPEN_SQUARE ||
           k == TOKEN_OPEN_CURLY;
}

static err parse_tested(struct parser *p, struct node **out) {
    TRY(parse_filtered(p, out));
    while (tpl_parser__is_name(p, "is")) {
        struct node *n, *argument;
        TRY(tpl_parser__node(p, NODE_TEST, &n));
        n->a = *out;
        *out = n;
        tpl_parser__next(p);
        n->negated = tpl_parser__is_name(p, "not");
        if (n->negated) tpl_parser__next(p);
        TRY(tpl_parser__name(p, "a test's name", &n->text, &n->hash));
        if (tpl_parser__is(p, TOKEN_OPEN_PAREN)) {
            TRY(tpl_parser__arguments(p, false, &n->args));
        } else if (tpl_tests_takes_argument(n->text) && at_bare_argument(p)) {
            TRY(parse_postfix(p, &argument));
            TRY(tpl_parser__append(p, &n->args, argument));
        }
    }
    return ERR_OK;
}

/* The operator of this level that is next, passed over; OP_NONE when there is none. */
static enum node_op take_operator(struct parser *p, enum level level) {
    static const enum token_kind kinds[] = {[LEVEL_COMPARE] = TOKEN_COMPARISON,
                                            [LEVEL_ADD] = TOKEN_ADDITIVE,
                                            [LEVEL_MUL] = TOKEN_MULTIPLICATIVE,
                                            [LEVEL_POW] = TOKEN_POWER};
    enum node_op op = OP_NONE;
    if (level >= LEVEL_COMPARE && tpl_parser__is(p, kinds[level])) op = p->token->op;
    if (level == LEVEL_OR && tpl_parser__is_name(p, "or")) op = OP_OR;
    if (level == LEVEL_AND && tpl_parser__is_name(p, "and")) op = OP_AND;
    if (level == LEVEL_COMPARE && tpl_parser__is_name(p, "in")) op = OP_IN;
    bool not_in = level == LEVEL_COMPARE && tpl_parser__is_name(p, "not") &&
                  p->token[1].kind == TOKEN_NAME && tpl_text_is(p->token[1].text, "in");
    if (not_in) {
        tpl_parser__next(p);
        op = OP_NOT_IN;
    }
    if (op != OP_NONE) tpl_parser__next(p);
    return op;
}

static err parse_binary(struct parser *p, enum level level, struct node **out) {
    if (level > LEVEL_POW) return parse_tested(p, out);
    if (level == LEVEL_NOT && tpl_parser__is_name(p, "not")) {
        TRY(tpl_parser__enter(p));
        TRY(tpl_parser__node(p, NODE_UNARY, out));
        (*out)->op = OP_NOT;
        tpl_parser__next(p);
        TRY(parse_binary(p, LEVEL_NOT, &(*out)->a));
        p->depth--;
        return ERR_OK;
    }
    TRY(parse_binary(p, level + 1, out));
    enum node_op op;
    while ((op = take_operator(p, level)) != OP_NONE) {
        struct node *n;
        TRY(tpl_parser__node(p, NODE_BINARY, &n));
        n->op = op;
        n->a = *out;
        TRY(parse_binary(p, level + 1, &n->b));
        *out = n;
    }
    return ERR_OK;
}

/* `a if b else c`, in a loop along the else. */
err tpl_parser__expression(struct parser *p, struct node **out) {
    TRY(tpl_parser__enter(p));
    for (;;) {
        TRY(parse_binary(p, LEVEL_OR, out));
        if (!tpl_parser__is_name(p, "if")) break;
        struct node *n, *value = *out;
        TRY(tpl_parser__node(p, NODE_SELECT, &n));
        *out = n;
        tpl_parser__next(p);
        struct node *test;
        TRY(parse_binary(p, LEVEL_OR, &test));
        if (!tpl_parser__is_name(p, "else")) {
            n->a = value;
            n->b = test;
            break;
        }
        tpl_parser__next(p);
        n->kind = NODE_TERNARY;
        n->a = test;
        n->b = value;
        out = &n->c;
    }
    p->depth--;
    return ERR_OK;
}

err tpl_parser__sequence(struct parser *p, bool primaries, struct node **out) {
    err (*parse)(struct parser *, struct node **) =
        primaries ? tpl_parser__primary : tpl_parser__expression;
    struct node *tuple;
    TRY(tpl_parser__enter(p));
    TRY(parse(p, out));
    if (tpl_parser__is(p, TOKEN_COMMA)) {
        TRY(tpl_parser__node(p, NODE_TUPLE, &tuple));
        TRY(tpl_parser__append(p, &tuple->args, *out));
        while (tpl_parser__is(p, TOKEN_COMMA)) {
            struct node *item;
            tpl_parser__next(p);
            // A comma may end a tuple: (a,)
            if (tpl_parser__is(p, TOKEN_CLOSE_PAREN)) break;
            TRY(parse(p, &item));
            TRY(tpl_parser__append(p, &tuple->args, item));
        }
        *out = tuple;
    }
    p->depth--;
    return ERR_OK;
}
