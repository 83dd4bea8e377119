// SPDX-License-Identifier: MIT
/* sched_next.c: which tokens of which sequences go into the next step.
 *
 * A step may be made while the one before it is computed.  What that one samples is then not known
 * here; such a sequence is sent with BATCH_TOKEN_PENDING in place of the token, and rank 0 puts in
 * what it has sampled.  A stop that is noticed late costs one token that nobody sees.
 *
 *   ranks         │ step 1 ─────────────│ step 2 ─────────────│ step 3 …
 *   coordinator   makes 2 (due)         │ result 1   makes 3  │ result 2 …
 *
 * The step is made no earlier than it must be, so that who comes or leaves meanwhile is heeded. */

#include "coordinator/scheduling/edits.h"
#include "coordinator/scheduling/sched_internal.h"

#define AHEAD_NS ((uint64_t)3 * 1000 * 1000) // what the way to the ranks may take, and timers

static const int32_t pending_token = BATCH_TOKEN_PENDING;

/* ---- when ---- */

/* Is there a sequence whose next logit edits depend on a token that is still being sampled? */
static bool must_see_result(const struct sched *s) {
    for (uint32_t i = 0; i < s->n_running; i++) {
        const struct sequence *q = s->running[i];
        if (q->n_awaited > q->n_tokens && sequence_n_due(q) > 0 &&
            edits_depend_on_text(&q->request->params))
            return true;
    }
    return false;
}

uint64_t sched_wait_ns(const struct sched *s, uint64_t now_ns) {
    if (s->n_flights == 0) return 0;
    if (s->n_flights == SCHED_MAX_FLIGHTS || must_see_result(s)) return SCHED_NEVER;
    const struct flight *f = &s->flights[0];
    uint64_t began_ns = f->sent_ns > s->answered_ns ? f->sent_ns : s->answered_ns;
    uint64_t expected_ns = pace_expect_ns(&s->pace, &f->made_of);
    uint64_t due_ns = expected_ns > AHEAD_NS ? began_ns + expected_ns - AHEAD_NS : began_ns;
    return due_ns > now_ns ? due_ns - now_ns : 0;
}

/* ---- who ---- */

/* The first choice of a request runs for the first time. */
static void note_start(struct sched *s, const struct sequence *q, uint64_t now_ns) {
    struct request *r = q->request;
    r->started = true;
    r->started_ns = now_ns;
    r->usage.queue_ns = now_ns - r->submitted_ns;
    r->usage.cached_tokens = q->n_computed;
    if (s->limits.no_prefix_cache || r->params.want_prompt) return;
    s->counts.prefix_queries += q->n_prompt;
    s->counts.prefix_hits += q->n_computed;
}

/* One block for each sequence that runs and whose log can grow beyond the blocks it has. */
static uint32_t spare_blocks(const struct sched *s) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_running; i++) {
        const struct sequence *q = s->running[i];
        uint32_t last = q->capacity > q->n_prompt ? q->capacity - 1 : q->capacity;
        n += q->n_blocks < block_count_for(last);
    }
    return n;
}

/* A sequence is admitted when its whole log and one more token fit beside those that run, with a
 * block to spare for each of them that can still grow: half a prompt in the cache helps nobody, and
 * a sequence that gives way at once has been computed in vain. */
static bool admit_one(struct sched *s, uint64_t now_ns) {
    struct sequence *q = s->waiting.first;
    if (!q || s->n_running == s->limits.max_batch) return false;
    struct shared found = sched__find_shared(s, q);
    uint32_t tokens = q->n_tokens < q->capacity ? q->n_tokens + 1 : q->n_tokens;
    uint32_t need = block_count_for(tokens) - found.n_in_use + spare_blocks(s);
    if (s->n_running > 0 && need > s->blocks.count - s->blocks.used) return false;
    queue_remove(&s->waiting, q);
    turnover_admit(&s->turnover, now_ns);
    q->place = SEQUENCE_RUNNING;
    s->running[s->n_running++] = q;
    sched__take_shared(s, q, &found);
    if (!q->request->started) note_start(s, q, now_ns);
    return true;
}

/* Blocks for positions below `tokens`.  The newest running sequence gives way to an older one; when
 * `q` itself is the newest it is preempted and the answer is false. */
static bool reserve(struct sched *s, struct sequence *q, uint32_t tokens) {
    uint32_t need = block_count_for(tokens), id;
    while (q->n_blocks < need) {
        if (block_acquire(&s->blocks, &id)) {
            prefix_forget(&s->prefix, id);
            q->blocks[q->n_blocks++] = id;
            continue;
        }
        struct sequence *newest = s->running[s->n_running - 1];
        sched__preempt(s, newest);
        if (newest == q) return false;
    }
    return true;
}

/* ---- what ---- */

/* The outputs that a prompt's log-probabilities need: one for each of the next n tokens. */
static void want_prompt(struct sched *s, const struct sequence *q, uint32_t n,
                        struct batch_seq *b) {
    int32_t *targets = s->targets + s->n_tokens;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t next = q->n_computed + i + 1;
        targets[i] = next < q->n_prompt ? q->tokens[next] : -1;
    }
    b->n_outputs = n;
    b->top_n = q->request->params.prompt_top_n;
    b->targets = targets;
}

static void want_token(struct sched *s, const struct sequence *q, uint32_t index,
                       struct batch_seq *b) {
    const struct request_params *p = &q->request->params;
    struct logit_edit *edits = s->edits + (size_t)index * BATCH_MAX_EDITS;
    b->sample = true;
    b->sampling = p->sampling;
    b->sampling.choice = q->choice;
    if (b->n_outputs == 0) b->n_outputs = 1;
    if (p->want_logprobs && p->top_n > b->top_n) b->top_n = p->top_n;
    b->edits = edits;
    b->n_edits = edits_build(q, edits, BATCH_MAX_EDITS);
}

/* Adds the next n tokens of q to the step. */
static void place(struct sched *s, struct flight *f, struct sequence *q, uint32_t n) {
    const struct request_params *p = &q->request->params;
    bool pending = q->n_computed == q->n_tokens;
    uint32_t index = f->n_seqs++, end = q->n_computed + n;
    struct batch_seq *b = &f->seqs[index];
    *b = (struct batch_seq){.seq_id = q->seq_id,
                            .start = q->n_computed,
                            .n_tokens = n,
                            .tokens = pending ? &pending_token : q->tokens + q->n_computed,
                            .n_blocks = block_count_for(end),
                            .blocks = q->blocks};
    if (p->want_prompt && q->choice == 0 && q->n_prompt_reported < q->n_prompt)
        want_prompt(s, q, n, b);
    if (end == sequence_length(q) && end < q->capacity) {
        want_token(s, q, index, b);
        q->n_awaited = end + 1;
    }
    q->n_computed = end;
    f->owners[index] = q;
    s->n_tokens += n;
    sched__name_blocks(s, q);
}

/* Sequences that decode, before the step is made. */
static uint32_t count_decoding(const struct sched *s) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_running; i++) n += sequence_is_decoding(s->running[i]);
    return n;
}

static uint32_t at_most(uint32_t n, uint32_t most) {
    return n < most ? n : most;
}

/* Prompt tokens that the step may have. */
static uint32_t prompt_budget(const struct sched *s, uint32_t n_decoding) {
    uint32_t free_places = s->limits.max_batch - s->n_running, depth = 0;
    uint32_t n_prompts = at_most(s->waiting.count, free_places);
    for (uint32_t i = s->n_running; i-- > 0;) {
        const struct sequence *q = s->running[i];
        if (sequence_is_decoding(q) || sequence_n_due(q) == 0) continue;
        n_prompts++;
        depth = q->n_computed; // of the oldest in the end
    }
    uint32_t budget = s->limits.chunk_tokens
                          ? s->limits.chunk_tokens
                          : pace_prompt_tokens(&s->pace, n_decoding, n_prompts, depth);
    return at_most(budget, s->limits.max_step_tokens - n_decoding);
}

/* The same when nobody decodes and q is the oldest prompt: a long one may have a longer step, of
 * its own. */
static uint32_t lone_budget(const struct sched *s, const struct sequence *q, uint32_t budget) {
    uint32_t n_left = sequence_n_due(q);
    if (n_left <= budget || s->limits.chunk_tokens) return budget;
    uint32_t part = pace_part_tokens(&s->pace, n_left, q->n_computed, s->limits.max_step_tokens);
    return part > budget ? part : budget;
}

bool sched_next(struct sched *s, uint64_t now_ns, struct batch *out) {
    CHECK(s->n_flights < SCHED_MAX_FLIGHTS);
    struct flight *f = &s->flights[s->n_flights];
    f->n_seqs = s->n_tokens = 0;
    f->made_of = (struct pace_step){0};
    if (s->n_flights > 0 && must_see_result(s)) return false;
    const uint32_t n_decoding = count_decoding(s);
    uint32_t budget = prompt_budget(s, n_decoding);
    for (uint32_t i = 0;; i++) {
        bool admitted = i == s->n_running;
        if (admitted && (budget == 0 || !admit_one(s, now_ns))) break;
        struct sequence *q = s->running[i];
        bool decoding = !admitted && sequence_is_decoding(q); // the budget knows of these only
        uint32_t n = sequence_n_due(q);
        if (n_decoding == 0 && f->n_seqs == 0) budget = lone_budget(s, q, budget);
        if (!decoding) n = at_most(n, budget);
        if (n == 0) continue;
        if (!reserve(s, q, q->n_computed + n)) break; // q was the newest: nobody comes after it
        if (decoding) {
            f->made_of.n_decoding++;
        } else {
            budget -= n;
            f->made_of.n_prompt += n;
            f->made_of.depth += n * (q->n_computed + (uint64_t)n / 2);
        }
        place(s, f, q, n);
    }
    turnover_wait(&s->turnover, s->waiting.count, now_ns);
    if (f->n_seqs == 0) return false;
    f->step = s->next_step++;
    f->sent_ns = now_ns;
    s->n_flights++;
    *out = (struct batch){.epoch = s->limits.epoch,
                          .step = f->step,
                          .n_seqs = f->n_seqs,
                          .n_tokens = s->n_tokens,
                          .seqs = f->seqs};
    return true;
}
