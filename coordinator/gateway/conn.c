// SPDX-License-Identifier: MIT
/* conn.c: see conn.h.
 *
 *   reading ──request complete──► answering ──done──► reading (keep-alive) | lingering
 *      └── bad request, too slow ──► error answer ──► lingering ──client's end, 2 s──► closed
 *
 * Parser and buffer exist from the first byte of a request until it is complete.  Requests that are
 * sent ahead are answered in order, a few in one turn of the loop: then the connection is not read
 * until everybody else had a turn.
 *
 * Whatever happens to a connection ends with settle(): it says when the server's clock has to look
 * at it, by the state it is in.
 *
 * After the last answer our side of the stream is ended and what still arrives is thrown away until
 * the client has ended its side: closing with unread bytes would reset the connection, and the
 * client would lose the answer.
 *
 * The handle is closed from anywhere; the exchange under way is aborted in the close callback, so
 * an exchange is never pulled from under a sink that is just calling it. */

#include "coordinator/gateway/conn.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define ACCESS_PATH_BYTES  160
#define STATUS_CLIENT_LEFT 499 // as nginx calls it
#define REQUESTS_PER_TURN  16
#define SEND_BUFFER_BYTES  (128 << 10) // in the kernel; Linux takes it twice
#define LOOKS_PER_STALL    4           // how often progress is looked for within limits.write_ns

/* What the access log says about the request under way. */
struct record {
    const char *method;
    char path[ACCESS_PATH_BYTES];
    int status;
    uint64_t begun_ns, bytes;
};

struct conn {
    uv_tcp_t tcp;
    uv_shutdown_t shutdown;
    struct wheel_entry watch;
    struct server *server;
    struct conn *prev, *next;
    struct http_parser *parser; // NULL: no byte of a request has come
    struct buf ahead;           // read and not parsed
    struct exchange *exchange;
    size_t body_bytes; // of server->bodies_bytes
    struct buf extra;  // header lines of the answer, until its head is written
    char peer[72];     // address and port
    bool answering;    // between a complete request and `done`
    bool parsing;      // inside parse(): done() must not call it again
    bool resting;      // had its turn; not read until the clock's next look
    bool streaming;    // the answer is chunked or ends with the connection
    bool keep_alive, http_1_0, head_only;
    bool finishing;                        // the last answer is written: shut down, linger, close
    bool at_end;                           // the client has ended its side
    uint64_t lingering_since_ns;           // our side is ended
    uint64_t head_since_ns, body_since_ns; // 0: not in a request, not in its body
    uint64_t idle_since_ns;
    uint64_t put_bytes, handed_bytes; // written; of these the kernel had so many when we
    uint64_t looked_ns, progress_ns;  // looked, and when it had last taken any
    struct record record;
};

struct write_request {
    uv_write_t uv;
    char bytes[];
};

static void parse(struct conn *c);
static void settle(struct conn *c);

static struct conn *conn_of(uv_handle_t *h) {
    return h->data;
}

static const struct client_limits *limits_of(const struct conn *c) {
    return &c->server->gateway->limits;
}

static bool is_closing(const struct conn *c) {
    return uv_is_closing((const uv_handle_t *)&c->tcp) != 0;
}

/* ---- the access log ---- */

static void begin_record(struct conn *c, const char *method, const char *path) {
    c->record = (struct record){.method = method, .begun_ns = clock_ns()};
    snprintf(c->record.path, sizeof c->record.path, "%s", path);
}

/* While the exchange still exists. */
static void write_record(struct conn *c) {
    struct access_log *log = c->server->gateway->access_log;
    const struct record *r = &c->record;
    if (!log || (r->status == 200 && gateway_is_polled(r->path))) return;
    struct access_line line = {.client = c->peer,
                               .method = r->method,
                               .path = r->path,
                               .status = r->status ? r->status : STATUS_CLIENT_LEFT,
                               .bytes = r->bytes,
                               .total_ns = clock_ns() - r->begun_ns};
    struct buf prompts;
    buf_init(&prompts, 0);
    if (c->exchange) {
        exchange_describe(c->exchange, &line);
        bool shown = log->prompts && line.id; // of completions that have begun
        if (shown) exchange_put_prompts(c->exchange, &prompts);
        if (shown) line.prompt = prompts.length ? prompts.data : "";
        line.prompt_bytes = prompts.length;
    }
    access_log_write(log, &line);
    buf_deinit(&prompts);
}

/* ---- the end ---- */

static void forget_body(struct conn *c) {
    c->server->bodies_bytes -= c->body_bytes;
    c->body_bytes = 0;
}

static void on_closed(uv_handle_t *handle) {
    struct conn *c = conn_of(handle);
    struct server *s = c->server;
    if (c->answering) write_record(c);
    if (c->exchange) exchange_abort(c->exchange);
    if (c->prev)
        c->prev->next = c->next;
    else
        s->first = c->next;
    if (c->next) c->next->prev = c->prev;
    wheel_remove(&c->watch);
    forget_body(c);
    http_parser_free(c->parser);
    buf_deinit(&c->ahead);
    buf_deinit(&c->extra);
    mem_free(c);
    server_conn_closed(s);
}

void conn_close(struct conn *c) {
    if (!is_closing(c)) uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void close_because(struct conn *c, enum conn_end why) {
    if (is_closing(c)) return;
    c->server->gateway->connections.ended[why]++;
    conn_close(c);
}

static void on_shutdown(uv_shutdown_t *request, int status) {
    struct conn *c = request->data;
    c->lingering_since_ns = clock_ns();
    if (status < 0 || c->at_end || c->server->closing) conn_close(c);
    settle(c);
}

/* Everything is written: say so to the client, then close. */
static void finish(struct conn *c) {
    if (c->finishing || is_closing(c)) return;
    c->finishing = true;
    if (!c->parsing) buf_deinit(&c->ahead);
    c->shutdown.data = c;
    if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown) != 0) conn_close(c);
}

/* ---- writing ---- */

static size_t queued_bytes(const struct conn *c) {
    return uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
}

/* The next request waits for the answer to this one, and for a client that reads its answers. */
static bool takes_requests(const struct conn *c) {
    return !c->answering && !c->finishing && !c->resting && !is_closing(c) &&
           queued_bytes(c) <= limits_of(c)->unread_bytes;
}

static void on_written(uv_write_t *request, int status) {
    struct conn *c = request->data;
    mem_free(request);
    if (status < 0 && status != UV_ECANCELED) close_because(c, CONN_END_CLIENT_LEFT);
    c->progress_ns = c->idle_since_ns = clock_ns();
    if (!c->parsing) parse(c); // requests that waited for the client to read
    settle(c);
}

static void write_bytes(struct conn *c, const void *data, size_t n) {
    if (n == 0 || is_closing(c)) return;
    size_t queued = queued_bytes(c);
    if (c->streaming && queued > limits_of(c)->unread_bytes) {
        log_debug("a client that does not read was dropped with %zu bytes unsent", queued);
        close_because(c, CONN_END_UNREAD);
        return;
    }
    if (queued == 0) c->progress_ns = c->looked_ns = clock_ns();
    c->put_bytes += n;
    struct write_request *w = mem_alloc(sizeof *w + n);
    memcpy(w->bytes, data, n);
    w->uv.data = c;
    uv_buf_t bytes = uv_buf_init(w->bytes, (unsigned)n);
    if (uv_write(&w->uv, (uv_stream_t *)&c->tcp, &bytes, 1, on_written) != 0) {
        mem_free(w);
        conn_close(c);
    } else if (queued == 0 && queued_bytes(c)) {
        c->handed_bytes = c->put_bytes - queued_bytes(c);
        settle(c);
    }
}

static void write_buf(struct conn *c, struct buf *b) {
    write_bytes(c, b->data, b->length);
    buf_deinit(b);
}

/* ---- the responder ---- */

static void respond_head(void *ctx, int status, const char *content_type, const char *extra,
                         int64_t length) {
    struct conn *c = ctx;
    struct buf head;
    buf_init(&head, 0);
    if (extra) buf_puts(&c->extra, extra);
    c->streaming = length < 0;
    c->record.status = status;
    if ((c->streaming && c->http_1_0) || c->server->gateway->draining) c->keep_alive = false;
    http_put_head(&head, status, content_type, c->extra.data, length, c->keep_alive, c->http_1_0);
    buf_deinit(&c->extra);
    write_buf(c, &head);
}

static void respond_body(void *ctx, const void *data, size_t n) {
    struct conn *c = ctx;
    if (c->head_only) return;
    c->record.bytes += n;
    if (!c->streaming || c->http_1_0) {
        write_bytes(c, data, n);
        return;
    }
    struct buf chunk;
    buf_init(&chunk, 0);
    http_put_chunk(&chunk, data, n);
    write_buf(c, &chunk);
}

static void respond_done(void *ctx) {
    struct conn *c = ctx;
    if (c->streaming && !c->http_1_0 && !c->head_only) {
        struct buf last;
        buf_init(&last, 0);
        http_put_last_chunk(&last);
        write_buf(c, &last);
    }
    write_record(c);
    c->exchange = NULL;
    c->answering = c->streaming = false;
    c->idle_since_ns = clock_ns();
    if (!c->keep_alive || c->server->closing)
        finish(c);
    else if (!c->parsing)
        parse(c); // what was sent ahead
    settle(c);
}

static const struct responder responder = {
    .head = respond_head, .body = respond_body, .done = respond_done};

/* ---- reading ---- */

/* What the answer's head says to pages of other origins.  It may be written when the request is
 * long forgotten. */
static void note_origin(struct conn *c) {
    const struct buf *origin = &http_parser_request(c->parser)->origin;
    cors_put_headers(&c->extra, &c->server->gateway->cors, origin->length ? origin->data : "");
}

static void answer_error(struct conn *c, struct gateway_status s, const char *message) {
    const struct http_request *request = http_parser_request(c->parser);
    bool known = http_parser_has_head(c->parser);
    c->answering = true;
    c->keep_alive = c->head_only = false;
    forget_body(c);
    c->head_since_ns = c->body_since_ns = 0;
    begin_record(c, known ? http_method_name(request->method) : "-",
                 known ? request->path.data : "-");
    note_origin(c);
    gateway_reply_error(&responder, c, s.status, s.type, NULL, s.code, message);
}

static void answer_bad(struct conn *c, int status, const char *message) {
    answer_error(c, (struct gateway_status){status, "invalid_request_error", NULL}, message);
}

/* A request that is complete, or whose body nobody wants: then the connection ends. */
static void answer_request(struct conn *c) {
    const struct http_request *request = http_parser_request(c->parser);
    c->answering = true;
    c->keep_alive = request->keep_alive;
    c->http_1_0 = request->http_1_0;
    c->head_only = request->method == HTTP_METHOD_HEAD;
    forget_body(c);
    c->head_since_ns = c->body_since_ns = 0;
    begin_record(c, http_method_name(request->method), request->path.data);
    note_origin(c);
    struct exchange *x = NULL;
    gateway_handle(c->server->gateway, request, &responder, c, &x);
    if (x) c->exchange = x;
    http_parser_next(c->parser);
}

/* Is the body wanted that follows?  Without a key, say, nobody makes us keep megabytes. */
static void answer_head(struct conn *c) {
    if (gateway_refuses(c->server->gateway, http_parser_request(c->parser)))
        answer_request(c);
    else if (http_parser_expects_word(c->parser))
        write_bytes(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
}

/* More of a body has come: is there still room for it beside those of others?  Short ones are
 * bounded by the number of connections. */
static void count_body(struct conn *c) {
    uint64_t most = (uint64_t)CONN_MAX_BODIES * limits_of(c)->body_bytes;
    size_t bytes = http_parser_request(c->parser)->body.length;
    c->server->bodies_bytes += bytes - c->body_bytes;
    c->body_bytes = bytes;
    if (bytes > HTTP_SHORT_BODY_BYTES && c->server->bodies_bytes > most)
        answer_error(c, gateway_status_of(ERR_BUSY),
                     "too many long requests are on their way: try again later");
}

/* Feeds the parser with what is at hand; returns how much of it was taken. */
static size_t parse_ahead(struct conn *c) {
    size_t at = 0, taken;
    for (int answered = 0; at < c->ahead.length && takes_requests(c); at += taken) {
        if (answered == REQUESTS_PER_TURN) {
            c->resting = true;
            uv_read_stop((uv_stream_t *)&c->tcp);
            break;
        }
        if (!c->parser) c->parser = http_parser_create(limits_of(c));
        enum http_event event =
            http_parser_feed(c->parser, c->ahead.data + at, c->ahead.length - at, &taken);
        if (event == HTTP_FAILED) {
            c->server->gateway->connections.ended[CONN_END_BAD_REQUEST]++;
            answer_bad(c, http_parser_status(c->parser), http_parser_message(c->parser));
            break;
        }
        if (event == HTTP_NEED_MORE) count_body(c);
        if (event == HTTP_HEAD_DONE) answer_head(c);
        if (event == HTTP_MESSAGE) answer_request(c);
        answered += event == HTTP_MESSAGE;
    }
    return at;
}

/* Since when the client has owed us the rest of a head or of a body. */
static void note_progress(struct conn *c) {
    bool inside = c->parser && !c->finishing && http_parser_is_inside(c->parser);
    if (!inside)
        c->head_since_ns = c->body_since_ns = 0;
    else if (c->head_since_ns == 0)
        c->head_since_ns = clock_ns();
    if (inside && c->body_since_ns == 0 && http_parser_has_head(c->parser))
        c->body_since_ns = clock_ns();
}

static void parse(struct conn *c) {
    c->parsing = true;
    size_t taken = parse_ahead(c);
    c->parsing = false;
    if (c->finishing || taken == c->ahead.length)
        buf_deinit(&c->ahead);
    else
        buf_consume(&c->ahead, taken);
    note_progress(c);
    if (c->parser && c->head_since_ns == 0) {
        http_parser_free(c->parser); // an idle connection holds nothing
        c->parser = NULL;
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
    static char shared[65536]; // one loop, one read at a time
    (void)handle, (void)suggested;
    *buf = uv_buf_init(shared, sizeof shared);
}

/* The end of the client's stream, or of the connection: FIN means gone, also in the middle of an
 * answer, since nobody would read it. */
static void on_client_end(struct conn *c, bool orderly) {
    bool within = c->answering || c->head_since_ns;
    c->at_end = true;
    if (within)
        close_because(c, CONN_END_CLIENT_LEFT);
    else if (!orderly || c->lingering_since_ns)
        conn_close(c);
    else
        finish(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *data) {
    struct conn *c = conn_of((uv_handle_t *)stream);
    if (n == 0) return;
    if (n < 0) {
        on_client_end(c, n == UV_EOF);
    } else if (!c->finishing) { // after the last answer nothing more is listened to
        buf_append(&c->ahead, data->base, (size_t)n);
        parse(c);
        if (!takes_requests(c) && c->ahead.length > CONN_MAX_AHEAD_BYTES && !c->resting)
            close_because(c, CONN_END_SENT_AHEAD);
    }
    settle(c);
}

static void name_peer(struct conn *c) {
    struct sockaddr_storage peer = {0};
    char number[64] = "-";
    int n = sizeof peer;
    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&peer, &n) == 0)
        uv_ip_name((struct sockaddr *)&peer, number, sizeof number);
    bool v6 = peer.ss_family == AF_INET6;
    uint16_t port = v6 ? ((const struct sockaddr_in6 *)(const void *)&peer)->sin6_port
                       : ((const struct sockaddr_in *)(const void *)&peer)->sin_port;
    snprintf(c->peer, sizeof c->peer, v6 ? "[%s]:%u" : "%s:%u", number, ntohs(port));
}

void conn_open(struct server *s, int fd) {
    struct conn *c = mem_zalloc(sizeof *c);
    c->server = s;
    CHECK(uv_tcp_init(s->loop, &c->tcp) == 0);
    c->tcp.data = c;
    buf_init(&c->ahead, 0);
    buf_init(&c->extra, 0);
    c->next = s->first;
    if (s->first) s->first->prev = c;
    s->first = c;
    s->n_conns++;
    s->gateway->connections.open = s->n_conns;
    s->gateway->connections.accepted++;
    c->idle_since_ns = c->progress_ns = clock_ns();
    if (uv_tcp_open(&c->tcp, fd) != 0) {
        close(fd);
        conn_close(c);
        return;
    }
    name_peer(c);
    // The kernel would hold megabytes for a client that does not read.
    uv_send_buffer_size((uv_handle_t *)&c->tcp, &(int){SEND_BUFFER_BYTES});
    uv_tcp_nodelay(&c->tcp, 1);
    uv_tcp_keepalive(&c->tcp, 1, 30);
    if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0) conn_close(c);
    settle(c);
}

/* ---- time ---- */

static uint64_t sooner(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* When its state will have lasted too long; UINT64_MAX: it waits for nothing but the engine. */
static uint64_t expiry_ns(const struct conn *c) {
    const struct client_limits *l = limits_of(c);
    if (c->finishing)
        return c->lingering_since_ns ? c->lingering_since_ns + CONN_LINGER_NS : UINT64_MAX;
    if (c->answering) return UINT64_MAX;
    if (c->body_since_ns) return c->body_since_ns + l->body_ns;
    if (c->head_since_ns) return c->head_since_ns + l->head_ns;
    return c->idle_since_ns + l->idle_ns;
}

static void settle(struct conn *c) {
    uint64_t due = expiry_ns(c);
    if (is_closing(c)) return;
    if (queued_bytes(c)) {
        uint64_t write_ns = limits_of(c)->write_ns;
        due = sooner(due, c->looked_ns + write_ns / LOOKS_PER_STALL);
        due = sooner(due, c->progress_ns + write_ns);
    }
    if (c->exchange) due = sooner(due, clock_ns() + limits_of(c)->ping_ns);
    if (c->resting) due = 0;
    if (due != UINT64_MAX) server_watch(c->server, &c->watch, due);
}

/* Has the client read nothing for too long?  Progress is what the kernel has taken. */
static bool is_stalled(struct conn *c, uint64_t now_ns) {
    uint64_t handed = c->put_bytes - queued_bytes(c);
    if (handed != c->handed_bytes) c->progress_ns = now_ns;
    c->handed_bytes = handed;
    c->looked_ns = now_ns;
    return queued_bytes(c) && now_ns >= c->progress_ns + limits_of(c)->write_ns;
}

static void expire(struct conn *c) {
    struct conn_metrics *m = &c->server->gateway->connections;
    if (c->finishing) {
        conn_close(c);
    } else if (c->head_since_ns) {
        m->ended[CONN_END_SLOW_REQUEST]++;
        answer_bad(c, 408, "the request did not arrive in time");
    } else {
        m->ended[CONN_END_IDLE]++;
        finish(c);
    }
}

void conn_tick(struct wheel_entry *watch, uint64_t now_ns) {
    struct conn *c = (struct conn *)(void *)((char *)watch - offsetof(struct conn, watch));
    if (is_closing(c)) return;
    if (c->resting) {
        c->resting = false;
        if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0) conn_close(c);
        parse(c);
    }
    if (is_stalled(c, now_ns))
        close_because(c, CONN_END_STALLED);
    else if (now_ns >= expiry_ns(c))
        expire(c);
    else if (c->exchange)
        server_watch(c->server, watch, exchange_tick(c->exchange, now_ns));
    settle(c);
}

bool conn_is_answering(const struct conn *c) {
    return c->answering || (c->finishing && !c->lingering_since_ns) || queued_bytes(c) > 0;
}

struct conn *conn_next(const struct conn *c) {
    return c->next;
}
