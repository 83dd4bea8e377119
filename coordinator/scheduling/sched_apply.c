// SPDX-License-Identifier: MIT
/* sched_apply.c: what the result of a step means: tokens for sequences, text for sinks.
 *
 * A result belongs to a position of a sequence's log.  It counts when the log ends there, wherever
 * the sequence is by now: done (then its owner is forgotten), running, or preempted and waiting;
 * so a token is neither lost nor taken twice. */

#include <math.h>

#include "coordinator/scheduling/sched_internal.h"

/* Prompt log-probabilities of one chunk: output i belongs to position start + i and scores the
 * token at start + i + 1. */
static void report_prompt(struct sched *s, struct sequence *q, const struct batch_seq *b,
                          const struct batch_seq_result *res) {
    struct request *r = q->request;
    if (!r->params.want_prompt || q->choice > 0) return; // all choices have the same prompt
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
        if (r->sink.prompt) r->sink.prompt(r->sink_ctx, position, &e, 1);
    }
    buf_deinit(&piece);
}

static void finish_sequence(struct sched *s, struct sequence *q, enum finish_reason reason) {
    struct request *r = q->request;
    sched__retire(s, q);
    r->n_open--;
    r->sink.finish(r->sink_ctx, q->choice, reason);
    if (r->n_open == 0 && !r->ended) sched__end_request(s, r, ERR_OK, "");
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
    s->waiting.tokens += q->place == SEQUENCE_WAITING;
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
    const struct flight *f = &s->flights[0];
    if (s->n_flights == 0)
        return FAIL(ERR_PROTOCOL, "rank 0 answered step %llu, but no step was asked",
                    (unsigned long long)r->step);
    if (r->epoch != s->limits.epoch || r->step != f->step || r->n_seqs != f->n_seqs)
        return FAIL(ERR_PROTOCOL,
                    "rank 0 answered step %llu of epoch %llu with %u sequences; step %llu of epoch "
                    "%llu with %u was asked",
                    (unsigned long long)r->step, (unsigned long long)r->epoch, r->n_seqs,
                    (unsigned long long)f->step, (unsigned long long)s->limits.epoch, f->n_seqs);
    for (uint32_t i = 0; i < r->n_seqs; i++) {
        const struct batch_seq_result *a = &r->seqs[i];
        const struct batch_seq *b = &f->seqs[i];
        if (a->seq_id != b->seq_id || a->n_outputs != b->n_outputs ||
            (b->sample && (a->token < 0 || (uint32_t)a->token >= s->limits.n_vocab)))
            return FAIL(ERR_PROTOCOL,
                        "rank 0's answer for sequence %llu does not fit what was asked",
                        (unsigned long long)b->seq_id);
    }
    return ERR_OK;
}

/* The ranks began with this step when they had it and had answered the one before. */
static void measure(struct sched *s, const struct flight *f, uint64_t now_ns) {
    uint64_t began_ns = f->sent_ns > s->answered_ns ? f->sent_ns : s->answered_ns;
    pace_observe(&s->pace, &f->made_of, now_ns - began_ns);
    s->answered_ns = now_ns;
}

err sched_apply(struct sched *s, const struct batch_result *r, uint64_t now_ns) {
    TRY(check_result(s, r));
    measure(s, &s->flights[0], now_ns);
    for (uint32_t i = 0; i < r->n_seqs; i++) {
        const struct batch_seq *b = &s->flights[0].seqs[i];
        struct sequence *q = s->flights[0].owners[i];
        if (q) report_prompt(s, q, b, &r->seqs[i]);
        q = s->flights[0].owners[i]; // the sink may have cancelled
        if (!q || b->start + b->n_tokens != q->n_tokens) continue;
        if (b->sample) {
            take_token(s, q, &r->seqs[i], now_ns);
        } else if (q->n_tokens == q->capacity) {
            finish_sequence(s, q, FINISH_LENGTH); // nothing was to be generated
        }
    }
    struct flight done = s->flights[0];
    s->n_flights--;
    for (uint32_t i = 0; i < s->n_flights; i++) s->flights[i] = s->flights[i + 1];
    s->flights[s->n_flights] = done; // its arrays are used again
    return ERR_OK;
}
