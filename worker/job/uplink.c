// SPDX-License-Identifier: MIT
/* uplink.c: see uplink.h.
 *
 * The main thread of rank 0 (link) and the lifeline thread of every rank.  Sockets are nonblocking
 * and every wait is a poll() with a limit: no call can hang on a coordinator that has stopped.
 * In the steady state the two buffers keep their memory and nothing is allocated. */

#include "worker/job/uplink.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/frame.h"
#include "common/utf8.h"

#define CONNECT_MS     2000 // for one address
#define LAUNCHED_MS    2000 // by a coordinator that listened before it started us
#define SEND_MS        4000 // without a byte of progress
#define RETRY_FIRST_MS 50
#define RETRY_MAX_MS   500
#define READ_BYTES     ((size_t)64 << 10)

static uint64_t after_ms(int ms) {
    return clock_ns() + (uint64_t)ms * 1000000u;
}

static int left_ms(uint64_t deadline_ns) {
    uint64_t now = clock_ns();
    return now < deadline_ns ? (int)((deadline_ns - now + 999999u) / 1000000u) : 0;
}

/* 1 when the socket is ready for `events` (or broken, which the next call will say), 0 on timeout.
 */
static int wait_ready(int fd, short events, uint64_t deadline_ns, bool for_ever) {
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        int n = poll(&p, 1, for_ever ? -1 : left_ms(deadline_ns));
        if (n >= 0) return n;
        if (errno != EINTR) return 1;
    }
}

/* ---- connecting ---- */

static void set_option(int fd, int level, int option, int value) {
    (void)setsockopt(fd, level, option, &value, sizeof value);
}

/* A coordinator whose host is gone says nothing: 2 s + 2 × 1 s of silence end the connection. */
static void notice_death(int fd) {
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 2);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 2);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, SEND_MS);
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

/* A connected socket, or -1 with errno. */
static int connect_socket(int family, const struct sockaddr *address, socklen_t bytes,
                          uint64_t deadline_ns) {
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    int fault = connect(fd, address, bytes) == 0 ? 0 : errno;
    if (fault == EINPROGRESS) {
        uint64_t own_ns = after_ms(CONNECT_MS);
        socklen_t size = sizeof fault;
        if (wait_ready(fd, POLLOUT, own_ns < deadline_ns ? own_ns : deadline_ns, false) == 0)
            fault = ETIMEDOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &fault, &size) != 0)
            fault = errno;
    }
    if (fault == 0) {
        if (family != AF_UNIX) notice_death(fd);
        return fd;
    }
    close(fd);
    errno = fault;
    return -1;
}

static int connect_unix(const char *path, uint64_t deadline_ns) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, path);
    return connect_socket(AF_UNIX, (const struct sockaddr *)&address, sizeof address, deadline_ns);
}

/* HOST:PORT or [HOST]:PORT; every address the name stands for is tried.  *reason says why not. */
static int connect_tcp(const char *host_port, uint64_t deadline_ns, const char **reason) {
    char host[BOOTSTRAP_ADDRESS_BYTES];
    const char *colon = strrchr(host_port, ':');
    size_t n = (size_t)(colon - host_port);
    if (n >= 2 && host_port[0] == '[' && colon[-1] == ']') {
        host_port++;
        n -= 2;
    }
    snprintf(host, sizeof host, "%.*s", (int)n, host_port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    int fault = getaddrinfo(host, colon + 1, &hints, &list);
    if (fault != 0) {
        *reason = gai_strerror(fault);
        return -1;
    }
    int fd = -1;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
        fd = connect_socket(a->ai_family, a->ai_addr, a->ai_addrlen, deadline_ns);
    if (fd < 0) *reason = strerror(errno);
    freeaddrinfo(list);
    return fd;
}

static int connect_address(const char *address, uint64_t deadline_ns, const char **reason) {
    if (strncmp(address, "tcp:", 4) == 0) return connect_tcp(address + 4, deadline_ns, reason);
    int fd = connect_unix(address + strlen("unix:"), deadline_ns);
    if (fd < 0) *reason = strerror(errno);
    return fd;
}

static void pause_ms(int ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}

err uplink_connect(struct uplink *u, const struct bootstrap *b, int limit_ms) {
    if (!b->joins && limit_ms > LAUNCHED_MS) limit_ms = LAUNCHED_MS;
    uint64_t deadline_ns = after_ms(limit_ms);
    struct buf tried;
    buf_init(&tried, 700);
    *u = (struct uplink){.fd = -1};
    buf_init(&u->in, FRAME_MAX_BYTES + FRAME_HEADER_BYTES + READ_BYTES);
    buf_init(&u->out, FRAME_MAX_BYTES + FRAME_HEADER_BYTES);
    for (int pause = RETRY_FIRST_MS;; pause = pause * 2 < RETRY_MAX_MS ? pause * 2 : RETRY_MAX_MS) {
        buf_clear(&tried);
        for (uint32_t i = 0; i < b->n_addresses && u->fd < 0; i++) {
            const char *reason = "unknown reason";
            u->fd = connect_address(b->addresses[i], deadline_ns, &reason);
            if (u->fd < 0) buf_printf(&tried, "%s%s: %s", i ? "; " : "", b->addresses[i], reason);
        }
        if (u->fd >= 0 || left_ms(deadline_ns) <= pause) break;
        pause_ms(pause);
    }
    err e = ERR_OK;
    if (u->fd < 0)
        e = FAIL(ERR_LAUNCH,
                 "the coordinator cannot be reached (%s); is it running, and may this "
                 "host connect to it?",
                 tried.data ? tried.data : "no address");
    buf_deinit(&tried);
    return e;
}

err uplink_hello(struct uplink *u, const struct wire_hello *hello, struct arena *scratch,
                 int limit_ms) {
    struct wire_message m = {.kind = WIRE_HELLO, .hello = *hello};
    const uint8_t *payload = NULL;
    size_t n = 0;
    TRY(uplink_send(u, &m, scratch));
    err e = uplink_receive(u, limit_ms, &payload, &n);
    if (e == ERR_RANK_LOST) // what a coordinator does to strangers
        return FAIL(e,
                    "the coordinator closed the connection without an answer: it is gone, or the "
                    "secret is not the one it knows (--secret-file, LOCKSTEP_SECRET)");
    TRY(e);
    if (!payload)
        return FAIL(ERR_LAUNCH, "the coordinator did not answer within %d s", limit_ms / 1000);
    arena_reset(scratch);
    TRY(wire_decode(&m, payload, n, scratch));
    if (m.kind == WIRE_ERROR && m.error.code != ERR_OK)
        return FAIL(m.error.code, "%s", m.error.message);
    if (m.kind != WIRE_WELCOME)
        return FAIL(ERR_PROTOCOL, "the coordinator answered hello with %s", wire_kind_name(m.kind));
    return ERR_OK;
}

/* ---- frames ---- */

err uplink_send(struct uplink *u, const struct wire_message *m, struct arena *scratch) {
    arena_reset(scratch);
    buf_clear(&u->out);
    TRY(wire_encode(&u->out, m, scratch));
    for (size_t at = 0; at < u->out.length;) {
        ssize_t n = send(u->fd, u->out.data + at, u->out.length - at, MSG_NOSIGNAL);
        if (n > 0) {
            at += (size_t)n;
        } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            if (wait_ready(u->fd, POLLOUT, after_ms(SEND_MS), false) == 0)
                return FAIL(ERR_RANK_LOST, "the coordinator takes no data any more");
        } else {
            return FAIL(ERR_RANK_LOST, "the coordinator is gone: %s", strerror(errno));
        }
    }
    return ERR_OK;
}

/* Drops the message given out last and looks for a whole one in what is left. */
static err next_frame(struct uplink *u, const uint8_t **payload, size_t *n) {
    buf_consume(&u->in, u->taken);
    u->taken = 0;
    return frame_next(u->in.data, u->in.length, FRAME_MAX_BYTES, payload, n, &u->taken);
}

err uplink_receive(struct uplink *u, int timeout_ms, const uint8_t **payload, size_t *n) {
    uint64_t deadline_ns = after_ms(timeout_ms > 0 ? timeout_ms : 0);
    for (;;) {
        TRY(next_frame(u, payload, n));
        if (*payload) return ERR_OK;
        size_t had = u->in.length;
        char *place = buf_extend(&u->in, READ_BYTES);
        CHECK(place); // the limit has room for a frame and one read
        ssize_t got = recv(u->fd, place, READ_BYTES, 0);
        u->in.length = had + (got > 0 ? (size_t)got : 0);
        if (got > 0) continue;
        if (got == 0) return FAIL(ERR_RANK_LOST, "the coordinator closed the connection");
        if (errno != EAGAIN && errno != EINTR)
            return FAIL(ERR_RANK_LOST, "the coordinator is gone: %s", strerror(errno));
        if (wait_ready(u->fd, POLLIN, deadline_ns, timeout_ms < 0) == 0) return ERR_OK;
    }
}

void uplink_clean_text(char *out, size_t n, const char *s) {
    size_t left = strlen(s), used = 0;
    while (left > 0) {
        size_t width = utf8_sequence(s, left, NULL), take = width ? width : 1;
        if (used + take >= n) break;
        memcpy(out + used, width ? s : "?", take);
        used += take;
        s += take;
        left -= take;
    }
    out[used] = '\0';
}

/* ---- the end ---- */

void uplink_finish(struct uplink *u, int limit_ms) {
    uint64_t deadline_ns = after_ms(limit_ms);
    char ignored[4096];
    if (u->fd >= 0 && shutdown(u->fd, SHUT_WR) == 0) {
        /* Closing with unread bytes would reset the connection and lose what is on its way. */
        while (wait_ready(u->fd, POLLIN, deadline_ns, false) > 0) {
            ssize_t n = recv(u->fd, ignored, sizeof ignored, 0);
            if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) break;
        }
    }
    uplink_close(u);
}

void uplink_close(struct uplink *u) {
    if (u->fd >= 0) close(u->fd);
    buf_deinit(&u->in);
    buf_deinit(&u->out);
    *u = (struct uplink){.fd = -1};
}
