// SPDX-License-Identifier: MIT
/* test_token_rate.c: seconds that were counted, that passed in silence, that are too old. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "coordinator/gateway/token_rate.h"

#define NS_PER_S UINT64_C(1000000000)

static uint64_t sum_at(struct token_rate *r, uint64_t second) {
    uint64_t out[TOKEN_RATE_SECONDS], sum = 0;
    token_rate_read(r, second * NS_PER_S, out);
    for (size_t i = 0; i < TOKEN_RATE_SECONDS; i++) sum += out[i];
    return sum;
}

static void whole_seconds_only(void **state) {
    (void)state;
    struct token_rate r = {0};
    uint64_t out[TOKEN_RATE_SECONDS];
    token_rate_add(&r, 3, 500 * NS_PER_S);
    token_rate_add(&r, 4, 501 * NS_PER_S - 1);
    token_rate_add(&r, 9, 501 * NS_PER_S);
    token_rate_read(&r, 501 * NS_PER_S + 1, out);
    assert_int_equal(out[TOKEN_RATE_SECONDS - 1], 7); // 501 is under way
    assert_int_equal(out[TOKEN_RATE_SECONDS - 2], 0);
    token_rate_read(&r, 503 * NS_PER_S, out);
    assert_int_equal(out[TOKEN_RATE_SECONDS - 1], 0);
    assert_int_equal(out[TOKEN_RATE_SECONDS - 2], 9);
    assert_int_equal(out[TOKEN_RATE_SECONDS - 3], 7);
}

static void what_is_old_is_forgotten(void **state) {
    (void)state;
    struct token_rate r = {0};
    token_rate_add(&r, 5, 1000 * NS_PER_S);
    assert_int_equal(sum_at(&r, 1001), 5);
    assert_int_equal(sum_at(&r, 1000 + TOKEN_RATE_SECONDS), 5);
    assert_int_equal(sum_at(&r, 1001 + TOKEN_RATE_SECONDS), 0);
    token_rate_add(&r, 6, 1100 * NS_PER_S);
    assert_int_equal(sum_at(&r, 1101), 6);
    assert_int_equal(sum_at(&r, 99999), 0); // a long silence
}

static void every_second_of_a_minute(void **state) {
    (void)state;
    struct token_rate r = {0};
    uint64_t out[TOKEN_RATE_SECONDS];
    for (uint64_t s = 0; s < 200; s++) token_rate_add(&r, s, s * NS_PER_S);
    token_rate_read(&r, 199 * NS_PER_S, out);
    for (uint64_t i = 0; i < TOKEN_RATE_SECONDS; i++)
        assert_int_equal(out[i], 199 - TOKEN_RATE_SECONDS + i);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_seconds_only),
        cmocka_unit_test(what_is_old_is_forgotten),
        cmocka_unit_test(every_second_of_a_minute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
