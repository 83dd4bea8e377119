// SPDX-License-Identifier: MIT
/* router.c: the table of routes, and the answers 401, 404, 405 and 415.  A new endpoint is a row.
 * Paths have one method each, HEAD where there is GET, and OPTIONS for browsers that ask before
 * they send (they send no key with that). */

#include "coordinator/gateway/router.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/gateway/api_body.h"

struct route {
    enum http_method method;
    const char *path;
    bool prefix; // everything below the path
    route_handler *handler;
};

static const struct route routes[] = {
    {HTTP_METHOD_POST, "/v1/completions", false, api_completions},
    {HTTP_METHOD_POST, "/v1/chat/completions", false, api_chat_completions},
    {HTTP_METHOD_POST, "/tokenize", false, api_tokenize},
    {HTTP_METHOD_POST, "/detokenize", false, api_detokenize},
    {HTTP_METHOD_POST, "/apply-template", false, api_apply_template},
    {HTTP_METHOD_GET, "/v1/models", false, api_models},
    {HTTP_METHOD_GET, "/v1/models/", true, api_model},
    {HTTP_METHOD_GET, "/health", false, api_health},
    {HTTP_METHOD_GET, "/ready", false, api_ready},
    {HTTP_METHOD_GET, "/metrics", false, api_metrics},
    {HTTP_METHOD_GET, "/cluster", false, api_cluster},
    {HTTP_METHOD_GET, "/", false, api_page},
};

static bool matches(const struct route *r, const char *path) {
    return r->prefix ? strncmp(path, r->path, strlen(r->path)) == 0 && path[strlen(r->path)]
                     : strcmp(path, r->path) == 0;
}

bool gateway_is_polled(const char *path) {
    return strcmp(path, "/cluster") == 0;
}

static void reply_error(const struct responder *r, void *conn, int status, const char *type,
                        const char *param, const char *code, const char *message,
                        const char *extra) {
    struct buf json;
    buf_init(&json, 0);
    gateway_put_error(&json, type, param, code, message);
    gateway_reply(r, conn, status, extra, &json);
    buf_deinit(&json);
}

static const char *text_of(const struct buf *b) {
    return b->length ? b->data : "";
}

static bool is_preflight(const struct gateway *g, const struct http_request *request) {
    return request->method == HTTP_METHOD_OPTIONS &&
           cors_allows(&g->cors, text_of(&request->origin));
}

static void reply_preflight(const struct route *route, const struct http_request *request,
                            const struct responder *responder, void *conn) {
    struct buf extra;
    buf_init(&extra, 0);
    bool get = route->method == HTTP_METHOD_GET;
    cors_put_preflight(&extra, get ? "GET, HEAD, OPTIONS" : "POST, OPTIONS",
                       text_of(&request->asked_headers));
    responder->head(conn, 204, NULL, extra.data, 0);
    responder->done(conn);
    buf_deinit(&extra);
}

/* RFC 6750, 3: without a key the challenge names no error. */
static void refuse_key(bool missing, const struct responder *responder, void *conn) {
    reply_error(responder, conn, 401, "invalid_request_error", NULL, "invalid_api_key",
                missing ? "this server wants an API key: send it as 'Authorization: Bearer KEY'"
                        : "the API key is not one of this server's",
                missing ? "WWW-Authenticate: Bearer realm=\"lockstep\"\r\n"
                        : "WWW-Authenticate: Bearer realm=\"lockstep\", "
                          "error=\"invalid_token\"\r\n");
}

static enum api_keys_verdict judge_key(const struct gateway *g,
                                       const struct http_request *request) {
    if (is_preflight(g, request)) return API_KEY_GOOD;
    return api_keys_judge(&g->keys, text_of(&request->path), text_of(&request->authorization));
}

/* The row for path and method; *known is one for the path alone, or NULL. */
static const struct route *find_route(const struct http_request *request,
                                      const struct route **known) {
    *known = NULL;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        const struct route *r = &routes[i];
        if (!matches(r, text_of(&request->path))) continue;
        *known = r;
        bool head = request->method == HTTP_METHOD_HEAD && r->method == HTTP_METHOD_GET;
        if (r->method == request->method || head) return r;
    }
    return NULL;
}

/* All that is posted is JSON. */
static bool has_wrong_type(const struct http_request *request) {
    return request->method == HTTP_METHOD_POST && !api_body_is_json(request);
}

bool gateway_refuses(const struct gateway *g, const struct http_request *head) {
    const struct route *known;
    return judge_key(g, head) != API_KEY_GOOD || !find_route(head, &known) || has_wrong_type(head);
}

static void refuse_route(const char *path, const struct route *known,
                         const struct responder *responder, void *conn) {
    char message[300];
    if (known) {
        bool get = known->method == HTTP_METHOD_GET;
        snprintf(message, sizeof message, "%.200s takes %s only", path, get ? "GET" : "POST");
        reply_error(responder, conn, 405, "invalid_request_error", NULL, "method_not_allowed",
                    message, get ? "Allow: GET, HEAD\r\n" : "Allow: POST\r\n");
    } else {
        snprintf(message, sizeof message, "there is nothing at %.200s", path);
        gateway_reply_error(responder, conn, 404, "invalid_request_error", NULL, "not_found",
                            message);
    }
}

void gateway_handle(struct gateway *g, const struct http_request *request,
                    const struct responder *responder, void *conn, struct exchange **x) {
    const char *path = text_of(&request->path);
    const struct route *known, *route = find_route(request, &known);
    enum api_keys_verdict key = judge_key(g, request);
    *x = NULL;
    if (key != API_KEY_GOOD)
        refuse_key(key == API_KEY_MISSING, responder, conn);
    else if (!route && known && is_preflight(g, request))
        reply_preflight(known, request, responder, conn);
    else if (!route)
        refuse_route(path, known, responder, conn);
    else if (has_wrong_type(request))
        gateway_reply_error(responder, conn, 415, "invalid_request_error", NULL, NULL,
                            "the body must be application/json");
    else
        route->handler(g, request, path + strlen(route->path), responder, conn, x);
}

void gateway_reply(const struct responder *r, void *conn, int status, const char *extra,
                   const struct buf *json) {
    r->head(conn, status, "application/json", extra, (int64_t)json->length);
    r->body(conn, json->data, json->length);
    r->done(conn);
}

static void put_string_or_null(struct buf *out, const char *key, const char *s) {
    buf_printf(out, ",\"%s\":", key);
    if (s) {
        buf_putc(out, '"');
        buf_append_json(out, s, strlen(s));
        buf_putc(out, '"');
    } else {
        buf_puts(out, "null");
    }
}

void gateway_put_error(struct buf *out, const char *type, const char *param, const char *code,
                       const char *message) {
    buf_puts(out, "{\"error\":{\"message\":\"");
    buf_append_json(out, message, strlen(message));
    buf_puts(out, "\"");
    put_string_or_null(out, "type", type);
    put_string_or_null(out, "param", param);
    put_string_or_null(out, "code", code);
    buf_puts(out, "}}");
}

void gateway_reply_error(const struct responder *r, void *conn, int status, const char *type,
                         const char *param, const char *code, const char *message) {
    const char *extra = status == 429 || status == 503 ? "Retry-After: 1\r\n" : NULL;
    reply_error(r, conn, status, type, param, code, message, extra);
}

void gateway_reply_unready(const struct gateway *g, const struct responder *r, void *conn) {
    switch (engine_get_state(g->engine)) {
    case ENGINE_STARTING:
        gateway_reply_error(r, conn, 503, "server_error", NULL, "loading",
                            "the model is still loading: try again later");
        return;
    case ENGINE_FAILED:
        gateway_reply_error(r, conn, 503, "engine_lost", NULL, "engine_lost",
                            "a rank of this server was lost: it ends, its operator must start it");
        return;
    case ENGINE_READY:
    case ENGINE_DRAINING:
    case ENGINE_STOPPED:
        gateway_reply_error(r, conn, 503, "server_error", NULL, "draining",
                            "this server is shutting down and takes no new requests");
    }
}

void gateway_reply_refusal(const struct gateway *g, const struct responder *r, void *conn, err e,
                           const char *param, const char *message) {
    struct gateway_status s = gateway_status_of(e);
    char retry[40];
    uint32_t seconds = s.status == 429 ? engine_retry_s(g->engine) : 1;
    snprintf(retry, sizeof retry, "Retry-After: %u\r\n", seconds);
    reply_error(r, conn, s.status, s.type, param, s.code, message,
                s.status == 429 || s.status == 503 ? retry : NULL);
}

struct gateway_status gateway_status_of(err e) {
    switch (e) {
    case ERR_CONTEXT:
        return (struct gateway_status){400, "invalid_request_error", "context_length_exceeded"};
    case ERR_REQUEST:
    case ERR_USAGE: return (struct gateway_status){400, "invalid_request_error", NULL};
    case ERR_BUSY: return (struct gateway_status){429, "rate_limit_error", "queue_full"};
    case ERR_LAUNCH: return (struct gateway_status){503, "server_error", "loading"};
    case ERR_CANCELLED: return (struct gateway_status){503, "server_error", "stopping"};
    case ERR_RANK_LOST:
    case ERR_MISMATCH:
    case ERR_PROTOCOL:
    case ERR_IO: return (struct gateway_status){503, "engine_lost", "engine_lost"};
    default: return (struct gateway_status){503, "server_error", NULL};
    }
}
