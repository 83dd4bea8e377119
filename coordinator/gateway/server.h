/* server.h: the listening socket, its connections and their clock.
 *
 * The timer that watches over slow and silent connections runs only while there are connections:
 * an idle server wakes for nothing.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_SERVER_H
#define COORDINATOR_SERVER_H

#include <stdint.h>
#include <uv.h>

#include "common/error.h"
#include "coordinator/gateway/gateway.h"

struct conn;

struct server {
    uv_loop_t *loop;
    uv_tcp_t listener;
    uv_timer_t clock;
    struct gateway *gateway;
    struct conn *first; // all connections
    uint32_t n_conns;
    bool closing;
    uint64_t closing_since_ns;
    int open_handles; // listener and clock
    void (*closed)(void *ctx);
    void *ctx;
    char address[96]; // "127.0.0.1:8080"
    uint16_t port;
};

/* Binds and listens; port 0 takes any.  ERR_ADDRESS names host and port and what is wrong.  The
 * gateway must outlive the server. */
MUST_USE err server_listen(struct server *s, uv_loop_t *loop, struct gateway *g, const char *host,
                           uint16_t port);
/* Takes no new connections; those that are being answered may finish (2 s at most), the others are
 * closed.  `closed` is called when all handles are gone. */
void server_close(struct server *s, void (*closed)(void *ctx), void *ctx);

#endif
