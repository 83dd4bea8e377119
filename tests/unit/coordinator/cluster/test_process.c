// SPDX-License-Identifier: MIT
/* test_process.c: /proc: who lives, and what a session holds. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "coordinator/cluster/process.h"

static pid_t start_sleeper(bool own_session) {
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (own_session) setsid();
        if (write(ready[1], "x", 1) != 1) _exit(1);
        for (;;) pause();
    }
    char c;
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void test_life(void **state) {
    (void)state;
    struct process p;
    pid_t pid = start_sleeper(false);
    assert_false(process_find(&p, pid, "another-program"));
    assert_true(process_find(&p, pid, "test_process"));
    assert_true(process_is_alive(&p));
    struct process reused = p;
    reused.start_ticks++; // the pid of a process that is gone
    assert_false(process_is_alive(&reused));
    process_signal(&reused, SIGKILL);
    assert_true(process_is_alive(&p));
    process_signal(&p, SIGKILL);
    siginfo_t info;
    waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
    assert_false(process_is_alive(&p)); // a zombie
    waitpid(pid, NULL, 0);
    assert_false(process_is_alive(&p));
    assert_false(process_find(&p, pid, "test_process"));
    assert_false(process_find(&p, 0, "test_process"));
}

static void test_session(void **state) {
    (void)state;
    pid_t pid = start_sleeper(true);
    assert_int_equal(process_signal_session(pid, 0), 1);
    assert_int_equal(process_signal_session(pid, SIGKILL), 1);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(process_signal_session(pid, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_life), cmocka_unit_test(test_session)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
