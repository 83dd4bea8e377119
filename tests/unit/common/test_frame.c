// SPDX-License-Identifier: MIT
/* test_frame.c: frames are found in a stream however it is cut, and refused lengths cost nothing.
 */

#include "common/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void put_frame(struct buf *b, const char *text) {
    size_t begin = frame_begin(b);
    buf_puts(b, text);
    assert_int_equal(frame_end(b, begin), ERR_OK);
}

static void test_round_trip(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    put_frame(&b, "one");
    put_frame(&b, "second frame");
    assert_memory_equal(b.data, "\3\0\0\0one\14\0\0\0second frame", b.length);

    const uint8_t *payload;
    size_t n, used;
    assert_int_equal(frame_next(b.data, b.length, 64, &payload, &n, &used), ERR_OK);
    assert_int_equal(n, 3);
    assert_memory_equal(payload, "one", 3);
    assert_int_equal(used, 7);
    assert_int_equal(frame_next(b.data + used, b.length - used, 64, &payload, &n, &used), ERR_OK);
    assert_int_equal(n, 12);
    assert_memory_equal(payload, "second frame", 12);
    buf_deinit(&b);
}

static void test_every_prefix_is_incomplete(void **state) {
    (void)state;
    static const char frame[] = "\5\0\0\0abcde";
    for (size_t n = 0; n < 9; n++) {
        const uint8_t *payload = (const uint8_t *)frame;
        size_t bytes = 99, used = 99;
        assert_int_equal(frame_next(frame, n, 64, &payload, &bytes, &used), ERR_OK);
        assert_null(payload);
        assert_int_equal(used, 0);
    }
}

static void test_bad_lengths(void **state) {
    (void)state;
    const uint8_t *payload;
    size_t n, used;
    assert_int_equal(frame_next("\0\0\0\0", 4, 64, &payload, &n, &used), ERR_PROTOCOL);
    assert_int_equal(frame_next("\377\377\377\377", 4, FRAME_MAX_BYTES, &payload, &n, &used),
                     ERR_PROTOCOL);
    assert_non_null(strstr(error_message(), "4294967295"));
    assert_int_equal(frame_next("\101\0\0\0", 4, 64, &payload, &n, &used), ERR_PROTOCOL);
    assert_int_equal(frame_next("\100\0\0\0", 4, 64, &payload, &n, &used), ERR_OK);
    assert_null(payload);
}

static void test_bad_output(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    size_t begin = frame_begin(&b);
    assert_int_equal(frame_end(&b, begin), ERR_PROTOCOL); // empty
    assert_non_null(buf_extend(&b, FRAME_MAX_BYTES));
    assert_int_equal(frame_end(&b, begin), ERR_OK); // the largest
    buf_putc(&b, 'x');
    assert_int_equal(frame_end(&b, begin), ERR_PROTOCOL); // one more
    buf_deinit(&b);

    buf_init(&b, 6);
    begin = frame_begin(&b);
    buf_puts(&b, "abc");
    assert_int_equal(frame_end(&b, begin), ERR_PROTOCOL); // over the buffer's ceiling
    buf_deinit(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_prefix_is_incomplete),
        cmocka_unit_test(test_bad_lengths),
        cmocka_unit_test(test_bad_output),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
