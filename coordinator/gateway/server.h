/* server.h: the listening socket, its connections and their clock.
 *
 * One timer watches over all connections, by a wheel of the times when each is to be looked at: an
 * idle server wakes for nothing, and ten thousand idle connections cost no more.  At the limit of
 * connections, or of open files, the next clients wait in the kernel's queue until one closes:
 * nothing polls and nobody is refused.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_SERVER_H
#define COORDINATOR_SERVER_H

#include <stdint.h>
#include <uv.h>

#include "common/error.h"
#include "coordinator/gateway/gateway.h"
#include "coordinator/gateway/listener.h"
#include "coordinator/gateway/wheel.h"

struct conn;

struct server {
    uv_loop_t *loop;
    struct listener listener;
    uv_timer_t clock;
    uv_work_t work; // see server_work.c
    struct gateway *gateway;
    struct wheel wheel;
    uint64_t wake_ns;   // when the clock goes off; UINT64_MAX: it stands still
    struct conn *first; // all connections
    uint32_t n_conns;
    uint64_t bodies_bytes;          // of bodies on their way
    bool limit_said, shortage_said; // that clients wait, and why
    bool closing;
    uint64_t closing_since_ns;
    int open_parts; // listener and clock
    void (*closed)(void *ctx);
    void *ctx;
};

/* Binds and listens; port 0 takes any.  ERR_ADDRESS names host and port and what is wrong.  The
 * gateway must outlive the server. */
MUST_USE err server_listen(struct server *s, uv_loop_t *loop, struct gateway *g, const char *host,
                           uint16_t port);
/* Takes no new connections; those that are being answered may finish (2 s at most), the others are
 * closed.  `closed` is called when all handles are gone and no side work is under way. */
void server_close(struct server *s, void (*closed)(void *ctx), void *ctx);

/* Side work of the gateway is done by a thread of libuv from now on. */
void server_work_init(struct server *s);

/* ---- for conn.c, and for tests that make time pass ---- */

/* Looks at the connection at that time or soon after, unless it is looked at before. */
void server_watch(struct server *s, struct wheel_entry *watch, uint64_t at_ns);
/* Looks at the connections whose time has come. */
void server_tick(struct server *s, uint64_t now_ns);
/* One connection has gone. */
void server_conn_closed(struct server *s);

#endif
