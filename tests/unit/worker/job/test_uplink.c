// SPDX-License-Identifier: MIT
/* test_uplink.c: frames over a real Unix socket, with a peer that behaves and one that does not. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/frame.h"
#include "worker/job/uplink.h"

static struct bootstrap boot;
static struct arena scratch;
static struct uplink up;
static int listener, peer;
static char path[64];

static int listen_at(const char *where) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", where);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 4) != 0) return -1;
    return fd;
}

static int set_up(void **state) {
    (void)state;
    arena_init(&scratch, (size_t)1 << 20);
    snprintf(path, sizeof path, "/tmp/lockstep-uplink-%d.sock", (int)getpid());
    unlink(path);
    listener = listen_at(path);
    boot = (struct bootstrap){.epoch = 1, .n_addresses = 2};
    snprintf(boot.addresses[0], sizeof boot.addresses[0], "unix:/nonexistent/lockstep.sock");
    snprintf(boot.addresses[1], sizeof boot.addresses[1], "unix:%s", path);
    if (listener < 0 || uplink_connect(&up, &boot, 2000) != ERR_OK) return -1; // the second one
    peer = accept(listener, NULL, NULL);
    return peer < 0;
}

static int tear_down(void **state) {
    (void)state;
    uplink_close(&up);
    if (peer >= 0) close(peer);
    close(listener);
    unlink(path);
    arena_deinit(&scratch);
    return 0;
}

static struct buf frame_of(const struct wire_message *m) {
    struct buf b;
    buf_init(&b, 0);
    arena_reset(&scratch);
    assert_int_equal(wire_encode(&b, m, &scratch), ERR_OK);
    return b;
}

static void peer_writes(const struct wire_message *m) {
    struct buf b = frame_of(m);
    assert_int_equal(write(peer, b.data, b.length), b.length);
    buf_deinit(&b);
}

static void nobody_listens(void **state) {
    (void)state;
    struct bootstrap none = {.n_addresses = 2,
                             .addresses = {"unix:/nonexistent/a", "tcp:127.0.0.1:1"}};
    struct uplink u;
    uint64_t begin = clock_ns();
    assert_int_equal(uplink_connect(&u, &none, 300), ERR_LAUNCH);
    assert_true(clock_ns() - begin < 2000000000u);
    assert_non_null(strstr(error_message(), "unix:/nonexistent/a: No such file"));
    assert_non_null(strstr(error_message(), "tcp:127.0.0.1:1: Connection refused"));
    uplink_close(&u);
}

/* Frames that arrive together, or cut into pieces, come out one by one. */
static void frames_are_put_together(void **state) {
    (void)state;
    struct wire_message m = {.kind = WIRE_WAKE, .step = 41};
    struct buf one = frame_of(&m);
    m.step = 42;
    struct buf two = frame_of(&m);
    buf_append(&one, two.data, two.length);
    size_t half = one.length - 3;
    assert_int_equal(write(peer, one.data, half), half);

    const uint8_t *payload;
    size_t n;
    assert_int_equal(uplink_receive(&up, 1000, &payload, &n), ERR_OK);
    arena_reset(&scratch);
    assert_non_null(payload);
    assert_int_equal(wire_decode(&m, payload, n, &scratch), ERR_OK);
    assert_int_equal(m.step, 41);
    assert_int_equal(uplink_receive(&up, 20, &payload, &n), ERR_OK);
    assert_null(payload); // the second is not whole yet
    assert_int_equal(write(peer, one.data + half, 3), 3);
    assert_int_equal(uplink_receive(&up, 1000, &payload, &n), ERR_OK);
    arena_reset(&scratch);
    assert_non_null(payload);
    assert_int_equal(wire_decode(&m, payload, n, &scratch), ERR_OK);
    assert_int_equal(m.step, 42);
    buf_deinit(&one);
    buf_deinit(&two);
}

static void broken_frames_are_refused(void **state) {
    (void)state;
    const uint8_t *payload;
    size_t n;
    assert_int_equal(write(peer, "\xff\xff\xff\xff", 4), 4); // 4 GiB
    assert_int_equal(uplink_receive(&up, 1000, &payload, &n), ERR_PROTOCOL);
}

static void end_of_the_peer(void **state) {
    (void)state;
    const uint8_t *payload;
    size_t n;
    struct wire_message m = {.kind = WIRE_SHUTDOWN};
    peer_writes(&m);
    close(peer);
    peer = -1;
    assert_int_equal(uplink_receive(&up, 1000, &payload, &n), ERR_OK); // what came before the end
    assert_non_null(payload);
    assert_int_equal(uplink_receive(&up, 1000, &payload, &n), ERR_RANK_LOST);
    assert_int_equal(uplink_send(&up, &m, &scratch), ERR_RANK_LOST);
}

static void answers_to_hello(void **state) {
    (void)state;
    struct wire_hello hello = {.build_id = "b",
                               .secret = "s",
                               .host = "h",
                               .isa = "i",
                               .mpi = "m",
                               .transport = "t",
                               .cpus = "0",
                               .size = 1};
    struct wire_message m = {.kind = WIRE_ERROR,
                             .error = {.code = ERR_MISMATCH, .message = "build a, not b"}};
    peer_writes(&m);
    assert_int_equal(uplink_hello(&up, &hello, &scratch, 1000), ERR_MISMATCH);
    assert_string_equal(error_message(), "build a, not b");
    m = (struct wire_message){.kind = WIRE_WELCOME};
    peer_writes(&m);
    assert_int_equal(uplink_hello(&up, &hello, &scratch, 1000), ERR_OK);
    m = (struct wire_message){.kind = WIRE_WAKE};
    peer_writes(&m);
    assert_int_equal(uplink_hello(&up, &hello, &scratch, 1000), ERR_PROTOCOL);
    assert_int_equal(uplink_hello(&up, &hello, &scratch, 30), ERR_LAUNCH); // no answer
}

/* The last words arrive although the peer's own words were never read. */
static void last_words_arrive(void **state) {
    (void)state;
    struct wire_message m = {.kind = WIRE_SHUTDOWN};
    peer_writes(&m);
    m = (struct wire_message){.kind = WIRE_ERROR,
                              .error = {.code = ERR_MODEL, .message = "the reason"}};
    assert_int_equal(uplink_send(&up, &m, &scratch), ERR_OK);
    uplink_finish(&up, 50);
    char got[256];
    ssize_t n = read(peer, got, sizeof got);
    assert_true(n > FRAME_HEADER_BYTES);
    arena_reset(&scratch);
    assert_int_equal(
        wire_decode(&m, got + FRAME_HEADER_BYTES, (size_t)n - FRAME_HEADER_BYTES, &scratch),
        ERR_OK);
    assert_string_equal(m.error.message, "the reason");
    assert_int_equal(read(peer, got, sizeof got), 0);
}

static void text_is_cleaned(void **state) {
    (void)state;
    char out[16];
    uplink_clean_text(out, sizeof out, "a\xff\xc3\xa9\xc3");
    assert_string_equal(out, "a?\xc3\xa9?");
    uplink_clean_text(out, 4, "ab\xc3\xa9");
    assert_string_equal(out, "ab"); // never half a letter
}

#define CONNECTED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_listens),     CONNECTED(frames_are_put_together),
        CONNECTED(broken_frames_are_refused), CONNECTED(end_of_the_peer),
        CONNECTED(answers_to_hello),          CONNECTED(last_words_arrive),
        cmocka_unit_test(text_is_cleaned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
