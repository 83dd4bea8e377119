// SPDX-License-Identifier: MIT
/* test_server_work.c: long bodies over real sockets and with the loop's own threads; and heads that
 * are refused before their body is read. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/buf.h"
#include "coordinator/gateway/conn.h"
#include "tests/unit/coordinator/gateway/fake_engine.h"
#include "tests/unit/coordinator/gateway/group_tokenizer.h"

#define SECOND     ((uint64_t)1000 * 1000 * 1000)
#define LONG_BYTES ((size_t)1 << 20)

struct world {
    uv_loop_t loop;
    struct engine engine;
    struct gateway gateway;
    struct server server;
};

struct client {
    int fd;
    struct buf says, heard;
    size_t said;
    bool at_end;
};

static void open_world(struct world *w) {
    *w = (struct world){.gateway = {.engine = &w->engine,
                                    .model_id = "demo",
                                    .limits = {.head_bytes = 16 << 10,
                                               .headers = 100,
                                               .body_bytes = 8 << 20,
                                               .unread_bytes = 256 << 10,
                                               .connections = 100,
                                               .head_ns = 600 * SECOND,
                                               .body_ns = 600 * SECOND,
                                               .idle_ns = 600 * SECOND,
                                               .write_ns = 600 * SECOND,
                                               .ping_ns = 600 * SECOND}}};
    fake_engine_init(&w->engine, tokenizer);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(server_listen(&w->server, &w->loop, &w->gateway, "127.0.0.1", 0), ERR_OK);
}

static void close_world(struct world *w) {
    if (!w->server.closing) server_close(&w->server, NULL, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(w->server.n_conns, 0);
    assert_null(w->gateway.side.running);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    api_keys_deinit(&w->gateway.keys);
    fake_engine_deinit(&w->engine);
}

static void dial(struct world *w, struct client *c) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(w->server.listener.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *c = (struct client){.fd = socket(AF_INET, SOCK_STREAM, 0)};
    buf_init(&c->says, 0);
    buf_init(&c->heard, 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(fcntl(c->fd, F_SETFL, O_NONBLOCK), 0);
}

static void hang_up(struct client *c) {
    close(c->fd);
    buf_deinit(&c->says);
    buf_deinit(&c->heard);
}

/* One turn of the loop; the client sends and hears what it can. */
static void turn(struct world *w, struct client *c) {
    char part[4096];
    ssize_t n = 0;
    if (c->said < c->says.length) {
        n = send(c->fd, c->says.data + c->said, c->says.length - c->said, MSG_NOSIGNAL);
        if (n > 0) c->said += (size_t)n;
    }
    n = recv(c->fd, part, sizeof part, 0);
    if (n > 0) buf_append(&c->heard, part, (size_t)n);
    c->at_end |= n == 0;
    uv_run(&w->loop, UV_RUN_NOWAIT);
    usleep(100);
}

static bool hears(const struct client *c, const char *text) {
    return c->heard.length && strstr(c->heard.data, text);
}

static void listen_for(struct world *w, struct client *c, const char *text) {
    for (int i = 0; i < 100000 && !hears(c, text); i++) turn(w, c);
    if (!hears(c, text)) fail_msg("'%s' did not come, but '%.300s'", text, c->heard.data);
}

static void until_sent(struct world *w, struct client *c) {
    while (c->said < c->says.length) turn(w, c);
}

/* {"prompt": "word word …", "content": the same} for `path`; so long that it takes a while. */
static void say_long(struct client *c, const char *path, const char *headers) {
    struct buf json;
    buf_init(&json, 0);
    buf_puts(&json, "{\"max_tokens\":1,\"prompt\":\"");
    while (json.length < LONG_BYTES) buf_puts(&json, "Call me Ishmael some years ago ");
    buf_puts(&json, "\",\"content\":\"x\"}");
    buf_printf(&c->says, "POST %s HTTP/1.1\r\nHost: h\r\n%sContent-Length: %zu\r\n\r\n", path,
               headers, json.length);
    buf_append(&c->says, json.data, json.length);
    buf_deinit(&json);
}

static void others_are_answered_meanwhile(void **state) {
    (void)state;
    struct world w;
    struct client slow, quick;
    open_world(&w);
    dial(&w, &slow);
    dial(&w, &quick);
    say_long(&slow, "/v1/completions", "");
    until_sent(&w, &slow);
    while (!w.gateway.side.running && w.engine.n_requests == 0) turn(&w, &slow);
    buf_puts(&quick.says, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
    listen_for(&w, &quick, "200 OK");
    while (w.engine.n_requests == 0) turn(&w, &slow);
    assert_true(w.engine.requests[0].prompt.count > LONG_BYTES / 20);
    fake_text(&w.engine, 0, 0, " text");
    fake_finish(&w.engine, 0, 0, FINISH_LENGTH);
    fake_end(&w.engine, 0, ERR_OK, "");
    listen_for(&w, &slow, "\"finish_reason\":\"length\"");
    // the connection goes on
    say_long(&slow, "/tokenize", "");
    listen_for(&w, &slow, "{\"tokens\":[");
    hang_up(&slow);
    hang_up(&quick);
    close_world(&w);
}

static void who_leaves_meanwhile_is_forgotten(void **state) {
    (void)state;
    static const char *const paths[] = {"/v1/completions", "/tokenize"};
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        struct client clients[4];
        open_world(&w);
        for (size_t k = 0; k < 4; k++) {
            dial(&w, &clients[k]);
            say_long(&clients[k], paths[i], "");
            until_sent(&w, &clients[k]);
        }
        for (size_t k = 0; k < 4; k++) hang_up(&clients[k]);
        while (w.server.n_conns > 0 || w.gateway.side.running) {
            uv_run(&w.loop, UV_RUN_NOWAIT);
            usleep(100);
        }
        for (uint32_t k = 0; k < w.engine.n_requests; k++) // of those that were quicker
            assert_true(w.engine.requests[k].abandoned);
        close_world(&w);
    }
}

static void closing_waits_for_what_runs(void **state) {
    (void)state;
    struct world w;
    struct client c;
    open_world(&w);
    dial(&w, &c);
    say_long(&c, "/v1/completions", "");
    until_sent(&w, &c);
    while (!w.gateway.side.running && w.engine.n_requests == 0) turn(&w, &c);
    w.gateway.draining = true;
    server_close(&w.server, NULL, NULL);
    hang_up(&c);
    close_world(&w); // returns, with nothing left
}

/* Who would be refused anyway is refused before the body: no key, no such path, no JSON. */
static void heads_are_refused_first(void **state) {
    (void)state;
    static const struct {
        const char *path, *headers, *answer;
    } cases[] = {
        {"/v1/completions", "", "401 Unauthorized"},
        {"/v1/completions", "Expect: 100-continue\r\n", "401 Unauthorized"},
        {"/nothing", "Authorization: Bearer k\r\n", "404 Not Found"},
        {"/v1/models", "Authorization: Bearer k\r\n", "405 Method Not Allowed"},
        {"/tokenize", "Authorization: Bearer k\r\nContent-Type: text/plain\r\n",
         "415 Unsupported Media Type"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world w;
        struct client c;
        open_world(&w);
        assert_int_equal(api_keys_add(&w.gateway.keys, "k", "here"), ERR_OK);
        dial(&w, &c);
        buf_printf(&c.says, "POST %s HTTP/1.1\r\nHost: h\r\n%sContent-Length: 1000000\r\n\r\n",
                   cases[i].path, cases[i].headers); // and no body
        listen_for(&w, &c, cases[i].answer);
        assert_true(hears(&c, "Connection: close\r\n"));
        assert_false(hears(&c, "100 Continue"));
        while (!c.at_end) turn(&w, &c);
        hang_up(&c);
        close_world(&w);
    }
}

static void a_good_head_is_told_to_go_on(void **state) {
    (void)state;
    struct world w;
    struct client c;
    open_world(&w);
    dial(&w, &c);
    const char *json = "{\"content\":\"x\"}";
    buf_printf(&c.says,
               "POST /tokenize HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
               "Content-Length: %zu\r\n\r\n",
               strlen(json));
    listen_for(&w, &c, "HTTP/1.1 100 Continue\r\n\r\n");
    buf_puts(&c.says, json);
    listen_for(&w, &c, "{\"tokens\":[");
    hang_up(&c);
    close_world(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_are_answered_meanwhile),
        cmocka_unit_test(who_leaves_meanwhile_is_forgotten),
        cmocka_unit_test(closing_waits_for_what_runs),
        cmocka_unit_test(heads_are_refused_first),
        cmocka_unit_test(a_good_head_is_told_to_go_on),
    };
    signal(SIGPIPE, SIG_IGN); // as in lockstep
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
