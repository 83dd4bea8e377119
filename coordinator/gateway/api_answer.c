// SPDX-License-Identifier: MIT
/* api_answer.c: see api_answer.h. */

#include "coordinator/gateway/api_answer.h"

#include <stddef.h>

#include "common/mem.h"
#include "coordinator/gateway/router.h"

struct answer {
    struct exchange exchange;
    struct side_work side;
    struct gateway *gateway;
    const struct responder *responder;
    void *conn; // NULL: the client has gone
    api_compute *compute;
    struct api_input input;
    struct buf body, json;
    struct api_error error; // status 0: none
};

static void answer_free(struct answer *a) {
    buf_deinit(&a->body);
    buf_deinit(&a->json);
    mem_free(a);
}

static void compute(struct answer *a, const struct buf *body) {
    json_t *root = api_body_parse(body->data, body->length, &a->error);
    a->input.root = root;
    if (root) a->compute(&a->input, &a->json, &a->error);
    json_decref(root);
}

static void reply(struct answer *a) {
    if (a->error.status)
        api_answer_error(&a->error, a->responder, a->conn);
    else
        gateway_reply(a->responder, a->conn, 200, NULL, &a->json);
    answer_free(a);
}

void api_answer_error(const struct api_error *e, const struct responder *responder, void *conn) {
    gateway_reply_error(responder, conn, e->status, "invalid_request_error",
                        *e->param ? e->param : NULL, *e->code ? e->code : NULL, e->message);
}

/* ---- beside the loop ---- */

static struct answer *answer_of(struct side_work *w) {
    return (struct answer *)(void *)((char *)w - offsetof(struct answer, side));
}

static void on_work(struct side_work *w) {
    struct answer *a = answer_of(w);
    compute(a, &a->body);
}

static void on_done(struct side_work *w) {
    struct answer *a = answer_of(w);
    if (a->conn)
        reply(a);
    else
        answer_free(a);
}

static void abort_answer(struct exchange *x) {
    struct answer *a = (struct answer *)(void *)x;
    a->conn = NULL;
    if (side_line_remove(&a->gateway->side, &a->side)) answer_free(a);
}

static const struct exchange_kind kind = {.abort = abort_answer};

void api_answer(struct gateway *g, const struct http_request *request, api_compute *compute_it,
                const struct responder *responder, void *conn, struct exchange **x) {
    const struct cluster_info *info = engine_info(g->engine);
    if (!info) {
        gateway_reply_unready(g, responder, conn);
        return;
    }
    struct answer *a = mem_zalloc(sizeof *a);
    *a =
        (struct answer){.exchange.kind = &kind,
                        .side = {.work = on_work, .done = on_done},
                        .gateway = g,
                        .responder = responder,
                        .conn = conn,
                        .compute = compute_it,
                        .input = {.tokenizer = info->tokenizer, .chat_template = g->chat_template}};
    buf_init(&a->body, 0);
    buf_init(&a->json, 0);
    if (!side_line_wants(&g->side, request->body.length)) {
        compute(a, &request->body);
        reply(a);
        return;
    }
    buf_append(&a->body, request->body.data, request->body.length);
    err e = side_line_add(&g->side, &a->side);
    if (e == ERR_OK) {
        *x = &a->exchange;
        return;
    }
    gateway_reply_refusal(g, responder, conn, e, NULL, error_message());
    answer_free(a);
}
