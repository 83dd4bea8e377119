// SPDX-License-Identifier: MIT
/* tpl_numbers.c: see tpl_builtins.h: filters of numbers. */

#include <math.h>

#include "coordinator/template/tpl_builtins.h"
#include "coordinator/template/tpl_number.h"

err tpl_numbers_abs(struct run *r, const struct value *self, const struct args *a,
                    struct value *out) {
    (void)r, (void)a;
    if (!tpl_is_number(self)) return tpl_builtins_refuse("abs", self);
    *out = *self;
    out->number = fabs(self->number);
    return ERR_OK;
}

/* A string that is no number becomes the default, the first argument. */
static err from_string(struct run *r, const struct value *self, const struct args *a, bool is_float,
                       struct value *out) {
    const struct value *otherwise = tpl_args_get(r, a, 0, "default");
    struct text t = tpl_text(self);
    double v = is_float ? tpl_number_parse_float(t) : tpl_number_parse_int(t);
    *out = is_float ? tpl_float(isnan(v) ? 0 : v) : tpl_integer(isnan(v) ? 0 : v);
    if (isnan(v) && otherwise) *out = *otherwise;
    return tpl_run_spend(r, t.length / 64);
}

/* Brackets leave a number as it is, and without them int rounds down: so the reference. */
static err convert(struct run *r, const struct value *self, const struct args *a, bool is_float,
                   struct value *out) {
    *out = *self;
    if (self->kind == VALUE_STRING) return from_string(r, self, a, is_float, out);
    if (self->kind == VALUE_BOOLEAN) {
        *out = is_float ? tpl_float(self->boolean) : tpl_integer(self->boolean);
        return ERR_OK;
    }
    if (!tpl_is_number(self)) return tpl_builtins_refuse(is_float ? "float" : "int", self);
    if (a->has_brackets) return ERR_OK;
    *out = is_float ? tpl_float(self->number) : tpl_integer(floor(self->number));
    return ERR_OK;
}

err tpl_numbers_int(struct run *r, const struct value *self, const struct args *a,
                    struct value *out) {
    return convert(r, self, a, false, out);
}

err tpl_numbers_float(struct run *r, const struct value *self, const struct args *a,
                      struct value *out) {
    return convert(r, self, a, true, out);
}

/* round(precision, method): common (to even, as Python), ceil or floor; a float. */
err tpl_numbers_round(struct run *r, const struct value *self, const struct args *a,
                      struct value *out) {
    double precision = 0;
    struct text method = TEXT("common");
    if (!tpl_is_number(self)) return tpl_builtins_refuse("round", self);
    TRY(tpl_builtins_number(r, a, 0, "precision", &precision));
    TRY(tpl_builtins_text(r, a, 1, "method", &method));
    double scale = pow(10, fmin(fmax(precision, -300), 300)), v = self->number * scale;
    if (tpl_text_is(method, "ceil"))
        v = ceil(v);
    else if (tpl_text_is(method, "floor"))
        v = floor(v);
    else if (tpl_text_is(method, "common"))
        v = nearbyint(v);
    else
        return TRY_FAIL("round knows common, ceil and floor");
    *out = tpl_float(v / scale);
    return ERR_OK;
}

err tpl_numbers_bool(struct run *r, const struct value *self, const struct args *a,
                     struct value *out) {
    (void)r, (void)a;
    *out = tpl_boolean(tpl_truth(self));
    return ERR_OK;
}
