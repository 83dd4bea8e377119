// SPDX-License-Identifier: MIT
/* tpl_globals.c: see tpl_globals.h. */

#include "coordinator/template/tpl_globals.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "coordinator/template/tpl_builtins.h"
#include "coordinator/template/tpl_json.h"
#include "coordinator/template/tpl_parser.h"

/* ---- objects ---- */

static err copy_dict(struct run *r, const struct dict *from, struct dict *to) {
    for (uint32_t i = 0; i < from->count; i++) {
        const struct dict_entry *e = &from->entries[i];
        TRY(tpl_dict_set(r, to, e->key, e->hash, e->value));
    }
    return ERR_OK;
}

/* Pairs of a key and a value. */
static err copy_pairs(struct run *r, const struct list *from, struct dict *to) {
    for (uint32_t i = 0; i < from->count; i++) {
        struct value pair;
        TRY(tpl_builtins_items(r, "an object of pairs", &from->items[i], &pair));
        if (pair.list->count != 2 || pair.list->items[0].kind != VALUE_STRING)
            return TRY_FAIL("an object is made of pairs of a string and a value");
        struct text key = tpl_text(&pair.list->items[0]);
        TRY(tpl_dict_put(r, to, key, pair.list->items[1]));
    }
    return ERR_OK;
}

static err make_dict(struct run *r, const char *name, const struct args *a, struct dict **out) {
    TRY(tpl_dict_create(r, out));
    if (a->count > 1) return TRY_FAIL("%s takes one object and named values", name);
    if (a->count == 1 && a->items[0].kind == VALUE_DICT)
        TRY(copy_dict(r, a->items[0].dict, *out));
    else if (a->count == 1 && tpl_is_list(&a->items[0]))
        TRY(copy_pairs(r, a->items[0].list, *out));
    else if (a->count == 1)
        return tpl_builtins_refuse(name, &a->items[0]);
    return copy_dict(r, &a->keywords, *out);
}

static err call_namespace(struct run *r, const struct value *self, const struct args *a,
                          struct value *out) {
    (void)self;
    struct dict *d;
    TRY(make_dict(r, "namespace", a, &d));
    *out = tpl_dict(d);
    out->kind = VALUE_NAMESPACE;
    return ERR_OK;
}

static err call_dict(struct run *r, const struct value *self, const struct args *a,
                     struct value *out) {
    (void)self;
    struct dict *d;
    TRY(make_dict(r, "dict", a, &d));
    *out = tpl_dict(d);
    return ERR_OK;
}

/* ---- range ---- */

/* range(end), range(begin, end), range(begin, end, step) */
static err call_range(struct run *r, const struct value *self, const struct args *a,
                      struct value *out) {
    (void)self;
    double part[3] = {0, 0, 1};
    struct list *l;
    if (a->count > 3 || a->count == 0) return TRY_FAIL("range takes one to three numbers");
    for (uint32_t i = 0; i < a->count; i++) {
        const struct value *v = &a->items[i];
        if (!tpl_is_number(v)) return TRY_FAIL("range takes numbers, not %s", tpl_kind_name(v));
        part[a->count == 1 ? 1 : i] = v->number;
    }
    if (part[2] == 0) return TRY_FAIL("range needs a step that is not zero");
    double count = ceil((part[1] - part[0]) / part[2]);
    if (!(count > 0)) count = 0;
    TRY(tpl_run_spend(r, count < 1e9 ? (uint64_t)count : (uint64_t)1e9));
    TRY(tpl_list_create(r, (uint32_t)count, &l));
    for (uint32_t i = 0; i < l->count; i++) {
        double v = part[0] + i * part[2];
        l->items[i] = v == floor(v) ? tpl_integer(v) : tpl_float(v);
    }
    *out = tpl_list(l);
    return ERR_OK;
}

/* ---- the outside world ---- */

static err call_raise_exception(struct run *r, const struct value *self, const struct args *a,
                                struct value *out) {
    (void)self, (void)out;
    struct value message = tpl_string(TEXT("the chat template refuses this conversation"));
    if (a->count && a->items[0].kind > VALUE_NONE)
        TRY(tpl_json_raw_string(r, &a->items[0], &message));
    r->raised = true;
    return TRY_FAIL("%.*s", (int)(message.length < 1000 ? message.length : 1000), message.bytes);
}

/* strftime in the C locale.  The directives of C99 and POSIX, and %-d without a leading zero. */
static err call_strftime_now(struct run *r, const struct value *self, const struct args *a,
                             struct value *out) {
    (void)self;
    struct tm now;
    struct builder b;
    time_t seconds = (time_t)r->now_s;
    if (a->count != 1 || a->items[0].kind != VALUE_STRING)
        return TRY_FAIL("strftime_now takes a format");
    struct text t = tpl_text(&a->items[0]);
    if (!localtime_r(&seconds, &now)) return TRY_FAIL("the time is out of range");
    tpl_builder_init(&b, r);
    for (uint32_t i = 0; i < t.length;) {
        uint32_t next = tpl_text_find(t, TEXT("%"), i);
        if (next == TEXT_NOT_FOUND || next + 1 == t.length) next = t.length;
        tpl_builder_put(&b, tpl_text_part(t, i, next));
        TRY(tpl_run_spend(r, 1));
        i = next;
        if (i == t.length) break;
        bool bare = t.bytes[i + 1] == '-' && i + 2 < t.length;
        char format[] = {'%', t.bytes[i + 1 + bare], '\0'}, shown[64];
        bool known = strchr("aAbBcdDeFgGhHIjmMnprRStTuUVwWxXyYzZ%", format[1]) && format[1];
        size_t n = known ? strftime(shown, sizeof shown, format, &now) : 0;
        uint32_t skip = bare && n > 1 && shown[0] == '0';
        if (known)
            tpl_builder_put(&b, (struct text){shown + skip, (uint32_t)n - skip});
        else
            tpl_builder_put(&b, tpl_text_part(t, i, i + 2 + bare));
        i += 2 + bare;
    }
    return tpl_builder_finish(&b, out);
}

/* ---- all of them ---- */

static const struct {
    const char *name;
    tpl_builtin *call;
} functions[] = {
    {"dict", call_dict},
    {"namespace", call_namespace},
    {"raise_exception", call_raise_exception},
    {"range", call_range},
    {"strftime_now", call_strftime_now},
};

err tpl_globals_add(struct run *r, struct scope *s) {
    const struct {
        const char *name;
        struct value v;
    } constants[] = {
        {"true", tpl_boolean(true)},   {"True", tpl_boolean(true)}, {"false", tpl_boolean(false)},
        {"False", tpl_boolean(false)}, {"none", tpl_none()},        {"None", tpl_none()},
    };
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        TRY(tpl_scope_set(r, s, tpl_text_of(constants[i].name), constants[i].v));
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        struct value f;
        TRY(tpl_function_create(r, &(struct function){.builtin = functions[i].call}, &f));
        TRY(tpl_scope_set(r, s, tpl_text_of(functions[i].name), f));
    }
    return ERR_OK;
}
