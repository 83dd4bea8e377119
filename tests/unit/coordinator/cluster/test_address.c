// SPDX-License-Identifier: MIT
/* test_address.c: control addresses and hostfiles. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "coordinator/cluster/address.h"

static const struct {
    const char *text, *formatted; // NULL: refused
} addresses[] = {
    {"host", "tcp:host:0"},
    {"host:7070", "tcp:host:7070"},
    {"10.0.0.1:1", "tcp:10.0.0.1:1"},
    {"[::1]:80", "tcp:[::1]:80"},
    {"[fe80::1]", "tcp:[fe80::1]:0"},
    {"fe80::1", "tcp:[fe80::1]:0"},
    {"/run/x/control", "unix:/run/x/control"},
    {"./control", "unix:./control"},
    {"", NULL},
    {":80", NULL},
    {"host:", NULL},
    {"host:65536", NULL},
    {"host:80x", NULL},
    {"[::1", NULL},
    {"[::1]x", NULL},
};

static void test_parse(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        struct address a;
        char text[ADDRESS_TEXT_BYTES];
        err e = address_parse(&a, addresses[i].text);
        if (!addresses[i].formatted) {
            assert_int_equal(e, ERR_USAGE);
            assert_non_null(strstr(error_message(), addresses[i].text));
            continue;
        }
        assert_int_equal(e, ERR_OK);
        address_format(&a, text);
        assert_string_equal(text, addresses[i].formatted);
    }
    struct address a;
    char path[200];
    memset(path, 'p', sizeof path);
    path[0] = '/';
    path[104] = '\0'; // one too many for sun_path
    assert_int_equal(address_parse(&a, path), ERR_USAGE);
    path[103] = '\0';
    assert_int_equal(address_parse(&a, path), ERR_OK);
}

static void test_route(void **state) {
    (void)state;
    char own[64];
    assert_true(address_toward("127.0.0.1", own, sizeof own));
    assert_string_equal(own, "127.0.0.1");
    assert_false(address_toward("no such host", own, sizeof own));
}

static void first_remote(const char *content, err code, const char *host) {
    char path[] = "/tmp/lockstep-test-hosts-XXXXXX", out[64];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    close(fd);
    assert_int_equal(address_first_remote(path, "me", out, sizeof out), code);
    unlink(path);
    if (code == ERR_OK) assert_string_equal(out, host);
}

static void test_hostfile(void **state) {
    (void)state;
    char out[64];
    first_remote("# hosts\n\nme slots=2\nn1 slots=2\nn2\n", ERR_OK, "n1");
    first_remote("me\nlocalhost:2\n127.0.0.1\n", ERR_OK, "");
    first_remote("  user@n3\tslots=1 # one\n", ERR_OK, "n3");
    first_remote("# nothing\n", ERR_USAGE, NULL);
    assert_int_equal(address_first_remote("/nonexistent", "me", out, sizeof out), ERR_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_route),
        cmocka_unit_test(test_hostfile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
