// SPDX-License-Identifier: MIT
/* simulation.c: see simulation.h.  Events are arrivals, departures (both sorted by time), the
 * answer to the oldest step, and the moment from which the next step is due. */

#include "tests/sim/simulation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/tokenizer.h"

/* ---- clients ---- */

static void digest(uint64_t *d, const void *bytes, size_t n) {
    const unsigned char *b = bytes;
    for (size_t i = 0; i < n; i++) *d = (*d ^ b[i]) * 0x100000001b3u;
}

static void digest_entries(uint64_t *d, const struct token_entry *e, size_t n) {
    for (size_t i = 0; i < n; i++) {
        digest(d, &e[i].token, sizeof e[i].token);
        if (e[i].logprob < 0) digest(d, &e[i].logprob, sizeof e[i].logprob);
        for (uint32_t k = 0; k < e[i].n_top; k++)
            digest(d, &e[i].top[k].token, sizeof e[i].top[k].token);
    }
}

static void leave(struct sim_client *c) {
    if (c->left || c->ended || c->refused) return;
    c->left = true;
    if (c->request->abandon)
        sched_abandon(c->sim->sched, c->id);
    else
        sched_cancel(c->sim->sched, c->id);
}

static void on_prompt(void *ctx, uint32_t first, const struct token_entry *e, size_t n) {
    struct sim_client *c = ctx;
    assert_false(c->left || c->ended);
    digest(&c->digest[REQUEST_MAX_CHOICES], &first, sizeof first);
    digest_entries(&c->digest[REQUEST_MAX_CHOICES], e, n);
}

static void on_text(void *ctx, uint32_t choice, const char *text, size_t n,
                    const struct token_entry *tokens, size_t n_tokens) {
    struct sim_client *c = ctx;
    assert_false(c->left || c->ended);
    digest(&c->digest[choice], text, n);
    digest_entries(&c->digest[choice], tokens, n_tokens);
    for (size_t i = 0; i < n_tokens; i++) {
        if ((c->n_tokens & (c->n_tokens - 1)) == 0)
            c->token_ns = mem_realloc(c->token_ns, (2 * c->n_tokens + 1) * sizeof *c->token_ns);
        c->token_ns[c->n_tokens++] = c->sim->now_ns;
    }
    if (c->request->cancel_at_token && c->n_tokens >= c->request->cancel_at_token) leave(c);
}

static void on_finish(void *ctx, uint32_t choice, enum finish_reason reason) {
    struct sim_client *c = ctx;
    assert_false(c->left || c->ended);
    digest(&c->digest[choice], &reason, sizeof reason);
    assert_false(c->finished >> choice & 1);
    c->finished |= 1u << choice;
    c->n_finished++;
}

static void on_end(void *ctx, const struct request_usage *usage, err error, const char *message) {
    struct sim_client *c = ctx;
    assert_non_null(message);
    assert_false(c->ended);
    assert_int_equal(error, c->left ? ERR_CANCELLED : ERR_OK);
    assert_false(c->left && c->request->abandon); // nobody listens any more
    c->ended = true;
    c->error = error;
    c->usage = *usage;
    c->ended_ns = c->sim->now_ns;
}

static const struct request_sink sink = {
    .prompt = on_prompt, .text = on_text, .finish = on_finish, .end = on_end};

static void arrive(struct simulation *s, struct sim_client *c) {
    int32_t prompt[TRAFFIC_MAX_PROMPT];
    const struct traffic_request *r = c->request;
    assert_in_range(r->n_prompt, 1, TRAFFIC_MAX_PROMPT);
    traffic_put_prompt(r, prompt);
    err e = sched_submit(s->sched, prompt, r->n_prompt, &r->params, &sink, c, s->now_ns, &c->id);
    if (e == ERR_BUSY) {
        c->refused = true;
        return;
    }
    if (e != ERR_OK) fail_msg("%s", error_message());
    size_t n = s->n_sequences + r->params.n;
    s->sequences = mem_realloc(s->sequences, n * sizeof *s->sequences);
    s->open = mem_realloc(s->open, n * sizeof *s->open);
    for (uint32_t i = 0; i < r->params.n; i++)
        s->sequences[s->n_sequences++] = (struct sim_sequence){.client = c, .choice = i};
}

/* ---- steps ---- */

static bool is_over(const struct sim_sequence *q) {
    return q->client->left || q->client->ended || q->client->finished >> q->choice & 1;
}

/* Who came first begins first, and whoever has begun goes on before somebody else begins. */
static void check_beginning(struct simulation *s, uint32_t index, uint64_t step) {
    for (; s->n_begun < index; s->n_begun++) assert_true(s->sequences[s->n_begun].client->left);
    s->n_begun++;
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_open; i++) {
        const struct sim_sequence *q = &s->sequences[s->open[i]];
        if (is_over(q)) continue;
        assert_true(q->last_step + 1 >= step); // in this step, or its last token is on the way
        s->open[n++] = s->open[i];
    }
    s->n_open = n;
    s->open[s->n_open++] = index;
}

/* Limits hold, and nobody who left is worked for. */
static void check_batch(struct simulation *s, const struct batch *b) {
    const struct sched_limits *l = &s->options.limits;
    uint32_t n_tokens = 0;
    assert_in_range(b->n_seqs, 1, l->max_batch);
    for (uint32_t i = 0; i < b->n_seqs; i++) {
        uint32_t index = (uint32_t)b->seqs[i].seq_id - 1;
        assert_in_range(index, 0, s->n_sequences - 1);
        struct sim_sequence *q = &s->sequences[index];
        assert_false(is_over(q));
        if (q->last_step == 0) check_beginning(s, index, b->step);
        q->last_step = b->step;
        n_tokens += b->seqs[i].n_tokens;
    }
    assert_int_equal(n_tokens, b->n_tokens);
    assert_in_range(n_tokens, 1, l->max_step_tokens);
    if (b->n_seqs > s->most_seqs) s->most_seqs = b->n_seqs;
    if (n_tokens > s->most_tokens) s->most_tokens = n_tokens;
}

static uint64_t duration_ns(const struct sim_machine *m, const struct batch *b) {
    double depth = 0;
    for (uint32_t i = 0; i < b->n_seqs; i++)
        depth += b->seqs[i].n_tokens * (b->seqs[i].start + b->seqs[i].n_tokens / 2.0);
    return m->fixed_ns + m->token_ns * b->n_tokens + (uint64_t)(m->depth_ns * depth);
}

static void send(struct simulation *s, const struct batch *b) {
    uint64_t link_ns = s->options.machine.link_ns, began_ns = s->now_ns + link_ns;
    check_batch(s, b);
    fake_ranks_send(s->ranks, b);
    s->n_ahead += s->n_flights > 0;
    if (began_ns < s->rank_end_ns) began_ns = s->rank_end_ns;
    if (began_ns - s->rank_end_ns <= 2 * link_ns) s->idle_ns += began_ns - s->rank_end_ns;
    uint64_t takes_ns = duration_ns(&s->options.machine, b);
    s->busy_ns += takes_ns;
    s->rank_end_ns = began_ns + takes_ns;
    s->answer_ns[s->n_flights++] = s->rank_end_ns + link_ns;
    s->n_steps++;
}

static void receive(struct simulation *s) {
    if (sched_apply(s->sched, fake_ranks_answer(s->ranks), s->now_ns) != ERR_OK)
        fail_msg("%s", error_message());
    s->answer_ns[0] = s->answer_ns[1];
    s->n_flights--;
}

/* What the engine's pump does; when the next step is due, or SCHED_NEVER. */
static uint64_t pump(struct simulation *s) {
    sched_flush(s->sched);
    struct sched_counts c = sched_get_counts(s->sched);
    assert_in_range(c.kv_blocks_used, 0, s->options.limits.kv_blocks);
    if (c.requests == 0) assert_int_equal(c.kv_blocks_used, 0);
    assert_true((c.waiting == 0) == (c.waiting_tokens == 0));
    for (;;) {
        struct batch batch;
        uint64_t wait_ns = sched_wait_ns(s->sched, s->now_ns);
        if (wait_ns == SCHED_NEVER || (s->options.one_flight && s->n_flights > 0))
            return SCHED_NEVER;
        if (wait_ns > 0) return s->now_ns + wait_ns;
        if (!sched_next(s->sched, s->now_ns, &batch)) return SCHED_NEVER;
        send(s, &batch);
    }
}

/* ---- the run ---- */

static uint64_t departure_ns(const struct sim_client *c) {
    return c->request->at_ns + c->request->cancel_after_ns;
}

static int by_departure(const void *a, const void *b) {
    const struct sim_client *const *x = a, *const *y = b;
    uint64_t at_x = departure_ns(*x), at_y = departure_ns(*y);
    if (at_x != at_y) return at_x < at_y ? -1 : 1;
    return *x < *y ? -1 : 1;
}

void sim_open(struct simulation *s, const struct sim_options *o, const struct tokenizer *t) {
    *s = (struct simulation){.options = *o, .tokenizer = t};
    s->options.limits.n_vocab = (uint32_t)tokenizer_vocab_size(t);
    s->sched = sched_create(&s->options.limits, t);
    s->ranks = fake_ranks_create(o->limits.kv_blocks, tokenizer_eos(t));
}

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

void sim_run(struct simulation *s, const struct traffic_request *list, uint32_t n) {
    struct sim_client **leavers = mem_zalloc_array(n, sizeof(struct sim_client *));
    uint32_t n_leavers = 0, next = 0, leaver = 0;
    s->clients = mem_zalloc_array(n, sizeof *s->clients);
    s->n_clients = n;
    for (uint32_t i = 0; i < n; i++) {
        s->clients[i] = (struct sim_client){.request = &list[i], .sim = s};
        if (list[i].cancel_after_ns) leavers[n_leavers++] = &s->clients[i];
    }
    qsort(leavers, n_leavers, sizeof(struct sim_client *), by_departure);
    for (uint64_t due_ns = SCHED_NEVER;;) {
        uint64_t at_ns = due_ns;
        if (next < n) at_ns = earlier(at_ns, list[next].at_ns);
        if (leaver < n_leavers) at_ns = earlier(at_ns, departure_ns(leavers[leaver]));
        if (s->n_flights > 0) at_ns = earlier(at_ns, s->answer_ns[0]);
        if (at_ns == SCHED_NEVER) break;
        if (at_ns > s->now_ns) s->now_ns = at_ns;
        if (s->n_flights > 0 && s->answer_ns[0] <= s->now_ns) receive(s);
        while (next < n && list[next].at_ns <= s->now_ns) arrive(s, &s->clients[next++]);
        while (leaver < n_leavers && departure_ns(leavers[leaver]) <= s->now_ns)
            leave(leavers[leaver++]);
        due_ns = pump(s);
    }
    mem_free(leavers);
    struct sched_counts c = sched_get_counts(s->sched);
    assert_int_equal(c.kv_blocks_used, 0);
    assert_int_equal(c.requests, 0);
    assert_int_equal(c.running + c.waiting, 0);
    for (uint32_t i = 0; i < n; i++) {
        const struct sim_client *k = &s->clients[i];
        assert_true(k->ended || k->refused || (k->left && list[i].abandon));
        if (k->ended && !k->left) assert_int_equal(k->n_finished, list[i].params.n);
    }
}

void sim_close(struct simulation *s) {
    for (uint32_t i = 0; i < s->n_clients; i++) mem_free(s->clients[i].token_ns);
    mem_free(s->clients);
    mem_free(s->sequences);
    mem_free(s->open);
    fake_ranks_free(s->ranks);
    sched_free(s->sched);
}
