// SPDX-License-Identifier: MIT
/* test_lifeline.c: a rank's lifeline against a coordinator played by the test.
 *
 * Every test forks: the child is the rank, since a lifeline ends its process.  The parent answers
 * on a Unix socket and looks at the exit code. */

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/frame.h"
#include "common/log.h"
#include "worker/job/lifeline.h"

#define BACKGROUND 17 // what a rank's main thread returns when the lifeline lets it live

static struct arena arena;
static char path[64];
static int listener, peer;
static struct buf in;
static size_t taken;

static int set_up(void **state) {
    (void)state;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    arena_init(&arena, (size_t)1 << 20);
    buf_init(&in, 0);
    taken = 0;
    snprintf(path, sizeof path, "/tmp/lockstep-lifeline-%d.sock", (int)getpid());
    unlink(path);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 4);
}

static int tear_down(void **state) {
    (void)state;
    if (peer >= 0) close(peer);
    close(listener);
    unlink(path);
    buf_deinit(&in);
    arena_deinit(&arena);
    return 0;
}

static void say(const struct wire_message *m) {
    struct buf b;
    buf_init(&b, 0);
    arena_reset(&arena);
    assert_int_equal(wire_encode(&b, m, &arena), ERR_OK);
    assert_int_equal(write(peer, b.data, b.length), b.length);
    buf_deinit(&b);
}

/* The next message of the rank, within two seconds. */
static struct wire_message hear(void) {
    for (;;) {
        const uint8_t *payload = NULL;
        size_t n = 0;
        buf_consume(&in, taken);
        assert_int_equal(frame_next(in.data, in.length, FRAME_MAX_BYTES, &payload, &n, &taken),
                         ERR_OK);
        if (payload) {
            struct wire_message m;
            arena_reset(&arena);
            assert_int_equal(wire_decode(&m, payload, n, &arena), ERR_OK);
            return m;
        }
        struct pollfd p = {.fd = peer, .events = POLLIN};
        char bytes[4096];
        assert_int_equal(poll(&p, 1, 2000), 1);
        ssize_t got = read(peer, bytes, sizeof bytes);
        assert_true(got > 0);
        buf_append(&in, bytes, (size_t)got);
    }
}

/* Forks a rank that opens its lifeline and then does `work`; welcomes it. */
static pid_t start_rank(int (*work)(struct lifeline *l), pid_t coordinator) {
    pid_t pid = fork();
    if (pid == 0) {
        close(listener);
        log_set_level(LOG_ERROR);
        struct bootstrap b = {.epoch = 1, .n_addresses = 1};
        snprintf(b.addresses[0], sizeof b.addresses[0], "unix:%s", path);
        struct wire_hello hello = {.build_id = "b",
                                   .secret = "s",
                                   .host = "h",
                                   .isa = "i",
                                   .mpi = "m",
                                   .transport = "t",
                                   .cpus = "0",
                                   .size = 1};
        struct lifeline *l;
        err e = lifeline_open(&l, &b, &hello, coordinator);
        _exit(e == ERR_OK ? work(l) : error_exit_code(e));
    }
    peer = accept(listener, NULL, NULL);
    assert_true(peer >= 0);
    assert_int_equal(hear().kind, WIRE_HELLO);
    return pid;
}

static void welcome(void) {
    struct wire_message m = {.kind = WIRE_WELCOME};
    say(&m);
}

static void expect_exit(pid_t pid, int code) {
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

static uint64_t seven(const void *ctx) {
    (void)ctx;
    return 7;
}

static int work_until_woken(struct lifeline *l) {
    lifeline_set_progress(l, seven, NULL);
    lifeline_add_progress(l, 100);
    lifeline_set_in_step(l, true);
    lifeline_set_totals(l, &(struct wire_totals){.steps = 3, .wait_ns = 20});
    lifeline_wait_wake(l, 4);
    lifeline_stop(l);
    lifeline_close(l);
    return BACKGROUND;
}

static int work_for_ever(struct lifeline *l) {
    (void)l;
    while (getppid() > 1) pause();
    return BACKGROUND;
}

static int report(struct lifeline *l) {
    if (!lifeline_report_error(l, ERR_MODEL, 3, "tensor \xff is missing")) return 1;
    lifeline_stop(l);
    lifeline_close(l);
    return BACKGROUND;
}

static void heartbeats_and_wake(void **state) {
    (void)state;
    pid_t pid = start_rank(work_until_woken, 0);
    welcome();
    struct wire_message m = hear(); // the first one comes at once
    assert_int_equal(m.kind, WIRE_HEARTBEAT);
    uint64_t begin = clock_ns();
    m = hear();
    assert_in_range((clock_ns() - begin) / 1000000, 300, 1900);
    assert_int_equal(m.kind, WIRE_HEARTBEAT);
    assert_int_equal(m.heartbeat.progress, 107);
    assert_true(m.heartbeat.in_step);
    assert_false(m.heartbeat.last);
    assert_true(m.heartbeat.totals.steps == 3 && m.heartbeat.totals.wait_ns == 20);
    assert_true(m.heartbeat.peak_rss_bytes > 100000);

    m = (struct wire_message){.kind = WIRE_WAKE, .step = 4}; // not above what it has seen
    say(&m);
    assert_int_equal(hear().kind, WIRE_HEARTBEAT);
    m = (struct wire_message){.kind = WIRE_WAKE, .step = 5};
    say(&m);
    m = hear();
    assert_int_equal(m.kind, WIRE_HEARTBEAT);
    assert_true(m.heartbeat.last);
    expect_exit(pid, BACKGROUND);
}

static void coordinator_is_gone(void **state) {
    (void)state;
    pid_t pid = start_rank(work_for_ever, 0);
    welcome();
    assert_int_equal(hear().kind, WIRE_HEARTBEAT);
    close(peer);
    peer = -1;
    expect_exit(pid, error_exit_code(ERR_RANK_LOST));
}

static void coordinator_says_why(void **state) {
    (void)state;
    pid_t pid = start_rank(work_for_ever, 0);
    welcome();
    struct wire_message m = {.kind = WIRE_ERROR,
                             .error = {.code = ERR_MEMORY, .message = "another rank failed"}};
    say(&m);
    close(peer);
    peer = -1;
    expect_exit(pid, error_exit_code(ERR_MEMORY));
}

static void refused_at_hello(void **state) {
    (void)state;
    pid_t pid = start_rank(work_for_ever, 0);
    struct wire_message m = {.kind = WIRE_ERROR,
                             .error = {.code = ERR_MISMATCH, .message = "wrong build"}};
    say(&m);
    expect_exit(pid, error_exit_code(ERR_MISMATCH));
}

static void broken_frame(void **state) {
    (void)state;
    pid_t pid = start_rank(work_for_ever, 0);
    welcome();
    assert_int_equal(write(peer, "\0\0\0\0", 4), 4);
    expect_exit(pid, error_exit_code(ERR_RANK_LOST));
}

static void reason_is_reported(void **state) {
    (void)state;
    pid_t pid = start_rank(report, 0);
    welcome();
    struct wire_message m = hear();
    while (m.kind == WIRE_HEARTBEAT) m = hear();
    assert_int_equal(m.kind, WIRE_ERROR);
    assert_int_equal(m.error.code, ERR_MODEL);
    assert_int_equal(m.error.rank, 3);
    assert_string_equal(m.error.message, "tensor ? is missing");
    expect_exit(pid, BACKGROUND);
}

static pid_t child_that_exits(int code) {
    pid_t pid = fork();
    if (pid == 0) _exit(code);
    return pid;
}

static void exit_code_of_a_child(void **state) {
    (void)state;
    assert_int_equal(lifeline_child_exit_code(child_that_exits(5), -1, 9), 5);
    assert_int_equal(lifeline_child_exit_code(child_that_exits(0), 2000, 9), 0);
    pid_t sleeper = fork();
    if (sleeper == 0)
        for (;;) pause();
    assert_int_equal(lifeline_child_exit_code(sleeper, 30, 9), 9);
    kill(sleeper, SIGKILL);
    assert_int_equal(lifeline_child_exit_code(sleeper, -1, 9), 9);
    assert_int_equal(lifeline_child_exit_code(sleeper, -1, 9), 9); // no such child any more
}

#define WITH_SOCKET(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_SOCKET(heartbeats_and_wake),
        WITH_SOCKET(coordinator_is_gone),
        WITH_SOCKET(coordinator_says_why),
        WITH_SOCKET(refused_at_hello),
        WITH_SOCKET(broken_frame),
        WITH_SOCKET(reason_is_reported),
        cmocka_unit_test(exit_code_of_a_child),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
