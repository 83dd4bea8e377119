// SPDX-License-Identifier: MIT
/* load_client.c: see load_client.h.  A connection is an object of its own that lives until its
 * handle is closed; the client lets go of it long before. */

#include "coordinator/load/load_client.h"

#include <stdio.h>

#include "common/clock.h"
#include "common/mem.h"

struct line {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    struct load_client *client; // NULL: it was let go
    bool writing;               // not all of the request is handed to the kernel
    bool used;                  // it has carried an answer
};

struct load_client {
    uv_loop_t *loop;
    uv_timer_t timer; // the delay, then the limit
    struct target *target;
    struct load_client_events events;
    void *ctx;
    struct line *line; // NULL: none
    struct answer *answer;
    struct buf request;
    uint32_t max_chunks;
    uint64_t limit_ms, asked_ns;
    size_t n_tried, address; // of the target's addresses; the present one
    bool asking;             // between the delay and `done`
};

/* ---- the end of things ---- */

static void on_line_closed(uv_handle_t *handle) {
    mem_free(handle->data);
}

static void drop_line(struct load_client *c) {
    if (!c->line) return;
    c->line->client = NULL;
    uv_close((uv_handle_t *)&c->line->tcp, on_line_closed);
    c->line = NULL;
}

static void finish(struct load_client *c) {
    uv_timer_stop(&c->timer);
    if (c->line) c->line->used = true;
    // A server may answer a request that it has not read to its end.
    if (c->line && (c->line->writing || !answer_result(c->answer)->keep_alive)) drop_line(c);
    c->asking = false;
    buf_clear(&c->request);
    c->events.done(c->ctx, c);
}

static void fail(struct load_client *c, enum answer_error error, const char *message) {
    answer_fail(c->answer, error, message);
    finish(c);
}

static void on_late(uv_timer_t *timer) {
    struct load_client *c = timer->data;
    char message[96];
    bool began = answer_result(c->answer)->began;
    snprintf(message, sizeof message, "the answer %s within %g s",
             began ? "was not complete" : "did not begin", (double)c->limit_ms / 1e3);
    fail(c, ANSWER_ERROR_TIMEOUT, message);
}

/* ---- a request on a connection ---- */

static void connect_next(struct load_client *c, int status);

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
    static char shared[65536]; // one loop, one read at a time
    (void)handle, (void)suggested;
    *buf = uv_buf_init(shared, sizeof shared);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *data) {
    struct load_client *c = ((struct line *)stream->data)->client;
    if (n == 0 || !c) return;
    if (!c->asking) { // the end, or bytes that nobody asked for
        drop_line(c);
    } else if (n > 0) {
        if (answer_feed(c->answer, data->base, (size_t)n, clock_ns())) finish(c);
    } else if (c->line->used && !answer_result(c->answer)->began) {
        drop_line(c);
        connect_next(c, 0);
    } else {
        answer_end(c->answer, clock_ns());
        finish(c);
    }
}

/* What is wrong with a write shows as the end of what is read. */
static void on_written(uv_write_t *request, int status) {
    struct line *line = request->data;
    (void)status;
    line->writing = false;
}

static void send_request(struct load_client *c) {
    answer_begin(c->answer, c->max_chunks);
    uv_buf_t bytes = uv_buf_init(c->request.data, (unsigned)c->request.length);
    int status = uv_write(&c->line->write, (uv_stream_t *)&c->line->tcp, &bytes, 1, on_written);
    c->line->writing = true;
    if (status != 0) fail(c, ANSWER_ERROR_CONNECT, uv_strerror(status));
}

/* ---- a connection ---- */

static void on_connected(uv_connect_t *request, int status) {
    struct line *line = request->data;
    struct load_client *c = line->client;
    if (!c) return;
    if (status == 0) status = uv_read_start((uv_stream_t *)&line->tcp, on_alloc, on_read);
    if (status != 0) {
        drop_line(c);
        connect_next(c, status);
        return;
    }
    c->target->preferred = c->address;
    c->n_tried = 0;
    uv_tcp_nodelay(&line->tcp, 1);
    send_request(c);
}

static int connect_to(struct load_client *c, const struct sockaddr_storage *address) {
    struct line *line = mem_zalloc(sizeof *line);
    int status = uv_tcp_init(c->loop, &line->tcp);
    CHECK(status == 0);
    line->client = c;
    line->tcp.data = line->connect.data = line->write.data = line;
    c->line = line;
    status =
        uv_tcp_connect(&line->connect, &line->tcp, (const struct sockaddr *)address, on_connected);
    if (status != 0) drop_line(c);
    return status;
}

/* Tries the host's addresses from the one that worked last; `status` is what was wrong with the
 * previous one. */
static void connect_next(struct load_client *c, int status) {
    const struct target *t = c->target;
    while (c->n_tried < t->n_addresses) {
        c->address = (t->preferred + c->n_tried++) % t->n_addresses;
        status = connect_to(c, &t->addresses[c->address]);
        if (status == 0) return;
    }
    char message[400];
    snprintf(message, sizeof message, "%s: %s", t->authority, uv_strerror(status));
    fail(c, ANSWER_ERROR_CONNECT, message);
}

static void on_rested(uv_timer_t *timer) {
    struct load_client *c = timer->data;
    c->asking = true;
    c->asked_ns = clock_ns();
    c->n_tried = 0;
    uv_timer_start(&c->timer, on_late, c->limit_ms, 0);
    answer_begin(c->answer, c->max_chunks);
    if (c->line)
        send_request(c);
    else
        connect_next(c, 0);
}

/* ---- the owner's side ---- */

struct load_client *load_client_create(uv_loop_t *loop, struct target *target,
                                       const struct load_client_events *events, void *ctx) {
    struct load_client *c = mem_zalloc(sizeof *c);
    c->loop = loop;
    c->target = target;
    c->events = *events;
    c->ctx = ctx;
    c->answer = answer_create();
    buf_init(&c->request, 0);
    CHECK(uv_timer_init(loop, &c->timer) == 0);
    c->timer.data = c;
    return c;
}

struct buf *load_client_request(struct load_client *c) {
    return &c->request;
}

void load_client_ask(struct load_client *c, uint32_t max_chunks, uint64_t delay_ms,
                     uint64_t limit_ms) {
    CHECK(!c->asking && c->request.length > 0);
    c->max_chunks = max_chunks;
    c->limit_ms = limit_ms;
    uv_update_time(c->loop);
    uv_timer_start(&c->timer, on_rested, delay_ms, 0);
}

const struct answer *load_client_answer(const struct load_client *c) {
    return c->answer;
}

uint64_t load_client_asked_ns(const struct load_client *c) {
    return c->asked_ns;
}

static void on_timer_closed(uv_handle_t *handle) {
    struct load_client *c = handle->data;
    void (*closed)(void *) = c->events.closed;
    void *ctx = c->ctx;
    answer_free(c->answer);
    buf_deinit(&c->request);
    mem_free(c);
    closed(ctx);
}

void load_client_close(struct load_client *c) {
    drop_line(c);
    c->asking = false;
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}
