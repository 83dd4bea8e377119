/* fake_client.h: a connection without a socket: it sends a request and keeps the answer.
 *
 * The responder checks the order of its calls: one head, then bodies, then `done`, once. */
// SPDX-License-Identifier: MIT
#ifndef TESTS_UNIT_COORDINATOR_GATEWAY_FAKE_CLIENT_H
#define TESTS_UNIT_COORDINATOR_GATEWAY_FAKE_CLIENT_H

#include <jansson.h>

#include "coordinator/gateway/gateway.h"

struct fake_client {
    struct exchange *exchange; // NULL when the answer is complete
    int status;                // 0 before the head
    int64_t length;
    struct buf content_type, extra, body;
    bool done, gone;
    size_t read; // bytes of the body that fake_client_event has taken
};

/* Sends a request; `body` may be NULL.  Release with fake_client_close. */
void fake_client_send(struct fake_client *c, struct gateway *g, enum http_method method,
                      const char *path, const char *body);
/* GET with If-None-Match. */
void fake_client_send_tag(struct fake_client *c, struct gateway *g, const char *path,
                          const char *tag);
/* The same with values of the headers Authorization and Origin. */
void fake_client_send_with(struct fake_client *c, struct gateway *g, enum http_method method,
                           const char *path, const char *body, const char *authorization,
                           const char *origin);
/* The client goes away, whatever state the answer is in. */
void fake_client_leave(struct fake_client *c);
void fake_client_close(struct fake_client *c);

/* The whole answer as JSON; the caller releases it. */
json_t *fake_client_json(const struct fake_client *c);
/* The next event of a stream: its JSON (the caller's), or NULL for [DONE] and at the end, which
 * *is_done tells apart.  Comments are passed over. */
json_t *fake_client_event(struct fake_client *c, bool *is_done);

#endif
