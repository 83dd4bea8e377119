// SPDX-License-Identifier: MIT
/* test_chat.c: the plain transcript of models without a template. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "coordinator/gateway/chat.h"

static void a_conversation_is_a_transcript(void **state) {
    (void)state;
    const struct chat_message messages[] = {{"system", "Rules.", 6},
                                            {"developer", "More rules.", 11},
                                            {"user", "Hi!\nThere?", 10},
                                            {"assistant", "", 0},
                                            {"tool", "cut here: not this", 8}};
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(chat_put_plain(&out, messages, 5), ERR_OK);
    assert_string_equal(out.data, "System: Rules.\n\nSystem: More rules.\n\nUser: Hi!\nThere?\n\n"
                                  "Assistant: \n\nTool: cut here\n\nAssistant:");
    buf_deinit(&out);
}

static void an_unknown_role_is_named(void **state) {
    (void)state;
    const struct chat_message messages[] = {{"user", "x", 1}, {"king", "x", 1}};
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(chat_put_plain(&out, messages, 2), ERR_REQUEST);
    assert_non_null(strstr(error_message(), "messages[1]"));
    assert_non_null(strstr(error_message(), "king"));
    buf_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_conversation_is_a_transcript),
        cmocka_unit_test(an_unknown_role_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
