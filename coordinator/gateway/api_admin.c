// SPDX-License-Identifier: MIT
/* api_admin.c: what operators and clients ask about the server itself: health, readiness, models.
 */

#include <string.h>

#include "coordinator/gateway/router.h"

const char *gateway_state_name(const struct gateway *g) {
    switch (engine_get_state(g->engine)) {
    case ENGINE_STARTING: return "loading";
    case ENGINE_READY: return g->draining ? "draining" : "ok";
    case ENGINE_DRAINING: return "draining";
    case ENGINE_FAILED: return "ranks_lost";
    case ENGINE_STOPPED: return "stopped";
    }
    return "unknown";
}

static void reply_state(const struct gateway *g, bool good, const struct responder *responder,
                        void *conn) {
    struct buf json;
    buf_init(&json, 0);
    struct engine_counts c = engine_get_counts(g->engine);
    buf_printf(&json,
               "{\"status\":\"%s\",\"running\":%u,\"waiting\":%u,\"kv_blocks\":%u,"
               "\"kv_blocks_used\":%u,\"cancelled\":%llu}",
               gateway_state_name(g), c.running, c.waiting, c.kv_blocks, c.kv_blocks_used,
               (unsigned long long)c.cancelled);
    gateway_reply(responder, conn, good ? 200 : 503, good ? NULL : "Retry-After: 1\r\n", &json);
    buf_deinit(&json);
}

/* 200 while the process lives and the ranks are not lost: loading is healthy. */
void api_health(struct gateway *g, const struct http_request *request, const char *rest,
                const struct responder *responder, void *conn, struct exchange **x) {
    (void)request, (void)rest, (void)x;
    enum engine_state s = engine_get_state(g->engine);
    reply_state(g, s != ENGINE_FAILED && s != ENGINE_STOPPED, responder, conn);
}

/* 200 when a completion would be taken now. */
void api_ready(struct gateway *g, const struct http_request *request, const char *rest,
               const struct responder *responder, void *conn, struct exchange **x) {
    (void)request, (void)rest, (void)x;
    reply_state(g, engine_get_state(g->engine) == ENGINE_READY && !g->draining, responder, conn);
}

static void put_model(struct buf *json, const struct gateway *g) {
    buf_puts(json, "{\"id\":\"");
    buf_append_json(json, g->model_id, strlen(g->model_id));
    buf_printf(json, "\",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"lockstep\"",
               (long long)g->created_s);
    const struct cluster_info *info = engine_info(g->engine);
    if (info)
        buf_printf(json, ",\"context_length\":%u,\"max_model_len\":%u,\"ranks\":%u", info->ctx,
                   info->ctx, info->size);
    buf_putc(json, '}');
}

void api_models(struct gateway *g, const struct http_request *request, const char *rest,
                const struct responder *responder, void *conn, struct exchange **x) {
    (void)request, (void)rest, (void)x;
    struct buf json;
    buf_init(&json, 0);
    buf_puts(&json, "{\"object\":\"list\",\"data\":[");
    put_model(&json, g);
    buf_puts(&json, "]}");
    gateway_reply(responder, conn, 200, NULL, &json);
    buf_deinit(&json);
}

static int hex_value(char c) {
    return c >= '0' && c <= '9'                     ? c - '0'
           : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                    : -1;
}

/* Is a piece of a path, with its %XX, this name?  Clients encode the `/` of names. */
static bool path_names(const char *path, const char *name) {
    for (; *path && *name; name++) {
        int high = path[0] == '%' ? hex_value(path[1]) : -1;
        int low = high >= 0 ? hex_value(path[2]) : -1;
        if ((low >= 0 ? (char)(16 * high + low) : *path) != *name) return false;
        path += low >= 0 ? 3 : 1;
    }
    return !*path && !*name;
}

void api_model(struct gateway *g, const struct http_request *request, const char *rest,
               const struct responder *responder, void *conn, struct exchange **x) {
    (void)request, (void)x;
    if (!path_names(rest, g->model_id)) {
        gateway_reply_error(responder, conn, 404, "invalid_request_error", "model",
                            "model_not_found", "this server has no such model: see /v1/models");
        return;
    }
    struct buf json;
    buf_init(&json, 0);
    put_model(&json, g);
    gateway_reply(responder, conn, 200, NULL, &json);
    buf_deinit(&json);
}
