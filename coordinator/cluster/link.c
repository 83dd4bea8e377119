// SPDX-License-Identifier: MIT
/* link.c: see link.h.
 *
 * Reads go through one buffer of the link into the connection's own; complete frames are decoded
 * into one arena and handed on at once, so a steady stream of messages allocates nothing.  Writes
 * are tried directly; what the socket does not take at once is queued by libuv with a copy.
 * uv handles are freed only in their close callbacks. */

#include "coordinator/cluster/link.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/frame.h"
#include "common/log.h"
#include "common/mem.h"

#define READ_BYTES    ((size_t)64 << 10)
#define ARENA_BYTES   ((size_t)64 << 20) // of address space; what no message needs is never touched
#define SWEEP_MS      500
#define BACKLOG       1024
#define USER_LIMIT_MS 3000 // unacknowledged bytes for that long: the host is gone

struct link_conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
    struct link *link;
    struct link_conn *next, *prev;
    struct buf in;
    bool accepted, closing;
    unsigned age_ms; // of a stranger
    uint32_t rank;
    bool is_link;
};

struct link {
    uv_loop_t *loop;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } listener;
    uv_timer_t sweep; // runs while there are strangers
    bool is_unix, closing;
    size_t n_handles; // not closed yet
    size_t n_strangers, max_strangers;
    struct link_conn *conns;
    const struct link_events *events;
    void *ctx;
    struct arena arena;   // of the message that is being handled
    struct arena scratch; // of the message that is being encoded
    struct buf out;
    char read_buffer[READ_BYTES];
};

struct queued_write {
    uv_write_t request;
    char bytes[];
};

/* ---- the end of things ---- */

static void on_handle_closed(struct link *l) {
    if (--l->n_handles > 0) return;
    const struct link_events *events = l->events;
    void *ctx = l->ctx;
    arena_deinit(&l->arena);
    arena_deinit(&l->scratch);
    buf_deinit(&l->out);
    mem_free(l);
    if (events) events->closed(ctx);
}

static void on_listener_closed(uv_handle_t *handle) {
    on_handle_closed((struct link *)handle->data);
}

static void on_conn_closed(uv_handle_t *handle) {
    struct link_conn *conn = handle->data;
    struct link *l = conn->link;
    buf_deinit(&conn->in);
    mem_free(conn);
    on_handle_closed(l);
}

static void conn_close(struct link_conn *conn) {
    struct link *l = conn->link;
    if (conn->closing) return;
    conn->closing = true;
    if (!conn->accepted && --l->n_strangers == 0 && !l->closing) uv_timer_stop(&l->sweep);
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        l->conns = conn->next;
    if (conn->next) conn->next->prev = conn->prev;
    uv_close(&conn->handle, on_conn_closed);
}

void link_close(struct link *l) {
    if (l->closing) return;
    l->closing = true;
    while (l->conns) conn_close(l->conns);
    uv_close((uv_handle_t *)&l->sweep, on_listener_closed);
    uv_close(&l->listener.handle, on_listener_closed);
}

void link_drop(struct link_conn *conn) {
    conn_close(conn);
}

/* A connection that cannot go on. */
static void conn_lost(struct link_conn *conn, err code, const char *why) {
    struct link *l = conn->link;
    bool accepted = conn->accepted, is_link = conn->is_link;
    uint32_t rank = conn->rank;
    conn_close(conn);
    if (accepted)
        l->events->lost(l->ctx, rank, is_link, code, why);
    else
        log_debug("a stranger on the control port was dropped: %s", why);
}

/* ---- writing ---- */

static void on_written(uv_write_t *request, int status) {
    struct link_conn *conn = request->handle->data;
    mem_free(request->data);
    if (status < 0 && status != UV_ECANCELED && !conn->closing)
        conn_lost(conn, ERR_OK, uv_strerror(status));
}

static void on_refusal_written(uv_write_t *request, int status) {
    (void)status;
    struct link_conn *conn = request->handle->data;
    mem_free(request->data);
    conn_close(conn);
}

static void write_queued(struct link_conn *conn, const char *bytes, size_t n, uv_write_cb done) {
    struct queued_write *w = mem_alloc(sizeof *w + n);
    memcpy(w->bytes, bytes, n);
    w->request.data = w;
    uv_buf_t piece = uv_buf_init(w->bytes, (unsigned)n);
    if (uv_write(&w->request, &conn->stream, &piece, 1, done) != 0) {
        mem_free(w); // the end of the connection is reported by its reader
        if (done == on_refusal_written) conn_close(conn);
    }
}

static err encode(struct link *l, const struct wire_message *m) {
    buf_clear(&l->out);
    arena_reset(&l->scratch);
    return wire_encode(&l->out, m, &l->scratch);
}

static err conn_send(struct link_conn *conn, const struct wire_message *m) {
    struct link *l = conn->link;
    TRY(encode(l, m));
    size_t done = 0;
    if (uv_stream_get_write_queue_size(&conn->stream) == 0) {
        uv_buf_t piece = uv_buf_init(l->out.data, (unsigned)l->out.length);
        int n = uv_try_write(&conn->stream, &piece, 1);
        if (n > 0) done = (size_t)n;
    }
    if (done < l->out.length)
        write_queued(conn, l->out.data + done, l->out.length - done, on_written);
    return ERR_OK;
}

static struct link_conn *find_peer(struct link *l, uint32_t rank, bool is_link) {
    struct link_conn *c = l->conns;
    while (c && !(c->accepted && c->rank == rank && c->is_link == is_link)) c = c->next;
    return c;
}

err link_send(struct link *l, uint32_t rank, bool is_link, const struct wire_message *m) {
    struct link_conn *conn = find_peer(l, rank, is_link);
    return conn ? conn_send(conn, m) : ERR_OK;
}

void link_accept(struct link_conn *conn, uint32_t rank, bool is_link) {
    struct link *l = conn->link;
    conn->accepted = true;
    conn->rank = rank;
    conn->is_link = is_link;
    conn->in.limit = 2 * FRAME_MAX_BYTES;
    if (--l->n_strangers == 0) uv_timer_stop(&l->sweep);
    struct wire_message welcome = {.kind = WIRE_WELCOME};
    if (conn_send(conn, &welcome) != ERR_OK) conn_lost(conn, ERR_PROTOCOL, error_message());
}

void link_refuse(struct link_conn *conn, err code, const char *message) {
    struct wire_message m = {.kind = WIRE_ERROR, .error = {.code = code, .message = message}};
    if (encode(conn->link, &m) != ERR_OK) {
        conn_close(conn);
        return;
    }
    uv_read_stop(&conn->stream);
    write_queued(conn, conn->link->out.data, conn->link->out.length, on_refusal_written);
}

/* ---- reading ---- */

/* False when the connection is closing or waits for a refusal to be written. */
static bool handle_frame(struct link_conn *conn, const uint8_t *payload, size_t n) {
    struct link *l = conn->link;
    struct wire_message m;
    arena_reset(&l->arena);
    if (wire_decode(&m, payload, n, &l->arena) != ERR_OK) {
        conn_lost(conn, ERR_PROTOCOL, error_message());
        return false;
    }
    if (conn->accepted) {
        l->events->message(l->ctx, conn->rank, conn->is_link, &m);
        return !conn->closing;
    }
    if (m.kind != WIRE_HELLO) {
        conn_lost(conn, ERR_PROTOCOL, "its first message is no HELLO");
        return false;
    }
    l->events->hello(l->ctx, conn, &m.hello);
    return conn->accepted && !conn->closing;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out) {
    (void)suggested;
    struct link_conn *conn = handle->data;
    *out = uv_buf_init(conn->link->read_buffer, READ_BYTES);
}

/* The bytes of the buffer move once per read, not once per frame. */
static void take_frames(struct link_conn *conn) {
    size_t used = 0;
    for (;;) {
        size_t cap = conn->accepted ? FRAME_MAX_BYTES : FRAME_HELLO_BYTES, consumed;
        const uint8_t *payload;
        size_t n;
        if (frame_next(conn->in.data + used, conn->in.length - used, cap, &payload, &n,
                       &consumed) != ERR_OK) {
            conn_lost(conn, ERR_PROTOCOL, error_message());
            return;
        }
        if (!payload) break;
        used += consumed;
        if (!handle_frame(conn, payload, n)) return;
    }
    buf_consume(&conn->in, used);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes) {
    struct link_conn *conn = stream->data;
    if (n == 0) return;
    if (n < 0) {
        conn_lost(conn, ERR_OK, n == UV_EOF ? "its connection ended" : uv_strerror((int)n));
        return;
    }
    buf_append(&conn->in, bytes->base, (size_t)n);
    if (conn->in.failed)
        conn_lost(conn, ERR_PROTOCOL, "too many bytes at once");
    else
        take_frames(conn);
}

/* ---- strangers ---- */

static void on_sweep(uv_timer_t *timer) {
    struct link *l = timer->data;
    for (struct link_conn *c = l->conns, *next; c; c = next) {
        next = c->next;
        if (c->accepted) continue;
        c->age_ms += SWEEP_MS;
        if (c->age_ms >= LINK_HELLO_LIMIT_MS) conn_lost(c, ERR_PROTOCOL, "it said nothing");
    }
}

/* A host that has vanished is noticed by TCP too, not only by missing heartbeats. */
static void set_tcp_options(uv_tcp_t *tcp) {
    int fd, idle_s = 1, interval_s = 1, probes = 3, limit_ms = USER_LIMIT_MS;
    uv_tcp_nodelay(tcp, 1);
    uv_tcp_keepalive(tcp, 1, (unsigned)idle_s);
    if (uv_fileno((uv_handle_t *)tcp, &fd) != 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof limit_ms);
}

/* New connections are put in front, so the oldest one comes last. */
static void drop_oldest_stranger(struct link *l) {
    struct link_conn *oldest = NULL;
    for (struct link_conn *c = l->conns; c; c = c->next)
        if (!c->accepted) oldest = c;
    if (oldest) conn_lost(oldest, ERR_PROTOCOL, "too many have not introduced themselves");
}

static void on_connection(uv_stream_t *listener, int status) {
    struct link *l = listener->data;
    if (status < 0) {
        log_debug("a connection to the control port failed: %s", uv_strerror(status));
        return;
    }
    struct link_conn *conn = mem_zalloc(sizeof *conn);
    conn->link = l;
    if (l->is_unix)
        CHECK(uv_pipe_init(l->loop, &conn->pipe, 0) == 0);
    else
        CHECK(uv_tcp_init(l->loop, &conn->tcp) == 0);
    conn->handle.data = conn;
    buf_init(&conn->in, FRAME_HEADER_BYTES + FRAME_HELLO_BYTES + READ_BYTES);
    conn->next = l->conns;
    if (l->conns) l->conns->prev = conn;
    l->conns = conn;
    l->n_handles++;
    if (l->n_strangers++ == 0) uv_timer_start(&l->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    if (uv_accept(listener, &conn->stream) != 0) {
        conn_lost(conn, ERR_PROTOCOL, "it was gone at once");
        return;
    }
    if (l->n_strangers > l->max_strangers) drop_oldest_stranger(l);
    if (!l->is_unix) set_tcp_options(&conn->tcp);
    uv_read_start(&conn->stream, on_alloc, on_read);
}

/* ---- listening ---- */

/* A socket of this name that nobody listens on any more is in the way. */
static void remove_stale_socket(const char *path) {
    struct stat st;
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode)) return;
    snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    if (connect(fd, (struct sockaddr *)&name, sizeof name) != 0 && errno == ECONNREFUSED)
        unlink(path);
    close(fd);
}

static err listen_unix(struct link *l, const struct address *address) {
    remove_stale_socket(address->path);
    mode_t before = umask(0177); // from the first moment nobody else can connect
    int status = uv_pipe_bind(&l->listener.pipe, address->path);
    umask(before);
    if (status == 0) status = uv_listen(&l->listener.stream, BACKLOG, on_connection);
    if (status != 0)
        return FAIL(ERR_ADDRESS, "the control socket '%s': %s", address->path, uv_strerror(status));
    return ERR_OK;
}

static err listen_tcp(struct link *l, struct address *address) {
    struct sockaddr_storage name;
    TRY(address_resolve(address, &name));
    int status = uv_tcp_bind(&l->listener.tcp, (struct sockaddr *)&name, 0);
    if (status == 0) status = uv_listen(&l->listener.stream, BACKLOG, on_connection);
    int n = sizeof name;
    if (status == 0) status = uv_tcp_getsockname(&l->listener.tcp, (struct sockaddr *)&name, &n);
    if (status != 0)
        return FAIL(ERR_ADDRESS, "the control address %s port %u: %s", address->host, address->port,
                    uv_strerror(status));
    address->port = ntohs(name.ss_family == AF_INET ? ((struct sockaddr_in *)&name)->sin_port
                                                    : ((struct sockaddr_in6 *)&name)->sin6_port);
    return ERR_OK;
}

err link_open(struct link **out, uv_loop_t *loop, struct address *address, uint32_t expected,
              const struct link_events *events, void *ctx) {
    struct link *l = mem_zalloc(sizeof *l);
    l->loop = loop;
    l->is_unix = address->is_unix;
    l->ctx = ctx;
    l->max_strangers = LINK_MAX_STRANGERS + expected;
    arena_init(&l->arena, ARENA_BYTES);
    arena_init(&l->scratch, ARENA_BYTES);
    buf_init(&l->out, FRAME_HEADER_BYTES + FRAME_MAX_BYTES);
    CHECK(uv_timer_init(loop, &l->sweep) == 0);
    if (l->is_unix)
        CHECK(uv_pipe_init(loop, &l->listener.pipe, 0) == 0);
    else
        CHECK(uv_tcp_init(loop, &l->listener.tcp) == 0);
    l->sweep.data = l->listener.handle.data = l;
    l->n_handles = 2;
    err e = l->is_unix ? listen_unix(l, address) : listen_tcp(l, address);
    if (e != ERR_OK) {
        link_close(l); // without events: freed on the loop, silently
        return e;
    }
    l->events = events;
    *out = l;
    return ERR_OK;
}
