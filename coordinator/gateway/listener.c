// SPDX-License-Identifier: MIT
/* listener.c: see listener.h.  The socket is polled for clients as any other is for bytes, so a
 * client that is not taken is seen again; in one turn of the loop only some are taken. */

#include "coordinator/gateway/listener.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG          511
#define CLIENTS_PER_TURN 64

/* ---- clients ---- */

static void on_client(uv_poll_t *poll, int status, int events);

static void pause_polling(struct listener *l, int code) {
    uv_poll_stop(&l->poll);
    l->paused = true;
    l->events->paused(l->ctx, code);
}

static void on_retry(uv_timer_t *timer) {
    listener_resume(timer->data);
}

/* The client went before it was taken, or a firewall refused it: see accept(2). */
static bool client_is_gone(int code) {
    return code == ECONNABORTED || code == EINTR || code == EPROTO || code == EPERM ||
           code == ENETDOWN || code == ENOPROTOOPT || code == EHOSTDOWN || code == ENONET ||
           code == EHOSTUNREACH || code == EOPNOTSUPP || code == ENETUNREACH;
}

/* Something is missing, descriptors most likely, and may be for some time. */
static void wait_for_better(struct listener *l, int code) {
    pause_polling(l, code);
    uv_timer_start(&l->retry, on_retry, LISTENER_RETRY_MS, 0);
}

static void on_client(uv_poll_t *poll, int status, int events) {
    struct listener *l = poll->data;
    (void)events;
    if (status < 0) {
        wait_for_better(l, -status);
        return;
    }
    if (l->events->full(l->ctx)) {
        pause_polling(l, 0);
        return;
    }
    for (int i = 0; i < CLIENTS_PER_TURN && !l->events->full(l->ctx); i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            l->events->client(l->ctx, fd);
        } else if (errno == EAGAIN) {
            return;
        } else if (!client_is_gone(errno)) {
            wait_for_better(l, errno);
            return;
        }
    }
}

void listener_resume(struct listener *l) {
    if (!l->paused || uv_is_closing((uv_handle_t *)&l->poll)) return;
    l->paused = false;
    uv_timer_stop(&l->retry);
    CHECK(uv_poll_start(&l->poll, UV_READABLE, on_client) == 0);
}

/* ---- the beginning and the end ---- */

static err listen_on(int *out, const struct addrinfo *a, const char *host, uint16_t port) {
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *out = fd;
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) == 0 &&
        bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return ERR_OK;
    err e = FAIL(ERR_ADDRESS, "%s:%u cannot be listened on: %s%s", host, port, strerror(errno),
                 errno == EADDRINUSE ? "; choose another with --port, or 0 for any" : "");
    if (fd >= 0) close(fd);
    return e;
}

static err resolve_and_listen(int *out, uv_loop_t *loop, const char *host, uint16_t port) {
    uv_getaddrinfo_t found;
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    int status = uv_getaddrinfo(loop, &found, NULL, host, service, &hints);
    if (status != 0)
        return FAIL(ERR_ADDRESS, "'%s' is no address to listen on: %s", host, uv_strerror(status));
    err e = listen_on(out, found.addrinfo, host, port);
    uv_freeaddrinfo(found.addrinfo);
    return e;
}

static void name_address(struct listener *l, const char *host) {
    struct sockaddr_storage bound = {0};
    socklen_t n = sizeof bound;
    CHECK(getsockname(l->fd, (struct sockaddr *)&bound, &n) == 0);
    bool v6 = bound.ss_family == AF_INET6;
    l->port = ntohs(v6 ? ((const struct sockaddr_in6 *)(const void *)&bound)->sin6_port
                       : ((const struct sockaddr_in *)(const void *)&bound)->sin_port);
    bool bare_v6 = v6 && host[0] != '[';
    snprintf(l->address, sizeof l->address, bare_v6 ? "[%.80s]:%u" : "%.80s:%u", host, l->port);
}

err listener_open(struct listener *l, uv_loop_t *loop, const char *host, uint16_t port,
                  const struct listener_events *events, void *ctx) {
    *l = (struct listener){.events = events, .ctx = ctx, .paused = true, .open_handles = 2};
    TRY(resolve_and_listen(&l->fd, loop, host, port));
    name_address(l, host);
    CHECK(uv_poll_init(loop, &l->poll, l->fd) == 0);
    CHECK(uv_timer_init(loop, &l->retry) == 0);
    l->poll.data = l->retry.data = l;
    listener_resume(l);
    return ERR_OK;
}

static void on_closed(uv_handle_t *handle) {
    struct listener *l = handle->data;
    if (--l->open_handles == 0) l->events->closed(l->ctx);
}

void listener_close(struct listener *l) {
    uv_close((uv_handle_t *)&l->poll, on_closed);
    uv_close((uv_handle_t *)&l->retry, on_closed);
    close(l->fd);
}
