// SPDX-License-Identifier: MIT
/* fake_client.c: see fake_client.h. */

#include "tests/unit/coordinator/gateway/fake_client.h"

#include <string.h>

#include "common/error.h"
#include "common/mem.h"

static void on_head(void *conn, int status, const char *content_type, const char *extra,
                    int64_t length) {
    struct fake_client *c = conn;
    CHECK(c->status == 0 && !c->done && !c->gone);
    c->status = status;
    c->length = length;
    if (content_type) buf_puts(&c->content_type, content_type);
    if (extra) buf_puts(&c->extra, extra);
}

static void on_body(void *conn, const void *data, size_t n) {
    struct fake_client *c = conn;
    CHECK(c->status != 0 && !c->done && !c->gone);
    buf_append(&c->body, data, n);
}

static void on_done(void *conn) {
    struct fake_client *c = conn;
    CHECK(c->status != 0 && !c->done && !c->gone);
    size_t length = c->status == 304 ? 0 : (size_t)c->length; // of what a GET would get
    CHECK(c->length < 0 || length == c->body.length);
    c->done = true;
    c->exchange = NULL;
}

static const struct responder responder = {.head = on_head, .body = on_body, .done = on_done};

static void send_request(struct fake_client *c, struct gateway *g, enum http_method method,
                         const char *path, const char *body, const char *authorization,
                         const char *origin, const char *tag) {
    *c = (struct fake_client){0};
    buf_init(&c->content_type, 0);
    buf_init(&c->extra, 0);
    buf_init(&c->body, 0);
    struct http_request request = {.method = method, .keep_alive = true};
    buf_init(&request.path, 0);
    buf_init(&request.content_type, 0);
    buf_init(&request.authorization, 0);
    buf_init(&request.origin, 0);
    buf_init(&request.if_none_match, 0);
    buf_init(&request.body, 0);
    if (tag) buf_puts(&request.if_none_match, tag);
    buf_puts(&request.path, path);
    buf_puts(&request.authorization, authorization);
    buf_puts(&request.origin, origin);
    if (body) {
        buf_puts(&request.content_type, "application/json");
        buf_puts(&request.body, body);
    }
    struct exchange *x = NULL;
    gateway_handle(g, &request, &responder, c, &x);
    CHECK(c->done == (x == NULL));
    c->exchange = x;
    buf_deinit(&request.path); // nothing of the request is kept
    buf_deinit(&request.content_type);
    buf_deinit(&request.if_none_match);
    buf_deinit(&request.authorization);
    buf_deinit(&request.origin);
    buf_deinit(&request.body);
}

void fake_client_send(struct fake_client *c, struct gateway *g, enum http_method method,
                      const char *path, const char *body) {
    send_request(c, g, method, path, body, "", "", NULL);
}

void fake_client_send_with(struct fake_client *c, struct gateway *g, enum http_method method,
                           const char *path, const char *body, const char *authorization,
                           const char *origin) {
    send_request(c, g, method, path, body, authorization, origin, NULL);
}

void fake_client_send_tag(struct fake_client *c, struct gateway *g, const char *path,
                          const char *tag) {
    send_request(c, g, HTTP_METHOD_GET, path, NULL, "", "", tag);
}

void fake_client_leave(struct fake_client *c) {
    CHECK(c->exchange);
    c->gone = true;
    exchange_abort(c->exchange);
    c->exchange = NULL;
}

void fake_client_close(struct fake_client *c) {
    CHECK(!c->exchange);
    buf_deinit(&c->content_type);
    buf_deinit(&c->extra);
    buf_deinit(&c->body);
}

static json_t *parse(const char *text, size_t n) {
    json_error_t where;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &where);
    if (!root) fprintf(stderr, "%s in: %.*s\n", where.text, (int)n, text);
    CHECK(root);
    return root;
}

json_t *fake_client_json(const struct fake_client *c) {
    CHECK(c->done && c->length >= 0 && strcmp(c->content_type.data, "application/json") == 0);
    return parse(c->body.data, c->body.length);
}

json_t *fake_client_event(struct fake_client *c, bool *is_done) {
    *is_done = false;
    while (c->read < c->body.length) {
        const char *at = c->body.data + c->read, *end = strstr(at, "\n\n");
        CHECK(end); // an event is sent whole
        size_t n = (size_t)(end - at);
        c->read += n + 2;
        if (at[0] == ':') continue;
        CHECK(n > 6 && memcmp(at, "data: ", 6) == 0 && !memchr(at, '\n', n));
        if (n == 12 && memcmp(at + 6, "[DONE]", 6) == 0) {
            *is_done = true;
            return NULL;
        }
        return parse(at + 6, n - 6);
    }
    return NULL;
}
