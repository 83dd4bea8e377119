// SPDX-License-Identifier: MIT
/* test_utf8.c: every code point both ways, and every kind of bad sequence (Unicode 15, table 3-7).
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/utf8.h"

static void test_every_code_point(void **state) {
    (void)state;
    for (uint32_t cp = 0; cp <= 0x110010; cp++) {
        char s[4];
        uint32_t back = 0;
        size_t n = utf8_encode(cp, s);
        uint32_t want = cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF) ? 0xFFFD : cp;
        assert_int_equal(n, want < 0x80 ? 1 : want < 0x800 ? 2 : want < 0x10000 ? 3 : 4);
        assert_int_equal(utf8_sequence(s, n, &back), n);
        assert_int_equal(back, want);
        for (size_t cut = 0; cut < n; cut++) { // each beginning can be completed
            assert_int_equal(utf8_sequence(s, cut, NULL), 0);
            assert_int_equal(utf8_incomplete_tail(s, cut), cut);
        }
        assert_int_equal(utf8_incomplete_tail(s, n), 0);
    }
}

static void test_bad_sequences(void **state) {
    (void)state;
    static const char *const bad[] = {
        "\x80",             // continuation alone
        "\xC0\x80",         // overlong
        "\xC1\xBF",         // overlong
        "\xE0\x9F\xBF",     // overlong
        "\xF0\x8F\xBF\xBF", // overlong
        "\xED\xA0\x80",     // surrogate
        "\xF4\x90\x80\x80", // above U+10FFFF
        "\xF5\x80\x80\x80", // no such first byte
        "\xFF",             // no such byte
        "\xC3(",            // no continuation
        "\xE2\x82(",        // no continuation
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t n = strlen(bad[i]);
        assert_int_equal(utf8_sequence(bad[i], n, NULL), 0);
        assert_false(utf8_valid(bad[i], n));
        assert_int_equal(utf8_incomplete_tail(bad[i], n), 0); // nothing that could become valid
    }
    assert_true(utf8_valid("", 0));
    assert_true(utf8_valid("a\0b\xE2\x82\xAC", 6));
    assert_false(utf8_valid("a\xE2\x82", 3));
    assert_int_equal(utf8_incomplete_tail("a\xE2\x82", 3), 2);
    assert_int_equal(utf8_incomplete_tail("\xE0\x9F", 2), 0);
    assert_int_equal(utf8_incomplete_tail("\x80\x80\x80\x80", 4), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_point),
        cmocka_unit_test(test_bad_sequences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
