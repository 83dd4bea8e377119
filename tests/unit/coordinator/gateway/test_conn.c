// SPDX-License-Identifier: MIT
/* test_conn.c: how long connections live: time limits, how many there may be, and the server's end.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/unit/coordinator/gateway/conn_world.h"

static void slow_requests_time_out(void **state) {
    (void)state;
    static const char *const parts[] = {
        "G", "GET /health HTTP/1.1\r\nHost",
        "POST /v1/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{"};
    for (size_t i = 0; i < 3; i++) {
        uint64_t limit = i == 2 ? limits.body_ns : limits.head_ns;
        struct world w;
        struct client c;
        open_world(&w);
        dial(&w, &c);
        say(&w, &c, parts[i]);
        uint64_t now = clock_ns();
        tick(&w, now + limit - 2 * SECOND);
        assert_int_equal(w.server.n_conns, 1);
        tick(&w, now + limit + SECOND);
        listen_to(&w, &c);
        assert_true(hears(&c, "HTTP/1.1 408 Request Timeout\r\n"));
        assert_true(c.at_end);
        hang_up(&c);
        close_world(&w);
    }
}

static void silent_connections_are_closed(void **state) {
    (void)state;
    struct world w;
    struct client fresh, used;
    open_world(&w);
    dial(&w, &fresh);
    dial(&w, &used);
    say(&w, &used, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
    listen_to(&w, &used);
    assert_true(hears(&used, "200 OK"));
    uint64_t now = clock_ns();
    tick(&w, now + limits.idle_ns - 2 * SECOND);
    assert_int_equal(w.server.n_conns, 2);
    tick(&w, now + limits.idle_ns + SECOND);
    listen_to(&w, &fresh);
    listen_to(&w, &used);
    assert_true(fresh.at_end && used.at_end);
    assert_int_equal(fresh.heard.length, 0);
    hang_up(&fresh);
    hang_up(&used);
    close_world(&w);
}

/* An empty line before a request is passed over, in pieces too. */
static void a_line_end_comes_in_two_pieces(void **state) {
    (void)state;
    struct world w;
    struct client c;
    open_world(&w);
    dial(&w, &c);
    say(&w, &c, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n\r");
    say(&w, &c, "\n\r");
    say(&w, &c, "\nGET /nothing HTTP/1.1\r\nHost: h\r\n\r\n");
    listen_for(&w, &c, 300); // both answers
    assert_true(hears(&c, "200 OK") && hears(&c, "404 Not Found"));
    assert_false(hears(&c, "400 Bad Request"));
    hang_up(&c);
    close_world(&w);
}

/* Who sends the second request slowly has the whole time for it. */
static void each_request_has_its_own_time(void **state) {
    (void)state;
    struct world w;
    struct client c;
    open_world(&w);
    dial(&w, &c);
    say(&w, &c, "GET /hea");
    usleep(200000);
    say(&w, &c, "lth HTTP/1.1\r\nHost: h\r\n\r\nGET /");
    uint64_t now = clock_ns();
    tick(&w, now + limits.head_ns - SECOND / 10);
    assert_int_equal(w.gateway.connections.ended[CONN_END_SLOW_REQUEST], 0);
    tick(&w, now + limits.head_ns + SECOND);
    assert_int_equal(w.gateway.connections.ended[CONN_END_SLOW_REQUEST], 1);
    hang_up(&c);
    close_world(&w);
}

/* While a request waits, and while it is prefilled. */
static void silent_streams_get_comments(void **state) {
    (void)state;
    struct world w;
    struct client c;
    open_with_request(&w, &c, "{\"prompt\":\"x\",\"stream\":true}");
    uint64_t now = clock_ns();
    tick(&w, now + limits.ping_ns - SECOND);
    listen_to(&w, &c);
    assert_int_equal(c.heard.length, 0);
    tick(&w, now + limits.ping_ns + SECOND);
    listen_to(&w, &c);
    assert_true(hears(&c, "200 OK\r\n") && hears(&c, "\r\n8\r\n: ping\n\n\r\n"));
    buf_clear(&c.heard);
    tick(&w, now + 2 * limits.ping_ns + 2 * SECOND);
    listen_to(&w, &c);
    assert_string_equal(c.heard.data, "8\r\n: ping\n\n\r\n");
    tick(&w, now + 1000 * SECOND); // however long it takes
    assert_false(w.engine.requests[0].abandoned);
    hang_up(&c);
    close_world(&w);
}

/* Nobody is refused at the limit: the next client is answered when another has left. */
static void at_the_limit_clients_wait(void **state) {
    (void)state;
    struct world w;
    struct client first, second, third, fourth;
    open_world(&w);
    w.gateway.limits.connections = 2;
    dial(&w, &first);
    dial(&w, &second);
    dial(&w, &third);
    dial(&w, &fourth);
    say(&w, &third, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
    say(&w, &fourth, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(w.server.n_conns, 2);
    assert_int_equal(w.gateway.connections.pauses, 1);
    assert_int_equal(uv_run(&w.loop, UV_RUN_NOWAIT), 1);
    listen_to(&w, &third);
    assert_int_equal(third.heard.length, 0);
    hang_up(&first);
    turn(&w);
    listen_to(&w, &third);
    assert_true(hears(&third, "200 OK"));
    listen_to(&w, &fourth);
    assert_int_equal(fourth.heard.length, 0);
    hang_up(&second);
    hang_up(&third);
    turn(&w);
    listen_to(&w, &fourth);
    assert_true(hears(&fourth, "200 OK"));
    assert_int_equal(w.server.n_conns, 1);
    assert_int_equal(w.gateway.connections.accepted, 4);
    hang_up(&fourth);
    close_world(&w);
}

/* From now on this process can open no file. */
static struct rlimit open_no_more(void) {
    struct rlimit before, now;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int lowest_free = dup(STDIN_FILENO);
    close(lowest_free);
    now = before;
    now.rlim_cur = (rlim_t)lowest_free;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
    return before;
}

/* Nor is anybody refused when no file can be opened for a client: it is taken when one is closed,
 * or a second later. */
static void without_a_file_clients_wait(void **state) {
    (void)state;
    struct world w;
    struct client first, second, third;
    open_world(&w);
    dial(&w, &first);
    prepare(&second);
    prepare(&third);
    struct rlimit before = open_no_more();
    connect_to(&w, &second);
    connect_to(&w, &third);
    say(&w, &second, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
    say(&w, &third, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
    listen_to(&w, &second);
    assert_true(second.heard.length == 0 && !second.at_end);
    assert_int_equal(w.server.n_conns, 1);
    assert_int_equal(w.gateway.connections.pauses, 1);
    assert_false(uv_is_active((uv_handle_t *)&w.server.listener.poll)); // nothing polls
    hang_up(&first);                                                    // both ends were files
    turn(&w);
    listen_to(&w, &second);
    assert_true(hears(&second, "200 OK"));
    listen_for(&w, &third, 1);
    assert_true(hears(&third, "200 OK"));

    struct client fourth;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    prepare(&fourth);
    open_no_more();
    connect_to(&w, &fourth);
    say(&w, &fourth, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(w.server.n_conns, 2);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0); // somebody else has closed some
    listen_for(&w, &fourth, 1);
    assert_true(hears(&fourth, "200 OK"));
    hang_up(&second);
    hang_up(&third);
    hang_up(&fourth);
    close_world(&w);
}

static void closing_at_the_limit(void **state) {
    (void)state;
    struct world w;
    struct client c, waits;
    open_world(&w);
    w.gateway.limits.connections = 1;
    dial(&w, &c);
    dial(&w, &waits);
    close_world(&w); // ends although a client waits
    hang_up(&c);
    hang_up(&waits);
}

/* A draining server answers, and keeps no connection for more. */
static void draining_keeps_no_connection(void **state) {
    (void)state;
    char request[600];
    struct world w;
    struct client c;
    open_world(&w);
    dial(&w, &c);
    w.gateway.draining = true;
    say(&w, &c, post(request, "{\"prompt\":\"x\"}"));
    listen_to(&w, &c);
    assert_true(hears(&c, "HTTP/1.1 503 ") && hears(&c, "Retry-After: "));
    assert_true(hears(&c, "Connection: close\r\n") && c.at_end);
    hang_up(&c);
    close_world(&w);
}

static void closing_lets_answers_finish(void **state) {
    (void)state;
    char request[600];
    struct world w;
    struct client idle, half, busy;
    open_world(&w);
    dial(&w, &idle);
    dial(&w, &half);
    dial(&w, &busy);
    say(&w, &half, "GET /hea");
    say(&w, &busy, post(request, "{\"prompt\":\"x\",\"stream\":true}"));
    fake_text(&w.engine, 0, 0, "text");
    server_close(&w.server, NULL, NULL);
    turn(&w);
    assert_int_equal(w.server.n_conns, 1);
    fake_finish(&w.engine, 0, 0, FINISH_STOP);
    fake_end(&w.engine, 0, ERR_OK, "");
    listen_to(&w, &busy);
    assert_true(hears(&busy, "data: [DONE]\n\n\r\n0\r\n\r\n"));
    assert_true(busy.at_end); // and no further request is taken
    hang_up(&idle);
    hang_up(&half);
    hang_up(&busy);
    close_world(&w);
}

static void closing_does_not_wait_for_ever(void **state) {
    (void)state;
    struct world w;
    struct client c;
    open_with_request(&w, &c, "{\"prompt\":\"x\"}");
    server_close(&w.server, NULL, NULL);
    close_world(&w); // returns although the request has no answer
    assert_true(w.engine.requests[0].abandoned);
    hang_up(&c);
}

/* One line for each: answered, refused before it was a request, given up by the client. */
static void a_taken_port_is_named(void **state) {
    (void)state;
    struct world w;
    struct server second;
    open_world(&w);
    assert_int_equal(
        server_listen(&second, &w.loop, &w.gateway, "127.0.0.1", w.server.listener.port),
        ERR_ADDRESS);
    char port[8];
    snprintf(port, sizeof port, "%u", w.server.listener.port);
    assert_non_null(strstr(error_message(), port));
    struct server third;
    assert_int_equal(server_listen(&third, &w.loop, &w.gateway, "no such host", 0), ERR_ADDRESS);
    assert_non_null(strstr(error_message(), "no such host"));
    close_world(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_requests_time_out),
        cmocka_unit_test(silent_connections_are_closed),
        cmocka_unit_test(each_request_has_its_own_time),
        cmocka_unit_test(a_line_end_comes_in_two_pieces),
        cmocka_unit_test(silent_streams_get_comments),
        cmocka_unit_test(at_the_limit_clients_wait),
        cmocka_unit_test(without_a_file_clients_wait),
        cmocka_unit_test(closing_at_the_limit),
        cmocka_unit_test(draining_keeps_no_connection),
        cmocka_unit_test(closing_lets_answers_finish),
        cmocka_unit_test(closing_does_not_wait_for_ever),
        cmocka_unit_test(a_taken_port_is_named),
    };
    return cmocka_run_group_tests(tests, open_conn_tests, close_conn_tests);
}
