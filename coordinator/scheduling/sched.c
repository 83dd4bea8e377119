// SPDX-License-Identifier: MIT
/* sched.c: see sched.h.  Requests come and go: submit, cancel, end.
 *
 * Blocks of a sequence that ends are free at once even while steps that write to them are under
 * way: ranks run steps in order, and a new owner reads only what it wrote itself in a later step.
 * For the same reason a full block goes to the prefix cache as soon as the step that fills it is
 * made. */

#include <string.h>

#include "common/mem.h"
#include "coordinator/scheduling/sched_internal.h"

struct sched *sched_create(const struct sched_limits *l, const struct tokenizer *t) {
    CHECK(l->max_batch >= 1 && l->max_batch <= BATCH_MAX_SEQS);
    CHECK(l->max_step_tokens >= l->max_batch && l->max_step_tokens <= BATCH_MAX_TOKENS);
    CHECK(l->kv_blocks >= block_count_for(l->ctx));
    CHECK(l->n_vocab >= tokenizer_vocab_size(t));
    struct sched *s = mem_zalloc(sizeof *s);
    s->limits = *l;
    s->tokenizer = t;
    s->next_id = s->next_seq_id = s->next_step = 1;
    block_pool_init(&s->blocks, l->kv_blocks);
    prefix_init(&s->prefix, l->kv_blocks);
    s->running = mem_zalloc_array(l->max_batch, sizeof *s->running);
    for (uint32_t i = 0; i < SCHED_MAX_FLIGHTS; i++) {
        s->flights[i].seqs = mem_zalloc_array(l->max_batch, sizeof *s->flights[i].seqs);
        s->flights[i].owners = mem_zalloc_array(l->max_batch, sizeof *s->flights[i].owners);
    }
    s->targets = mem_zalloc_array(l->max_step_tokens, sizeof *s->targets);
    s->edits = mem_zalloc_array((size_t)l->max_batch * BATCH_MAX_EDITS, sizeof *s->edits);
    return s;
}

/* ---- a sequence leaves ---- */

/* The last block first: of a prefix that is kept the end is then taken before the beginning. */
static void release_blocks(struct sched *s, struct sequence *q) {
    sched__name_blocks(s, q);
    while (q->n_blocks > 0) {
        uint32_t id = q->blocks[--q->n_blocks];
        block_release(&s->blocks, id, prefix_has_name(&s->prefix, id));
    }
    q->n_computed = q->n_awaited = q->n_named = 0;
    q->name = q->request->prefix_root;
}

static void leave_running(struct sched *s, struct sequence *q) {
    uint32_t i = 0;
    while (i < s->n_running && s->running[i] != q) i++;
    CHECK(i < s->n_running);
    s->n_running--;
    memmove(s->running + i, s->running + i + 1, (s->n_running - i) * sizeof *s->running);
}

void sched__retire(struct sched *s, struct sequence *q) {
    if (q->place == SEQUENCE_WAITING) queue_remove(&s->waiting, q);
    if (q->place == SEQUENCE_RUNNING) leave_running(s, q);
    release_blocks(s, q);
    q->place = SEQUENCE_DONE;
    for (uint32_t f = 0; f < s->n_flights; f++) {
        for (uint32_t i = 0; i < s->flights[f].n_seqs; i++)
            if (s->flights[f].owners[i] == q) s->flights[f].owners[i] = NULL;
    }
}

void sched__preempt(struct sched *s, struct sequence *q) {
    leave_running(s, q);
    release_blocks(s, q);
    queue_push_front(&s->waiting, q);
    s->counts.preempted++;
}

static void retire_all(struct sched *s, struct request *r) {
    for (uint32_t i = 0; i < r->params.n; i++) {
        if (r->sequences[i].place != SEQUENCE_DONE) sched__retire(s, &r->sequences[i]);
    }
    r->n_open = 0;
}

void sched_free(struct sched *s) {
    if (!s) return;
    for (uint32_t i = 0; i < s->n_requests; i++) {
        retire_all(s, s->requests[i]);
        request_free(s->requests[i]);
    }
    block_pool_deinit(&s->blocks);
    prefix_deinit(&s->prefix);
    for (uint32_t i = 0; i < SCHED_MAX_FLIGHTS; i++) {
        mem_free(s->flights[i].seqs);
        mem_free(s->flights[i].owners);
    }
    mem_free(s->running);
    mem_free(s->requests);
    mem_free(s->targets);
    mem_free(s->edits);
    mem_free(s);
}

/* ---- requests ---- */

static void forget_request(struct sched *s, struct request *r) {
    uint32_t i = 0;
    while (i < s->n_requests && s->requests[i] != r) i++;
    CHECK(i < s->n_requests);
    s->requests[i] = s->requests[--s->n_requests];
    request_free(r);
}

void sched__end_request(struct sched *s, struct request *r, err error, const char *message) {
    if (r->ended) return;
    r->ended = true;
    r->end_error = error;
    r->end_message = message;
    if (r->first_token_ns) {
        r->usage.prefill_ns = r->first_token_ns - r->started_ns;
        r->usage.decode_ns = r->last_token_ns - r->first_token_ns;
    }
    r->next_ending = s->ending;
    s->ending = r;
}

static struct request *find_request(const struct sched *s, uint64_t id) {
    for (uint32_t i = 0; i < s->n_requests; i++) {
        if (s->requests[i]->id == id) return s->requests[i];
    }
    return NULL;
}

err sched_submit(struct sched *s, const int32_t *prompt, size_t n_prompt,
                 const struct request_params *p, const struct request_sink *sink, void *sink_ctx,
                 uint64_t now_ns, uint64_t *id) {
    if (n_prompt > UINT32_MAX / 2) n_prompt = UINT32_MAX / 2;
    bool too_many = (uint64_t)s->waiting.count + p->n > s->limits.max_queue_requests ||
                    s->waiting.tokens + p->n * n_prompt > s->limits.max_queue_tokens;
    if (too_many && s->waiting.count > 0)
        return FAIL(ERR_BUSY, "%u requests with %llu tokens are waiting already: try again later",
                    s->waiting.count, (unsigned long long)s->waiting.tokens);
    struct request *r;
    TRY(request_create(&r, prompt, (uint32_t)n_prompt, p, &s->limits, s->next_seq_id,
                       s->tokenizer));
    s->next_seq_id += p->n;
    r->id = s->next_id++;
    r->sink = *sink;
    r->sink_ctx = sink_ctx;
    r->submitted_ns = now_ns;
    r->prefix_root = s->limits.no_prefix_cache ? prefix_new_root(&s->prefix) : PREFIX_ROOT;
    if (s->n_requests == s->requests_capacity) {
        s->requests_capacity = s->requests_capacity ? 2 * s->requests_capacity : 16;
        s->requests = mem_realloc(s->requests, s->requests_capacity * sizeof(struct request *));
    }
    s->requests[s->n_requests++] = r;
    for (uint32_t i = 0; i < p->n; i++) {
        r->sequences[i].name = r->prefix_root;
        queue_push_back(&s->waiting, &r->sequences[i]);
    }
    *id = r->id;
    return ERR_OK;
}

void sched_cancel(struct sched *s, uint64_t id) {
    struct request *r = find_request(s, id);
    if (!r || r->ended) return;
    s->counts.cancelled++;
    retire_all(s, r);
    sched__end_request(s, r, ERR_CANCELLED, "the request was cancelled");
}

void sched_abandon(struct sched *s, uint64_t id) {
    struct request *r = find_request(s, id);
    if (!r) return;
    r->abandoned = true;
    sched_cancel(s, id);
}

void sched_resume(struct sched *s, uint64_t id) {
    struct request *r = find_request(s, id);
    if (r) r->resumed = true;
}

void sched_fail_all(struct sched *s, err code, const char *message) {
    for (uint32_t i = 0; i < s->n_requests; i++) {
        retire_all(s, s->requests[i]);
        sched__end_request(s, s->requests[i], code, message);
    }
}

void sched_flush(struct sched *s) {
    while (s->ending) {
        struct request *r = s->ending;
        s->ending = r->next_ending;
        if (!r->abandoned) r->sink.end(r->sink_ctx, &r->usage, r->end_error, r->end_message);
        forget_request(s, r);
    }
}

/* ---- what others may know ---- */

struct sched_counts sched_get_counts(const struct sched *s) {
    struct sched_counts c = s->counts;
    c.running = s->n_running;
    c.waiting = s->waiting.count;
    c.waiting_tokens = s->waiting.tokens;
    c.requests = s->n_requests;
    c.kv_blocks = s->blocks.count;
    c.kv_blocks_used = s->blocks.used;
    return c;
}

uint64_t sched_expect_room_ns(const struct sched *s, uint64_t now_ns) {
    return turnover_expect_ns(&s->turnover, (s->waiting.count + 1) / 2, now_ns);
}
