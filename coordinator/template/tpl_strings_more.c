// SPDX-License-Identifier: MIT
/* tpl_strings_more.c: see tpl_builtins.h: methods of Python's strings that the reference lacks. */

#include <math.h>

#include "common/unicode_class.h"
#include "coordinator/template/tpl_builtins.h"
#include "coordinator/template/tpl_case.h"

/* The only argument, a string. */
static err string_argument(const char *name, const struct args *a, struct text *out) {
    if (a->count < 1 || a->items[0].kind != VALUE_STRING)
        return TRY_FAIL("%s needs a string", name);
    *out = tpl_text(&a->items[0]);
    return ERR_OK;
}

/* ---- searching: offsets are in code points ---- */

static err find(struct run *r, const char *name, const struct value *self, const struct args *a,
                bool last, double *index) {
    struct text part, t = tpl_text(self);
    TRY(string_argument(name, a, &part));
    uint32_t at = last ? tpl_text_find_last(t, part) : tpl_text_find(t, part, 0);
    *index = -1;
    if (at != TEXT_NOT_FOUND) *index = tpl_text_count_points(tpl_text_part(t, 0, at));
    return tpl_run_spend(r, t.length / 16);
}

err tpl_strings_more_find(struct run *r, const struct value *self, const struct args *a,
                          struct value *out) {
    double index;
    TRY(find(r, "find", self, a, false, &index));
    *out = tpl_integer(index);
    return ERR_OK;
}

err tpl_strings_more_rfind(struct run *r, const struct value *self, const struct args *a,
                           struct value *out) {
    double index;
    TRY(find(r, "rfind", self, a, true, &index));
    *out = tpl_integer(index);
    return ERR_OK;
}

err tpl_strings_more_index(struct run *r, const struct value *self, const struct args *a,
                           struct value *out) {
    double index;
    TRY(find(r, "index", self, a, false, &index));
    if (index < 0) return TRY_FAIL("index: the string is not in it");
    *out = tpl_integer(index);
    return ERR_OK;
}

err tpl_strings_more_count(struct run *r, const struct value *self, const struct args *a,
                           struct value *out) {
    struct text part, t = tpl_text(self);
    uint32_t count = 0, at = 0;
    TRY(string_argument("count", a, &part));
    TRY(tpl_run_spend(r, t.length / 16));
    if (part.length == 0) {
        *out = tpl_integer(tpl_text_count_points(t) + 1.0);
        return ERR_OK;
    }
    while ((at = tpl_text_find(t, part, at)) != TEXT_NOT_FOUND) {
        at += part.length;
        count++;
    }
    *out = tpl_integer(count);
    return tpl_run_spend(r, count);
}

/* ---- building ---- */

err tpl_strings_more_join(struct run *r, const struct value *self, const struct args *a,
                          struct value *out) {
    struct value items;
    struct builder b;
    if (a->count != 1) return TRY_FAIL("join needs a list of strings");
    TRY(tpl_builtins_items(r, "join", &a->items[0], &items));
    tpl_builder_init(&b, r);
    for (uint32_t i = 0; i < items.list->count; i++) {
        const struct value *item = &items.list->items[i];
        if (item->kind != VALUE_STRING)
            return TRY_FAIL("join needs strings, not %s", tpl_kind_name(item));
        if (i) tpl_builder_put(&b, tpl_text(self));
        tpl_builder_put(&b, tpl_text(item));
        TRY(tpl_run_spend(r, 1));
    }
    return tpl_builder_finish(&b, out);
}

err tpl_strings_more_removeprefix(struct run *r, const struct value *self, const struct args *a,
                                  struct value *out) {
    struct text part, t = tpl_text(self);
    TRY(string_argument("removeprefix", a, &part));
    if (tpl_text_begins(t, part)) t = tpl_text_part(t, part.length, t.length);
    *out = tpl_string(t);
    return tpl_run_spend(r, part.length / 64);
}

err tpl_strings_more_removesuffix(struct run *r, const struct value *self, const struct args *a,
                                  struct value *out) {
    struct text part, t = tpl_text(self);
    TRY(string_argument("removesuffix", a, &part));
    if (tpl_text_ends(t, part)) t.length -= part.length;
    *out = tpl_string(t);
    return tpl_run_spend(r, part.length / 64);
}

/* `text` with filling up to the width that is the first argument. */
static err pad(struct run *r, const char *name, const struct value *self, const struct args *a,
               struct text filling, bool left, struct value *out) {
    double width = 0, length = tpl_text_count_points(tpl_text(self));
    TRY(tpl_run_spend(r, self->length / 64));
    TRY(tpl_builtins_number(r, a, 0, "width", &width));
    if (filling.length == 0) return TRY_FAIL("%s needs a character to fill with", name);
    struct value fill = tpl_string(filling), times = tpl_integer(fmax(width - length, 0));
    TRY(tpl_binary(r, OP_MUL, &fill, &times, &fill));
    return left ? tpl_binary(r, OP_ADD, &fill, self, out) : tpl_binary(r, OP_ADD, self, &fill, out);
}

err tpl_strings_more_ljust(struct run *r, const struct value *self, const struct args *a,
                           struct value *out) {
    struct text filling = TEXT(" ");
    TRY(tpl_builtins_text(r, a, 1, "fillchar", &filling));
    return pad(r, "ljust", self, a, filling, false, out);
}

err tpl_strings_more_rjust(struct run *r, const struct value *self, const struct args *a,
                           struct value *out) {
    struct text filling = TEXT(" ");
    TRY(tpl_builtins_text(r, a, 1, "fillchar", &filling));
    return pad(r, "rjust", self, a, filling, true, out);
}

/* Zeros go behind a sign. */
err tpl_strings_more_zfill(struct run *r, const struct value *self, const struct args *a,
                           struct value *out) {
    struct text t = tpl_text(self);
    bool sign = t.length && (t.bytes[0] == '-' || t.bytes[0] == '+');
    if (!sign) return pad(r, "zfill", self, a, TEXT("0"), true, out);
    struct value rest = tpl_string(tpl_text_part(t, 1, t.length)), first = tpl_string(t);
    struct value width = a->count ? a->items[0] : tpl_integer(0);
    if (width.kind == VALUE_INTEGER) width.number -= 1;
    first.length = 1;
    struct args inner = {.items = &width, .count = 1};
    TRY(pad(r, "zfill", &rest, &inner, TEXT("0"), true, &rest));
    return tpl_binary(r, OP_ADD, &first, &rest, out);
}

/* ---- questions ---- */

typedef bool character_test(uint32_t code_point);

static bool is_alpha(uint32_t c) {
    return unicode_class_of(c) & UNICODE_LETTER;
}

static bool is_digit(uint32_t c) {
    return c >= '0' && c <= '9';
}

static bool is_alnum(uint32_t c) {
    return unicode_class_of(c) & (UNICODE_LETTER | UNICODE_NUMBER);
}

static err all_are(struct run *r, const struct value *self, character_test *test,
                   struct value *out) {
    struct text t = tpl_text(self);
    bool all = t.length > 0;
    for (uint32_t at = 0, n; all && at < t.length; at += n) all = test(tpl_text_point(t, at, &n));
    *out = tpl_boolean(all);
    return tpl_run_spend(r, t.length / 16);
}

err tpl_strings_more_isdigit(struct run *r, const struct value *self, const struct args *a,
                             struct value *out) {
    (void)a;
    return all_are(r, self, is_digit, out);
}

err tpl_strings_more_isalpha(struct run *r, const struct value *self, const struct args *a,
                             struct value *out) {
    (void)a;
    return all_are(r, self, is_alpha, out);
}

err tpl_strings_more_isalnum(struct run *r, const struct value *self, const struct args *a,
                             struct value *out) {
    (void)a;
    return all_are(r, self, is_alnum, out);
}

err tpl_strings_more_isspace(struct run *r, const struct value *self, const struct args *a,
                             struct value *out) {
    (void)a;
    return all_are(r, self, tpl_text_is_space, out);
}

/* In one case: the other mapping changes it, its own does not. */
static err is_cased(struct run *r, const struct value *self, bool upper, struct value *out) {
    struct value up, low;
    struct text t = tpl_text(self);
    TRY(tpl_case_upper(r, t, &up));
    TRY(tpl_case_lower(r, t, &low));
    const struct value *own = upper ? &up : &low;
    *out = tpl_boolean(tpl_text_equal(t, tpl_text(own)) && !tpl_equal_strictly(r, &up, &low));
    return ERR_OK;
}

err tpl_strings_more_isupper(struct run *r, const struct value *self, const struct args *a,
                             struct value *out) {
    (void)a;
    return is_cased(r, self, true, out);
}

err tpl_strings_more_islower(struct run *r, const struct value *self, const struct args *a,
                             struct value *out) {
    (void)a;
    return is_cased(r, self, false, out);
}
