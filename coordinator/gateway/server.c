// SPDX-License-Identifier: MIT
/* server.c: see server.h. */

#include "coordinator/gateway/server.h"

#include <stdio.h>

#include "common/clock.h"
#include "common/log.h"
#include "coordinator/gateway/conn.h"

#define BACKLOG        511
#define CLOSING_MS     20
#define CLOSE_LIMIT_NS ((uint64_t)2 * 1000 * 1000 * 1000)
#define NS_PER_MS      ((uint64_t)1000 * 1000)

static void on_handle_closed(uv_handle_t *handle) {
    struct server *s = handle->data;
    if (--s->open_handles == 0 && s->closed) s->closed(s->ctx);
}

/* Closing is over when no connection and no side work is left; then the clock itself goes. */
static void maybe_closed(struct server *s) {
    bool busy = s->n_conns > 0 || s->gateway->side.running;
    if (s->closing && !busy && !uv_is_closing((uv_handle_t *)&s->clock))
        uv_close((uv_handle_t *)&s->clock, on_handle_closed);
}

/* ---- the clock ---- */

static void on_clock(uv_timer_t *timer);

static void wake_at(struct server *s, uint64_t at_ns) {
    uint64_t now = clock_ns();
    uint64_t ms = at_ns > now ? (at_ns - now + NS_PER_MS - 1) / NS_PER_MS : 0;
    s->wake_ns = at_ns;
    uv_timer_start(&s->clock, on_clock, ms, 0);
}

static void on_clock(uv_timer_t *timer) {
    struct server *s = timer->data;
    s->wake_ns = UINT64_MAX;
    server_tick(s, clock_ns());
    uint64_t next = wheel_next_ns(&s->wheel);
    if (!s->closing && next < s->wake_ns) wake_at(s, next);
}

void server_tick(struct server *s, uint64_t now_ns) {
    struct wheel_entry *watch;
    wheel_advance(&s->wheel, now_ns);
    while ((watch = wheel_take(&s->wheel))) conn_tick(watch, now_ns);
}

void server_watch(struct server *s, struct wheel_entry *watch, uint64_t at_ns) {
    if (wheel_holds(watch) && watch->at_ns <= at_ns) return;
    wheel_set(&s->wheel, watch, at_ns);
    if (!s->closing && at_ns < s->wake_ns) wake_at(s, at_ns);
}

/* ---- connections ---- */

static void on_closing_look(uv_timer_t *timer) {
    struct server *s = timer->data;
    uint64_t now = clock_ns();
    bool late = now - s->closing_since_ns > CLOSE_LIMIT_NS;
    for (struct conn *c = s->first; c;) {
        struct conn *next = conn_next(c);
        if (late || !conn_is_answering(c)) conn_close(c);
        c = next;
    }
    server_tick(s, now);
    maybe_closed(s);
}

static void pause_accepting(struct server *s) {
    s->paused = true;
    if (s->gateway->connections.pauses++ == 0)
        log_warn("%u connections are open, the limit: the next clients wait until one is closed",
                 s->gateway->limits.connections);
}

static void on_connection(uv_stream_t *listener, int status) {
    struct server *s = listener->data;
    if (status < 0) {
        if (!s->refusal_said)
            log_warn("a connection could not be accepted: %s", uv_strerror(status));
        s->refusal_said = true;
    } else if (s->n_conns >= s->gateway->limits.connections) {
        pause_accepting(s); // libuv polls the listener again after the next uv_accept
    } else {
        conn_accept(s);
    }
}

void server_conn_closed(struct server *s) {
    s->n_conns--;
    s->gateway->connections.open = s->n_conns;
    if (!s->paused || s->closing) return;
    s->paused = false;
    conn_accept(s);
}

/* ---- the beginning and the end ---- */

static err resolve(uv_loop_t *loop, const char *host, uint16_t port, struct sockaddr_storage *out) {
    uv_getaddrinfo_t request;
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    int status = uv_getaddrinfo(loop, &request, NULL, host, service, &hints);
    if (status != 0)
        return FAIL(ERR_ADDRESS, "'%s' is no address to listen on: %s", host, uv_strerror(status));
    *out = (struct sockaddr_storage){0};
    __builtin_memcpy(out, request.addrinfo->ai_addr, request.addrinfo->ai_addrlen);
    uv_freeaddrinfo(request.addrinfo);
    return ERR_OK;
}

static void name_address(struct server *s, const char *host) {
    struct sockaddr_storage bound;
    int n = sizeof bound;
    uv_tcp_getsockname(&s->listener, (struct sockaddr *)&bound, &n);
    s->port = ntohs(bound.ss_family == AF_INET6
                        ? ((const struct sockaddr_in6 *)(const void *)&bound)->sin6_port
                        : ((const struct sockaddr_in *)(const void *)&bound)->sin_port);
    bool bare_v6 = bound.ss_family == AF_INET6 && host[0] != '[';
    snprintf(s->address, sizeof s->address, bare_v6 ? "[%.80s]:%u" : "%.80s:%u", host, s->port);
}

err server_listen(struct server *s, uv_loop_t *loop, struct gateway *g, const char *host,
                  uint16_t port) {
    struct sockaddr_storage address;
    TRY(resolve(loop, host, port, &address));
    *s = (struct server){.loop = loop, .gateway = g, .open_handles = 2, .wake_ns = UINT64_MAX};
    wheel_init(&s->wheel, clock_ns());
    CHECK(uv_tcp_init(loop, &s->listener) == 0);
    CHECK(uv_timer_init(loop, &s->clock) == 0);
    s->listener.data = s->clock.data = s;
    int status = uv_tcp_bind(&s->listener, (const struct sockaddr *)&address, 0);
    if (status == 0) status = uv_listen((uv_stream_t *)&s->listener, BACKLOG, on_connection);
    if (status != 0) {
        uv_close((uv_handle_t *)&s->listener, on_handle_closed);
        uv_close((uv_handle_t *)&s->clock, on_handle_closed);
        return FAIL(ERR_ADDRESS, "%s:%u cannot be listened on: %s%s", host, port,
                    uv_strerror(status),
                    status == UV_EADDRINUSE ? "; choose another with --port, or 0 for any" : "");
    }
    name_address(s, host);
    server_work_init(s);
    return ERR_OK;
}

void server_close(struct server *s, void (*closed)(void *ctx), void *ctx) {
    if (s->closing) return;
    s->closing = true;
    s->closing_since_ns = clock_ns();
    s->closed = closed;
    s->ctx = ctx;
    uv_close((uv_handle_t *)&s->listener, on_handle_closed);
    for (struct conn *c = s->first; c;) {
        struct conn *next = conn_next(c);
        if (!conn_is_answering(c)) conn_close(c);
        c = next;
    }
    uv_timer_start(&s->clock, on_closing_look, 1, CLOSING_MS);
}
