/* tpl_lexer.h: source text → tokens.
 *
 *   source ─► tpl_source (trim_blocks, lstrip_blocks, generation tags) ─► tpl_lexer ─► tokens
 *
 * Both follow the reference's lexer, oddities included: a sign belongs to the number after it where
 * no operand stands before it, and tags are cut out wherever they stand, in strings too.  Local. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TPL_LEXER_H
#define COORDINATOR_TPL_LEXER_H

#include "common/error.h"
#include "coordinator/template/tpl_arena.h"
#include "coordinator/template/tpl_ast.h"

enum token_kind {
    TOKEN_END,
    TOKEN_TEXT,
    TOKEN_NUMBER, // text as written, perhaps with a sign
    TOKEN_STRING, // text without quotes, escapes resolved
    TOKEN_NAME,
    TOKEN_OPEN_STATEMENT,
    TOKEN_CLOSE_STATEMENT,
    TOKEN_OPEN_OUTPUT,
    TOKEN_CLOSE_OUTPUT,
    TOKEN_COMMENT,
    TOKEN_SIGN,     // op: OP_ADD or OP_SUB, where no operand stands before it
    TOKEN_ADDITIVE, // the rest with op: their precedence is in the parser
    TOKEN_MULTIPLICATIVE,
    TOKEN_POWER,
    TOKEN_COMPARISON,
    TOKEN_EQUALS,
    TOKEN_OPEN_PAREN,
    TOKEN_CLOSE_PAREN,
    TOKEN_OPEN_SQUARE,
    TOKEN_CLOSE_SQUARE,
    TOKEN_OPEN_CURLY,
    TOKEN_CLOSE_CURLY,
    TOKEN_COMMA,
    TOKEN_DOT,
    TOKEN_COLON,
    TOKEN_PIPE,
};

struct token {
    enum token_kind kind;
    enum node_op op;
    uint32_t line;
    struct text text;
};

/* A prepared source: lines[i] is the line of bytes[i] in the template as it was written. */
struct tpl_source {
    char *bytes;
    uint32_t *lines;
    uint32_t length;
};

/* Prepares source[0..n) (valid UTF-8).  ERR_MEMORY when the arena is full. */
MUST_USE err tpl_source_prepare(struct tpl_source *out, struct tpl_arena *a, const char *source,
                                size_t n);
/* *tokens in the arena, the last one is TOKEN_END.  ERR_MODEL with line and sentence. */
MUST_USE err tpl_lexer_run(struct token **tokens, struct tpl_arena *a, const struct tpl_source *s);

#endif
