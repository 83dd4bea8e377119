/* tpl_eval.h: evaluation of a tree over scopes: what the evaluator's files share.
 *
 *   tpl_statements ─► tpl_eval ─► tpl_operators, tpl_calls ─► tpl_filters…, tpl_tests,
 * tpl_methods…, ▲               │                   │                tpl_globals
 *         └───────────────┴── macros ─────────┘
 *
 * Every function returns an error value and stops at the bounds of struct run.  A break or continue
 * travels to its loop as an error with run.jump set, as it travels as an exception in the
 * reference. Local. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TPL_EVAL_H
#define COORDINATOR_TPL_EVAL_H

#include "coordinator/template/tpl_value.h"

/* ---- tpl_eval.c ---- */

MUST_USE err tpl_eval(struct run *r, const struct node *n, struct scope *s, struct value *out);
MUST_USE err tpl_scope_create(struct run *r, struct scope *parent, struct scope **out);
MUST_USE err tpl_scope_set(struct run *r, struct scope *s, struct text name, struct value v);
/* object.key and object[key]; undefined when it is not there. */
MUST_USE err tpl_member(struct run *r, const struct value *object, const struct value *key,
                        struct value *out);
/* The value at a path like "function.name" or "items.0". */
MUST_USE err tpl_member_path(struct run *r, const struct value *object, struct text path,
                             struct value *out);

/* ---- tpl_statements.c ---- */

/* Renders into run.out. */
MUST_USE err tpl_exec(struct run *r, const struct node_list *body, struct scope *s);
/* Renders into a string. */
MUST_USE err tpl_exec_captured(struct run *r, const struct node_list *body, struct scope *s,
                               struct value *out);

/* ---- tpl_operators.c ---- */

MUST_USE err tpl_binary(struct run *r, enum node_op op, const struct value *a,
                        const struct value *b, struct value *out);
MUST_USE err tpl_negate(const struct value *v, enum node_op sign, struct value *out);
MUST_USE err tpl_slice(struct run *r, const struct value *object, const struct value parts[3],
                       struct value *out);

/* ---- tpl_calls.c ---- */

MUST_USE err tpl_args_read(struct run *r, const struct node_list *list, struct scope *s,
                           struct args *out);
/* The i-th argument or the one with that name; NULL when it was not given. */
const struct value *tpl_args_get(struct run *r, const struct args *a, uint32_t i, const char *name);
/* `s` is the scope of the caller, which a macro's body sees. */
MUST_USE err tpl_call(struct run *r, const struct value *function, const struct args *a,
                      struct scope *s, struct value *out);
/* A call expression: methods that only a call can reach are found here. */
MUST_USE err tpl_call_node(struct run *r, const struct node *n, struct scope *s, struct value *out);
MUST_USE err tpl_call_block(struct run *r, const struct node *n, struct scope *s,
                            struct value *out);

#endif
