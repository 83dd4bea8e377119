// SPDX-License-Identifier: MIT
/* test_cors.c: which origins are welcome, and what browsers are told. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "coordinator/gateway/cors.h"

static const char *const two[] = {"https://a.org", "http://localhost:3000"};
static const char *const all[] = {"https://a.org", "*"};

static void expect(const struct cors *c, const char *origin, const char *lines) {
    struct buf out;
    buf_init(&out, 0);
    cors_put_headers(&out, c, origin);
    assert_string_equal(out.length ? out.data : "", lines);
    buf_deinit(&out);
}

static void answers(void **state) {
    (void)state;
    const struct cors off = {0}, some = {two, 2}, any = {all, 2};
    expect(&off, "https://a.org", "");
    expect(&some, "", "Vary: Origin\r\n");
    expect(&some, "https://b.org", "Vary: Origin\r\n");
    expect(&some, "https://a.org:443", "Vary: Origin\r\n");
    expect(&some, "http://localhost:3000",
           "Vary: Origin\r\nAccess-Control-Allow-Origin: http://localhost:3000\r\n"
           "Access-Control-Expose-Headers: Retry-After, X-Request-Id\r\n");
    expect(&any, "https://b.org",
           "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: Retry-After, "
           "X-Request-Id\r\n");
    expect(&any, "", "");
    assert_false(cors_allows(&off, "https://a.org"));
    assert_true(cors_allows(&any, "null"));
    assert_false(cors_allows(&some, "null"));
}

static void preflights(void **state) {
    (void)state;
    static const struct {
        const char *asked, *allowed;
    } cases[] = {
        {"authorization,content-type,x-stainless-os", "authorization,content-type,x-stainless-os"},
        {"x-one, x-two", "x-one, x-two"},
        {"", "Authorization, Content-Type"},
        {"x\xff", "Authorization, Content-Type"}, // never sent back
        {"a: b", "Authorization, Content-Type"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out;
        char wanted[200];
        buf_init(&out, 0);
        cors_put_preflight(&out, "POST, OPTIONS", cases[i].asked);
        snprintf(wanted, sizeof wanted,
                 "Access-Control-Allow-Methods: POST, OPTIONS\r\n"
                 "Access-Control-Allow-Headers: %s\r\nAccess-Control-Max-Age: 7200\r\n",
                 cases[i].allowed);
        assert_string_equal(out.data, wanted);
        buf_deinit(&out);
    }
}

static void origins_are_checked(void **state) {
    (void)state;
    static const char *const good[] = {"*",
                                       "null",
                                       "https://a.org",
                                       "http://127.0.0.1:8080",
                                       "http://[::1]:80",
                                       "chrome-extension://abc"};
    static const char *const bad[] = {"",
                                      "a.org",
                                      "https://",
                                      "://a",
                                      "https://a.org/",
                                      "https://a.org/x",
                                      "https://a.org?x",
                                      "https://a b",
                                      "https://A.org",
                                      "https://u@a.org",
                                      "https://a\r\nX: y"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(cors_check(&(struct cors){&good[i], 1}), ERR_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(cors_check(&(struct cors){&bad[i], 1}), ERR_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(preflights),
        cmocka_unit_test(origins_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
