// SPDX-License-Identifier: MIT
/* test_conn_flow.c: what goes through connections: readers that are slow, gone or greedy, large
 * bodies, refusals, and the log of it all. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/unit/coordinator/gateway/conn_world.h"

static void who_leaves_is_noticed_at_once(void **state) {
    (void)state;
    for (int half = 0; half < 2; half++) {
        struct world w;
        struct client c;
        open_with_request(&w, &c, "{\"prompt\":\"x\",\"stream\":true}");
        fake_text(&w.engine, 0, 0, "text");
        assert_false(w.engine.requests[0].abandoned);
        if (half)
            shutdown(c.fd, SHUT_WR); // FIN means gone
        else
            hang_up(&c);
        turn(&w);
        assert_true(w.engine.requests[0].abandoned);
        assert_int_equal(w.server.n_conns, 0);
        assert_int_equal(w.gateway.connections.ended[CONN_END_CLIENT_LEFT], 1);
        if (half) hang_up(&c);
        close_world(&w);
    }
}

/* 2,000 bytes of text, n times, or until the client was dropped. */
static void say_much(struct world *w, size_t n_texts) {
    static char text[2001];
    memset(text, 'a', sizeof text - 1);
    for (size_t i = 0; i < n_texts && w->engine.requests[0].open; i++) {
        fake_text(&w->engine, 0, 0, text);
        uv_run(&w->loop, UV_RUN_NOWAIT);
    }
}

static void who_does_not_read_is_dropped(void **state) {
    (void)state;
    char request[600];
    struct world w;
    struct client c, other;
    open_world(&w);
    dial(&w, &c);
    dial(&w, &other);
    say(&w, &c, post(request, "{\"prompt\":\"x\",\"stream\":true}"));
    say_much(&w, 10000);
    assert_true(w.engine.requests[0].abandoned);
    say(&w, &other, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n"); // nobody else has felt it
    listen_to(&w, &other);
    assert_true(hears(&other, "200 OK"));
    hang_up(&c);
    hang_up(&other);
    close_world(&w);
}

/* A whole answer may be larger than a stream's queue; it waits as long as there is progress. */
static void a_large_answer_waits_for_its_reader(void **state) {
    (void)state;
    for (int stalls = 0; stalls < 2; stalls++) {
        struct world w;
        struct client c;
        open_with_request(&w, &c, "{\"prompt\":\"x\"}");
        say_much(&w, 500); // 1 MB
        fake_finish(&w.engine, 0, 0, FINISH_LENGTH);
        fake_end(&w.engine, 0, ERR_OK, "");
        turn(&w);
        uint64_t now = clock_ns() + limits.write_ns / 2;
        tick(&w, now); // what the kernel has taken until then was progress
        tick(&w, now + limits.write_ns - 2 * SECOND);
        assert_int_equal(w.server.n_conns, 1);
        if (stalls) {
            tick(&w, now + limits.write_ns + SECOND);
            assert_int_equal(w.server.n_conns, 0);
        } else {
            listen_for(&w, &c, 1000000);
            assert_in_range(c.heard.length, 1000000, 1002000);
            assert_int_equal(w.server.n_conns, 1); // it stays open
        }
        hang_up(&c);
        close_world(&w);
    }
}

static void answers_wait_for_their_reader(void **state) {
    (void)state;
    enum { N = 5000 };
    struct world w;
    struct client c;
    struct buf requests;
    open_world(&w);
    dial(&w, &c);
    say(&w, &c, "GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n");
    listen_to(&w, &c);
    size_t answer_bytes = c.heard.length;
    assert_true(hears(&c, "200 OK"));
    buf_clear(&c.heard);
    buf_init(&requests, 0);
    for (int i = 0; i < N; i++) buf_puts(&requests, "GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n");
    for (size_t at = 0; at < requests.length;) {
        ssize_t n = send(c.fd, requests.data + at, requests.length - at, MSG_DONTWAIT);
        if (n > 0) at += (size_t)n;
        turn(&w);
    }
    buf_deinit(&requests);
    assert_int_equal(w.server.n_conns, 1);
    listen_for(&w, &c, N * answer_bytes);
    assert_int_equal(c.heard.length, N * answer_bytes);
    assert_memory_equal(c.heard.data, c.heard.data + (N - 1) * answer_bytes, answer_bytes);
    hang_up(&c);
    close_world(&w);
}

static void what_is_sent_ahead_is_bounded(void **state) {
    (void)state;
    char flood[10001];
    struct world w;
    struct client c;
    open_with_request(&w, &c, "{\"prompt\":\"x\"}");
    memset(flood, '\n', sizeof flood - 1);
    flood[sizeof flood - 1] = '\0';
    for (size_t sent = 0; sent <= CONN_MAX_AHEAD_BYTES && w.engine.requests[0].open; sent += 10000)
        say(&w, &c, flood);
    assert_true(w.engine.requests[0].abandoned);
    hang_up(&c);
    close_world(&w);
}

/* All bodies together are bounded, not only each: the one that is too much is refused. */
static void bodies_of_all_are_bounded(void **state) {
    (void)state;
    /* Of 70 KiB but for two bytes, when there is room for CONN_MAX_BODIES of 70 KiB. */
    enum { N = CONN_MAX_BODIES + 1, BYTES = 70 << 10 };
    static char request[BYTES + 200];
    struct world w;
    struct client c[N], last;
    open_world(&w);
    w.gateway.limits.body_bytes = BYTES;
    snprintf(request, sizeof request,
             "POST /tokenize HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
             "{\"content\":\"%0*d",
             BYTES, BYTES - 14, 0); // all but the last two
    for (int i = 0; i < N; i++) {
        dial(&w, &c[i]);
        say(&w, &c[i], request);
    }
    for (int i = 0; i < 2; i++) {
        dial(&w, &last);
        say(&w, &last, request);
        if (i == 1) say(&w, &last, "\"}");
        listen_for(&w, &last, 13);
        assert_true(hears(&last, i ? "HTTP/1.1 200 " : "HTTP/1.1 429 "));
        hang_up(&last);
        say(&w, &c[i], "\"}"); // makes room
        listen_for(&w, &c[i], 13);
        assert_true(hears(&c[i], "HTTP/1.1 200 "));
    }
    dial(&w, &last); // a short one in two pieces, when all places but one are taken, is welcome
    say(&w, &last, "POST /tokenize HTTP/1.1\r\nHost: h\r\nContent-Length: 15\r\n\r\n{\"content\":");
    say(&w, &last, "\"0\"}");
    listen_for(&w, &last, 13);
    assert_true(hears(&last, "HTTP/1.1 200 "));
    hang_up(&last);
    for (int i = 0; i < N; i++) hang_up(&c[i]);
    turn(&w);
    assert_int_equal(w.server.bodies_bytes, 0);
    close_world(&w);
}

/* A refusal must reach a client that is still sending. */
static void a_refusal_survives_what_follows(void **state) {
    (void)state;
    struct world w;
    struct client c;
    open_world(&w);
    dial(&w, &c);
    say(&w, &c, "POST /v1/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n");
    for (int i = 0; i < 20; i++) say(&w, &c, "the body goes on and on and on");
    listen_to(&w, &c);
    assert_true(hears(&c, "HTTP/1.1 413 "));
    assert_true(c.at_end);
    assert_int_equal(w.server.n_conns, 1); // until the client has ended its side, or 2 s
    tick(&w, clock_ns() + CONN_LINGER_NS + SECOND);
    assert_int_equal(w.server.n_conns, 0);
    hang_up(&c);
    close_world(&w);
}

static void requests_are_logged(void **state) {
    (void)state;
    char path[] = "/tmp/lockstep-test-conn-XXXXXX", text[4096] = "", request[600];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    struct access_log log;
    assert_int_equal(access_log_open(&log, path, ACCESS_LOGFMT, false), ERR_OK);
    struct world w;
    struct client c;
    open_world(&w);
    w.gateway.access_log = &log;
    dial(&w, &c);
    say(&w, &c,
        "GET /health?x=1 HTTP/1.1\r\nHost: h\r\n\r\nGET /nothing HTTP/1.1\r\nHost: h\r\n\r\n");
    say(&w, &c, post(request, "{\"prompt\":\"a\"}"));
    fake_text(&w.engine, 0, 0, " word");
    fake_finish(&w.engine, 0, 0, FINISH_STOP);
    fake_end(&w.engine, 0, ERR_OK, "");
    turn(&w);
    say(&w, &c, post(request, "{\"prompt\":\"secret\"}"));
    hang_up(&c);
    turn(&w);
    dial(&w, &c);
    say(&w, &c, "nonsense\r\n\r\n");
    hang_up(&c);
    close_world(&w);
    access_log_close(&log);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    unlink(path);
    static const char *const parts[] = {"client=127.0.0.1:",
                                        " method=GET path=/health status=200 total_ms=",
                                        " method=GET path=/nothing status=404 total_ms=",
                                        " method=POST path=/v1/completions status=200 id=cmpl-",
                                        " prompt_tokens=",
                                        " finish=stop ",
                                        " method=POST path=/v1/completions status=499 id=cmpl-",
                                        " generated_tokens=0 finish=abort ",
                                        " method=- path=- status=400 total_ms="};
    const char *at = text;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *found = strstr(at, parts[i]);
        if (!found) fail_msg("'%s' is missing after:\n%s\nin:\n%s", parts[i], at, text);
        at = found;
    }
    assert_null(strstr(text, "secret"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_leaves_is_noticed_at_once),
        cmocka_unit_test(who_does_not_read_is_dropped),
        cmocka_unit_test(a_large_answer_waits_for_its_reader),
        cmocka_unit_test(answers_wait_for_their_reader),
        cmocka_unit_test(what_is_sent_ahead_is_bounded),
        cmocka_unit_test(bodies_of_all_are_bounded),
        cmocka_unit_test(a_refusal_survives_what_follows),
        cmocka_unit_test(requests_are_logged),
    };
    return cmocka_run_group_tests(tests, open_conn_tests, close_conn_tests);
}
