// SPDX-License-Identifier: MIT
/* fake_engine.c: see fake_engine.h. */

#include "tests/unit/coordinator/gateway/fake_engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"

void fake_engine_init(struct engine *e, struct tokenizer *t) {
    *e = (struct engine){.state = ENGINE_READY,
                         .info = {.tokenizer = t, .ctx = 256, .size = 2, .kv_blocks = 8}};
}

void fake_engine_deinit(struct engine *e) {
    for (uint32_t i = 0; i < e->n_requests; i++) token_list_deinit(&e->requests[i].prompt);
}

/* ---- what the gateway calls ---- */

enum engine_state engine_get_state(const struct engine *e) {
    return e->state;
}

const struct cluster_info *engine_info(const struct engine *e) {
    return e->state == ENGINE_STARTING ? NULL : &e->info;
}

uint32_t engine_retry_s(const struct engine *e) {
    return e->retry_s;
}

struct engine_counts engine_get_counts(const struct engine *e) {
    return e->counts;
}

err engine_submit(struct engine *e, const int32_t *prompt, size_t n_prompt,
                  const struct request_params *p, const struct request_sink *sink, void *sink_ctx,
                  uint64_t *id) {
    CHECK(e->n_requests < FAKE_MAX_REQUESTS);
    if (e->refuse_at == e->n_requests + 1)
        return FAIL(e->refuse_with, "refused with 300 and 256 in it");
    struct fake_request *r = &e->requests[e->n_requests++];
    *r = (struct fake_request){
        .id = 100 + e->n_requests, .params = *p, .sink = *sink, .ctx = sink_ctx, .open = true};
    for (size_t i = 0; i < n_prompt; i++) token_list_push(&r->prompt, prompt[i]);
    *id = r->id;
    return ERR_OK;
}

void engine_abandon(struct engine *e, uint64_t id) {
    for (uint32_t i = 0; i < e->n_requests; i++) {
        if (e->requests[i].id != id) continue;
        CHECK(e->requests[i].open && !e->requests[i].abandoned);
        e->requests[i].abandoned = true;
        e->requests[i].open = false;
    }
}

/* ---- what the test says ---- */

static struct fake_request *request_at(struct engine *e, uint32_t index) {
    CHECK(index < e->n_requests && e->requests[index].open);
    return &e->requests[index];
}

static uint32_t put_top(struct top_entry *top, int32_t best, float logprob, int32_t others,
                        uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        top[i].token = i == 0 ? best : others + (int32_t)i;
        top[i].logprob = i == 0 ? logprob : -5 - (float)i;
    }
    return n;
}

void fake_text(struct engine *e, uint32_t index, uint32_t choice, const char *text) {
    struct fake_request *r = request_at(e, index);
    struct token_list ids = {0};
    CHECK(tokenizer_encode(e->info.tokenizer, text, strlen(text), 0, &ids) == ERR_OK);
    for (size_t i = 0; i < ids.count; i++) {
        struct top_entry top[BATCH_MAX_TOP];
        struct buf piece;
        buf_init(&piece, 0);
        tokenizer_decode_piece(e->info.tokenizer, ids.ids[i], false, &piece);
        float logprob = -1 - (float)r->n_tokens++ / 8;
        struct token_entry entry = {.token = ids.ids[i],
                                    .logprob = logprob,
                                    .piece = piece.data,
                                    .piece_bytes = piece.length,
                                    .top = top,
                                    .n_top =
                                        put_top(top, ids.ids[i], logprob, 299,
                                                r->params.want_logprobs ? r->params.top_n : 0)};
        r->sink.text(r->ctx, choice, piece.data, piece.length, &entry, 1);
        buf_deinit(&piece);
    }
    token_list_deinit(&ids);
}

void fake_prompt(struct engine *e, uint32_t index) {
    struct fake_request *r = request_at(e, index);
    CHECK(r->params.want_prompt);
    for (size_t i = 0; i < r->prompt.count; i++) {
        struct top_entry top[BATCH_MAX_TOP];
        struct buf piece;
        buf_init(&piece, 0);
        tokenizer_decode_piece(e->info.tokenizer, r->prompt.ids[i], true, &piece);
        struct token_entry entry = {
            .token = r->prompt.ids[i],
            .logprob = i ? -1 - (float)i / 8 : NAN,
            .piece = piece.data,
            .piece_bytes = piece.length,
            .top = r->params.prompt_top_n ? top : NULL,
            .n_top = put_top(top, 300 + (int32_t)i, -0.5f, 400, r->params.prompt_top_n)};
        r->sink.prompt(r->ctx, (uint32_t)i, &entry, 1);
        buf_deinit(&piece);
    }
}

void fake_finish(struct engine *e, uint32_t index, uint32_t choice, enum finish_reason reason) {
    struct fake_request *r = request_at(e, index);
    r->sink.finish(r->ctx, choice, reason);
}

void fake_end(struct engine *e, uint32_t index, err error, const char *message) {
    struct fake_request *r = request_at(e, index);
    const struct request_usage usage = {.prompt_tokens = (uint32_t)r->prompt.count,
                                        .completion_tokens = r->n_tokens,
                                        .queue_ns = 2000000,
                                        .prefill_ns = 3000000,
                                        .decode_ns = 4000000};
    r->open = false;
    r->sink.end(r->ctx, &usage, error, message);
}
