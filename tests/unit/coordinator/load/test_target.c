// SPDX-License-Identifier: MIT
/* test_target.c: the URLs that people give, and those that are none. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "coordinator/load/target.h"

static void good_ones(void **state) {
    (void)state;
    static const struct {
        const char *url, *host, *authority, *prefix;
    } cases[] = {
        {"http://localhost:8080", "localhost", "localhost:8080", ""},
        {"HTTP://10.0.0.1", "10.0.0.1", "10.0.0.1:80", ""},
        {"http://h:1/", "h", "h:1", ""},
        {"http://h:65535/v1", "h", "h:65535", ""},
        {"http://h/v1/", "h", "h:80", ""},
        {"http://h/models/a//v1//", "h", "h:80", "/models/a"},
        {"http://h/models/a/", "h", "h:80", "/models/a"},
        {"http://h/apiv1", "h", "h:80", "/apiv1"},
        {"http://[::1]:8080/v1", "::1", "[::1]:8080", ""},
        {"http://[fe80::1]", "fe80::1", "[fe80::1]:80", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct target t;
        if (target_parse(&t, cases[i].url) != ERR_OK)
            fail_msg("%s: %s", cases[i].url, error_message());
        if (strcmp(t.host, cases[i].host) || strcmp(t.authority, cases[i].authority) ||
            strcmp(t.prefix, cases[i].prefix))
            fail_msg("%s: host '%s', authority '%s', prefix '%s'", cases[i].url, t.host,
                     t.authority, t.prefix);
    }
}

static void bad_ones(void **state) {
    (void)state;
    static const struct {
        const char *url, *says;
    } cases[] = {
        {"localhost:8080", "does not begin with http://"},
        {"ftp://h", "does not begin with http://"},
        {"https://h", "TLS"},
        {"http://", "no host"},
        {"http://:80", "no host"},
        {"http://[]:80", "no host"},
        {"http:///v1", "no host"},
        {"http://[::1", "no ']'"},
        {"http://h:0", "port"},
        {"http://h:65536", "port"},
        {"http://h:8o", "port"},
        {"http://h:", "port"},
        {"http://h:000080", "port"},
        {"http://::1:8080", "no host"},
        {"http://[::1]x", "port"},
        {"http://me@h", "odd"},
        {"http://h h", "odd"},
        {"http://h\r\nX: y", "port"},
        {"http://h/a b", "bytes that no path"},
        {"http://h/a\r\nX: y", "bytes that no path"},
        {"http://h/?q", "query"},
        {"http://h?q", "query"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct target t;
        assert_int_equal(target_parse(&t, cases[i].url), ERR_USAGE);
        if (!strstr(error_message(), cases[i].says))
            fail_msg("%s: '%s' does not say '%s'", cases[i].url, error_message(), cases[i].says);
    }
}

static void numbers_resolve(void **state) {
    (void)state;
    struct target t;
    assert_int_equal(target_parse(&t, "http://127.0.0.1:8080"), ERR_OK);
    assert_int_equal(target_resolve(&t), ERR_OK);
    assert_int_equal(t.n_addresses, 1);
    assert_int_equal(t.addresses[0].ss_family, AF_INET);
    assert_int_equal(target_parse(&t, "http://256.256.256.256"), ERR_OK);
    assert_int_equal(target_resolve(&t), ERR_ADDRESS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ones),
        cmocka_unit_test(bad_ones),
        cmocka_unit_test(numbers_resolve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
