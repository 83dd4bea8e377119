// SPDX-License-Identifier: MIT
/* tpl_strings.c: see tpl_builtins.h: methods and filters of strings as the reference has them.
 *
 * It ignores the arguments of strip, lstrip and rstrip, and capitalize leaves the rest of the
 * string alone; Python does neither.  What the reference renders is kept. */

#include <string.h>

#include "coordinator/template/tpl_builtins.h"
#include "coordinator/template/tpl_case.h"
#include "coordinator/template/tpl_json.h"

static err want_string(const char *name, const struct value *self) {
    return self->kind == VALUE_STRING ? ERR_OK : tpl_builtins_refuse(name, self);
}

/* ---- case ---- */

err tpl_strings_upper(struct run *r, const struct value *self, const struct args *a,
                      struct value *out) {
    (void)a;
    TRY(want_string("upper", self));
    return tpl_case_upper(r, tpl_text(self), out);
}

err tpl_strings_lower(struct run *r, const struct value *self, const struct args *a,
                      struct value *out) {
    (void)a;
    TRY(want_string("lower", self));
    return tpl_case_lower(r, tpl_text(self), out);
}

err tpl_strings_title(struct run *r, const struct value *self, const struct args *a,
                      struct value *out) {
    (void)a;
    TRY(want_string("title", self));
    return tpl_case_title(r, tpl_text(self), out);
}

err tpl_strings_capitalize(struct run *r, const struct value *self, const struct args *a,
                           struct value *out) {
    (void)a;
    TRY(want_string("capitalize", self));
    return tpl_case_capitalize(r, tpl_text(self), out);
}

/* ---- ends ---- */

static err strip(struct run *r, const struct value *self, bool begin, bool end, struct value *out) {
    struct text t = tpl_text(self), rest = tpl_text_trim(t, begin, end);
    *out = tpl_string(rest);
    return tpl_run_spend(r, (t.length - rest.length) / 16);
}

err tpl_strings_strip(struct run *r, const struct value *self, const struct args *a,
                      struct value *out) {
    (void)a;
    TRY(want_string("strip", self));
    return strip(r, self, true, true, out);
}

err tpl_strings_lstrip(struct run *r, const struct value *self, const struct args *a,
                       struct value *out) {
    (void)a;
    TRY(want_string("lstrip", self));
    return strip(r, self, true, false, out);
}

err tpl_strings_rstrip(struct run *r, const struct value *self, const struct args *a,
                       struct value *out) {
    (void)a;
    TRY(want_string("rstrip", self));
    return strip(r, self, false, true, out);
}

static bool is_one_of(struct text t, uint32_t at, struct text set) {
    uint32_t n;
    tpl_text_point(t, at, &n);
    return tpl_text_find(set, tpl_text_part(t, at, at + n), 0) != TEXT_NOT_FOUND;
}

/* The filter: white space, or the characters given. */
err tpl_strings_trim(struct run *r, const struct value *self, const struct args *a,
                     struct value *out) {
    struct text set = {0};
    TRY(want_string("trim", self));
    TRY(tpl_builtins_text(r, a, 0, "chars", &set));
    if (set.length == 0) return strip(r, self, true, true, out);
    struct text t = tpl_text(self);
    TRY(tpl_run_spend(r, t.length / 16 * (1 + set.length / 16)));
    uint32_t n = 0, last;
    while (t.length && is_one_of(t, 0, set)) {
        tpl_text_point(t, 0, &n);
        t = tpl_text_part(t, n, t.length);
    }
    while (t.length) {
        for (last = t.length - 1; last > 0 && ((uint8_t)t.bytes[last] & 0xC0) == 0x80;) last--;
        if (!is_one_of(t, last, set)) break;
        t.length = last;
    }
    *out = tpl_string(t);
    return ERR_OK;
}

static err affix(struct run *r, const char *name, const struct value *self, const struct args *a,
                 bool begin, struct value *out) {
    TRY(want_string(name, self));
    if (a->count == 0) return TRY_FAIL("%s needs a string", name);
    bool many = tpl_is_list(&a->items[0]), found = false;
    const struct value *items = many ? a->items[0].list->items : &a->items[0];
    uint32_t count = many ? a->items[0].list->count : 1;
    for (uint32_t i = 0; i < count && !found; i++) {
        if (items[i].kind != VALUE_STRING)
            return TRY_FAIL("%s needs strings, not %s", name, tpl_kind_name(&items[i]));
        TRY(tpl_run_spend(r, 1 + items[i].length / 64));
        found = begin ? tpl_text_begins(tpl_text(self), tpl_text(&items[i]))
                      : tpl_text_ends(tpl_text(self), tpl_text(&items[i]));
    }
    *out = tpl_boolean(found);
    return ERR_OK;
}

err tpl_strings_startswith(struct run *r, const struct value *self, const struct args *a,
                           struct value *out) {
    return affix(r, "startswith", self, a, true, out);
}

err tpl_strings_endswith(struct run *r, const struct value *self, const struct args *a,
                         struct value *out) {
    return affix(r, "endswith", self, a, false, out);
}

/* ---- replace and indent ---- */

/* An empty `old` stands between all characters. */
static err replace(struct run *r, struct text t, struct text old, struct text new, double most,
                   struct value *out) {
    struct builder b;
    uint32_t at = 0, done = 0, n;
    tpl_builder_init(&b, r);
    for (; most > 0 && at <= t.length; most--) {
        at = tpl_text_find(t, old, at);
        if (at == TEXT_NOT_FOUND) break;
        tpl_builder_put(&b, tpl_text_part(t, done, at));
        tpl_builder_put(&b, new);
        TRY(tpl_run_spend(r, 1));
        done = at + old.length;
        at = done;
        if (old.length) continue;
        if (at < t.length) tpl_text_point(t, at, &n);
        at += at < t.length ? n : 1;
    }
    tpl_builder_put(&b, tpl_text_part(t, done, t.length));
    TRY(tpl_run_spend(r, t.length / 64));
    return tpl_builder_finish(&b, out);
}

err tpl_strings_replace(struct run *r, const struct value *self, const struct args *a,
                        struct value *out) {
    double most = -1;
    TRY(want_string("replace", self));
    if (a->count < 2 || a->items[0].kind != VALUE_STRING || a->items[1].kind != VALUE_STRING)
        return TRY_FAIL("replace needs two strings");
    TRY(tpl_builtins_number(r, a, 2, "count", &most));
    return replace(r, tpl_text(self), tpl_text(&a->items[0]), tpl_text(&a->items[1]),
                   most < 0 ? UINT32_MAX : most, out);
}

/* indent(width, first, blank): a width may be a string. */
err tpl_strings_indent(struct run *r, const struct value *self, const struct args *a,
                       struct value *out) {
    struct value width = tpl_integer(4);
    const struct value *v = tpl_args_get(r, a, 0, "width");
    TRY(want_string("indent", self));
    const struct value *first_line = tpl_args_get(r, a, 1, "first");
    const struct value *blank_lines = tpl_args_get(r, a, 2, "blank");
    bool first = first_line && tpl_truth(first_line), blank = blank_lines && tpl_truth(blank_lines);
    if (v && v->kind != VALUE_STRING) TRY(tpl_builtins_number(r, a, 0, "width", &width.number));
    struct value blanks = tpl_string(TEXT(" "));
    if (v && v->kind == VALUE_STRING)
        blanks = *v;
    else
        TRY(tpl_binary(r, OP_MUL, &blanks, &width, &blanks));
    struct builder b;
    struct text t = tpl_text(self);
    tpl_builder_init(&b, r);
    for (uint32_t begin = 0; begin <= t.length;) {
        uint32_t end = tpl_text_find(t, TEXT("\n"), begin);
        uint32_t next = end == TEXT_NOT_FOUND ? t.length : end + 1;
        bool empty = end == begin || begin == t.length;
        if ((begin > 0 || first) && (!empty || blank)) tpl_builder_put(&b, tpl_text(&blanks));
        tpl_builder_put(&b, tpl_text_part(t, begin, next));
        TRY(tpl_run_spend(r, 1));
        if (end == TEXT_NOT_FOUND) break;
        begin = next;
    }
    return tpl_builder_finish(&b, out);
}

/* ---- string, escape, safe ---- */

err tpl_strings_string(struct run *r, const struct value *self, const struct args *a,
                       struct value *out) {
    (void)a;
    *out = *self;
    if (self->kind == VALUE_STRING) return ERR_OK;
    if (self->kind == VALUE_UNDEFINED || self->kind == VALUE_NONE)
        return tpl_builtins_refuse("string", self);
    struct builder b;
    tpl_builder_init(&b, r);
    TRY(tpl_json_put_shown(&b, self));
    return tpl_builder_finish(&b, out);
}

err tpl_strings_escape(struct run *r, const struct value *self, const struct args *a,
                       struct value *out) {
    static const char from[] = "&<>\"'", *const to[] = {"&amp;", "&lt;", "&gt;", "&#34;", "&#39;"};
    struct value string;
    struct builder b;
    uint32_t done = 0;
    TRY(tpl_strings_string(r, self, a, &string));
    struct text t = tpl_text(&string);
    tpl_builder_init(&b, r);
    for (uint32_t i = 0; i < t.length; i++) {
        const char *known = t.bytes[i] ? strchr(from, t.bytes[i]) : NULL;
        if (!known) continue;
        tpl_builder_put(&b, tpl_text_part(t, done, i));
        tpl_builder_put_c(&b, to[known - from]);
        done = i + 1;
    }
    tpl_builder_put(&b, tpl_text_part(t, done, t.length));
    TRY(tpl_run_spend(r, t.length / 16));
    return tpl_builder_finish(&b, out);
}

err tpl_strings_safe(struct run *r, const struct value *self, const struct args *a,
                     struct value *out) {
    (void)r, (void)a;
    *out = *self;
    return ERR_OK;
}
