/* link.h: the control connections, from listening to frames.
 *
 *   listener ──► stranger ──HELLO──► (cluster decides) ──► peer ──► messages, until it ends
 *                   │ silent for 5 s, a frame over 64 KiB, anything but HELLO: dropped
 *
 * A port scan or a stranger costs a connection of at most 64 KiB for at most 5 s, and few of them
 * are held at once; peers are never affected.  Owns the handles; frees itself.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_LINK_H
#define COORDINATOR_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/error.h"
#include "common/wire.h"
#include "coordinator/cluster/address.h"

#define LINK_MAX_STRANGERS  64 // beside the connections that are expected
#define LINK_HELLO_LIMIT_MS 5000

struct link;
struct link_conn;

struct link_events {
    /* The first frame of a stranger.  Must call link_accept, link_refuse or link_drop on it. */
    void (*hello)(void *ctx, struct link_conn *conn, const struct wire_hello *hello);
    /* A message of a peer, valid during the call. */
    void (*message)(void *ctx, uint32_t rank, bool is_link, const struct wire_message *m);
    /* A peer's connection has ended, not by us: ERR_OK at its end or a reset, ERR_PROTOCOL when it
     * sent something that is no message. */
    void (*lost)(void *ctx, uint32_t rank, bool is_link, err code, const char *why);
    /* After link_close: all handles are closed and the link is freed. */
    void (*closed)(void *ctx);
};

/* Listens.  *address gets the port that was chosen.  A Unix socket has mode 0600.  `expected`
 * connections will come; LINK_MAX_STRANGERS more may be waiting to introduce themselves, then the
 * oldest goes.  ERR_ADDRESS names the address and why; `closed` is then not called. */
MUST_USE err link_open(struct link **out, uv_loop_t *loop, struct address *address,
                       uint32_t expected, const struct link_events *events, void *ctx);
void link_close(struct link *l);

/* Lets a stranger in and says WELCOME. */
void link_accept(struct link_conn *conn, uint32_t rank, bool is_link);
/* Says ERROR with a sentence, then closes. */
void link_refuse(struct link_conn *conn, err code, const char *message);
/* Closes without a word. */
void link_drop(struct link_conn *conn);

/* Sends to a peer; its connections were found by rank.  A rank that is not connected is skipped:
 * its loss is reported by `lost`.  ERR_PROTOCOL when the message does not fit a frame. */
MUST_USE err link_send(struct link *l, uint32_t rank, bool is_link, const struct wire_message *m);

#endif
