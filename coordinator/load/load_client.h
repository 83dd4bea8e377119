/* load_client.h: one client of a load test: a connection, and one request on it at a time.
 *
 *   resting ──delay──► connecting ──► answering ──over, or too late──► `done`
 *                      (only when there is no connection that can be used again)
 *
 * A server may close a connection that it kept alive just when the next request is on its way; such
 * a request is sent again, once, on a new connection.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_LOAD_CLIENT_H
#define COORDINATOR_LOAD_CLIENT_H

#include <stdint.h>
#include <uv.h>

#include "common/buf.h"
#include "coordinator/load/answer.h"
#include "coordinator/load/target.h"

struct load_client;

struct load_client_events {
    /* The request is over; another one may be asked from inside. */
    void (*done)(void *ctx, struct load_client *c);
    /* After load_client_close: the client no longer exists. */
    void (*closed)(void *ctx);
};

/* The target must outlive the client. */
struct load_client *load_client_create(uv_loop_t *loop, struct target *target,
                                       const struct load_client_events *events, void *ctx);
/* The request that load_client_ask sends, to be written into; empty after `done`. */
struct buf *load_client_request(struct load_client *c);
/* Sends the request after delay_ms; `max_chunks` is answer_begin's.  The answer has limit_ms from
 * then on.  `done` comes later, never from inside. */
void load_client_ask(struct load_client *c, uint32_t max_chunks, uint64_t delay_ms,
                     uint64_t limit_ms);
/* The answer, from `done`. */
const struct answer *load_client_answer(const struct load_client *c);
/* When the request was begun: before its connection was made. */
uint64_t load_client_asked_ns(const struct load_client *c);
/* An answer under way is dropped; `done` is not called any more. */
void load_client_close(struct load_client *c);

#endif
