// SPDX-License-Identifier: MIT
/* tpl_lexer.c: see tpl_lexer.h.  One pass; what a byte means depends on the token before it. */

#include "coordinator/template/tpl_lexer.h"

#include <string.h>

struct lexer {
    struct tpl_arena *arena;
    struct text source;
    const uint32_t *lines;
    uint32_t at;
    uint32_t curly_depth; // of { in this output: its }} then closes no tag
    struct token *tokens;
    size_t count, capacity;
};

/* In the order in which they are tried. */
static const struct {
    char spelling[3];
    enum token_kind kind;
    enum node_op op;
} symbols[] = {
    {"{%", TOKEN_OPEN_STATEMENT, 0},
    {"%}", TOKEN_CLOSE_STATEMENT, 0},
    {"{{", TOKEN_OPEN_OUTPUT, 0},
    {"}}", TOKEN_CLOSE_OUTPUT, 0},
    {"(", TOKEN_OPEN_PAREN, 0},
    {")", TOKEN_CLOSE_PAREN, 0},
    {"{", TOKEN_OPEN_CURLY, 0},
    {"}", TOKEN_CLOSE_CURLY, 0},
    {"[", TOKEN_OPEN_SQUARE, 0},
    {"]", TOKEN_CLOSE_SQUARE, 0},
    {",", TOKEN_COMMA, 0},
    {".", TOKEN_DOT, 0},
    {":", TOKEN_COLON, 0},
    {"|", TOKEN_PIPE, 0},
    {"<=", TOKEN_COMPARISON, OP_LE},
    {">=", TOKEN_COMPARISON, OP_GE},
    {"==", TOKEN_COMPARISON, OP_EQ},
    {"!=", TOKEN_COMPARISON, OP_NE},
    {"<", TOKEN_COMPARISON, OP_LT},
    {">", TOKEN_COMPARISON, OP_GT},
    {"+", TOKEN_ADDITIVE, OP_ADD},
    {"-", TOKEN_ADDITIVE, OP_SUB},
    {"~", TOKEN_ADDITIVE, OP_CONCAT},
    {"**", TOKEN_POWER, OP_POW},
    {"*", TOKEN_MULTIPLICATIVE, OP_MUL},
    {"//", TOKEN_MULTIPLICATIVE, OP_FLOOR_DIV},
    {"/", TOKEN_MULTIPLICATIVE, OP_DIV},
    {"%", TOKEN_MULTIPLICATIVE, OP_MOD},
    {"=", TOKEN_EQUALS, 0},
};

static uint32_t line_of(const struct lexer *l, uint32_t at) {
    if (l->source.length == 0) return 1;
    return l->lines[at < l->source.length ? at : l->source.length - 1];
}

#define FAIL_AT(l, at, ...) fail_at(line_of(l, at), FAIL(ERR_MODEL, __VA_ARGS__))

static err fail_at(uint32_t line, err e) {
    return error_prefix(e, "line %u", line);
}

static bool sees(const struct lexer *l, const char *s) {
    return tpl_text_begins(tpl_text_part(l->source, l->at, l->source.length), tpl_text_of(s));
}

/* The byte at `ahead`, NUL beyond the end. */
static char peek(const struct lexer *l, uint32_t ahead) {
    return ahead < l->source.length - l->at ? l->source.bytes[l->at + ahead] : '\0';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_word(char c) {
    return is_digit(c) || c == '_' || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static enum token_kind last_kind(const struct lexer *l) {
    return l->count ? l->tokens[l->count - 1].kind : TOKEN_END;
}

static err push(struct lexer *l, enum token_kind kind, enum node_op op, uint32_t at,
                struct text text) {
    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? 2 * l->capacity : 64;
        struct token *tokens = tpl_arena_alloc(l->arena, capacity, sizeof *tokens);
        if (!tokens) return FAIL_AT(l, at, "the template takes too much memory");
        if (l->count) memcpy(tokens, l->tokens, l->count * sizeof *tokens);
        l->tokens = tokens;
        l->capacity = capacity;
    }
    l->tokens[l->count++] =
        (struct token){.kind = kind, .op = op, .line = line_of(l, at), .text = text};
    return ERR_OK;
}

/* ---- white space around tags ---- */

static void strip_text_before(struct lexer *l) {
    if (last_kind(l) != TOKEN_TEXT) return;
    struct text *t = &l->tokens[l->count - 1].text;
    *t = tpl_text_trim(*t, false, true);
    if (t->length == 0) l->count--;
}

static void skip_space(struct lexer *l) {
    uint32_t n;
    while ((n = tpl_text_space_at(l->source, l->at)) > 0) l->at += n;
}

/* ---- text and comments ---- */

static err read_text(struct lexer *l, bool *found) {
    uint32_t begin = l->at, end = begin;
    const char *s = l->source.bytes;
    for (; end < l->source.length; end++) {
        char next = end + 1 < l->source.length ? s[end + 1] : '\0';
        if (s[end] == '{' && (next == '%' || next == '{' || next == '#')) break;
    }
    *found = end > begin;
    l->at = end;
    if (!*found) return ERR_OK;
    return push(l, TOKEN_TEXT, OP_NONE, begin, tpl_text_part(l->source, begin, end));
}

static err read_comment(struct lexer *l) {
    uint32_t begin = l->at, at = begin + 2;
    bool strip = at < l->source.length && l->source.bytes[at] == '-';
    at += strip;
    uint32_t end = tpl_text_find(l->source, TEXT("#}"), at);
    if (end == TEXT_NOT_FOUND) return FAIL_AT(l, begin, "the comment {# has no end #}");
    if (strip) strip_text_before(l);
    TRY(push(l, TOKEN_COMMENT, OP_NONE, begin, (struct text){0}));
    l->at = end + 2;
    if (end > at && l->source.bytes[end - 1] == '-') skip_space(l);
    return ERR_OK;
}

/* ---- literals ---- */

/* The value of n hexadecimal digits, or UINT32_MAX. */
static uint32_t read_hex(struct lexer *l, uint32_t n) {
    uint32_t value = 0;
    for (uint32_t i = 0; i < n; i++) {
        char c = peek(l, i), low = c | 0x20;
        if (!is_digit(c) && (low < 'a' || low > 'f')) return UINT32_MAX;
        value = value << 4 | (uint32_t)(is_digit(c) ? c - '0' : low - 'a' + 10);
    }
    l->at += n;
    return value;
}

/* \ud83d\ude00 is one character. */
static void join_pair(const char *first, char **out) {
    uint32_t n = (uint32_t)(*out - first);
    struct text whole = {first, n};
    char pair[4];
    if (n < 6 ||
        !tpl_text_joins(tpl_text_part(whole, 0, n - 3), tpl_text_part(whole, n - 3, n), pair))
        return;
    memcpy(*out - 6, pair, 4);
    *out -= 2;
}

/* One escape behind the backslash; an unknown one stands for itself, as in Python. */
static err read_escape(struct lexer *l, char **out) {
    static const char from[] = "ntrbfva'\"\\", to[] = "\n\t\r\b\f\v\a'\"\\";
    char c = peek(l, 0);
    const char *known = c ? strchr(from, c) : NULL;
    if (c == 'x' || c == 'u') {
        l->at++;
        uint32_t value = read_hex(l, c == 'x' ? 2 : 4);
        if (value == UINT32_MAX)
            return FAIL_AT(l, l->at, "\\%c wants %d hexadecimal digits", c, c == 'x' ? 2 : 4);
        *out += tpl_text_encode(value, *out);
        return ERR_OK;
    }
    if (!known) *(*out)++ = '\\';
    *(*out)++ = known ? to[known - from] : c;
    l->at++;
    return ERR_OK;
}

static err read_string(struct lexer *l) {
    uint32_t begin = l->at++;
    char quote = l->source.bytes[begin], *out = NULL, *end;
    const char *first = l->source.bytes + l->at;
    // Without an escape the string is a part of the source.
    while (l->at < l->source.length && peek(l, 0) != quote && peek(l, 0) != '\\') l->at++;
    uint32_t plain = l->at - begin - 1;
    if (peek(l, 0) == '\\') {
        uint32_t most = l->at;
        while (most < l->source.length && l->source.bytes[most] != quote)
            most += l->source.bytes[most] == '\\' ? 2 : 1;
        out = tpl_arena_alloc(l->arena, (size_t)(most - begin) + 2, 1);
        if (!out) return FAIL_AT(l, begin, "the template takes too much memory");
        memcpy(out, first, plain);
        end = out + plain;
        while (l->at < l->source.length && peek(l, 0) != quote) {
            if (peek(l, 0) == '\\') {
                l->at++;
                if (l->at < l->source.length) TRY(read_escape(l, &end));
                join_pair(out, &end);
            } else {
                *end++ = l->source.bytes[l->at++];
            }
        }
        first = out;
        plain = (uint32_t)(end - out);
    }
    if (l->at >= l->source.length) return FAIL_AT(l, begin, "the string has no closing %c", quote);
    l->at++;
    return push(l, TOKEN_STRING, OP_NONE, begin, (struct text){first, plain});
}

/* Digits, and a fraction where one may stand. */
static void skip_number(struct lexer *l, bool fraction) {
    while (is_digit(peek(l, 0))) l->at++;
    if (!fraction || peek(l, 0) != '.' || !is_digit(peek(l, 1))) return;
    l->at++;
    while (is_digit(peek(l, 0))) l->at++;
}

static err read_number(struct lexer *l) {
    uint32_t begin = l->at;
    skip_number(l, last_kind(l) != TOKEN_DOT); // a.0.1 are two look-ups
    return push(l, TOKEN_NUMBER, OP_NONE, begin, tpl_text_part(l->source, begin, l->at));
}

static err read_word(struct lexer *l) {
    uint32_t begin = l->at;
    while (is_word(peek(l, 0))) l->at++;
    return push(l, TOKEN_NAME, OP_NONE, begin, tpl_text_part(l->source, begin, l->at));
}

/* ---- symbols ---- */

static bool follows_operand(const struct lexer *l) {
    enum token_kind k = last_kind(l);
    return k == TOKEN_NAME || k == TOKEN_NUMBER || k == TOKEN_STRING || k == TOKEN_CLOSE_PAREN ||
           k == TOKEN_CLOSE_SQUARE;
}

/* A sign with no operand before it, alone or with its number. */
static err read_sign(struct lexer *l) {
    uint32_t begin = l->at++;
    enum node_op op = l->source.bytes[begin] == '-' ? OP_SUB : OP_ADD;
    if (!is_digit(peek(l, 0))) return push(l, TOKEN_SIGN, op, begin, (struct text){0});
    skip_number(l, true);
    return push(l, TOKEN_NUMBER, OP_NONE, begin, tpl_text_part(l->source, begin, l->at));
}

static err read_symbol(struct lexer *l, bool *found) {
    *found = true;
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        enum token_kind kind = symbols[i].kind;
        if (kind == TOKEN_CLOSE_OUTPUT && l->curly_depth > 0) continue;
        if (!sees(l, symbols[i].spelling)) continue;
        if (kind == TOKEN_OPEN_OUTPUT) l->curly_depth = 0;
        if (kind == TOKEN_OPEN_CURLY) l->curly_depth++;
        if (kind == TOKEN_CLOSE_CURLY && l->curly_depth > 0) l->curly_depth--;
        uint32_t begin = l->at;
        l->at += (uint32_t)strlen(symbols[i].spelling);
        // {%+ keeps the blanks before it: tpl_source.c has seen to that.
        if (kind == TOKEN_OPEN_STATEMENT && peek(l, 0) == '+') l->at++;
        return push(l, kind, symbols[i].op, begin, (struct text){0});
    }
    *found = false;
    return ERR_OK;
}

/* Tags with a minus take the white space outside of them. */
static err read_stripping_tag(struct lexer *l, bool *found) {
    static const struct {
        const char *spelling;
        enum token_kind kind;
    } tags[] = {{"{%-", TOKEN_OPEN_STATEMENT},
                {"{{-", TOKEN_OPEN_OUTPUT},
                {"-%}", TOKEN_CLOSE_STATEMENT},
                {"-}}", TOKEN_CLOSE_OUTPUT},
                {"+%}", TOKEN_CLOSE_STATEMENT}};
    *found = false;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        if (!sees(l, tags[i].spelling)) continue;
        *found = true;
        bool open = tags[i].spelling[0] == '{';
        if (open) strip_text_before(l);
        if (tags[i].kind == TOKEN_OPEN_OUTPUT) l->curly_depth = 0;
        TRY(push(l, tags[i].kind, OP_NONE, l->at, (struct text){0}));
        l->at += 3;
        if (tags[i].spelling[0] == '-') skip_space(l);
        return ERR_OK;
    }
    return ERR_OK;
}

static err read_token(struct lexer *l) {
    enum token_kind last = last_kind(l);
    bool outside = last == TOKEN_END || last == TOKEN_CLOSE_STATEMENT ||
                   last == TOKEN_CLOSE_OUTPUT || last == TOKEN_COMMENT;
    bool found = false;
    if (outside) TRY(read_text(l, &found));
    if (found) return ERR_OK;
    if (sees(l, "{#")) return read_comment(l);
    if (!sees(l, "{%-") && !sees(l, "{{-")) skip_space(l);
    if (l->at >= l->source.length) return ERR_OK;
    TRY(read_stripping_tag(l, &found));
    if (found) return ERR_OK;
    char c = peek(l, 0);
    if ((c == '-' || c == '+') && !follows_operand(l)) return read_sign(l);
    TRY(read_symbol(l, &found));
    if (found) return ERR_OK;
    if (c == '\'' || c == '"') return read_string(l);
    if (is_digit(c)) return read_number(l);
    if (is_word(c)) return read_word(l);
    if (c > ' ' && c < 0x7F) return FAIL_AT(l, l->at, "the character %c is out of place", c);
    uint32_t n, code_point = tpl_text_point(l->source, l->at, &n);
    return FAIL_AT(l, l->at, "the character U+%04X is out of place", code_point);
}

err tpl_lexer_run(struct token **tokens, struct tpl_arena *a, const struct tpl_source *s) {
    struct lexer l = {.arena = a, .source = {s->bytes, s->length}, .lines = s->lines};
    while (l.at < l.source.length) TRY(read_token(&l));
    TRY(push(&l, TOKEN_END, OP_NONE, l.at, (struct text){0}));
    *tokens = l.tokens;
    return ERR_OK;
}
