// SPDX-License-Identifier: MIT
/* test_api_keys.c: where keys come from, and which headers hold one. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/gateway/api_keys.h"

static void headers(void **state) {
    (void)state;
    struct api_keys k = {0};
    assert_int_equal(api_keys_judge(&k, "/v1/models", ""), API_KEY_GOOD); // everybody may
    assert_int_equal(api_keys_add(&k, "sk-one", "test"), ERR_OK);
    assert_int_equal(api_keys_add(&k, "two/+=~", "test"), ERR_OK);
    static const struct {
        const char *header;
        enum api_keys_verdict verdict;
    } cases[] = {
        {"Bearer sk-one", API_KEY_GOOD},
        {"bearer  two/+=~", API_KEY_GOOD},
        {"BEARER sk-one ", API_KEY_GOOD},
        {"", API_KEY_MISSING},
        {"Bearer", API_KEY_MISSING},
        {"Bearer ", API_KEY_MISSING},
        {"Bearer    ", API_KEY_MISSING},
        {"sk-one", API_KEY_MISSING},
        {"Basic c2stb25lOg==", API_KEY_MISSING},
        {"Bearersk-one", API_KEY_MISSING},
        {"Bearer sk-on", API_KEY_WRONG},
        {"Bearer sk-onee", API_KEY_WRONG},
        {"Bearer sk-onesk-one", API_KEY_WRONG},
        {"Bearer SK-ONE", API_KEY_WRONG},
        {"Bearer sk-one,two/+=~", API_KEY_WRONG},
        {"Bearer s", API_KEY_WRONG},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (api_keys_judge(&k, "/v1/models", cases[i].header) != cases[i].verdict)
            fail_msg("'%s' is judged wrongly", cases[i].header);
    api_keys_deinit(&k);
}

static void open_paths(void **state) {
    (void)state;
    struct api_keys k = {0};
    assert_int_equal(api_keys_add(&k, "x", "test"), ERR_OK);
    static const char *const open[] = {"/", "/health", "/ready"};
    static const char *const closed[] = {"",         "//",       "/healthy",
                                         "/health/", "/metrics", "/v1/models"};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(api_keys_judge(&k, open[i], "Bearer wrong"), API_KEY_GOOD);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(api_keys_judge(&k, closed[i], ""), API_KEY_MISSING);
    api_keys_deinit(&k);
}

static void keys_that_no_header_can_hold(void **state) {
    (void)state;
    struct api_keys k = {0};
    char longest[API_KEY_MAX_BYTES + 2];
    memset(longest, 'a', sizeof longest);
    longest[API_KEY_MAX_BYTES + 1] = '\0';
    const char *const bad[] = {"", "two words", "tab\t", "line\n", "\xC3\xA9", "\x7f", longest};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(api_keys_add(&k, bad[i], "--api-key"), ERR_USAGE);
        assert_non_null(strstr(error_message(), "--api-key"));
    }
    assert_int_equal(k.n, 0);
    longest[API_KEY_MAX_BYTES] = '\0';
    assert_int_equal(api_keys_add(&k, longest, "--api-key"), ERR_OK);
    api_keys_deinit(&k);
}

static char path[] = "/tmp/lockstep-test-keys-XXXXXX";

static void write_file(const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void files(void **state) {
    (void)state;
    struct api_keys k = {0};
    write_file("# who: alice\nsk-alice\r\n\nsk-bob");
    assert_int_equal(api_keys_read(&k, path), ERR_OK);
    assert_int_equal(k.n, 2);
    assert_string_equal(k.keys[0], "sk-alice");
    assert_string_equal(k.keys[1], "sk-bob");
    static const char *const bad[] = {"", "# nothing\n\n", "two words\n", " sk\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file(bad[i]);
        assert_int_equal(api_keys_read(&k, path), ERR_USAGE);
        if (!strstr(error_message(), path)) fail_msg("%s", error_message());
    }
    char line[API_KEY_MAX_BYTES + 3];
    memset(line, 'k', sizeof line);
    memcpy(line + API_KEY_MAX_BYTES + 1, "\n", 2); // a byte too many
    write_file(line);
    assert_int_equal(api_keys_read(&k, path), ERR_USAGE);
    memcpy(line + API_KEY_MAX_BYTES, "\n", 2);
    write_file(line);
    assert_int_equal(api_keys_read(&k, path), ERR_OK);
    assert_int_equal(k.n, 3);
    assert_int_equal(api_keys_read(&k, "/no/such/file"), ERR_USAGE);
    api_keys_deinit(&k);
}

static int make_file(void **state) {
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state) {
    (void)state;
    return unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers),
        cmocka_unit_test(open_paths),
        cmocka_unit_test(keys_that_no_header_can_hold),
        cmocka_unit_test(files),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
