// SPDX-License-Identifier: MIT
/* test_conn.c: connections over real sockets, with a pretended engine and with time as a test says.
 *
 * Server and clients are in this process: `turn` lets the loop do what is due, without waiting. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "coordinator/gateway/conn.h"
#include "tests/unit/coordinator/gateway/fake_engine.h"
#include "tests/unit/coordinator/gateway/group_tokenizer.h"

#define SECOND       ((uint64_t)1000 * 1000 * 1000)
#define UNREAD_BYTES ((size_t)256 << 10)

static const struct client_limits limits = {.head_bytes = (size_t)16 << 10,
                                            .headers = 100,
                                            .body_bytes = (size_t)8 << 20,
                                            .unread_bytes = UNREAD_BYTES,
                                            .connections = 1000,
                                            .head_ns = 20 * SECOND,
                                            .body_ns = 40 * SECOND,
                                            .idle_ns = 75 * SECOND,
                                            .write_ns = 30 * SECOND,
                                            .ping_ns = 5 * SECOND};

struct world {
    uv_loop_t loop;
    struct engine engine;
    struct gateway gateway;
    struct server server;
};

static void turn(struct world *w) {
    for (int i = 0; i < 20; i++) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
        usleep(100); // the kernel delivers on its own time
    }
}

static void open_world(struct world *w) {
    *w = (struct world){.gateway = {.engine = &w->engine, .model_id = "demo", .limits = limits}};
    fake_engine_init(&w->engine, tokenizer);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(server_listen(&w->server, &w->loop, &w->gateway, "127.0.0.1", 0), ERR_OK);
    int small = 65536; // of the kernel's buffers, on both sides: the server's queue fills early
    assert_int_equal(setsockopt(w->server.listener.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small),
                     0);
}

/* Everything is closed, and the loop agrees. */
static void close_world(struct world *w) {
    if (!w->server.closing) server_close(&w->server, NULL, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(w->server.n_conns, 0);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    fake_engine_deinit(&w->engine);
}

struct client {
    int fd;
    struct buf heard;
    bool at_end; // the server has closed
};

static void prepare(struct client *c) {
    *c = (struct client){.fd = socket(AF_INET, SOCK_STREAM, 0)};
    buf_init(&c->heard, 0);
    int small = 32768;
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); // pieces arrive as pieces
}

static void connect_to(struct world *w, struct client *c) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(w->server.listener.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&address, sizeof address), 0);
    turn(w);
}

static void dial(struct world *w, struct client *c) {
    prepare(c);
    connect_to(w, c);
}

static void say(struct world *w, struct client *c, const char *text) {
    size_t n = strlen(text);
    assert_int_equal(send(c->fd, text, n, MSG_NOSIGNAL), n);
    turn(w);
}

/* Until `wanted` bytes were heard, the server has closed, or nothing came for some seconds. */
static void listen_for(struct world *w, struct client *c, size_t wanted) {
    static char part[65536];
    for (int silent = 0; silent < 1000 && !c->at_end && c->heard.length < wanted;) {
        ssize_t n = recv(c->fd, part, sizeof part, MSG_DONTWAIT);
        if (n > 0) buf_append(&c->heard, part, (size_t)n);
        if (n > 0)
            silent = 0;
        else
            silent++;
        c->at_end = n == 0;
        turn(w);
    }
}

/* What has come by now; the server's end too. */
static void listen_to(struct world *w, struct client *c) {
    char part[4096];
    ssize_t n = 0;
    turn(w);
    while ((n = recv(c->fd, part, sizeof part, MSG_DONTWAIT)) > 0) {
        buf_append(&c->heard, part, (size_t)n);
        turn(w);
    }
    c->at_end = n == 0;
}

static void hang_up(struct client *c) {
    close(c->fd);
    buf_deinit(&c->heard);
}

static bool hears(const struct client *c, const char *text) {
    return c->heard.length && strstr(c->heard.data, text);
}

/* What the server's clock does, at another time. */
static void tick(struct world *w, uint64_t now_ns) {
    server_tick(&w->server, now_ns);
    turn(w);
}

static const char *post(char out[600], const char *json) {
    snprintf(out, 600, "POST /v1/completions HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(json), json);
    return out;
}

/* A world with a client that waits for a completion. */
static void open_with_request(struct world *w, struct client *c, const char *json) {
    char request[600];
    open_world(w);
    dial(w, c);
    say(w, c, post(request, json));
}

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
        cmocka_unit_test(who_leaves_is_noticed_at_once),
        cmocka_unit_test(who_does_not_read_is_dropped),
        cmocka_unit_test(a_large_answer_waits_for_its_reader),
        cmocka_unit_test(answers_wait_for_their_reader),
        cmocka_unit_test(what_is_sent_ahead_is_bounded),
        cmocka_unit_test(bodies_of_all_are_bounded),
        cmocka_unit_test(a_refusal_survives_what_follows),
        cmocka_unit_test(closing_lets_answers_finish),
        cmocka_unit_test(closing_does_not_wait_for_ever),
        cmocka_unit_test(requests_are_logged),
        cmocka_unit_test(a_taken_port_is_named),
    };
    signal(SIGPIPE, SIG_IGN); // as in lockstep
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
