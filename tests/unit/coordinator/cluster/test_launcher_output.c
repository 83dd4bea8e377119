// SPDX-License-Identifier: MIT
/* test_launcher_output.c: what mpirun 4.1 really printed, and what is understood of it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/cluster/launcher_output.h"

#define RULE "--------------------------------------------------------------------------"

/* Feeds lines; returns how many were for the user. */
static size_t feed(struct launcher_output *l, const char *const *lines, size_t n) {
    size_t passed = 0;
    launcher_output_init(l);
    for (size_t i = 0; i < n; i++) passed += launcher_output_take(l, lines[i]) != LINE_LAUNCHER;
    return passed;
}
#define FEED(l, lines) feed((l), (lines), sizeof(lines) / sizeof *(lines))

static void test_killed(void **state) {
    (void)state;
    static const char *const lines[] = {
        "    1.159 warn  rank 0@vm: something that the rank says",
        RULE,
        "Primary job  terminated normally, but 1 process returned",
        "a non-zero exit code. Per user-direction, the job has been aborted.",
        RULE,
        RULE,
        "mpirun noticed that process rank 1 with PID 0 on node vm exited on signal 9 (Killed).",
        RULE,
    };
    struct launcher_output l;
    assert_int_equal(FEED(&l, lines), 1);
    assert_int_equal(l.rank, 1);
    assert_int_equal(l.signal, 9);
}

static void test_exit_code(void **state) {
    (void)state;
    static const char *const lines[] = {
        RULE,
        "mpirun detected that one or more processes exited with non-zero status, thus causing",
        "the job to be terminated. The first process to do so was:",
        "",
        "  Process name: [[19015,1],2]",
        "  Exit code:    7",
        RULE,
    };
    struct launcher_output l;
    assert_int_equal(FEED(&l, lines), 0);
    assert_int_equal(l.rank, 2);
    assert_int_equal(l.signal, 0);
    assert_int_equal(l.exit_code, 7);
}

static void test_abort(void **state) {
    (void)state;
    static const char *const lines[] = {
        RULE, "MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD", RULE};
    struct launcher_output l;
    assert_int_equal(FEED(&l, lines), 0);
    assert_int_equal(l.rank, 1);
    assert_int_equal(l.exit_code, -1);
}

static void test_log_lines_pass_everywhere(void **state) {
    (void)state;
    static const char *const lines[] = {
        RULE, "   12.345 info  rank 0@vm: inside a block",  "talk",
        RULE, "[vm:09934] *** Process received signal ***", "srun: error: node1: task 3: Killed",
    };
    struct launcher_output l;
    assert_int_equal(FEED(&l, lines), 2);
}

static void explains(const struct launcher_output *l, const char *text) {
    struct buf b;
    buf_init(&b, 0);
    launcher_output_explain(l, &b);
    assert_string_equal(b.data, text);
    buf_deinit(&b);
}

static void test_explanation(void **state) {
    (void)state;
    static const char *const lines[] = {
        "a line before",
        RULE,
        "There are not enough slots",
        "",
        "  for 3 processes",
        RULE,
        RULE,
        "Primary job  terminated normally, but 1 process returned",
        "more of it",
        RULE,
        "mpirun: afterwards",
    };
    struct launcher_output l;
    FEED(&l, lines);
    explains(&l, "There are not enough slots | for 3 processes | mpirun: afterwards");
    assert_int_equal(l.rank, -1);
}

static void test_floods_are_cut(void **state) {
    (void)state;
    struct launcher_output l;
    char line[1000];
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    launcher_output_init(&l);
    for (int i = 0; i < 1000; i++) launcher_output_take(&l, line);
    assert_int_equal(l.n_lines, LAUNCHER_OUTPUT_LINES);
    assert_int_equal(strlen(l.lines[0]), LAUNCHER_OUTPUT_WIDTH - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed),      cmocka_unit_test(test_exit_code),
        cmocka_unit_test(test_abort),       cmocka_unit_test(test_log_lines_pass_everywhere),
        cmocka_unit_test(test_explanation), cmocka_unit_test(test_floods_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
