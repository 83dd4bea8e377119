// SPDX-License-Identifier: MIT
/* test_edits.c: penalties become the edits that their definitions say. */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/mem.h"
#include "coordinator/scheduling/edits.h"
#include "demo_tokenizer.h"

static const struct logit_edit *edit_for(const struct logit_edit *e, uint32_t n, int32_t token) {
    for (uint32_t i = 0; i < n; i++) {
        if (e[i].token == token) return &e[i];
    }
    return NULL;
}

static const struct sched_limits *limits(const struct tokenizer *t) {
    static struct sched_limits l = {.ctx = 100};
    l.n_vocab = (uint32_t)tokenizer_vocab_size(t);
    return &l;
}

static void penalties_and_biases(void **state) {
    struct tokenizer *t = *state;
    const int32_t prompt[] = {10, 11, 12};
    const struct request_bias bias[] = {{.token = 20, .bias = 1.5f}, {.token = 12, .bias = -100}};
    struct request_params p;
    request_params_init(&p);
    p.presence_penalty = 0.5f;
    p.frequency_penalty = 0.25f;
    p.repeat_penalty = 1.3f;
    p.bias = bias;
    p.n_bias = 2;
    struct request *r;
    assert_int_equal(request_create(&r, prompt, 3, &p, limits(t), 1, t), ERR_OK);
    struct sequence *s = &r->sequences[0];
    sequence_append(s, 20);
    sequence_append(s, 21);
    sequence_append(s, 20);

    struct logit_edit edits[16];
    uint32_t n = edits_build(s, edits, 16);
    assert_int_equal(n, 5); // 10, 11, 12, 20, 21, each once
    assert_float_equal(edit_for(edits, n, 20)->bias, 1.5 - 0.5 - 2 * 0.25, 1e-6);
    assert_float_equal(edit_for(edits, n, 21)->bias, -0.5 - 0.25, 1e-6);
    assert_true(isinf(edit_for(edits, n, 12)->bias) && edit_for(edits, n, 12)->bias < 0);
    assert_float_equal(edit_for(edits, n, 10)->bias, 0, 0);
    assert_float_equal(edit_for(edits, n, 10)->repeat, 1.3, 1e-6);
    // never more than there is room for, and then it is no ban that is missing
    n = edits_build(s, edits, 2);
    assert_int_equal(n, 2);
    assert_true(isinf(edit_for(edits, n, 12)->bias));
    assert_float_equal(edit_for(edits, n, 12)->repeat, 1.3, 1e-6);
    assert_float_equal(edit_for(edits, n, 20)->bias, 1.5 - 0.5 - 2 * 0.25, 1e-6);
    request_free(r);
}

/* A token that has several biases gets their sum; every token finds its bias among many. */
static void many_biases(void **state) {
    struct request_bias bias[60];
    struct request_params p;
    struct request *r;
    struct logit_edit e[64];
    const int32_t prompt[] = {1};
    for (int i = 0; i < 60; i++)
        bias[i] = (struct request_bias){.token = i * 7 % 30, .bias = (float)i};
    bias[30].bias = -100; // and 0
    bias[31].bias = -60;  // and 1
    request_params_init(&p);
    p.presence_penalty = 2;
    p.bias = bias;
    p.n_bias = 60;
    p.max_tokens = 31;
    assert_int_equal(request_create(&r, prompt, 1, &p, limits(*state), 1, *state), ERR_OK);
    for (int32_t i = 0; i < 31; i++) sequence_append(&r->sequences[0], i);
    uint32_t n = edits_build(&r->sequences[0], e, 64);
    assert_int_equal(n, 31);
    assert_true(isinf(edit_for(e, n, 0)->bias));
    assert_float_equal(edit_for(e, n, 7)->bias, -60 + 1 - 2, 0);
    for (int i = 2; i < 30; i++)
        assert_float_equal(edit_for(e, n, i * 7 % 30)->bias, (float)(i + (i + 30) - 2), 0);
    assert_float_equal(edit_for(e, n, 30)->bias, -2, 0);
    request_free(r);
}

static void nothing_asked_nothing_edited(void **state) {
    struct request_params p;
    request_params_init(&p);
    const int32_t prompt[] = {1};
    struct request *r;
    struct logit_edit e[4];
    assert_int_equal(request_create(&r, prompt, 1, &p, limits(*state), 1, *state), ERR_OK);
    assert_int_equal(edits_build(&r->sequences[0], e, 4), 0);
    request_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(penalties_and_biases),
        cmocka_unit_test(many_biases),
        cmocka_unit_test(nothing_asked_nothing_edited),
    };
    return cmocka_run_group_tests(tests, demo_tokenizer_open, demo_tokenizer_close);
}
