// SPDX-License-Identifier: MIT
/* tpl_format.c: see tpl_format.h.  Both of Python's ways to format end in one field:
 *
 *   "%-5s" % x, "%.2f" | format(x)      % [(name)] [flags] [width] [.precision] type
 *   "{name:>5}".format(name=x)          { [name or index] [.member…] [: [[fill]align] [0] [width]
 *                                         [.precision] [type]] } */

#include "coordinator/template/tpl_format.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/template/tpl_builtins.h"
#include "coordinator/template/tpl_json.h"
#include "coordinator/template/tpl_parser.h"

#define MAX_WIDTH 10000

struct field {
    struct text fill;
    char align; // '<', '>', '^', '=' (zeros behind the sign), or 0: by kind
    char sign;  // '+', ' ' or 0
    bool alternate;
    uint32_t width;
    int precision; // -1: none
    char type;     // 0: as shown
};

/* What is formatted, and how far it has been read. */
struct source {
    struct run *run;
    struct text text;
    uint32_t at;
    const struct args *args;
    uint32_t next; // argument
    struct builder out;
};

static char peek(const struct source *s) {
    return s->at < s->text.length ? s->text.bytes[s->at] : '\0';
}

static uint32_t read_digits(struct source *s) {
    uint32_t n = 0;
    for (; peek(s) >= '0' && peek(s) <= '9'; s->at++)
        if (n <= MAX_WIDTH) n = 10 * n + (uint32_t)(peek(s) - '0');
    return n;
}

/* ---- one field ---- */

static err number_body(const struct field *f, double v, char body[400]) {
    int precision = f->precision < 0 ? 6 : f->precision;
    if (precision > 50) return TRY_FAIL("a number can have 50 digits behind its point");
    switch (f->type) {
    case 'd':
    case 'i':
    case 'u': snprintf(body, 400, "%.0f", trunc(v)); return ERR_OK;
    case 'f':
    case 'F': snprintf(body, 400, "%.*f", precision, v); return ERR_OK;
    case 'e': snprintf(body, 400, "%.*e", precision, v); return ERR_OK;
    case 'E': snprintf(body, 400, "%.*E", precision, v); return ERR_OK;
    case 'g':
    case 'G': snprintf(body, 400, "%.*g", precision, v); return ERR_OK;
    case '%': snprintf(body, 400, "%.*f%%", precision, 100 * v); return ERR_OK;
    case 'x':
    case 'X':
    case 'o':
        if (!(v < 1e18)) return TRY_FAIL("%g is too large to be shown this way", v);
        snprintf(body, 400,
                 f->type == 'x'   ? "%s%llx"
                 : f->type == 'X' ? "%s%llX"
                                  : "%s%llo",
                 f->alternate ? (f->type == 'o' ? "0o" : "0x") : "", (unsigned long long)v);
        return ERR_OK;
    default: return TRY_FAIL("there is no format %c", f->type);
    }
}

static void put_fill(struct source *s, const struct field *f, uint32_t n) {
    for (; n > 0; n--) tpl_builder_put(&s->out, f->fill);
}

static err put_padded(struct source *s, const struct field *f, struct text sign, struct text body) {
    uint32_t length = sign.length + tpl_text_count_points(body);
    uint32_t room = f->width > length ? f->width - length : 0;
    uint32_t before = f->align == '>' ? room : f->align == '^' ? room / 2 : 0;
    put_fill(s, f, before);
    tpl_builder_put(&s->out, sign);
    if (f->align == '=') put_fill(s, f, room);
    tpl_builder_put(&s->out, body);
    if (f->align == '<' || f->align == '^') put_fill(s, f, room - before);
    return tpl_run_spend(s->run, 1 + room / 16);
}

static err put_field(struct source *s, struct field *f, const struct value *v) {
    struct value shown = *v;
    if (f->width > MAX_WIDTH) return TRY_FAIL("a field can be %d characters wide", MAX_WIDTH);
    bool number = tpl_is_number(v) || v->kind == VALUE_BOOLEAN;
    if (!f->align) f->align = number ? '>' : '<';
    if (f->type && f->type != 's' && f->type != 'r') {
        char body[400];
        if (!number) return TRY_FAIL("%%%c needs a number, not %s", f->type, tpl_kind_name(v));
        double n = v->kind == VALUE_BOOLEAN ? v->boolean : v->number;
        TRY(number_body(f, fabs(n), body));
        const char sign[] = {n < 0 ? '-' : f->sign, '\0'};
        return put_padded(s, f, tpl_text_of(sign), tpl_text_of(body));
    }
    if (v->kind != VALUE_STRING) {
        struct builder text;
        tpl_builder_init(&text, s->run);
        TRY(tpl_json_put_shown(&text, v));
        TRY(tpl_builder_finish(&text, &shown));
    }
    struct text t = tpl_text(&shown);
    if (f->precision >= 0) t.length = tpl_text_skip_points(t, 0, (uint64_t)f->precision);
    return put_padded(s, f, (struct text){0}, t);
}

/* ---- % ---- */

static err percent_value(struct source *s, const struct value *values, struct value *out) {
    if (peek(s) == '(') {
        uint32_t end = tpl_text_find(s->text, TEXT(")"), s->at);
        if (end == TEXT_NOT_FOUND || values->kind != VALUE_DICT)
            return TRY_FAIL("%%(name) needs an object of values");
        struct text name = tpl_text_part(s->text, s->at + 1, end);
        const struct value *v = tpl_dict_get(s->run, values->dict, name);
        if (!v) return TRY_FAIL("there is no value %.*s to format", TEXT_SHOWN(name));
        s->at = end + 1;
        *out = *v;
        return ERR_OK;
    }
    bool many = values->kind == VALUE_TUPLE;
    uint32_t count = many ? values->list->count : 1, i = s->next++;
    if (i >= count) return TRY_FAIL("there are more formats than values");
    *out = many ? values->list->items[i] : *values;
    return ERR_OK;
}

static err put_percent(struct source *s, const struct value *values) {
    struct field f = {.fill = TEXT(" "), .align = '>', .precision = -1};
    struct value v = tpl_undefined();
    s->at++;
    if (peek(s) == '%') {
        s->at++;
        tpl_builder_put_c(&s->out, "%");
        return ERR_OK;
    }
    TRY(percent_value(s, values, &v));
    for (char c; (c = peek(s)) && strchr("-0+ #", c); s->at++) {
        if (c == '-') f.align = '<';
        if (c == '0' && f.align != '<') f.align = '=';
        if (c == '+' || (c == ' ' && !f.sign)) f.sign = c;
        if (c == '#') f.alternate = true;
    }
    f.width = read_digits(s);
    if (peek(s) == '.') {
        s->at++;
        f.precision = (int)read_digits(s);
    }
    f.type = peek(s);
    if (!f.type) return TRY_FAIL("the format ends in a %%");
    s->at++;
    bool textual = f.type == 's' || f.type == 'r';
    if (f.align == '=') f.fill = textual ? TEXT(" ") : TEXT("0");
    if (f.align == '=' && textual) f.align = '>';
    return put_field(s, &f, &v);
}

err tpl_format_percent(struct run *r, struct text format, const struct value *values,
                       struct value *out) {
    struct source s = {.run = r, .text = format};
    tpl_builder_init(&s.out, r);
    while (s.at < format.length) {
        uint32_t next = tpl_text_find(format, TEXT("%"), s.at);
        if (next == TEXT_NOT_FOUND) next = format.length;
        tpl_builder_put(&s.out, tpl_text_part(format, s.at, next));
        s.at = next;
        if (next < format.length) TRY(put_percent(&s, values));
    }
    return tpl_builder_finish(&s.out, out);
}

err tpl_format_filter(struct run *r, const struct value *self, const struct args *a,
                      struct value *out) {
    if (self->kind != VALUE_STRING) return tpl_builtins_refuse("format", self);
    const struct list list = {.items = a->items, .count = a->count};
    struct value values = {.kind = VALUE_TUPLE, .list = &list};
    struct dict named = a->keywords;
    if (named.count) values = tpl_dict(&named);
    return tpl_format_percent(r, tpl_text(self), &values, out);
}

/* ---- { } ---- */

/* The specification behind a colon, up to the closing brace. */
static err read_specification(struct source *s, struct field *f) {
    uint32_t n;
    struct text rest = tpl_text_part(s->text, s->at, s->text.length);
    if (rest.length == 0) return ERR_OK;
    tpl_text_point(rest, 0, &n);
    if (n < rest.length && strchr("<>^=", rest.bytes[n]) && rest.bytes[n]) {
        f->fill = tpl_text_part(rest, 0, n);
        f->align = rest.bytes[n];
        s->at += n + 1;
    } else if (strchr("<>^=", peek(s)) && peek(s)) {
        f->align = peek(s);
        s->at++;
    }
    if (peek(s) == '+' || peek(s) == ' ') {
        f->sign = peek(s);
        s->at++;
    }
    if (peek(s) == '#') {
        f->alternate = true;
        s->at++;
    }
    if (peek(s) == '0' && !f->align) {
        f->fill = TEXT("0");
        f->align = '=';
    }
    f->width = read_digits(s);
    if (peek(s) == '.') {
        s->at++;
        f->precision = (int)read_digits(s);
    }
    if (peek(s) && peek(s) != '}') f->type = s->text.bytes[s->at++];
    return ERR_OK;
}

/* "", "0", "name", "name.member" */
static err brace_value(struct source *s, struct text name, struct value *out) {
    uint32_t dot = tpl_text_find(name, TEXT("."), 0), index = s->next;
    struct text first = tpl_text_part(name, 0, dot == TEXT_NOT_FOUND ? name.length : dot);
    const struct value *v = NULL;
    bool numbered = first.length > 0 && first.length < 6;
    for (uint32_t i = 0; i < first.length && numbered; i++)
        numbered = first.bytes[i] >= '0' && first.bytes[i] <= '9';
    if (first.length == 0) s->next++;
    if (numbered) {
        index = 0;
        for (uint32_t i = 0; i < first.length; i++)
            index = 10 * index + (uint32_t)(first.bytes[i] - '0');
    }
    if ((numbered || first.length == 0) && index < s->args->count)
        v = &s->args->items[index];
    else if (!numbered && first.length)
        v = tpl_dict_get(s->run, &s->args->keywords, first);
    if (!v) return TRY_FAIL("there is no value {%.*s} to format", TEXT_SHOWN(name));
    *out = *v;
    if (dot == TEXT_NOT_FOUND) return ERR_OK;
    return tpl_member_path(s->run, v, tpl_text_part(name, dot + 1, name.length), out);
}

static err put_brace(struct source *s) {
    char brace = peek(s);
    s->at++;
    if (peek(s) == brace) {
        s->at++;
        tpl_builder_put(&s->out, (struct text){&brace, 1});
        return ERR_OK;
    }
    if (brace == '}') return TRY_FAIL("a } stands alone in a format");
    struct field f = {.fill = TEXT(" "), .precision = -1};
    struct value v;
    uint32_t begin = s->at;
    while (peek(s) && !strchr("}:!", peek(s))) s->at++;
    TRY(brace_value(s, tpl_text_part(s->text, begin, s->at), &v));
    if (peek(s) == '!') s->at += s->text.length - s->at >= 2 ? 2 : 1;
    if (peek(s) == ':') {
        s->at++;
        TRY(read_specification(s, &f));
    }
    if (peek(s) != '}') return TRY_FAIL("a { in a format has no }");
    s->at++;
    return put_field(s, &f, &v);
}

err tpl_format_method(struct run *r, const struct value *self, const struct args *a,
                      struct value *out) {
    struct source s = {.run = r, .text = tpl_text(self), .args = a};
    tpl_builder_init(&s.out, r);
    while (s.at < s.text.length) {
        uint32_t next = s.at;
        while (next < s.text.length && s.text.bytes[next] != '{' && s.text.bytes[next] != '}')
            next++;
        tpl_builder_put(&s.out, tpl_text_part(s.text, s.at, next));
        s.at = next;
        if (next < s.text.length) TRY(put_brace(&s));
    }
    return tpl_builder_finish(&s.out, out);
}
