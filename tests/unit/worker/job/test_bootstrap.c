// SPDX-License-Identifier: MIT
/* test_bootstrap.c: the start line, read from a pipe as a rank reads it. */

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker/job/bootstrap.h"

#define SECRET "00112233445566778899aabbccddeeff"

static void parse_whole_line(void **state) {
    (void)state;
    struct bootstrap b;
    assert_int_equal(bootstrap_parse(&b, "LOCKSTEP1 7 " SECRET
                                         " unix:/run/x.sock tcp:10.0.0.1:900  tcp:[fe80::1]:901"),
                     ERR_OK);
    assert_int_equal(b.epoch, 7);
    assert_string_equal(b.secret, SECRET);
    assert_int_equal(b.n_addresses, 3);
    assert_string_equal(b.addresses[0], "unix:/run/x.sock");
    assert_string_equal(b.addresses[1], "tcp:10.0.0.1:900");
    assert_string_equal(b.addresses[2], "tcp:[fe80::1]:901");
}

static void refuse_bad_lines(void **state) {
    (void)state;
    static const struct {
        const char *line, *reason;
    } cases[] = {
        {"", "LOCKSTEP1"},
        {"LOCKSTEP2 1 " SECRET " unix:/x", "LOCKSTEP1"},
        {"LOCKSTEP1", "epoch"},
        {"LOCKSTEP1 0 " SECRET " unix:/x", "epoch"},
        {"LOCKSTEP1 -1 " SECRET " unix:/x", "epoch"},
        {"LOCKSTEP1 1x " SECRET " unix:/x", "epoch"},
        {"LOCKSTEP1 99999999999999999999 " SECRET " unix:/x", "epoch"},
        {"LOCKSTEP1 1", "secret"},
        {"LOCKSTEP1 1 abc unix:/x", "secret"},
        {"LOCKSTEP1 1 " SECRET "xyz unix:/x", "secret"},
        {"LOCKSTEP1 1 " SECRET, "address"},
        {"LOCKSTEP1 1 " SECRET " 10.0.0.1:900", "neither"},
        {"LOCKSTEP1 1 " SECRET " unix:relative", "neither"},
        {"LOCKSTEP1 1 " SECRET " tcp:host", "port"},
        {"LOCKSTEP1 1 " SECRET " unix:/1 unix:/2 unix:/3 unix:/4 unix:/5 unix:/6 unix:/7 unix:/8"
         " unix:/9 unix:/10 unix:/11 unix:/12 unix:/13 unix:/14 unix:/15 unix:/16 unix:/17",
         "16"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bootstrap b;
        assert_int_equal(bootstrap_parse(&b, cases[i].line), ERR_PROTOCOL);
        if (!strstr(error_message(), cases[i].reason))
            fail_msg("'%s' does not speak of %s", error_message(), cases[i].reason);
        if (strstr(error_message(), SECRET)) fail_msg("the secret stands in an error");
    }
}

static int pipe_with(const char *text) {
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], text, strlen(text)), strlen(text));
    close(fds[1]);
    return fds[0];
}

static void read_one_line_only(void **state) {
    (void)state;
    struct bootstrap b;
    char rest[16] = "";
    int fd = pipe_with("LOCKSTEP1 1 " SECRET " unix:/x\nnext");
    assert_int_equal(bootstrap_read(&b, fd, 1000), ERR_OK);
    assert_string_equal(b.addresses[0], "unix:/x");
    assert_int_equal(read(fd, rest, sizeof rest), 4);
    assert_string_equal(rest, "next");
    close(fd);
}

static void refuse_end_and_length(void **state) {
    (void)state;
    struct bootstrap b;
    int fd = pipe_with("LOCKSTEP1 1 " SECRET " unix:/x");
    assert_int_equal(bootstrap_read(&b, fd, 1000), ERR_LAUNCH);
    assert_non_null(strstr(error_message(), "ended before"));
    close(fd);

    char longer[BOOTSTRAP_LINE_MAX + 2];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    fd = pipe_with(longer);
    assert_int_equal(bootstrap_read(&b, fd, 1000), ERR_PROTOCOL);
    assert_non_null(strstr(error_message(), "longer than 4096"));
    close(fd);
}

static void give_up_in_time(void **state) {
    (void)state;
    struct bootstrap b;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "LOCK", 4), 4);
    assert_int_equal(bootstrap_read(&b, fds[0], 50), ERR_LAUNCH);
    assert_non_null(strstr(error_message(), "no start line came"));
    close(fds[0]);
    close(fds[1]);
}

static void join_by_environment_or_file(void **state) {
    (void)state;
    struct bootstrap b;
    unsetenv("LOCKSTEP_SECRET");
    assert_int_equal(bootstrap_join(&b, "host:900", NULL), ERR_USAGE);
    assert_non_null(strstr(error_message(), "--secret-file"));
    setenv("LOCKSTEP_SECRET", SECRET, 1);
    assert_int_equal(bootstrap_join(&b, "host:900", NULL), ERR_OK);
    assert_string_equal(b.addresses[0], "tcp:host:900");
    assert_string_equal(b.secret, SECRET);
    assert_int_equal(b.epoch, 1);
    assert_int_equal(bootstrap_join(&b, "host", NULL), ERR_USAGE);
    setenv("LOCKSTEP_SECRET", "short", 1);
    assert_int_equal(bootstrap_join(&b, "host:900", NULL), ERR_USAGE);
    unsetenv("LOCKSTEP_SECRET");

    char path[] = "/tmp/lockstep-secret-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, SECRET "\n", strlen(SECRET) + 1), strlen(SECRET) + 1);
    close(fd);
    assert_int_equal(bootstrap_join(&b, "[::1]:900", path), ERR_OK);
    assert_string_equal(b.secret, SECRET);
    unlink(path);
    assert_int_equal(bootstrap_join(&b, "[::1]:900", path), ERR_USAGE);
    assert_non_null(strstr(error_message(), path));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse_whole_line),   cmocka_unit_test(refuse_bad_lines),
        cmocka_unit_test(read_one_line_only), cmocka_unit_test(refuse_end_and_length),
        cmocka_unit_test(give_up_in_time),    cmocka_unit_test(join_by_environment_or_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
