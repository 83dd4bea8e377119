// SPDX-License-Identifier: MIT
/* tpl_split.c: see tpl_builtins.h: strings into lists.  Parts are views of the string.
 *
 * Parts are collected as offsets first, so the list is made once and has its final length. */

#include <math.h>

#include "coordinator/template/tpl_builtins.h"

struct parts {
    struct run *run;
    struct text text;
    uint32_t *bounds; // [2 * count] begin, end, …
    uint32_t count, capacity;
};

static err add_part(struct parts *p, uint32_t begin, uint32_t end) {
    if (p->count == p->capacity) {
        void *grown;
        uint32_t capacity = p->capacity ? 2 * p->capacity : 8;
        TRY(tpl_run_alloc(p->run, 2 * (size_t)capacity, sizeof *p->bounds, &grown));
        for (uint32_t i = 0; i < 2 * p->count; i++) ((uint32_t *)grown)[i] = p->bounds[i];
        p->bounds = grown;
        p->capacity = capacity;
    }
    p->bounds[2 * p->count] = begin;
    p->bounds[2 * p->count + 1] = end;
    p->count++;
    return tpl_run_spend(p->run, 1);
}

static err list_parts(struct parts *p, struct value *out) {
    struct list *l;
    TRY(tpl_list_create(p->run, p->count, &l));
    for (uint32_t i = 0; i < p->count; i++)
        l->items[i] = tpl_string(tpl_text_part(p->text, p->bounds[2 * i], p->bounds[2 * i + 1]));
    *out = tpl_list(l);
    return tpl_run_spend(p->run, p->text.length / 64);
}

/* ---- split and rsplit ---- */

/* The words of the text; the one that reaches `most` takes the rest with it. */
static err split_words(struct parts *p, double most) {
    struct text t = p->text;
    uint32_t at = 0, n;
    for (;;) {
        while ((n = tpl_text_space_at(t, at)) > 0) at += n;
        if (at == t.length) return ERR_OK;
        if (most != -1 && p->count >= most) return add_part(p, at, t.length);
        uint32_t begin = at;
        while (at < t.length && tpl_text_space_at(t, at) == 0) {
            tpl_text_point(t, at, &n);
            at += n;
        }
        TRY(add_part(p, begin, at));
    }
}

static err split_all(struct parts *p, struct text separator) {
    uint32_t begin = 0, at;
    while ((at = tpl_text_find(p->text, separator, begin)) != TEXT_NOT_FOUND) {
        TRY(add_part(p, begin, at));
        begin = at + separator.length;
    }
    return add_part(p, begin, p->text.length);
}

static err read_arguments(struct run *r, const struct value *self, const struct args *a,
                          const char *name, struct text *separator, double *most) {
    if (self->kind != VALUE_STRING) return tpl_builtins_refuse(name, self);
    const struct value *s = tpl_args_get(r, a, 0, "sep");
    if (s && s->kind != VALUE_NONE && s->kind != VALUE_STRING)
        return TRY_FAIL("%s needs a string, not %s", name, tpl_kind_name(s));
    if (s && s->kind == VALUE_STRING && s->length == 0)
        return TRY_FAIL("%s needs a separator that is not empty", name);
    *separator = (struct text){0};
    *most = -1;
    TRY(tpl_builtins_text(r, a, 0, "sep", separator));
    return tpl_builtins_number(r, a, 1, "maxsplit", most);
}

err tpl_split_split(struct run *r, const struct value *self, const struct args *a,
                    struct value *out) {
    struct text separator;
    double most;
    TRY(read_arguments(r, self, a, "split", &separator, &most));
    struct parts p = {.run = r, .text = tpl_text(self)};
    if (separator.length == 0) {
        TRY(split_words(&p, most));
        return list_parts(&p, out);
    }
    TRY(split_all(&p, separator));
    if (most != -1 && p.count > most) {
        double kept = most < 0 ? fmax(p.count + most, 0) : most;
        p.count = (uint32_t)kept + 1;
        p.bounds[2 * p.count - 1] = p.text.length;
    }
    return list_parts(&p, out);
}

/* With words as separators every run of white space separates, without a limit. */
err tpl_split_rsplit(struct run *r, const struct value *self, const struct args *a,
                     struct value *out) {
    struct text separator;
    double most;
    TRY(read_arguments(r, self, a, "rsplit", &separator, &most));
    struct parts p = {.run = r, .text = tpl_text(self)};
    TRY(separator.length ? split_all(&p, separator) : split_words(&p, -1));
    if (most >= 0 && p.count > most + 1) {
        uint32_t joined = p.count - (uint32_t)most; // parts that become the first one
        p.bounds[2 * joined - 2] = separator.length ? 0 : p.bounds[0];
        for (uint32_t i = 0; i <= (uint32_t)most; i++) {
            p.bounds[2 * i] = p.bounds[2 * (joined - 1 + i)];
            p.bounds[2 * i + 1] = p.bounds[2 * (joined - 1 + i) + 1];
        }
        p.count = (uint32_t)most + 1;
    }
    return list_parts(&p, out);
}

/* ---- lines and partitions ---- */

err tpl_split_lines(struct run *r, const struct value *self, const struct args *a,
                    struct value *out) {
    bool keep_ends = false;
    TRY(tpl_builtins_flag(r, a, 0, "keepends", &keep_ends));
    struct parts p = {.run = r, .text = tpl_text(self)};
    struct text t = p.text;
    for (uint32_t begin = 0, at = 0; begin < t.length; begin = at) {
        while (at < t.length && t.bytes[at] != '\n' && t.bytes[at] != '\r') at++;
        uint32_t end = at;
        if (at < t.length)
            at += t.bytes[at] == '\r' && at + 1 < t.length && t.bytes[at + 1] == '\n' ? 2 : 1;
        TRY(add_part(&p, begin, keep_ends ? at : end));
    }
    return list_parts(&p, out);
}

static err partition(struct run *r, const struct value *self, const struct args *a, bool last,
                     struct value *out) {
    if (a->count != 1 || a->items[0].kind != VALUE_STRING || a->items[0].length == 0)
        return TRY_FAIL("partition needs a separator that is not empty");
    struct text t = tpl_text(self), separator = tpl_text(&a->items[0]);
    uint32_t at = last ? tpl_text_find_last(t, separator) : tpl_text_find(t, separator, 0);
    bool found = at != TEXT_NOT_FOUND;
    if (!found) at = last ? 0 : t.length;
    uint32_t end = found ? at + separator.length : at;
    struct parts p = {.run = r, .text = t};
    TRY(add_part(&p, 0, at));
    TRY(add_part(&p, at, end));
    TRY(add_part(&p, end, t.length));
    return list_parts(&p, out);
}

err tpl_split_partition(struct run *r, const struct value *self, const struct args *a,
                        struct value *out) {
    return partition(r, self, a, false, out);
}

err tpl_split_rpartition(struct run *r, const struct value *self, const struct args *a,
                         struct value *out) {
    return partition(r, self, a, true, out);
}
