/* tpl_ast.h: a parsed template: one tree of nodes.  Made by the parser, never changed after. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TPL_AST_H
#define COORDINATOR_TPL_AST_H

#include "coordinator/template/tpl_arena.h"
#include "coordinator/template/tpl_text.h"

enum node_kind {
    /* Statements */
    NODE_TEXT,         // text
    NODE_OUTPUT,       // a
    NODE_SET,          // a: target; b: value, or body
    NODE_IF,           // a: test; body; other (an elif is the only node of it)
    NODE_FOR,          // a: target; b: iterable (NODE_SELECT: with a filter); body; other: else
    NODE_MACRO,        // text; args: parameters; body; wants_*
    NODE_CALL_BLOCK,   // a: call; args: parameters of caller(); body; wants_*
    NODE_FILTER_BLOCK, // a: NODE_FILTER without operand; body
    NODE_BREAK,
    NODE_CONTINUE,
    /* Expressions */
    NODE_INTEGER,         // number
    NODE_FLOAT,           // number
    NODE_STRING,          // text
    NODE_NAME,            // text
    NODE_LIST,            // args
    NODE_TUPLE,           // args
    NODE_DICT,            // args: key, value, key, value, …
    NODE_UNARY,           // op; a
    NODE_BINARY,          // op; a, b
    NODE_TERNARY,         // a: test; b: then; c: else
    NODE_SELECT,          // a: value; b: test (no else: undefined)
    NODE_ATTRIBUTE,       // a: object; text (NODE_INTEGER in b for object.0)
    NODE_INDEX,           // a: object; b: key
    NODE_SLICE,           // a: object; args: begin, end, step, each may be NULL
    NODE_CALL,            // a: callee; args
    NODE_FILTER,          // a: operand; text: name; args; has_brackets
    NODE_TEST,            // a: operand; text: name; args; negated
    NODE_KEYWORD,         // an argument: text: name; a: value (parameters: default)
    NODE_SPREAD,          // an argument: *a
    NODE_SPREAD_KEYWORDS, // an argument: **a
};

enum node_op {
    OP_NONE,
    OP_OR,
    OP_AND,
    OP_NOT,
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_GT,
    OP_LE,
    OP_GE,
    OP_IN,
    OP_NOT_IN,
    OP_ADD,
    OP_SUB,
    OP_CONCAT,
    OP_MUL,
    OP_DIV,
    OP_FLOOR_DIV,
    OP_MOD,
    OP_POW,
};

struct node_list {
    struct node **items;
    uint32_t count;
};

struct node {
    enum node_kind kind;
    enum node_op op;
    uint32_t line;
    uint32_t hash; // of text, for look-ups
    bool negated, has_brackets;
    bool wants_keywords, wants_varargs; // the body uses `kwargs`, `varargs`
    struct text text;
    double number;
    struct node *a, *b, *c;
    struct node_list args, body, other;
};

/* As it is written, for messages: "+", "not in". */
const char *tpl_op_name(enum node_op op);

#endif
