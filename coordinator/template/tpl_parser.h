/* tpl_parser.h: tokens → tree.  Recursive descent with a depth limit; precedence as the
 * reference's:
 *
 *   a if b else c  <  or  <  and  <  not  <  == != < > <= >= in, not in  <  + - ~  <  * / // %
 *   <  **  <  is TEST  <  | FILTER  <  signs  <  . [] ()
 *
 * tpl_parser.c has the statements, tpl_parser_expr.c the expressions.  Local. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TPL_PARSER_H
#define COORDINATOR_TPL_PARSER_H

#include "common/error.h"
#include "coordinator/template/tpl_lexer.h"

struct parser {
    struct tpl_arena *arena;
    const struct token *token; // the next one; the last is TOKEN_END
    uint32_t depth;
    uint32_t keywords_seen, varargs_seen; // names `kwargs` and `varargs` read so far
};

/* The statements of a template, in the arena.  ERR_MODEL with line and sentence. */
MUST_USE err tpl_parser_run(struct node_list *out, struct tpl_arena *a, const struct token *tokens);

/* ---- between the two files ---- */

#define PARSE_FAIL(p, ...) tpl_parser__at((p)->token->line, FAIL(ERR_MODEL, __VA_ARGS__))
MUST_USE err tpl_parser__at(uint32_t line, err e);
MUST_USE err tpl_parser__enter(struct parser *p);
MUST_USE err tpl_parser__node(struct parser *p, enum node_kind kind, struct node **out);
MUST_USE err tpl_parser__append(struct parser *p, struct node_list *list, struct node *item);
/* True when the next token is of this kind (is this name). */
bool tpl_parser__is(const struct parser *p, enum token_kind kind);
bool tpl_parser__is_name(const struct parser *p, const char *name);
void tpl_parser__next(struct parser *p);
/* Passes over a token; `what` is for the message: "expected %} …". */
MUST_USE err tpl_parser__expect(struct parser *p, enum token_kind kind, const char *what);
MUST_USE err tpl_parser__name(struct parser *p, const char *what, struct text *name,
                              uint32_t *hash);

MUST_USE err tpl_parser__expression(struct parser *p, struct node **out);
MUST_USE err tpl_parser__primary(struct parser *p, struct node **out);
/* a, b, c is a tuple; of expressions, or of primaries as a loop's target. */
MUST_USE err tpl_parser__sequence(struct parser *p, bool primaries, struct node **out);
/* "(" … ")", of a call or of a declaration. */
MUST_USE err tpl_parser__arguments(struct parser *p, bool declaration, struct node_list *out);
/* NAME or NAME(arguments), behind a | or in a filter block. */
MUST_USE err tpl_parser__filter(struct parser *p, struct node *operand, struct node **out);

/* FNV-1a of a name. */
uint32_t tpl_hash(struct text t);

#endif
