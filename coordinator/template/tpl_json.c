// SPDX-License-Identifier: MIT
/* tpl_json.c: see tpl_json.h: values → text. */

#include "coordinator/template/tpl_json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/template/tpl_number.h"

#define FRACTION_STEPS 32 // finding the shortest digits of a fraction takes that long

struct writer {
    struct builder *out;
    const struct tpl_json_style *style;
    uint32_t level;
};

struct tpl_json_style tpl_json_plain_style(void) {
    return (struct tpl_json_style){
        .undefined_is_null = true, .item_separator = TEXT(", "), .key_separator = TEXT(": ")};
}

/* ---- strings and numbers ---- */

static void put_escape(struct builder *b, uint32_t unit) {
    char escape[8];
    snprintf(escape, sizeof escape, "\\u%04x", unit & 0xFFFF);
    tpl_builder_put_c(b, escape);
}

/* Halves of surrogate pairs are escaped always, so JSON is valid Unicode. */
static bool needs_escape(const struct tpl_json_style *style, uint32_t c) {
    return c < 0x20 || c == '"' || c == '\\' || (c >= 0xD800 && c <= 0xDFFF) ||
           (style->ascii && c >= 0x7F);
}

static void put_escaped(struct builder *b, uint32_t c) {
    static const char from[] = "\"\\\b\f\n\r\t", *const to[] = {"\\\"", "\\\\", "\\b", "\\f",
                                                                "\\n",  "\\r",  "\\t"};
    const char *known = c && c < 0x80 ? strchr(from, (int)c) : NULL;
    if (known) {
        tpl_builder_put_c(b, to[known - from]);
    } else if (c >= 0x10000) {
        put_escape(b, 0xD800 + ((c - 0x10000) >> 10));
        put_escape(b, 0xDC00 + (c & 0x3FF));
    } else {
        put_escape(b, c);
    }
}

static void put_string(struct writer *w, struct text t) {
    uint32_t done = 0, n;
    tpl_builder_put_c(w->out, "\"");
    for (uint32_t at = 0; at < t.length; at += n) {
        uint32_t c = tpl_text_point(t, at, &n);
        if (!needs_escape(w->style, c)) continue;
        tpl_builder_put(w->out, tpl_text_part(t, done, at));
        put_escaped(w->out, c);
        done = at + n;
    }
    tpl_builder_put(w->out, tpl_text_part(t, done, t.length));
    tpl_builder_put_c(w->out, "\"");
}

static void put_number(struct builder *b, double v) {
    char out[TPL_NUMBER_BYTES];
    if (v != floor(v)) b->run->steps += FRACTION_STEPS;
    tpl_builder_put(b, (struct text){out, tpl_number_put(out, v)});
}

/* ---- lists and dicts ---- */

static err put_value(struct writer *w, const struct value *v);

/* A new line inside a list or dict, when there are lines at all. */
static void put_line(struct writer *w) {
    if (w->style->indent == 0) return;
    tpl_builder_put_c(w->out, "\n");
    static const char blanks[] = "                                                                ";
    uint64_t n = (uint64_t)w->style->indent * w->level;
    for (; n > 0 && !w->out->failed; n -= n < 64 ? n : 64)
        tpl_builder_put(w->out, (struct text){blanks, n < 64 ? (uint32_t)n : 64});
}

static err put_list(struct writer *w, const struct list *l) {
    tpl_builder_put_c(w->out, "[");
    w->level++;
    for (uint32_t i = 0; i < l->count; i++) {
        if (i) tpl_builder_put(w->out, w->style->item_separator);
        put_line(w);
        TRY(put_value(w, &l->items[i]));
    }
    w->level--;
    if (l->count) put_line(w);
    tpl_builder_put_c(w->out, "]");
    return ERR_OK;
}

/* Rank of an ASCII character where the reference sorts keys by locale: punctuation, digits, then
 * letters without regard to case.  Everything else is ordered by its code point, behind them. */
static uint32_t locale_rank(uint32_t c) {
    static const char order[] = "\t\n\v\f\r _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789"
                                "abcdefghijklmnopqrstuvwxyz";
    if (c >= 0x80) return c;
    const char *place = c ? strchr(order, c >= 'A' && c <= 'Z' ? (int)(c | 0x20) : (int)c) : NULL;
    return place ? (uint32_t)(place - order) + 1 : 0;
}

/* localeCompare for ASCII: letters first, then lower before upper case. */
static int compare_keys(struct text a, struct text b) {
    uint32_t i = 0, k = 0, n;
    int by_case = 0;
    while (i < a.length && k < b.length) {
        uint32_t x = tpl_text_point(a, i, &n);
        i += n;
        uint32_t y = tpl_text_point(b, k, &n);
        k += n;
        if (locale_rank(x) != locale_rank(y)) return locale_rank(x) < locale_rank(y) ? -1 : 1;
        if (by_case == 0 && x != y) by_case = x > y ? -1 : 1;
    }
    if (i < a.length || k < b.length) return k < b.length ? -1 : 1;
    return by_case;
}

/* A merge sort of places in d, bottom up. */
static err sort_keys(struct run *r, const struct dict *d, uint32_t **sorted) {
    void *memory;
    TRY(tpl_run_alloc(r, 2 * (size_t)d->count, sizeof **sorted, &memory));
    uint32_t *from = memory, *to = from + d->count;
    for (uint32_t i = 0; i < d->count; i++) from[i] = i;
    for (uint32_t width = 1; width < d->count; width *= 2) {
        for (uint32_t begin = 0; begin < d->count; begin += 2 * width) {
            uint32_t middle = begin + width < d->count ? begin + width : d->count;
            uint32_t end = middle + width < d->count ? middle + width : d->count;
            uint32_t i = begin, k = middle;
            for (uint32_t out = begin; out < end; out++) {
                bool left = i < middle && (k == end || compare_keys(d->entries[from[i]].key,
                                                                    d->entries[from[k]].key) <= 0);
                to[out] = left ? from[i++] : from[k++];
            }
            TRY(tpl_run_spend(r, end - begin));
        }
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    *sorted = from;
    return ERR_OK;
}

static err put_dict(struct writer *w, const struct dict *d) {
    uint32_t *sorted = NULL;
    tpl_builder_put_c(w->out, "{");
    w->level++;
    if (w->style->sort_keys) TRY(sort_keys(w->out->run, d, &sorted));
    for (uint32_t i = 0; i < d->count; i++) {
        const struct dict_entry *e = &d->entries[sorted ? sorted[i] : i];
        if (i) tpl_builder_put(w->out, w->style->item_separator);
        put_line(w);
        put_string(w, e->key);
        tpl_builder_put(w->out, w->style->key_separator);
        TRY(put_value(w, &e->value));
    }
    w->level--;
    if (d->count) put_line(w);
    tpl_builder_put_c(w->out, "}");
    return ERR_OK;
}

static err put_value(struct writer *w, const struct value *v) {
    err e = ERR_OK;
    TRY(tpl_run_enter(w->out->run));
    switch ((enum value_kind)v->kind) {
    case VALUE_UNDEFINED:
        tpl_builder_put_c(w->out, w->style->undefined_is_null ? "null" : "undefined");
        break;
    case VALUE_NONE: tpl_builder_put_c(w->out, "null"); break;
    case VALUE_BOOLEAN: tpl_builder_put_c(w->out, v->boolean ? "true" : "false"); break;
    case VALUE_INTEGER:
    case VALUE_FLOAT:
        if (isfinite(v->number))
            put_number(w->out, v->number);
        else
            tpl_builder_put_c(w->out, "null");
        break;
    case VALUE_STRING: put_string(w, tpl_text(v)); break;
    case VALUE_LIST:
    case VALUE_TUPLE: e = put_list(w, v->list); break;
    case VALUE_DICT:
    case VALUE_NAMESPACE: e = put_dict(w, v->dict); break;
    case VALUE_FUNCTION: return TRY_FAIL("a function cannot be shown: it should be called");
    }
    tpl_run_leave(w->out->run);
    return e;
}

err tpl_json_put(struct builder *b, const struct value *v, const struct tpl_json_style *style) {
    struct writer w = {.out = b, .style = style};
    return put_value(&w, v);
}

/* ---- as a template shows values ---- */

err tpl_json_put_shown(struct builder *b, const struct value *v) {
    struct tpl_json_style style = tpl_json_plain_style();
    style.undefined_is_null = false;
    if (v->kind == VALUE_STRING) {
        tpl_builder_put(b, tpl_text(v));
    } else if (v->kind == VALUE_INTEGER) {
        put_number(b, v->number);
    } else if (v->kind == VALUE_FLOAT) {
        b->run->steps += FRACTION_STEPS;
        char out[TPL_NUMBER_BYTES];
        tpl_builder_put(b, (struct text){out, tpl_number_put_float(out, v->number)});
    } else {
        return tpl_json_put(b, v, &style);
    }
    return ERR_OK;
}

err tpl_json_put_raw(struct builder *b, const struct value *v) {
    if (tpl_is_number(v)) {
        put_number(b, v->number);
    } else if (tpl_is_dict(v)) {
        tpl_builder_put_c(b, "[object Map]");
    } else if (tpl_is_list(v)) {
        for (uint32_t i = 0; i < v->list->count; i++) {
            if (i) tpl_builder_put_c(b, ",");
            if (v->list->items[i].kind == VALUE_NONE)
                tpl_builder_put_c(b, "undefined");
            else
                TRY(tpl_json_put_shown(b, &v->list->items[i]));
        }
    } else {
        return tpl_json_put_shown(b, v);
    }
    return ERR_OK;
}

err tpl_json_raw_string(struct run *r, const struct value *v, struct value *out) {
    struct builder b;
    tpl_builder_init(&b, r);
    TRY(tpl_json_put_raw(&b, v));
    return tpl_builder_finish(&b, out);
}
