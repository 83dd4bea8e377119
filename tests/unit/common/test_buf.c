// SPDX-License-Identifier: MIT
/* test_buf.c: growth, the ceiling, and JSON strings of any bytes. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"

static void test_growth(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    assert_int_equal(b.length, 0);
    buf_append(&b, "xy", 0); // nothing
    assert_null(b.data);
    for (int i = 0; i < 1000; i++) buf_printf(&b, "%d,", i);
    buf_puts(&b, "end");
    buf_putc(&b, '.');
    assert_false(b.failed);
    assert_int_equal(b.length, 10 * 2 + 90 * 3 + 900 * 4 + 4);
    assert_int_equal(strlen(b.data), b.length);
    assert_int_equal(strncmp(b.data, "0,1,2,", 6), 0);
    assert_string_equal(b.data + b.length - 8, "999,end.");
    buf_consume(&b, 2);
    assert_int_equal(strncmp(b.data, "1,2,", 4), 0);
    buf_consume(&b, b.length);
    assert_int_equal(b.length, 0);
    assert_string_equal(b.data, "");
    buf_deinit(&b);
    assert_null(b.data);
}

static void test_ceiling(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 5);
    buf_puts(&b, "12345");
    assert_false(b.failed);
    buf_putc(&b, '6');
    assert_true(b.failed);
    assert_string_equal(b.data, "12345"); // keeps what it had
    assert_null(buf_extend(&b, 0));       // and stays failed
    buf_clear(&b);
    assert_false(b.failed);
    buf_printf(&b, "%s", "123456");
    assert_true(b.failed);
    assert_int_equal(b.length, 0);
    buf_clear(&b);
    assert_null(buf_extend(&b, SIZE_MAX));
    buf_deinit(&b);
}

static void test_json(void **state) {
    (void)state;
    static const struct {
        const char *in;
        size_t n;
        const char *out;
    } cases[] = {
        {"plain", 5, "plain"},
        {"a\"b\\c", 5, "a\\\"b\\\\c"},
        {"\n\t\x01\x7f\0", 5, "\\n\\u0009\\u0001\\u007f\\u0000"},
        {"\xC3\xA9\xF0\x9F\x98\x80", 6, "\xC3\xA9\xF0\x9F\x98\x80"},
        {"a\xC3", 2, "a\xEF\xBF\xBD"},                               // cut off
        {"\xED\xA0\x80", 3, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"}, // a surrogate
        {"", 0, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf b;
        buf_init(&b, 0);
        buf_putc(&b, '>');
        buf_append_json(&b, cases[i].in, cases[i].n);
        assert_string_equal(b.data + 1, cases[i].out);
        buf_deinit(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_ceiling),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
