// SPDX-License-Identifier: MIT
/* load_probe.c: what must be known before the first level: the model's name, and how long a prompt
 * of so many words is in tokens.  One request after the other, each with a client of its own. */

#include <stdio.h>
#include <string.h>

#include "coordinator/load/answer_json.h"
#include "coordinator/load/load_internal.h"

#define FIRST_WORDS_MAX 64u

struct probe {
    struct load *load;
    struct answer_result result; // without the samples
    char model[256];
    bool over;
};

static void on_done(void *ctx, struct load_client *c) {
    struct probe *p = ctx;
    const struct answer *a = load_client_answer(c);
    size_t n;
    const char *body = answer_body(a, &n);
    p->over = true;
    p->result = *answer_result(a);
    p->result.gaps = (struct samples){0};
    if (p->result.error == ANSWER_ERROR_NONE)
        (void)answer_first_model(p->model, sizeof p->model, body, n);
    load__close(p->load, 0);
}

static void on_closed(void *ctx) {
    (void)ctx; // the loop ends by itself
}

static const struct load_client_events events = {.done = on_done, .closed = on_closed};

/* The request is a completion of so many words, or GET /v1/models for 0. */
static err ask(struct load *l, struct probe *p, uint32_t words) {
    *p = (struct probe){.load = l};
    struct load_client *c = load_client_create(&l->loop, &l->target, &events, p);
    l->clients[0] = c;
    l->n_clients = 1;
    if (words)
        ask_put_completion(load_client_request(c), &l->form, l->next_text++, words, 1);
    else
        ask_put_get(load_client_request(c), &l->form, "/v1/models");
    load_client_ask(c, words ? load__max_chunks(1) : 0, 0, (uint64_t)(l->plan->timeout_s * 1e3));
    uv_run(&l->loop, UV_RUN_DEFAULT);
    if (!p->over) return FAIL(ERR_CANCELLED, "stopped before the first level");
    switch (p->result.error) {
    case ANSWER_ERROR_NONE: return ERR_OK;
    case ANSWER_ERROR_CONNECT: return FAIL(ERR_ADDRESS, "%s", p->result.message);
    case ANSWER_ERROR_STATUS: return FAIL(ERR_REQUEST, "%s", p->result.message);
    default: return FAIL(ERR_IO, "%s", p->result.message);
    }
}

/* A server that lists no models may still have one: it is called "default" then. */
static err find_model(struct load *l) {
    const char *name = l->plan->model;
    struct probe p;
    if (!name) {
        err e = ask(l, &p, 0);
        if (e != ERR_OK && p.result.error != ANSWER_ERROR_STATUS) return e;
        name = p.model[0] ? p.model : "default";
    }
    snprintf(l->facts.model, sizeof l->facts.model, "%s", name);
    l->form.model = l->facts.model;
    return ERR_OK;
}

static uint32_t clamp(uint32_t n, uint32_t low, uint32_t high) {
    return n < low ? low : n > high ? high : n;
}

err load__probe(struct load *l) {
    struct probe p;
    TRY(find_model(l));
    uint32_t wanted = l->plan->prompt_tokens;
    uint32_t words_1 = clamp(wanted / 8, 4, FIRST_WORDS_MAX);
    TRY(ask(l, &p, words_1));
    l->facts.reports_usage = p.result.has_usage && p.result.prompt_tokens > 0;
    l->fit = (struct ask_fit){.per_word = 1};
    if (l->facts.reports_usage) {
        uint32_t tokens_1 = p.result.prompt_tokens;
        l->fit = ask_fit_make(0, 0, words_1, tokens_1);
        uint32_t words_2 = ask_words_for(&l->fit, wanted, false);
        if (words_2 < 2 * words_1) words_2 = 2 * words_1;
        TRY(ask(l, &p, words_2));
        l->fit = ask_fit_make(words_1, tokens_1, words_2, p.result.prompt_tokens);
    }
    if (l->plan->shared_prefix_tokens)
        l->form.prefix_words = ask_words_for(&l->fit, l->plan->shared_prefix_tokens, true);
    return ERR_OK;
}
