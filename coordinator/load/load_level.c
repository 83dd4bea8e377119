// SPDX-License-Identifier: MIT
/* load_level.c: one level of a load test: n clients, each asking again as soon as it was answered.
 *
 *   ask ─► done ─► tally ─┬─ more to do ─► ask
 *                         └─ enough ─► close        the level is over when all are closed
 *
 * A client whose request failed rests a little: a server that refuses everything is not helped by
 * being asked ten thousand times a second. */

#include "common/clock.h"
#include "common/mem.h"
#include "coordinator/load/load_internal.h"

#define REST_MS 100

struct level {
    struct load *load;
    struct tally *tally;
    uint64_t n_asked, until_ns; // until: no request is begun later; UINT64_MAX: no bound
    uint32_t words;
};

/* A client's place in the level: its context. */
struct seat {
    struct level *level;
    uint32_t index;
};

/* The next request of a client, or its end. */
static void ask_next(struct seat *seat, uint64_t delay_ms) {
    struct level *v = seat->level;
    struct load *l = v->load;
    const struct load_plan *p = l->plan;
    struct load_client *c = l->clients[seat->index];
    bool enough = (p->requests && v->n_asked == p->requests) || clock_ns() >= v->until_ns;
    if (enough) {
        load__close(l, seat->index);
        return;
    }
    v->n_asked++;
    ask_put_completion(load_client_request(c), &l->form, l->next_text++, v->words, p->max_tokens);
    load_client_ask(c, load__max_chunks(p->max_tokens), delay_ms, (uint64_t)(p->timeout_s * 1e3));
}

static void on_done(void *ctx, struct load_client *c) {
    struct seat *seat = ctx;
    const struct answer_result *r = answer_result(load_client_answer(c));
    tally_add(seat->level->tally, r, load_client_asked_ns(c));
    ask_next(seat, r->error == ANSWER_ERROR_NONE ? 0 : REST_MS);
}

static void on_closed(void *ctx) {
    (void)ctx; // the loop ends when the last one is gone
}

static const struct load_client_events events = {.done = on_done, .closed = on_closed};

void load__level(struct load *l, uint32_t clients, struct tally *t) {
    struct seat *seats = mem_zalloc_array(clients, sizeof *seats);
    uint64_t now = clock_ns();
    tally_init(t, clients, now);
    struct level v = {.load = l, .tally = t, .until_ns = UINT64_MAX};
    v.words = ask_words_for(&l->fit, l->plan->prompt_tokens, false);
    if (l->plan->duration_s > 0) v.until_ns = now + (uint64_t)(l->plan->duration_s * 1e9);
    l->n_clients = clients;
    for (uint32_t i = 0; i < clients; i++) {
        seats[i] = (struct seat){.level = &v, .index = i};
        l->clients[i] = load_client_create(&l->loop, &l->target, &events, &seats[i]);
    }
    for (uint32_t i = 0; i < clients; i++) ask_next(&seats[i], 0);
    uv_run(&l->loop, UV_RUN_DEFAULT);
    l->n_clients = 0;
    mem_free(seats);
}
