// SPDX-License-Identifier: MIT
/* test_secret.c: secrets, their file, and the line that rank 0 reads. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "coordinator/cluster/secret.h"

static void test_line(void **state) {
    (void)state;
    struct address a = {.is_unix = true, .path = "/run/x/control"};
    char line[SECRET_LINE_BYTES];
    size_t n = secret_format_line(line, 1, "ab12", &a);
    assert_string_equal(line, "LOCKSTEP1 1 ab12 unix:/run/x/control\n");
    assert_int_equal(n, strlen(line));
}

static void test_make(void **state) {
    (void)state;
    char a[SECRET_MAX_BYTES + 1], b[SECRET_MAX_BYTES + 1];
    assert_int_equal(secret_make(a), ERR_OK);
    assert_int_equal(secret_make(b), ERR_OK);
    assert_int_equal(strlen(a), 64);
    assert_int_equal(strspn(a, "0123456789abcdef"), 64);
    assert_string_not_equal(a, b);
    assert_true(secret_equal(a, a));
    assert_false(secret_equal(a, b));
    assert_false(secret_equal(a, ""));
    assert_false(secret_equal("", a));
    strcpy(b, a);
    b[63] = '\0'; // a prefix
    assert_false(secret_equal(a, b));
    assert_false(secret_equal(b, a));
}

static void test_file(void **state) {
    (void)state;
    char folder[] = "/tmp/lockstep-test-secret-XXXXXX", path[64], first[SECRET_MAX_BYTES + 1],
         again[SECRET_MAX_BYTES + 1];
    struct stat st;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/secret", folder);
    assert_int_equal(secret_read(first, path), ERR_OK); // made
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(secret_read(again, path), ERR_OK);
    assert_string_equal(first, again);
    FILE *f = fopen(path, "w");
    fputs("too short\n", f);
    fclose(f);
    assert_int_equal(secret_read(again, path), ERR_USAGE);
    assert_null(strstr(error_message(), "too short")); // a secret is never printed
    unlink(path);
    rmdir(folder);
    assert_int_equal(secret_read(again, path), ERR_IO); // no folder to make it in
}

static void test_environment(void **state) {
    (void)state;
    char out[SECRET_MAX_BYTES + 1];
    unsetenv("LOCKSTEP_SECRET");
    assert_int_equal(secret_read(out, NULL), ERR_USAGE);
    setenv("LOCKSTEP_SECRET", "not hex, but thirty-two characters", 1);
    assert_int_equal(secret_read(out, NULL), ERR_USAGE);
    setenv("LOCKSTEP_SECRET", "00112233445566778899aabbccddeeff", 1);
    assert_int_equal(secret_read(out, NULL), ERR_OK);
    assert_string_equal(out, "00112233445566778899aabbccddeeff");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_make),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
