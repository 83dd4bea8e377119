// SPDX-License-Identifier: MIT
/* server.c: see server.h. */

#include "coordinator/gateway/server.h"

#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "coordinator/gateway/conn.h"

#define CLOSING_MS     20
#define CLOSE_LIMIT_NS ((uint64_t)2 * 1000 * 1000 * 1000)
#define NS_PER_MS      ((uint64_t)1000 * 1000)

static void part_closed(struct server *s) {
    if (--s->open_parts == 0 && s->closed) s->closed(s->ctx);
}

static void on_clock_closed(uv_handle_t *handle) {
    part_closed(handle->data);
}

static void on_listener_closed(void *ctx) {
    part_closed(ctx);
}

/* Closing is over when no connection and no side work is left; then the clock itself goes. */
static void maybe_closed(struct server *s) {
    bool busy = s->n_conns > 0 || s->gateway->side.running;
    if (s->closing && !busy && !uv_is_closing((uv_handle_t *)&s->clock))
        uv_close((uv_handle_t *)&s->clock, on_clock_closed);
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

static bool is_full(void *ctx) {
    const struct server *s = ctx;
    return s->n_conns >= s->gateway->limits.connections;
}

static void on_client(void *ctx, int fd) {
    conn_open(ctx, fd);
}

static void on_paused(void *ctx, int code) {
    struct server *s = ctx;
    bool *said = code ? &s->shortage_said : &s->limit_said;
    s->gateway->connections.pauses++;
    if (*said) return;
    *said = true;
    if (code)
        log_warn("no client can be accepted (%s): the next ones wait", strerror(code));
    else
        log_warn("%u connections are open, the limit: the next clients wait until one is closed",
                 s->n_conns);
}

void server_conn_closed(struct server *s) {
    s->n_conns--;
    s->gateway->connections.open = s->n_conns;
    listener_resume(&s->listener);
}

/* ---- the beginning and the end ---- */

static const struct listener_events listener_events = {
    .full = is_full, .client = on_client, .paused = on_paused, .closed = on_listener_closed};

err server_listen(struct server *s, uv_loop_t *loop, struct gateway *g, const char *host,
                  uint16_t port) {
    *s = (struct server){.loop = loop, .gateway = g, .open_parts = 2, .wake_ns = UINT64_MAX};
    TRY(listener_open(&s->listener, loop, host, port, &listener_events, s));
    wheel_init(&s->wheel, clock_ns());
    CHECK(uv_timer_init(loop, &s->clock) == 0);
    s->clock.data = s;
    server_work_init(s);
    return ERR_OK;
}

void server_close(struct server *s, void (*closed)(void *ctx), void *ctx) {
    if (s->closing) return;
    s->closing = true;
    s->closing_since_ns = clock_ns();
    s->closed = closed;
    s->ctx = ctx;
    listener_close(&s->listener);
    for (struct conn *c = s->first; c;) {
        struct conn *next = conn_next(c);
        if (!conn_is_answering(c)) conn_close(c);
        c = next;
    }
    uv_timer_start(&s->clock, on_closing_look, 1, CLOSING_MS);
}
