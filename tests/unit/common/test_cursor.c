// SPDX-License-Identifier: MIT
/* test_cursor.c: values in little endian, and the sticky error. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/cursor.h"

static void test_values(void **state) {
    (void)state;
    static const uint8_t bytes[] = {
        0xFE, 0x01, 0x02, 0x78, 0x56, 0x34, 0x12, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3,    4,   5,
        6,    7,    8,    0,    0,    0xC0, 0x3F, 0,    0,    0,    0,    0, 0, 0xF8, 0x3F};
    struct cursor c = cursor_over(bytes, sizeof bytes);
    assert_int_equal(cursor_u8(&c), 0xFE);
    assert_int_equal(cursor_u16(&c), 0x0201);
    assert_int_equal(cursor_u32(&c), 0x12345678);
    assert_int_equal(cursor_i32(&c), -1);
    assert_true(cursor_u64(&c) == 0x0807060504030201u);
    assert_true(cursor_f32(&c) == 1.5f);
    assert_true(cursor_f64(&c) == 1.5);
    assert_int_equal(c.offset, sizeof bytes);
    assert_false(c.failed);
    assert_non_null(cursor_take(&c, 0)); // nothing can always be had
    assert_false(c.failed);
}

static void test_sticky_error(void **state) {
    (void)state;
    static const uint8_t bytes[] = {1, 2, 3, 4, 5};
    struct cursor c = cursor_over(bytes, sizeof bytes);
    assert_int_equal(cursor_u16(&c), 0x0201);
    assert_int_equal(cursor_u64(&c), 0);
    assert_true(c.failed);
    assert_int_equal(c.failed_need, 8);
    assert_int_equal(c.offset, 2);
    assert_int_equal(cursor_u8(&c), 0); // there would be one byte, but the record is broken
    assert_null(cursor_take(&c, 0));
    assert_int_equal(c.failed_need, 8); // of the first failure
    c = cursor_over(bytes, sizeof bytes);
    assert_null(cursor_take(&c, SIZE_MAX));
    assert_true(c.failed);
    c = cursor_over(NULL, 0);
    assert_int_equal(cursor_u8(&c), 0);
    assert_true(c.failed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_sticky_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
