/* conn.h: one client's connection.
 *
 * Reads requests one after the other, hands each to the gateway, writes the answer.  While an
 * answer is made it goes on reading, so that a client that leaves is noticed at once: the end of
 * its stream means that it is gone.  What it sends ahead is kept up to a bound, and a body that is
 * too much beside those of all others is refused.  One that is idle holds no parser and no buffer:
 * about 1 KiB.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_CONN_H
#define COORDINATOR_CONN_H

#include "coordinator/gateway/server.h"

#define CONN_MAX_AHEAD_BYTES ((size_t)256 << 10) // sent ahead of the present request
#define CONN_MAX_BODIES      64 // of the greatest size: what is kept of all that are on their way
#define CONN_LINGER_NS       ((uint64_t)2 * 1000 * 1000 * 1000) // after the last answer

/* A client's socket, which is the connection's from now on. */
void conn_open(struct server *s, int fd);
/* Its entry came off the server's wheel: looks at the time limits, and sets the entry again. */
void conn_tick(struct wheel_entry *watch, uint64_t now_ns);
/* Closes it now; an answer under way is cut off. */
void conn_close(struct conn *c);
/* Is a request being answered, or an answer not yet handed to the kernel? */
bool conn_is_answering(const struct conn *c);
struct conn *conn_next(const struct conn *c);

#endif
