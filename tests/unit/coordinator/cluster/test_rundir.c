// SPDX-License-Identifier: MIT
/* test_rundir.c: private folders come and go; nothing else is removed. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "coordinator/cluster/rundir.h"

static char base[] = "/tmp/lockstep-test-rundir-XXXXXX";

static int setup(void **state) {
    (void)state;
    return mkdtemp(base) && setenv("XDG_RUNTIME_DIR", base, 1) == 0 ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    return rmdir(base); // fails when a test has left something
}

static void path_in(char out[256], const char *folder, const char *name) {
    snprintf(out, 256, "%s/%s", folder, name);
}

static void touch(const char *path) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
}

static void test_life(void **state) {
    (void)state;
    char run[RUNDIR_BYTES], path[256], outside[256];
    struct stat st;
    assert_int_equal(rundir_create(run), ERR_OK);
    assert_int_equal(strncmp(run, base, strlen(base)), 0);
    assert_int_equal(stat(run, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    path_in(outside, base, "outside");
    touch(outside);
    path_in(path, run, "link"); // must be removed, not followed
    assert_int_equal(symlink(base, path), 0);
    path_in(path, run, "deep");
    assert_int_equal(mkdir(path, 0700), 0);
    path_in(path, run, "deep/file");
    touch(path);
    rundir_remove(run);
    assert_int_not_equal(stat(run, &st), 0);
    assert_int_equal(stat(outside, &st), 0);
    unlink(outside);
    rundir_remove("");
}

static void test_stale(void **state) {
    (void)state;
    char run[RUNDIR_BYTES], stale[256], living[256], other[256];
    struct stat st;
    pid_t pid = fork();
    if (pid == 0) _exit(0);
    waitpid(pid, NULL, 0); // nobody has this pid now
    snprintf(stale, sizeof stale, "%s/lockstep-%d-abcdef", base, (int)pid);
    snprintf(living, sizeof living, "%s/lockstep-%d-abcdef", base, (int)getppid());
    path_in(other, base, "lockstep-notes");
    assert_int_equal(mkdir(stale, 0700) | mkdir(living, 0700) | mkdir(other, 0700), 0);
    assert_int_equal(rundir_create(run), ERR_OK);
    assert_int_not_equal(stat(stale, &st), 0);
    assert_int_equal(rmdir(living), 0);
    assert_int_equal(rmdir(other), 0);
    rundir_remove(run);
}

static void test_shared_memory(void **state) {
    (void)state;
    static const char *const foreign[] = {"/dev/shm/lockstep-test-other",
                                          "/dev/shm/vader_segment.x/../lockstep-test-other"};
    struct stat st;
    touch("/dev/shm/vader_segment.lockstep-test");
    rundir_remove_shared_memory("/dev/shm/vader_segment.lockstep-test");
    assert_int_not_equal(stat("/dev/shm/vader_segment.lockstep-test", &st), 0);
    touch(foreign[0]);
    for (size_t i = 0; i < 2; i++) rundir_remove_shared_memory(foreign[i]);
    assert_int_equal(stat(foreign[0], &st), 0);
    unlink(foreign[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_stale),
        cmocka_unit_test(test_shared_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
