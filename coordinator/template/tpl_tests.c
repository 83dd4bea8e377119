// SPDX-License-Identifier: MIT
/* tpl_tests.c: see tpl_tests.h.  A new test is a row: a question about the kind, or a function. */

#include "coordinator/template/tpl_tests.h"

#include <math.h>

#include "coordinator/template/tpl_case.h"
#include "coordinator/template/tpl_eval.h"

#define KIND(name) (1u << VALUE_##name)
#define NUMBERS    (KIND(INTEGER) | KIND(FLOAT))
#define LISTS      (KIND(LIST) | KIND(TUPLE))
#define ANY        (~0u)

typedef err test_function(struct run *r, const struct value *v, const struct value *argument,
                          bool *out);

/* ---- of one value ---- */

static err is_true(struct run *r, const struct value *v, const struct value *argument, bool *out) {
    (void)r, (void)argument;
    *out = v->kind == VALUE_BOOLEAN && v->boolean;
    return ERR_OK;
}

static err is_false(struct run *r, const struct value *v, const struct value *argument, bool *out) {
    (void)r, (void)argument;
    *out = v->kind == VALUE_BOOLEAN && !v->boolean;
    return ERR_OK;
}

static err is_odd(struct run *r, const struct value *v, const struct value *argument, bool *out) {
    (void)r, (void)argument;
    if (v->kind != VALUE_INTEGER) return TRY_FAIL("%s is neither odd nor even", tpl_kind_name(v));
    *out = fmod(v->number, 2) != 0;
    return ERR_OK;
}

static err is_even(struct run *r, const struct value *v, const struct value *argument, bool *out) {
    TRY(is_odd(r, v, argument, out));
    *out = !*out;
    return ERR_OK;
}

static err is_lower(struct run *r, const struct value *v, const struct value *argument, bool *out) {
    struct value lower;
    (void)argument;
    *out = false;
    if (v->kind != VALUE_STRING) return ERR_OK;
    TRY(tpl_case_lower(r, tpl_text(v), &lower));
    *out = tpl_equal_strictly(r, v, &lower);
    return ERR_OK;
}

static err is_upper(struct run *r, const struct value *v, const struct value *argument, bool *out) {
    struct value upper;
    (void)argument;
    *out = false;
    if (v->kind != VALUE_STRING) return ERR_OK;
    TRY(tpl_case_upper(r, tpl_text(v), &upper));
    *out = tpl_equal_strictly(r, v, &upper);
    return ERR_OK;
}

/* ---- of two values ---- */

static err is_equal(struct run *r, const struct value *v, const struct value *argument, bool *out) {
    *out = tpl_equal_strictly(r, v, argument);
    return ERR_OK;
}

static err is_unequal(struct run *r, const struct value *v, const struct value *argument,
                      bool *out) {
    *out = !tpl_equal_strictly(r, v, argument);
    return ERR_OK;
}

static err by_operator(struct run *r, enum node_op op, const struct value *v,
                       const struct value *argument, bool *out) {
    struct value result;
    TRY(tpl_binary(r, op, v, argument, &result));
    *out = tpl_truth(&result);
    return ERR_OK;
}

static err is_less(struct run *r, const struct value *v, const struct value *argument, bool *out) {
    return by_operator(r, OP_LT, v, argument, out);
}

static err is_at_most(struct run *r, const struct value *v, const struct value *argument,
                      bool *out) {
    return by_operator(r, OP_LE, v, argument, out);
}

static err is_greater(struct run *r, const struct value *v, const struct value *argument,
                      bool *out) {
    return by_operator(r, OP_GT, v, argument, out);
}

static err is_at_least(struct run *r, const struct value *v, const struct value *argument,
                       bool *out) {
    return by_operator(r, OP_GE, v, argument, out);
}

static err is_in(struct run *r, const struct value *v, const struct value *argument, bool *out) {
    return by_operator(r, OP_IN, v, argument, out);
}

static err is_divisible(struct run *r, const struct value *v, const struct value *argument,
                        bool *out) {
    TRY(by_operator(r, OP_MOD, v, argument, out));
    *out = !*out;
    return ERR_OK;
}

static err begins(struct run *r, const struct value *v, const struct value *argument, bool *out) {
    *out = v->kind == VALUE_STRING && argument->kind == VALUE_STRING &&
           tpl_text_begins(tpl_text(v), tpl_text(argument));
    return tpl_run_spend(r, v->length / 64);
}

static err ends(struct run *r, const struct value *v, const struct value *argument, bool *out) {
    *out = v->kind == VALUE_STRING && argument->kind == VALUE_STRING &&
           tpl_text_ends(tpl_text(v), tpl_text(argument));
    return tpl_run_spend(r, v->length / 64);
}

/* ---- all of them ---- */

static const struct test {
    const char *name;
    uint32_t kinds;      // without a function: the kinds that pass
    test_function *test; // with one it decides
    bool has_argument;
} tests[] = {
    {"boolean", KIND(BOOLEAN), NULL, false},
    {"callable", KIND(FUNCTION), NULL, false},
    {"defined", ANY & ~KIND(UNDEFINED), NULL, false},
    {"undefined", KIND(UNDEFINED), NULL, false},
    {"none", KIND(NONE), NULL, false},
    {"string", KIND(STRING), NULL, false},
    {"number", NUMBERS, NULL, false},
    {"integer", KIND(INTEGER), NULL, false},
    {"float", KIND(FLOAT), NULL, false},
    {"iterable", KIND(LIST) | KIND(STRING), NULL, false},
    {"mapping", KIND(DICT), NULL, false},
    {"sequence", LISTS | KIND(DICT) | KIND(STRING), NULL, false},
    {"true", 0, is_true, false},
    {"false", 0, is_false, false},
    {"odd", 0, is_odd, false},
    {"even", 0, is_even, false},
    {"lower", 0, is_lower, false},
    {"upper", 0, is_upper, false},
    {"eq", 0, is_equal, true},
    {"equalto", 0, is_equal, true},
    {"==", 0, is_equal, true},
    {"sameas", 0, is_equal, true},
    {"ne", 0, is_unequal, true},
    {"!=", 0, is_unequal, true},
    {"lt", 0, is_less, true},
    {"lessthan", 0, is_less, true},
    {"<", 0, is_less, true},
    {"le", 0, is_at_most, true},
    {"<=", 0, is_at_most, true},
    {"gt", 0, is_greater, true},
    {"greaterthan", 0, is_greater, true},
    {">", 0, is_greater, true},
    {"ge", 0, is_at_least, true},
    {">=", 0, is_at_least, true},
    {"in", 0, is_in, true},
    {"divisibleby", 0, is_divisible, true},
    {"startingwith", 0, begins, true},
    {"endingwith", 0, ends, true},
};

static const struct test *find(struct text name) {
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (tpl_text_is(name, tests[i].name)) return &tests[i];
    return NULL;
}

bool tpl_tests_takes_argument(struct text name) {
    const struct test *t = find(name);
    return t && t->has_argument;
}

err tpl_tests_apply(struct run *r, struct text name, const struct value *operand,
                    const struct args *a, bool *out) {
    const struct test *t = find(name);
    if (!t) return TRY_FAIL("there is no test %.*s", TEXT_SHOWN(name));
    if (t->has_argument != (a->count == 1) || a->keywords.count)
        return TRY_FAIL("the test %.*s takes %s argument", TEXT_SHOWN(name),
                        t->has_argument ? "one" : "no");
    *out = t->kinds >> operand->kind & 1;
    return t->test ? t->test(r, operand, a->items, out) : tpl_run_spend(r, 1);
}
