// SPDX-License-Identifier: MIT
/* test_link.c: the control port against strangers, and frames in odd pieces, on a real loop. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/frame.h"
#include "coordinator/cluster/link.h"

static uv_loop_t loop;
static struct link *l;
static struct address address = {.is_unix = true};
static struct arena arena;
static struct {
    unsigned hellos, messages, lost, closed;
    err lost_code;
    uint64_t last_progress;
    bool accept;
} seen;

static void on_hello(void *ctx, struct link_conn *conn, const struct wire_hello *h) {
    assert_ptr_equal(ctx, &seen);
    seen.hellos++;
    if (seen.accept)
        link_accept(conn, h->rank, h->is_link);
    else
        link_refuse(conn, ERR_MISMATCH, "not like this");
}

static void on_message(void *ctx, uint32_t rank, bool is_link, const struct wire_message *m) {
    (void)ctx, (void)is_link;
    assert_int_equal(rank, 1);
    seen.messages++;
    seen.last_progress = m->heartbeat.progress;
}

static void on_lost(void *ctx, uint32_t rank, bool is_link, err code, const char *why) {
    (void)ctx, (void)rank, (void)is_link, (void)why;
    seen.lost++;
    seen.lost_code = code;
}

static void on_closed(void *ctx) {
    (void)ctx;
    seen.closed++;
}

static const struct link_events events = {
    .hello = on_hello, .message = on_message, .lost = on_lost, .closed = on_closed};

static int setup(void **state) {
    (void)state;
    memset(&seen, 0, sizeof seen);
    seen.accept = true;
    arena_init(&arena, 1 << 20);
    snprintf(address.path, sizeof address.path, "/tmp/lockstep-test-link-%d", (int)getpid());
    uv_loop_init(&loop);
    return link_open(&l, &loop, &address, 2, &events, &seen) == ERR_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    link_close(l);
    uv_run(&loop, UV_RUN_DEFAULT);
    arena_deinit(&arena);
    return seen.closed == 1 && uv_loop_close(&loop) == 0 ? 0 : -1;
}

static void turn(int n) {
    for (int i = 0; i < n; i++) uv_run(&loop, UV_RUN_NOWAIT);
}

static int dial(void) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%s", address.path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof name), 0);
    turn(3);
    return fd;
}

static bool is_open(int fd) {
    char c;
    return recv(fd, &c, 1, MSG_PEEK) != 0; // -1 with EAGAIN: open and silent
}

static void encode(struct buf *out, const struct wire_message *m) {
    buf_init(out, 0);
    arena_reset(&arena);
    assert_int_equal(wire_encode(out, m, &arena), ERR_OK);
}

static void say(int fd, const struct wire_message *m, size_t piece) {
    struct buf b;
    encode(&b, m);
    for (size_t at = 0; at < b.length; at += piece) {
        size_t n = b.length - at < piece ? b.length - at : piece;
        assert_int_equal(send(fd, b.data + at, n, MSG_NOSIGNAL), (ssize_t)n);
        turn(2);
    }
    buf_deinit(&b);
}

static const struct wire_message hello = {.kind = WIRE_HELLO,
                                          .hello = {.protocol = 1,
                                                    .build_id = "b",
                                                    .secret = "s",
                                                    .rank = 1,
                                                    .size = 2,
                                                    .host = "h",
                                                    .isa = "",
                                                    .mpi = "",
                                                    .transport = "",
                                                    .cpus = ""}};
static const struct wire_message heartbeat = {.kind = WIRE_HEARTBEAT, .heartbeat = {.progress = 7}};

/* The kind of the message that waits in fd. */
static enum wire_kind hear(int fd) {
    char bytes[4096];
    ssize_t n = recv(fd, bytes, sizeof bytes, 0);
    const uint8_t *payload;
    size_t length, consumed;
    struct wire_message m;
    assert_true(n > 0);
    assert_int_equal(frame_next(bytes, (size_t)n, sizeof bytes, &payload, &length, &consumed),
                     ERR_OK);
    assert_non_null(payload);
    arena_reset(&arena);
    assert_int_equal(wire_decode(&m, payload, length, &arena), ERR_OK);
    return m.kind;
}

static void test_peer(void **state) {
    (void)state;
    struct stat st;
    assert_int_equal(stat(address.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    int fd = dial();
    say(fd, &hello, 1); // byte by byte
    assert_int_equal(seen.hellos, 1);
    assert_int_equal(hear(fd), WIRE_WELCOME);
    say(fd, &heartbeat, 3);
    struct buf two; // two frames in one piece
    encode(&two, &heartbeat);
    assert_int_equal(wire_encode(&two, &heartbeat, &arena), ERR_OK);
    assert_int_equal(send(fd, two.data, two.length, 0), (ssize_t)two.length);
    buf_deinit(&two);
    turn(2);
    assert_int_equal(seen.messages, 3);
    assert_int_equal(seen.last_progress, 7);
    const struct wire_message wake = {.kind = WIRE_WAKE, .step = 3};
    assert_int_equal(link_send(l, 1, false, &wake), ERR_OK);
    assert_int_equal(link_send(l, 0, true, &wake), ERR_OK); // nobody: skipped
    assert_int_equal(hear(fd), WIRE_WAKE);
    close(fd);
    turn(3);
    assert_int_equal(seen.lost, 1);
    assert_int_equal(seen.lost_code, ERR_OK);
}

static void test_broken_peer(void **state) {
    (void)state;
    int fd = dial();
    say(fd, &hello, 1000);
    assert_int_equal(hear(fd), WIRE_WELCOME);
    assert_int_equal(send(fd, "\xff\xff\xff\xff", 4, 0), 4); // a frame of 4 GiB
    turn(3);
    assert_int_equal(seen.lost, 1);
    assert_int_equal(seen.lost_code, ERR_PROTOCOL);
    assert_false(is_open(fd));
    close(fd);
}

static void test_refusal(void **state) {
    (void)state;
    seen.accept = false;
    int fd = dial();
    say(fd, &hello, 1000);
    turn(3);
    assert_int_equal(hear(fd), WIRE_ERROR);
    assert_false(is_open(fd));
    assert_int_equal(seen.lost, 0); // it never was a peer
    close(fd);
}

static void test_strangers(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
    } greetings[] = {{"GET / HTTP/1.1\r\n\r\n", 18},
                     {"\0\0\0\0", 4},
                     {"\xff\xff\xff\xff", 4},
                     {"\x01\x00\x01\x00", 4}, // one byte over the cap of a HELLO
                     {"\x02\x00\x00\x00\xff\xff", 6}};
    for (size_t i = 0; i < sizeof greetings / sizeof *greetings; i++) {
        int fd = dial();
        assert_int_equal(send(fd, greetings[i].bytes, greetings[i].n, 0), (ssize_t)greetings[i].n);
        turn(3);
        if (is_open(fd)) fail_msg("stranger %zu is still connected", i);
        close(fd);
    }
    int fd = dial();
    say(fd, &heartbeat, 1000); // a message, but not HELLO
    assert_false(is_open(fd));
    close(fd);
    assert_int_equal(seen.hellos + seen.lost + seen.messages, 0);
}

static void test_crowd(void **state) {
    (void)state;
    int fds[LINK_MAX_STRANGERS + 3], n = LINK_MAX_STRANGERS + 3;
    for (int i = 0; i < n; i++) fds[i] = dial();
    turn(3);
    assert_false(is_open(fds[0])); // the oldest had to go, the others may stay
    for (int i = 1; i < n; i++) assert_true(is_open(fds[i]));
    int rank = dial(); // and a rank still comes in
    say(rank, &hello, 1000);
    assert_int_equal(hear(rank), WIRE_WELCOME);
    for (int i = 0; i < n; i++) close(fds[i]);
    close(rank);
    turn(5);
}

static void test_silence(void **state) {
    (void)state;
    int fd = dial();
    uint64_t begin = clock_ns();
    while (is_open(fd) && clock_ns() - begin < (uint64_t)8e9) uv_run(&loop, UV_RUN_ONCE);
    uint64_t ms = (clock_ns() - begin) / 1000000;
    assert_false(is_open(fd));
    assert_in_range(ms, LINK_HELLO_LIMIT_MS - 1000, LINK_HELLO_LIMIT_MS + 2000);
    close(fd);
}

static void test_address_taken(void **state) {
    (void)state;
    struct link *second = NULL;
    assert_int_equal(link_open(&second, &loop, &address, 2, &events, &seen), ERR_ADDRESS);
    assert_non_null(strstr(error_message(), address.path));
    assert_null(second);
    turn(3);
    assert_int_equal(seen.closed, 0);
    struct address tcp = {.host = "127.0.0.1"};
    assert_int_equal(link_open(&second, &loop, &tcp, 2, &events, &seen), ERR_OK);
    assert_int_not_equal(tcp.port, 0);
    struct link *third = NULL;
    assert_int_equal(link_open(&third, &loop, &tcp, 2, &events, &seen), ERR_ADDRESS);
    link_close(second);
    turn(5);
    assert_int_equal(seen.closed, 1);
    seen.closed = 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_peer),  TEST(test_broken_peer), TEST(test_refusal),       TEST(test_strangers),
        TEST(test_crowd), TEST(test_silence),     TEST(test_address_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
