/* gateway.h: what all requests share, and one exchange: a request with its answer.
 *
 * An exchange is free of sockets: the connection hands it a parsed request and a responder, and
 * learns through the responder what to send.  Tests use a responder that keeps the bytes.
 *
 *   conn → http → router → api_* → engine
 *   conn ◄ responder ◄ reply, sse ◄ sink ◄┘
 *
 * Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_GATEWAY_H
#define COORDINATOR_GATEWAY_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/gateway/access_log.h"
#include "coordinator/gateway/api_keys.h"
#include "coordinator/gateway/chat_template.h"
#include "coordinator/gateway/conn_metrics.h"
#include "coordinator/gateway/cors.h"
#include "coordinator/gateway/http.h"
#include "coordinator/gateway/request_metrics.h"
#include "coordinator/gateway/side_work.h"
#include "coordinator/scheduling/engine.h"

struct gateway {
    struct engine *engine;
    struct client_limits limits;
    char model_id[128];
    char fingerprint[64]; // build and plan
    int64_t created_s;    // when the server started
    uint64_t id_prefix;   // random; ids of answers are prefix and number
    uint64_t next_id;
    bool draining;
    bool page; // GET / shows one
    struct request_metrics metrics;
    struct conn_metrics connections;
    struct access_log *access_log;       // NULL: none
    struct chat_template *chat_template; // NULL: plain transcripts
    struct api_keys keys;                // none: everybody may ask
    struct cors cors;
    struct side_line side; // what takes too long for the loop
};

/* How an exchange answers.  `head` once, `body` any number of times, `done` once and last: after it
 * the exchange no longer exists. */
struct responder {
    void (*head)(void *conn, int status, const char *content_type, const char *extra,
                 int64_t length);
    void (*body)(void *conn, const void *data, size_t n);
    void (*done)(void *conn);
};

/* An answer under way.  Endpoints that take their time embed it at the beginning of their own. */
struct exchange {
    const struct exchange_kind *kind;
};

/* What exchange_* below do, by endpoint; all but `abort` may be NULL. */
struct exchange_kind {
    void (*abort)(struct exchange *x);
    void (*describe)(const struct exchange *x, struct access_line *line);
    void (*put_prompts)(const struct exchange *x, struct buf *out);
    uint64_t (*tick)(struct exchange *x, uint64_t now_ns);
};

/* Is this a path that pages ask for all the time?  Good answers to it are not logged. */
bool gateway_is_polled(const char *path);
/* Would the answer to this head be a refusal, whatever the body is?  Then nobody needs to read it.
 */
bool gateway_refuses(const struct gateway *g, const struct http_request *head);
/* Answers at once or keeps *x for later.  *x is NULL when `done` was called already.  The request
 * is valid during the call only. */
void gateway_handle(struct gateway *g, const struct http_request *request,
                    const struct responder *responder, void *conn, struct exchange **x);
/* The client has gone: stops the work; the responder is not called again. */
void exchange_abort(struct exchange *x);
/* Fills in what the access log says about a completion, as far as it came.  Strings belong to the
 * exchange. */
void exchange_describe(const struct exchange *x, struct access_line *line);
/* Appends the text of its prompts, a line each. */
void exchange_put_prompts(const struct exchange *x, struct buf *out);
/* Sends a ping on a stream that has been silent for limits.ping_ns.  Returns when to call again
 * (UINT64_MAX: never); before is harmless. */
uint64_t exchange_tick(struct exchange *x, uint64_t now_ns);

/* A whole JSON answer that is known at once. */
void gateway_reply(const struct responder *r, void *conn, int status, const char *extra,
                   const struct buf *json);
/* {"error": {"message", "type", "param", "code"}}; param and code may be NULL. */
void gateway_reply_error(const struct responder *r, void *conn, int status, const char *type,
                         const char *param, const char *code, const char *message);
/* 503 while the model is loading, the server drains or its ranks are lost; says which. */
void gateway_reply_unready(const struct gateway *g, const struct responder *r, void *conn);
/* The same object appended to `out`. */
void gateway_put_error(struct buf *out, const char *type, const char *param, const char *code,
                       const char *message);
/* The answer to a request that the engine refused, or that failed before its first byte; 429 says
 * when to come back by the measured pace of the queue. */
void gateway_reply_refusal(const struct gateway *g, const struct responder *r, void *conn, err e,
                           const char *param, const char *message);
/* The HTTP answer for an error of the engine: 400, 429 or 503 with its type. */
struct gateway_status {
    int status;
    const char *type, *code;
};
struct gateway_status gateway_status_of(err e);
/* "ok", "loading", "draining", "ranks_lost" or "stopped". */
const char *gateway_state_name(const struct gateway *g);

#endif
