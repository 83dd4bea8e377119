/* listener.h: a listening TCP socket whose clients wait while there is no room for them.
 *
 * Not uv_listen: when no more files can be opened, that accepts clients only to drop them, and in
 * libuv 1.44 it may then go round and round.  Here they stay in the kernel's queue and nothing
 * polls, until the owner says that there may be room, or a second has passed.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_LISTENER_H
#define COORDINATOR_LISTENER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/error.h"

#define LISTENER_RETRY_MS 1000

struct listener_events {
    /* A client waits: is there no room for it?  Then it waits until listener_resume. */
    bool (*full)(void *ctx);
    /* It was accepted; the socket is the callee's. */
    void (*client)(void *ctx, int fd);
    /* Clients wait from now on: code 0, there is no room; else errno, they cannot be accepted. */
    void (*paused)(void *ctx, int code);
    void (*closed)(void *ctx);
};

struct listener {
    uv_poll_t poll;
    uv_timer_t retry;
    const struct listener_events *events;
    void *ctx;
    int fd;
    bool paused;
    int open_handles;
    uint16_t port;    // the one that it got
    char address[96]; // "127.0.0.1:8080"
};

/* Binds and listens; port 0 takes any.  ERR_ADDRESS names host and port and what is wrong; then
 * there is nothing to close. */
MUST_USE err listener_open(struct listener *l, uv_loop_t *loop, const char *host, uint16_t port,
                           const struct listener_events *events, void *ctx);
/* There may be room again. */
void listener_resume(struct listener *l);
/* `closed` follows. */
void listener_close(struct listener *l);

#endif
