// SPDX-License-Identifier: MIT
/* conn_world.c: see conn_world.h. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/coordinator/gateway/conn_world.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/coordinator/gateway/group_tokenizer.h"

const struct client_limits limits = {.head_bytes = (size_t)16 << 10,
                                     .headers = 100,
                                     .body_bytes = (size_t)8 << 20,
                                     .unread_bytes = UNREAD_BYTES,
                                     .connections = 1000,
                                     .head_ns = 20 * SECOND,
                                     .body_ns = 40 * SECOND,
                                     .idle_ns = 75 * SECOND,
                                     .write_ns = 30 * SECOND,
                                     .ping_ns = 5 * SECOND};

int open_conn_tests(void **state) {
    signal(SIGPIPE, SIG_IGN);
    return open_tokenizer(state);
}

int close_conn_tests(void **state) {
    return close_tokenizer(state);
}

void turn(struct world *w) {
    for (int i = 0; i < 20; i++) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
        usleep(100); // the kernel delivers on its own time
    }
}

void open_world(struct world *w) {
    *w = (struct world){.gateway = {.engine = &w->engine, .model_id = "demo", .limits = limits}};
    fake_engine_init(&w->engine, tokenizer);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(server_listen(&w->server, &w->loop, &w->gateway, "127.0.0.1", 0), ERR_OK);
    int small = 65536; // of the kernel's buffers, on both sides: the server's queue fills early
    assert_int_equal(setsockopt(w->server.listener.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small),
                     0);
}

void close_world(struct world *w) {
    if (!w->server.closing) server_close(&w->server, NULL, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(w->server.n_conns, 0);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    fake_engine_deinit(&w->engine);
}

void prepare(struct client *c) {
    *c = (struct client){.fd = socket(AF_INET, SOCK_STREAM, 0)};
    buf_init(&c->heard, 0);
    int small = 32768;
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); // pieces arrive as pieces
}

void connect_to(struct world *w, struct client *c) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(w->server.listener.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&address, sizeof address), 0);
    turn(w);
}

void dial(struct world *w, struct client *c) {
    prepare(c);
    connect_to(w, c);
}

void say(struct world *w, struct client *c, const char *text) {
    size_t n = strlen(text);
    assert_int_equal(send(c->fd, text, n, MSG_NOSIGNAL), n);
    turn(w);
}

void listen_for(struct world *w, struct client *c, size_t wanted) {
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

void listen_to(struct world *w, struct client *c) {
    char part[4096];
    ssize_t n = 0;
    turn(w);
    while ((n = recv(c->fd, part, sizeof part, MSG_DONTWAIT)) > 0) {
        buf_append(&c->heard, part, (size_t)n);
        turn(w);
    }
    c->at_end = n == 0;
}

void hang_up(struct client *c) {
    close(c->fd);
    buf_deinit(&c->heard);
}

bool hears(const struct client *c, const char *text) {
    return c->heard.length && strstr(c->heard.data, text);
}

void tick(struct world *w, uint64_t now_ns) {
    server_tick(&w->server, now_ns);
    turn(w);
}

const char *post(char out[600], const char *json) {
    snprintf(out, 600, "POST /v1/completions HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(json), json);
    return out;
}

void open_with_request(struct world *w, struct client *c, const char *json) {
    char request[600];
    open_world(w);
    dial(w, c);
    say(w, c, post(request, json));
}
