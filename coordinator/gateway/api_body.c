// SPDX-License-Identifier: MIT
/* api_body.c: see api_body.h.  The type of curl's bare `-d` and no type at all are taken too:
 * people try an API like that. */

#include "coordinator/gateway/api_body.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool is_type(const char *type, const char *wanted) {
    size_t n = strcspn(type, "; \t");
    return n == strlen(wanted) && strncasecmp(type, wanted, n) == 0;
}

bool api_body_check_type(const struct http_request *request, const struct responder *responder,
                         void *conn) {
    const char *type = request->content_type.length ? request->content_type.data : "";
    if (!*type || is_type(type, "application/json") ||
        is_type(type, "application/x-www-form-urlencoded"))
        return true;
    gateway_reply_error(responder, conn, 415, "invalid_request_error", NULL, NULL,
                        "the body must be application/json");
    return false;
}

json_t *api_body_read(const struct http_request *request, const struct responder *responder,
                      void *conn) {
    json_error_t where;
    char message[300] = "the body must be a JSON object";
    if (!api_body_check_type(request, responder, conn)) return NULL;
    json_t *root = json_loadb(request->body.length ? request->body.data : "", request->body.length,
                              API_BODY_JSON_FLAGS, &where);
    if (json_is_object(root)) return root;
    if (!root)
        snprintf(message, sizeof message, "the body is not valid JSON: %s at line %d, column %d",
                 where.text, where.line, where.column);
    json_decref(root);
    gateway_reply_error(responder, conn, 400, "invalid_request_error", NULL, NULL, message);
    return NULL;
}

bool api_body_flag(const json_t *root, const char *name, bool *value,
                   const struct responder *responder, void *conn) {
    const json_t *v = json_object_get(root, name);
    if (!v || json_is_null(v)) return true;
    if (json_is_boolean(v)) {
        *value = json_is_true(v);
        return true;
    }
    char message[100];
    snprintf(message, sizeof message, "%s must be true or false", name);
    gateway_reply_error(responder, conn, 400, "invalid_request_error", name, NULL, message);
    return false;
}
