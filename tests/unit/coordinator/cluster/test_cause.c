// SPDX-License-Identifier: MIT
/* test_cause.c: which of several pieces of evidence becomes the sentence. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/cluster/cause.h"

static struct roster roster;
static struct launcher_output output;
static struct cause cause;
static struct cause_launcher launcher;
static char sentence[1024];

static int setup(void **state) {
    (void)state;
    roster_init(&roster, 2, "s", "b", 1);
    for (uint32_t r = 0; r < 2; r++) {
        struct wire_hello h = {
            .rank = r, .host = "h", .isa = "", .mpi = "", .transport = "", .cpus = ""};
        roster_add(&roster, &h);
    }
    launcher_output_init(&output);
    cause = (struct cause){0};
    launcher = (struct cause_launcher){.name = "mpirun", .output = &output};
    return 0;
}

static int teardown(void **state) {
    (void)state;
    roster_deinit(&roster);
    return 0;
}

static err decide(bool started) {
    return cause_decide(&cause, &roster, &launcher, started, sentence, sizeof sentence);
}

static void mpirun_says(int rank, int signal, int exit_code) {
    output.rank = rank;
    output.signal = signal;
    output.exit_code = exit_code;
}

static void test_killed(void **state) {
    (void)state;
    cause_loss(&cause, 0, "its connection ended", false); // noticed first, but rank 1 died first
    mpirun_says(1, 9, -1);
    assert_int_equal(decide(true), ERR_RANK_LOST);
    assert_string_equal(sentence, "rank 1 on h was ended by signal 9 (Killed)");
}

static void test_error_before_the_loss(void **state) {
    (void)state;
    struct wire_error e = {.code = ERR_MEMORY, .rank = 1, .message = "no room for 8 GiB"};
    cause_rank_error(&cause, &roster, &e);
    cause_loss(&cause, 0, "its connection ended", true);
    mpirun_says(0, 0, 4);
    assert_int_equal(decide(true), ERR_MEMORY);
    assert_string_equal(sentence, "rank 1 on h: no room for 8 GiB");
}

static void test_agreed_errors_name_their_rank(void **state) {
    (void)state;
    struct wire_error e = {.code = ERR_MODEL, .rank = 0, .message = "rank 1 on h: bad file"};
    cause_rank_error(&cause, &roster, &e);
    assert_int_equal(decide(false), ERR_MODEL);
    assert_string_equal(sentence, "rank 1 on h: bad file");
}

static void test_complaints_after_the_loss(void **state) {
    (void)state;
    struct wire_error e = {.code = ERR_RANK_LOST, .rank = 0, .message = "a neighbour is gone"};
    cause_loss(&cause, 1, "its connection ended", false);
    cause_rank_error(&cause, &roster, &e);
    mpirun_says(1, 11, -1);
    assert_int_equal(decide(true), ERR_RANK_LOST);
    assert_string_equal(sentence, "rank 1 on h was ended by signal 11 (Segmentation fault)");
}

static void test_silence(void **state) {
    (void)state;
    cause_loss(&cause, 1, NULL, false);
    assert_int_equal(decide(true), ERR_RANK_LOST);
    assert_string_equal(sentence, "rank 1 on h does not answer");
}

static void test_connection_only(void **state) {
    (void)state;
    launcher.name = NULL; // mpirun is not ours
    cause_loss(&cause, 0, "its connection ended", true);
    cause_loss(&cause, 1, "its connection ended", false); // more telling than an announced end
    cause_loss(&cause, 0, "its connection ended", false);
    assert_int_equal(decide(true), ERR_RANK_LOST);
    assert_string_equal(sentence, "rank 1 on h is gone: its connection ended");
}

static void test_launcher(void **state) {
    (void)state;
    cause_launcher_end(&cause);
    launcher.ended = true;
    launcher.signal = 9;
    assert_int_equal(decide(true), ERR_RANK_LOST);
    assert_string_equal(sentence, "mpirun was ended by signal 9 (Killed)");
    launcher.signal = 0;
    launcher.exit_code = 1;
    strcpy(output.lines[output.n_lines++], "not enough slots");
    assert_int_equal(decide(false), ERR_LAUNCH);
    assert_string_equal(sentence, "mpirun ended with exit code 1; it said: not enough slots");
}

static void test_launcher_and_rank(void **state) {
    (void)state;
    cause_launcher_end(&cause);
    cause_loss(&cause, 1, "connection timed out", false);
    launcher.ended = true;
    launcher.exit_code = 205;
    assert_int_equal(decide(true), ERR_RANK_LOST);
    assert_string_equal(sentence, "rank 1 on h is gone: connection timed out; mpirun ended with "
                                  "exit code 205");
}

static void test_before_hello(void **state) {
    (void)state;
    roster_deinit(&roster);
    roster_init(&roster, 2, "s", "b", 1);
    cause_launcher_end(&cause);
    mpirun_says(1, 9, -1);
    assert_int_equal(decide(false), ERR_LAUNCH);
    assert_string_equal(sentence, "rank 1 was ended by signal 9 (Killed)");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_killed),
        TEST(test_error_before_the_loss),
        TEST(test_agreed_errors_name_their_rank),
        TEST(test_complaints_after_the_loss),
        TEST(test_silence),
        TEST(test_connection_only),
        TEST(test_launcher),
        TEST(test_launcher_and_rank),
        TEST(test_before_hello),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
