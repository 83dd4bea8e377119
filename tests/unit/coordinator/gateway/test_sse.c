// SPDX-License-Identifier: MIT
/* test_sse.c: the bytes of server-sent events. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "coordinator/gateway/sse.h"

static void an_event_is_one_line_and_a_blank_one(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 0);
    sse_begin(&out);
    buf_puts(&out, "{\"a\":1}");
    sse_end(&out);
    assert_string_equal(out.data, "data: {\"a\":1}\n\n");
    buf_deinit(&out);
}

static void the_end_and_the_ping(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 0);
    sse_put_ping(&out);
    sse_put_done(&out);
    assert_string_equal(out.data, ": ping\n\ndata: [DONE]\n\n"); // a comment is no event
    buf_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_one_line_and_a_blank_one),
        cmocka_unit_test(the_end_and_the_ping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
