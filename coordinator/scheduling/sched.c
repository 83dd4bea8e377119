// SPDX-License-Identifier: MIT
/* sched.c: see sched.h.
 *
 * Blocks of a sequence that ends are free at once even while a step that writes to them is under
 * way: ranks run steps in order, and a new owner reads only what it wrote itself in a later step.
 * Results find their sequence by seq_id, so a sequence may vanish while it is being computed. */

#include "coordinator/scheduling/sched.h"

#include <math.h>
#include <string.h>

#include "common/mem.h"
#include "coordinator/scheduling/block.h"
#include "coordinator/scheduling/edits.h"
#include "coordinator/scheduling/queue.h"
#include "coordinator/scheduling/sequence.h"

#define FIRST_CHUNK_TOKENS 32u // before any speed is known
#define MIN_CHUNK_TOKENS   8u

struct sched {
    struct sched_limits limits;
    const struct tokenizer *tokenizer;
    struct block_pool blocks;
    struct queue waiting;
    struct sequence **running; // [max_batch], oldest first
    uint32_t n_running;
    struct request **requests; // [requests_capacity] open ones
    uint32_t n_requests, requests_capacity;
    struct request *ending; // `end` is due
    uint64_t next_id, next_seq_id, next_step;
    uint64_t cancelled, preempted;

    struct batch_seq *seqs; // [max_batch] of the batch being made or under way
    uint32_t n_seqs, n_tokens, n_prefill_tokens;
    int32_t *targets;         // [max_step_tokens]
    struct logit_edit *edits; // [max_batch * BATCH_MAX_EDITS]
    bool in_flight;
    uint64_t sent_ns;
    double ns_per_token; // of steps with prompt chunks, smoothed; 0: unknown
};

struct sched *sched_create(const struct sched_limits *l, const struct tokenizer *t) {
    CHECK(l->max_batch >= 1 && l->max_batch <= BATCH_MAX_SEQS);
    CHECK(l->max_step_tokens >= l->max_batch && l->max_step_tokens <= BATCH_MAX_TOKENS);
    CHECK(l->kv_blocks >= block_count_for(l->ctx));
    struct sched *s = mem_zalloc(sizeof *s);
    s->limits = *l;
    s->tokenizer = t;
    s->next_id = s->next_seq_id = s->next_step = 1;
    block_pool_init(&s->blocks, l->kv_blocks);
    s->running = mem_zalloc_array(l->max_batch, sizeof *s->running);
    s->seqs = mem_zalloc_array(l->max_batch, sizeof *s->seqs);
    s->targets = mem_zalloc_array(l->max_step_tokens, sizeof *s->targets);
    s->edits = mem_zalloc_array((size_t)l->max_batch * BATCH_MAX_EDITS, sizeof *s->edits);
    return s;
}

static void release_blocks(struct sched *s, struct sequence *q) {
    for (uint32_t i = 0; i < q->n_blocks; i++) block_release(&s->blocks, q->blocks[i]);
    q->n_blocks = 0;
    q->n_computed = 0;
}

static void leave_running(struct sched *s, struct sequence *q) {
    uint32_t i = 0;
    while (i < s->n_running && s->running[i] != q) i++;
    CHECK(i < s->n_running);
    s->n_running--;
    memmove(s->running + i, s->running + i + 1, (s->n_running - i) * sizeof *s->running);
}

/* Takes a sequence out of wherever it is and frees its blocks. */
static void retire(struct sched *s, struct sequence *q) {
    if (q->place == SEQUENCE_WAITING) queue_remove(&s->waiting, q);
    if (q->place == SEQUENCE_RUNNING) leave_running(s, q);
    release_blocks(s, q);
    q->place = SEQUENCE_DONE;
}

static void retire_all(struct sched *s, struct request *r) {
    for (uint32_t i = 0; i < r->params.n; i++) {
        if (r->sequences[i].place != SEQUENCE_DONE) retire(s, &r->sequences[i]);
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
    mem_free(s->running);
    mem_free(s->requests);
    mem_free(s->seqs);
    mem_free(s->targets);
    mem_free(s->edits);
    mem_free(s);
}

static void forget_request(struct sched *s, struct request *r) {
    uint32_t i = 0;
    while (i < s->n_requests && s->requests[i] != r) i++;
    CHECK(i < s->n_requests);
    s->requests[i] = s->requests[--s->n_requests];
    request_free(r);
}

/* `end` is due; sched_flush calls it. */
static void end_request(struct sched *s, struct request *r, err error, const char *message) {
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
    if (s->waiting.count + p->n > s->limits.max_queue_requests ||
        s->waiting.tokens + p->n * n_prompt > s->limits.max_queue_tokens)
        return FAIL(ERR_BUSY, "%u requests with %llu tokens are waiting already: try again later",
                    s->waiting.count, (unsigned long long)s->waiting.tokens);
    struct request *r;
    TRY(request_create(&r, prompt, (uint32_t)n_prompt, p, s->limits.ctx, s->next_seq_id,
                       s->tokenizer));
    s->next_seq_id += p->n;
    r->id = s->next_id++;
    r->sink = *sink;
    r->sink_ctx = sink_ctx;
    r->submitted_ns = now_ns;
    if (s->n_requests == s->requests_capacity) {
        s->requests_capacity = s->requests_capacity ? 2 * s->requests_capacity : 16;
        s->requests = mem_realloc(s->requests, s->requests_capacity * sizeof(struct request *));
    }
    s->requests[s->n_requests++] = r;
    for (uint32_t i = 0; i < p->n; i++) queue_push_back(&s->waiting, &r->sequences[i]);
    *id = r->id;
    return ERR_OK;
}

void sched_cancel(struct sched *s, uint64_t id) {
    struct request *r = find_request(s, id);
    if (!r || r->ended) return;
    r->cancelled = true;
    s->cancelled++;
    retire_all(s, r);
    end_request(s, r, ERR_CANCELLED, "the request was cancelled");
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
        end_request(s, s->requests[i], code, message);
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

/* ---- making a batch ---- */

static void preempt(struct sched *s, struct sequence *q) {
    leave_running(s, q);
    release_blocks(s, q);
    queue_push_front(&s->waiting, q);
    s->preempted++;
}

/* Blocks for positions below `tokens`.  The newest running sequence gives way to an older one; when
 * `q` itself is the newest it is preempted and the answer is false. */
static bool reserve(struct sched *s, struct sequence *q, uint32_t tokens) {
    uint32_t need = block_count_for(tokens);
    while (q->n_blocks < need) {
        if (block_acquire(&s->blocks, &q->blocks[q->n_blocks])) {
            q->n_blocks++;
            continue;
        }
        struct sequence *newest = s->running[s->n_running - 1];
        preempt(s, newest);
        if (newest == q) return false;
    }
    return true;
}

/* Adds the next n tokens of q to the batch. */
static void place(struct sched *s, struct sequence *q, uint32_t n) {
    const struct request_params *p = &q->request->params;
    struct batch_seq *b = &s->seqs[s->n_seqs];
    uint32_t end = q->n_computed + n;
    bool last = end == q->n_tokens;
    *b = (struct batch_seq){.seq_id = q->seq_id,
                            .start = q->n_computed,
                            .n_tokens = n,
                            .tokens = q->tokens + q->n_computed,
                            .n_blocks = block_count_for(end),
                            .blocks = q->blocks,
                            .sample = last && q->n_tokens < q->capacity,
                            .sampling = p->sampling};
    b->sampling.choice = q->choice;
    if (p->want_prompt && q->n_prompt_reported < q->n_prompt) {
        b->n_outputs = n;
        b->top_n = p->prompt_top_n;
        int32_t *targets = s->targets + s->n_tokens;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t next = q->n_computed + i + 1;
            targets[i] = next < q->n_prompt ? q->tokens[next] : -1;
        }
        b->targets = targets;
    }
    if (b->sample) {
        if (b->n_outputs == 0) b->n_outputs = 1;
        if (p->want_logprobs && p->top_n > b->top_n) b->top_n = p->top_n;
        b->edits = s->edits + (size_t)s->n_seqs * BATCH_MAX_EDITS;
        b->n_edits =
            edits_build(q, s->edits + (size_t)s->n_seqs * BATCH_MAX_EDITS, BATCH_MAX_EDITS);
    }
    q->n_computed = end;
    s->n_seqs++;
    s->n_tokens += n;
}

static uint32_t chunk_budget(const struct sched *s) {
    if (s->limits.chunk_tokens) return s->limits.chunk_tokens;
    if (s->ns_per_token <= 0) return FIRST_CHUNK_TOKENS;
    double tokens = (double)SCHED_STEP_NS / s->ns_per_token;
    if (tokens >= s->limits.max_step_tokens) return s->limits.max_step_tokens;
    return tokens < MIN_CHUNK_TOKENS ? MIN_CHUNK_TOKENS : (uint32_t)tokens;
}

/* A sequence is admitted when its whole log and one more token fit beside those that run: half a
 * prompt in the cache helps nobody. */
static bool admit_one(struct sched *s, uint64_t now_ns) {
    struct sequence *q = s->waiting.first;
    if (!q || s->n_running == s->limits.max_batch) return false;
    uint32_t tokens = q->n_tokens < q->capacity ? q->n_tokens + 1 : q->n_tokens;
    if (s->n_running > 0 && block_count_for(tokens) > s->blocks.count - s->blocks.used)
        return false;
    queue_remove(&s->waiting, q);
    q->place = SEQUENCE_RUNNING;
    s->running[s->n_running++] = q;
    struct request *r = q->request;
    if (r->started_ns == 0) {
        r->started_ns = now_ns;
        r->usage.queue_ns = now_ns - r->submitted_ns;
    }
    return true;
}

/* Tokens that a sequence may compute before it has to pause. */
static uint32_t until_pause(const struct sequence *q) {
    uint32_t at = q->request->params.pause_at;
    if (q->request->resumed) return UINT32_MAX;
    return at > q->n_computed ? at - q->n_computed : 0;
}

bool sched_next(struct sched *s, uint64_t now_ns, struct batch *out) {
    CHECK(!s->in_flight);
    s->n_seqs = s->n_tokens = s->n_prefill_tokens = 0;
    uint32_t n_decoding = 0;
    for (uint32_t i = 0; i < s->n_running; i++) n_decoding += sequence_is_decoding(s->running[i]);
    uint32_t budget = chunk_budget(s);
    if (budget > s->limits.max_step_tokens - n_decoding)
        budget = s->limits.max_step_tokens - n_decoding;
    for (uint32_t i = 0; i < s->n_running || (budget > 0 && admit_one(s, now_ns)); i++) {
        struct sequence *q = s->running[i];
        bool decoding = sequence_is_decoding(q);
        uint32_t n = decoding ? 1 : q->n_tokens - q->n_computed;
        if (!decoding && n > budget) n = budget;
        if (n > until_pause(q)) n = until_pause(q);
        if (n == 0) continue;
        if (!reserve(s, q, q->n_computed + n)) break; // q was the newest: nobody comes after it
        if (!decoding) {
            budget -= n;
            s->n_prefill_tokens += n;
        }
        place(s, q, n);
    }
    if (s->n_seqs == 0) return false;
    s->in_flight = true;
    s->sent_ns = now_ns;
    *out = (struct batch){.epoch = s->limits.epoch,
                          .step = s->next_step++,
                          .n_seqs = s->n_seqs,
                          .n_tokens = s->n_tokens,
                          .seqs = s->seqs};
    return true;
}

/* ---- taking a result ---- */

static struct sequence *find_running(const struct sched *s, uint64_t seq_id) {
    for (uint32_t i = 0; i < s->n_running; i++) {
        if (s->running[i]->seq_id == seq_id) return s->running[i];
    }
    return NULL;
}

/* Prompt log-probabilities of one chunk: output i belongs to position start + i and scores the
 * token at start + i + 1. */
static void report_prompt(struct sched *s, struct sequence *q, const struct batch_seq *b,
                          const struct batch_seq_result *res) {
    struct request *r = q->request;
    if (!r->params.want_prompt) return;
    struct buf piece;
    buf_init(&piece, 0);
    for (uint32_t i = 0; i < res->n_outputs && !r->ended; i++) {
        uint32_t position = b->start + i;
        if (position >= q->n_prompt) break;
        if (position < q->n_prompt_reported) continue; // computed again after a preemption
        buf_clear(&piece);
        tokenizer_decode_piece(s->tokenizer, q->tokens[position], true, &piece);
        struct token_entry e = {.token = q->tokens[position],
                                .logprob = q->next_prompt_logprob,
                                .piece = piece.length ? piece.data : "",
                                .piece_bytes = piece.length,
                                .top = res->outputs[i].top,
                                .n_top = res->outputs[i].n_top};
        if (e.n_top > r->params.prompt_top_n) e.n_top = r->params.prompt_top_n;
        q->next_prompt_logprob = res->outputs[i].target_logprob;
        q->n_prompt_reported = position + 1;
        // One voice is enough: all choices have the same prompt.
        if (q->choice == 0 && r->sink.prompt) r->sink.prompt(r->sink_ctx, position, &e, 1);
    }
    buf_deinit(&piece);
}

static void finish_sequence(struct sched *s, struct sequence *q, enum finish_reason reason) {
    struct request *r = q->request;
    retire(s, q);
    r->n_open--;
    r->sink.finish(r->sink_ctx, q->choice, reason);
    if (r->n_open == 0 && !r->ended) end_request(s, r, ERR_OK, "");
}

static void deliver(struct sequence *q) {
    const struct stream *st = &q->stream;
    struct request *r = q->request;
    if (st->text.length == 0 && st->n_entries == 0) return;
    r->sink.text(r->sink_ctx, q->choice, st->text.length ? st->text.data : "", st->text.length,
                 st->entries, st->n_entries);
}

static void take_token(struct sched *s, struct sequence *q, const struct batch_seq_result *res,
                       uint64_t now_ns) {
    struct request *r = q->request;
    sequence_append(q, res->token);
    r->usage.completion_tokens++;
    if (r->first_token_ns == 0) r->first_token_ns = now_ns;
    r->last_token_ns = now_ns;

    bool full = q->n_tokens == q->capacity;
    if (tokenizer_is_end(s->tokenizer, res->token) && !r->params.ignore_eos) {
        stream_flush(&q->stream);
        deliver(q);
        if (!r->ended) finish_sequence(s, q, FINISH_STOP);
        return;
    }
    const struct batch_output *o = &res->outputs[res->n_outputs - 1];
    uint32_t n_top = r->params.want_logprobs ? r->params.top_n : 0;
    if (n_top > o->n_top) n_top = o->n_top;
    bool stopped = stream_push(&q->stream, res->token, res->token_logprob, o->top, n_top);
    deliver(q);
    if (r->ended) return; // the sink cancelled
    if (!stopped && full) {
        stream_flush(&q->stream);
        deliver(q);
        if (r->ended) return;
    }
    if (stopped || full) finish_sequence(s, q, stopped ? FINISH_STOP : FINISH_LENGTH);
}

static err check_result(const struct sched *s, const struct batch_result *r) {
    if (!s->in_flight || r->epoch != s->limits.epoch || r->step != s->next_step - 1 ||
        r->n_seqs != s->n_seqs)
        return FAIL(ERR_PROTOCOL,
                    "rank 0 answered step %llu of epoch %llu with %u sequences; step %llu of epoch "
                    "%llu with %u was asked",
                    (unsigned long long)r->step, (unsigned long long)r->epoch, r->n_seqs,
                    (unsigned long long)(s->next_step - 1), (unsigned long long)s->limits.epoch,
                    s->n_seqs);
    size_t n_vocab = tokenizer_vocab_size(s->tokenizer);
    for (uint32_t i = 0; i < r->n_seqs; i++) {
        const struct batch_seq_result *a = &r->seqs[i];
        const struct batch_seq *b = &s->seqs[i];
        if (a->seq_id != b->seq_id || a->n_outputs != b->n_outputs ||
            (b->sample && (a->token < 0 || (size_t)a->token >= n_vocab)))
            return FAIL(ERR_PROTOCOL,
                        "rank 0's answer for sequence %llu does not fit what was asked",
                        (unsigned long long)b->seq_id);
    }
    return ERR_OK;
}

static void measure(struct sched *s, uint64_t now_ns) {
    if (s->n_prefill_tokens < MIN_CHUNK_TOKENS) return; // decoding says little about prefill
    double fresh = (double)(now_ns - s->sent_ns) / s->n_tokens;
    s->ns_per_token = s->ns_per_token <= 0 ? fresh : 0.7 * s->ns_per_token + 0.3 * fresh;
}

err sched_apply(struct sched *s, const struct batch_result *r, uint64_t now_ns) {
    TRY(check_result(s, r));
    s->in_flight = false;
    measure(s, now_ns);
    for (uint32_t i = 0; i < r->n_seqs; i++) {
        struct sequence *q = find_running(s, r->seqs[i].seq_id);
        if (!q) continue; // cancelled while it was computed
        report_prompt(s, q, &s->seqs[i], &r->seqs[i]);
        if (q->place != SEQUENCE_RUNNING) continue;
        if (s->seqs[i].sample) {
            take_token(s, q, &r->seqs[i], now_ns);
        } else if (q->n_computed == q->n_tokens) {
            finish_sequence(s, q, FINISH_LENGTH); // nothing was to be generated
        }
    }
    return ERR_OK;
}

struct sched_counts sched_get_counts(const struct sched *s) {
    return (struct sched_counts){.running = s->n_running,
                                 .waiting = s->waiting.count,
                                 .requests = s->n_requests,
                                 .kv_blocks = s->blocks.count,
                                 .kv_blocks_used = s->blocks.used,
                                 .cancelled = s->cancelled,
                                 .preempted = s->preempted};
}
