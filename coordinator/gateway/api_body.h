/* api_body.h: the JSON object that the body of a POST must be, and what is wrong with it.
 * Free of I/O.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_API_BODY_H
#define COORDINATOR_API_BODY_H

#include <jansson.h>

#include "coordinator/gateway/http.h"

#define API_BODY_MAX_VALUES (1 << 20) // a million token ids; some 150 MiB of memory at the most
#define API_BODY_MAX_NESTS  (1 << 16) // arrays and objects: they are the dear ones

struct api_error {
    int status;               // 400 or 404; 0: there is none
    char param[64], code[48]; // "" when there is none
    char message[400];
};

/* Fills in *e as a 400 and returns false; param may be NULL. */
bool api_refuse(struct api_error *e, const char *param, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Is the body said to be JSON? */
bool api_body_is_json(const struct http_request *request);
/* The body (NULL when n is 0) as an object, the caller's: strict UTF-8, no key twice, bounded
 * depth and number of values, any text in strings.  NULL with *e filled in when it is none; it
 * names the member that the parser had come to. */
json_t *api_body_parse(const char *body, size_t n, struct api_error *e);
/* A member that is true or false; *value is left alone when it is absent or null.  False with *e
 * filled in when it is something else. */
bool api_body_flag(const json_t *root, const char *name, bool *value, struct api_error *e);

#endif
