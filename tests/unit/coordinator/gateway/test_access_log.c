// SPDX-License-Identifier: MIT
/* test_access_log.c: lines for people and for programs, whatever a client sends. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "coordinator/gateway/access_log.h"

#define NOON 1769860800123 // 2026-01-31, milliseconds

static struct access_line completion(void) {
    return (struct access_line){.client = "10.0.0.7:40312",
                                .method = "POST",
                                .path = "/v1/completions",
                                .status = 200,
                                .bytes = 18211,
                                .total_ns = 812000000,
                                .id = "cmpl-1",
                                .prompt_tokens = 12,
                                .cached_tokens = 4,
                                .generated_tokens = 64,
                                .first_token_ns = 31250000,
                                .finish = "length"};
}

static void as_logfmt(void **state) {
    (void)state;
    struct access_line line = completion();
    struct buf out;
    buf_init(&out, 0);
    access_log_put(&out, ACCESS_LOGFMT, &line, NOON);
    assert_string_equal(out.data,
                        "time=2026-01-31T12:00:00.123Z client=10.0.0.7:40312 method=POST "
                        "path=/v1/completions status=200 id=cmpl-1 prompt_tokens=12 "
                        "cached_tokens=4 generated_tokens=64 first_token_ms=31.250 finish=length "
                        "total_ms=812.000 bytes=18211\n");
    buf_clear(&out);
    line.id = NULL; // no completion
    line.path = "/a b\"c\nd=\xff";
    line.prompt = "not of a completion that shows none";
    line.prompt_bytes = 0;
    access_log_put(&out, ACCESS_LOGFMT, &line, NOON + 1000);
    assert_string_equal(out.data, "time=2026-01-31T12:00:01.123Z client=10.0.0.7:40312 method=POST "
                                  "path=\"/a b\\\"c\\nd=\xEF\xBF\xBD\" status=200 total_ms=812.000 "
                                  "bytes=18211 prompt=\"\"\n");
    buf_deinit(&out);
}

static void as_json(void **state) {
    (void)state;
    struct access_line line = completion();
    struct buf out;
    buf_init(&out, 0);
    line.path = "/\"\\\x01";
    line.prompt = "Call me\nIshmael. \xff";
    line.prompt_bytes = 18;
    access_log_put(&out, ACCESS_JSON, &line, NOON);
    json_error_t e;
    json_t *o = json_loadb(out.data, out.length, JSON_REJECT_DUPLICATES, &e);
    if (!o) fail_msg("%s: %s", e.text, out.data);
    assert_int_equal(strcspn(out.data, "\n"), out.length - 1); // one line
    const char *path, *prompt, *finish;
    int status, generated;
    double first;
    assert_int_equal(json_unpack(o, "{s:s, s:s, s:s, s:i, s:i, s:F}", "path", &path, "prompt",
                                 &prompt, "finish", &finish, "status", &status, "generated_tokens",
                                 &generated, "first_token_ms", &first),
                     0);
    assert_string_equal(path, "/\"\\\x01");
    assert_string_equal(prompt, "Call me\nIshmael. \xEF\xBF\xBD");
    assert_string_equal(finish, "length");
    assert_true(status == 200 && generated == 64 && first == 31.25);
    json_decref(o);
    buf_deinit(&out);
}

static void into_a_file(void **state) {
    (void)state;
    char path[] = "/tmp/lockstep-test-access-XXXXXX", text[2048] = "";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    struct access_line line = completion();
    for (int i = 0; i < 2; i++) { // opened again it goes on
        struct access_log l;
        assert_int_equal(access_log_open(&l, path, ACCESS_LOGFMT, false), ERR_OK);
        access_log_write(&l, &line);
        access_log_write(&l, &line);
        access_log_close(&l);
    }
    assert_true(read(fd, text, sizeof text - 1) > 0);
    size_t lines = 0;
    for (const char *c = text; *c; c++) lines += *c == '\n';
    assert_int_equal(lines, 4);
    assert_non_null(strstr(text, "Z client=10.0.0.7:40312 "));
    close(fd);
    unlink(path);
}

static void files_that_cannot_be_written(void **state) {
    (void)state;
    struct access_log l;
    assert_int_equal(access_log_open(&l, "/nonexistent/log", ACCESS_JSON, false), ERR_IO);
    assert_non_null(strstr(error_message(), "/nonexistent/log"));
    if (access("/dev/full", W_OK) != 0) skip();
    assert_int_equal(access_log_open(&l, "/dev/full", ACCESS_JSON, false), ERR_OK);
    struct access_line line = completion();
    access_log_write(&l, &line); // warns, once
    assert_true(l.failed);
    access_log_write(&l, &line);
    access_log_close(&l);
}

/* The disk fills up in the middle of a line, and later has room again. */
static void lines_are_written_whole_or_not_at_all(void **state) {
    (void)state;
    char path[] = "/tmp/lockstep-test-access-XXXXXX", text[4096] = "";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    struct access_log l;
    struct rlimit before, small;
    struct access_line line = completion();
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(access_log_open(&l, path, ACCESS_JSON, false), ERR_OK);
    access_log_write(&l, &line);
    off_t one = lseek(fd, 0, SEEK_END);
    assert_true(one > 100 && !l.failed);
    small = (struct rlimit){.rlim_cur = (rlim_t)(one + one / 2), .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    access_log_write(&l, &line);
    access_log_write(&l, &line);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(l.failed);
    assert_int_equal(lseek(fd, 0, SEEK_END), one);
    access_log_write(&l, &line);
    access_log_close(&l);
    assert_true(pread(fd, text, sizeof text - 1, 0) > one);
    assert_true(text[one - 1] == '\n' && text[one] == '{');
    assert_ptr_equal(strchr(text + one, '\n'), text + strlen(text) - 1);
    close(fd);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_logfmt),
        cmocka_unit_test(as_json),
        cmocka_unit_test(into_a_file),
        cmocka_unit_test(files_that_cannot_be_written),
        cmocka_unit_test(lines_are_written_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
