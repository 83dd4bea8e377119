/* api_body.h: the JSON object that the body of a POST must be.  Free of I/O.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_API_BODY_H
#define COORDINATOR_API_BODY_H

#include <jansson.h>

#include "coordinator/gateway/gateway.h"

/* How all bodies are read: strict UTF-8, no key twice, bounded depth, any text in strings. */
#define API_BODY_JSON_FLAGS (JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL)

/* Is the body JSON, by its type?  Answers 415 when it is not. */
bool api_body_check_type(const struct http_request *request, const struct responder *responder,
                         void *conn);
/* The body as an object, the caller's; NULL after a refusal was answered. */
json_t *api_body_read(const struct http_request *request, const struct responder *responder,
                      void *conn);
/* A member that is true or false; *value is left alone when it is absent or null.  Answers 400 and
 * returns false when it is something else. */
bool api_body_flag(const json_t *root, const char *name, bool *value,
                   const struct responder *responder, void *conn);

#endif
