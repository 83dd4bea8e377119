// SPDX-License-Identifier: MIT
/* test_error.c: the failure record, its macros, the exit codes of the README. */

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/error.h"

static err fail_with(int n) {
    return n ? FAIL(ERR_IO, "number %d", n) : ERR_OK;
}

static err forward(int n, int *reached) {
    TRY(fail_with(n));
    *reached = 1;
    return ERR_OK;
}

static err forward_with_cleanup(int n, int *cleaned) {
    err e = ERR_OK;
    TRY_GOTO(e, fail_with(n), out);
    return e;
out:
    *cleaned = 1;
    return e;
}

static void test_record(void **state) {
    (void)state;
    int reached = 0, cleaned = 0;
    assert_int_equal(forward(0, &reached), ERR_OK);
    assert_int_equal(reached, 1);
    reached = 0;
    assert_int_equal(forward(7, &reached), ERR_IO);
    assert_int_equal(reached, 0);
    assert_string_equal(error_message(), "number 7");
    assert_non_null(strstr(error_origin(), "test_error.c:"));
    assert_int_equal(forward_with_cleanup(8, &cleaned), ERR_IO);
    assert_int_equal(cleaned, 1);
    assert_int_equal(error_prefix(ERR_IO, "rank %d", 3), ERR_IO);
    assert_string_equal(error_message(), "rank 3: number 8");
    /* The arguments may come from the record itself. */
    assert_int_equal(FAIL(ERR_MODEL, "%s, twice: %s", error_message(), error_message()), ERR_MODEL);
    assert_string_equal(error_message(), "rank 3: number 8, twice: rank 3: number 8");
}

static void test_long_sentences_are_cut(void **state) {
    (void)state;
    char text[3000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(FAIL(ERR_IO, "%s", text), ERR_IO);
    assert_int_equal(strlen(error_message()), 1023);
    assert_int_equal(error_prefix(ERR_IO, "%s", text), ERR_IO);
    assert_int_equal(strlen(error_message()), 1023);
    assert_non_null(strstr(error_message(), "x: x"));
}

static void *fail_elsewhere(void *out) {
    *(err *)out = FAIL(ERR_BUSY, "another thread");
    return NULL;
}

static void test_threads_have_their_own(void **state) {
    (void)state;
    pthread_t thread;
    err other = ERR_OK;
    assert_int_equal(FAIL(ERR_IO, "mine"), ERR_IO);
    assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, &other), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(other, ERR_BUSY);
    assert_string_equal(error_message(), "mine");
}

static void test_codes(void **state) {
    (void)state;
    assert_int_equal(error_exit_code(ERR_OK), 0);
    for (int i = 1; i < ERR_COUNT; i++) {
        assert_in_range(error_exit_code((err)i), 1, 255);
        assert_true(strlen(error_name((err)i)) > 0 && strlen(error_text((err)i)) > 0);
        for (int j = 0; j < i; j++) // one code means one thing
            assert_int_not_equal(error_exit_code((err)i), error_exit_code((err)j));
    }
    assert_string_equal(error_name(ERR_MODEL), "MODEL");
    assert_int_equal(error_exit_code(ERR_MODEL), 3);
    assert_string_equal(error_name((err)999), "INTERNAL"); // a number from a peer may be anything
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record),
        cmocka_unit_test(test_long_sentences_are_cut),
        cmocka_unit_test(test_threads_have_their_own),
        cmocka_unit_test(test_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
