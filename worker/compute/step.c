// SPDX-License-Identifier: MIT
/* step.c: see step.h.
 *
 * Main thread of a rank.  Puts a step together: the batch becomes one list of tokens, each with its
 * position and its blocks; the transformer runs over the list without knowing what is prefill and
 * what is decode; then the outputs.  All memory is made in step_create, and a guard proves in debug
 * builds that a step takes none. */

#include "worker/compute/step.h"

#include <math.h>
#include <stdatomic.h>

#include "common/clock.h"
#include "common/mem.h"
#include "worker/compute/forward.h"
#include "worker/compute/kv.h"
#include "worker/compute/output.h"
#include "worker/compute/sampler.h"
#include "worker/job/team.h"

/* A token that the last step sampled, for whoever continues there. */
struct sampled {
    uint64_t seq_id;
    uint32_t position;
    int32_t token;
};

struct step_runner {
    struct comm *comm;
    uint32_t n_vocab;
    struct step_limits limits;
    struct kv *kv;
    struct forward *forward;
    struct output *output;
    int32_t *tokens;     // [max_step_tokens]
    struct kv_row *rows; // [max_step_tokens]
    /* rank 0 */
    struct sampled *sampled; // [max_batch] of the last step
    uint32_t n_sampled;
    struct batch_seq *seqs; // [max_batch] of a batch with pending tokens, which are in `pending`
    int32_t *pending;       // [max_batch]
    atomic_uint_fast64_t progress;
    struct step_totals totals; // without those of the all-reduce
};

static struct kv_shape kv_shape_of(const struct model_shape *s, const struct plan *p, uint32_t r,
                                   const struct step_limits *l) {
    return (struct kv_shape){.n_layers = s->n_layers,
                             .n_heads = range_len(p->ranks[r].kv_heads),
                             .head_dim = s->head_dim,
                             .n_blocks = l->kv_blocks,
                             .f32 = l->kv_f32};
}

uint64_t step_kv_bytes(const struct model_shape *s, const struct plan *p, uint32_t r,
                       const struct step_limits *l) {
    struct kv_shape shape = kv_shape_of(s, p, r, l);
    return kv_bytes(&shape);
}

uint64_t step_scratch_bytes(const struct model_shape *s, const struct plan *p, uint32_t r,
                            const struct step_limits *l) {
    return forward_bytes(s, p, r, l->max_step_tokens) +
           output_bytes(s, p, r, l->max_step_tokens, l->max_batch) +
           l->max_step_tokens * (sizeof(int32_t) + sizeof(struct kv_row)) +
           l->max_batch * (sizeof(struct sampled) + sizeof(struct batch_seq) + sizeof(int32_t));
}

err step_create(struct step_runner **out, struct comm *c, const struct model_shape *s,
                const struct plan *p, const struct weights *w, const struct kernels *k,
                const struct step_limits *l) {
    err e = ERR_OK;
    struct step_runner *r = mem_zalloc(sizeof *r);
    struct kv_shape kv_shape = kv_shape_of(s, p, (uint32_t)comm_rank(c), l);
    r->comm = c;
    r->n_vocab = s->n_vocab;
    r->limits = *l;
    atomic_init(&r->progress, 0);
    r->tokens = mem_zalloc_array(l->max_step_tokens, sizeof *r->tokens);
    r->rows = mem_zalloc_array(l->max_step_tokens, sizeof *r->rows);
    r->sampled = mem_zalloc_array(l->max_batch, sizeof *r->sampled);
    r->seqs = mem_zalloc_array(l->max_batch, sizeof *r->seqs);
    r->pending = mem_zalloc_array(l->max_batch, sizeof *r->pending);
    TRY_GOTO(e, kv_create(&r->kv, &kv_shape), fail);
    struct forward_options o = {.comm = c,
                                .kernels = k,
                                .shape = s,
                                .plan = p,
                                .weights = w,
                                .kv = r->kv,
                                .max_tokens = l->max_step_tokens,
                                .mpi_allreduce = l->mpi_allreduce,
                                .check_ranks = l->check_ranks,
                                .progress = &r->progress};
    TRY_GOTO(e, forward_create(&r->forward, &o), fail);
    TRY_GOTO(e, output_create(&r->output, c, k, s, p, l->max_step_tokens, l->max_batch), fail);
    *out = r;
    return ERR_OK;
fail:
    step_free(r);
    return e;
}

void step_free(struct step_runner *r) {
    if (!r) return;
    output_free(r->output);
    forward_free(r->forward);
    kv_free(r->kv);
    mem_free(r->tokens);
    mem_free(r->rows);
    mem_free(r->sampled);
    mem_free(r->seqs);
    mem_free(r->pending);
    mem_free(r);
}

struct step_totals step_get_totals(const struct step_runner *r) {
    struct step_totals t = r->totals;
    t.allreduce_calls = allreduce_calls(forward_allreduce(r->forward));
    t.allreduce_bytes = allreduce_bytes(forward_allreduce(r->forward));
    return t;
}

uint64_t step_progress(const struct step_runner *r) {
    return atomic_load_explicit(&r->progress, memory_order_relaxed);
}

/* --- tokens that were not known when the batch was made --- */

static bool is_pending(const struct batch_seq *s) {
    return s->n_tokens == 1 && s->tokens[0] == BATCH_TOKEN_PENDING;
}

/* Sequences mostly keep their place from step to step, so the search begins at `guess`. */
static const struct sampled *find_sampled(const struct step_runner *r, const struct batch_seq *s,
                                          uint32_t guess) {
    for (uint32_t i = 0; i < r->n_sampled; i++) {
        const struct sampled *t = &r->sampled[(guess + i) % r->n_sampled];
        if (t->seq_id == s->seq_id && t->position == s->start) return t;
    }
    return NULL;
}

err step_put_pending(struct step_runner *r, const struct batch *b, struct batch *out) {
    bool any = false;
    *out = *b;
    if (b->n_seqs > r->limits.max_batch) return ERR_OK; // step_check will say so
    for (uint32_t i = 0; i < b->n_seqs; i++) any = any || is_pending(&b->seqs[i]);
    if (!any) return ERR_OK;
    for (uint32_t i = 0; i < b->n_seqs; i++) {
        r->seqs[i] = b->seqs[i];
        if (!is_pending(&b->seqs[i])) continue;
        const struct sampled *t = find_sampled(r, &b->seqs[i], i);
        if (!t)
            return FAIL(ERR_PROTOCOL,
                        "sequence %llu waits for a token at position %u that no step has sampled",
                        (unsigned long long)b->seqs[i].seq_id, b->seqs[i].start);
        r->pending[i] = t->token;
        r->seqs[i].tokens = &r->pending[i];
    }
    out->seqs = r->seqs;
    return ERR_OK;
}

static void note_sampled(struct step_runner *r, const struct batch *b,
                         const struct batch_seq_result *results) {
    r->n_sampled = 0;
    for (uint32_t i = 0; i < b->n_seqs; i++) {
        const struct batch_seq *s = &b->seqs[i];
        if (s->sample)
            r->sampled[r->n_sampled++] =
                (struct sampled){s->seq_id, s->start + s->n_tokens, results[i].token};
    }
}

/* --- the check of a batch from outside --- */

static err check_tokens(const struct step_runner *r, const struct batch_seq *s,
                        unsigned long long id) {
    uint64_t end = (uint64_t)s->start + s->n_tokens;
    if (s->n_tokens == 0) return FAIL(ERR_PROTOCOL, "sequence %llu has no token", id);
    if (s->n_blocks > r->limits.kv_blocks || end > (uint64_t)s->n_blocks * KV_BLOCK_TOKENS)
        return FAIL(ERR_PROTOCOL,
                    "sequence %llu reaches position %llu with %u blocks of %d (the pool has %u)",
                    id, (unsigned long long)end, s->n_blocks, KV_BLOCK_TOKENS, r->limits.kv_blocks);
    for (uint32_t i = 0; i < s->n_blocks; i++)
        if (s->blocks[i] >= r->limits.kv_blocks)
            return FAIL(ERR_PROTOCOL, "sequence %llu names block %u of a pool of %u", id,
                        s->blocks[i], r->limits.kv_blocks);
    for (uint32_t i = 0; i < s->n_tokens; i++)
        if (s->tokens[i] < 0 || (uint32_t)s->tokens[i] >= r->n_vocab)
            return FAIL(ERR_PROTOCOL, "sequence %llu has token %d of a vocabulary of %u", id,
                        s->tokens[i], r->n_vocab);
    return ERR_OK;
}

static err check_edit(const struct step_runner *r, const struct logit_edit *e,
                      unsigned long long id) {
    if (e->token < 0 || (uint32_t)e->token >= r->n_vocab)
        return FAIL(ERR_PROTOCOL, "sequence %llu edits the logit of token %d of a vocabulary of %u",
                    id, e->token, r->n_vocab);
    if (!isfinite(e->repeat) || e->repeat <= 0 || isnan(e->bias) || e->bias == INFINITY)
        return FAIL(ERR_PROTOCOL, "sequence %llu edits a logit by the factor %g and the term %g",
                    id, (double)e->repeat, (double)e->bias);
    return ERR_OK;
}

static err check_wishes(const struct step_runner *r, const struct batch_seq *s,
                        unsigned long long id) {
    if (s->n_outputs > s->n_tokens || (s->sample && s->n_outputs == 0))
        return FAIL(ERR_PROTOCOL, "sequence %llu wants %u outputs of %u tokens", id, s->n_outputs,
                    s->n_tokens);
    if (s->top_n > BATCH_MAX_TOP || s->n_edits > BATCH_MAX_EDITS)
        return FAIL(ERR_PROTOCOL,
                    "sequence %llu wants %u alternatives and %u edits; the most are %d and %d", id,
                    s->top_n, s->n_edits, BATCH_MAX_TOP, BATCH_MAX_EDITS);
    for (uint32_t i = 0; s->targets && i < s->n_outputs; i++)
        if (s->targets[i] < -1 || s->targets[i] >= (int64_t)r->n_vocab)
            return FAIL(ERR_PROTOCOL, "sequence %llu wants token %d of a vocabulary of %u", id,
                        s->targets[i], r->n_vocab);
    for (uint32_t i = 0; i < s->n_edits; i++) TRY(check_edit(r, &s->edits[i], id));
    if (s->sample && !sampler_valid(&s->sampling))
        return FAIL(ERR_PROTOCOL, "sequence %llu samples with temperature %g, top_p %g, min_p %g",
                    id, (double)s->sampling.temperature, (double)s->sampling.top_p,
                    (double)s->sampling.min_p);
    return ERR_OK;
}

err step_check(const struct step_runner *r, const struct batch *b) {
    uint64_t tokens = 0;
    if (b->n_seqs == 0 || b->n_seqs > r->limits.max_batch)
        return FAIL(ERR_PROTOCOL, "a step of %u sequences; the limit is %u", b->n_seqs,
                    r->limits.max_batch);
    for (uint32_t i = 0; i < b->n_seqs; i++) tokens += b->seqs[i].n_tokens;
    if (tokens != b->n_tokens || tokens > r->limits.max_step_tokens)
        return FAIL(ERR_PROTOCOL, "a step of %llu tokens that says %u; the limit is %u",
                    (unsigned long long)tokens, b->n_tokens, r->limits.max_step_tokens);
    for (uint32_t i = 0; i < b->n_seqs; i++) {
        TRY(check_tokens(r, &b->seqs[i], b->seqs[i].seq_id));
        TRY(check_wishes(r, &b->seqs[i], b->seqs[i].seq_id));
    }
    return ERR_OK;
}

/* --- the step --- */

static size_t list_tokens(struct step_runner *r, const struct batch *b) {
    size_t n = 0;
    for (uint32_t s = 0; s < b->n_seqs; s++) {
        const struct batch_seq *seq = &b->seqs[s];
        for (uint32_t i = 0; i < seq->n_tokens; i++, n++) {
            r->tokens[n] = seq->tokens[i];
            r->rows[n] = (struct kv_row){.position = seq->start + i, .blocks = seq->blocks};
        }
    }
    return n;
}

struct step_work {
    struct step_runner *r;
    const struct batch *batch;
    const struct batch_seq_result *results; // on rank 0, when nothing failed
    err e;
};

static void do_step(void *arg) {
    struct step_work *w = arg;
    struct step_runner *r = w->r;
    w->e = forward_run(r->forward, r->tokens, r->rows, list_tokens(r, w->batch));
    if (w->e == ERR_OK) w->results = output_run(r->output, r->forward, w->batch);
}

err step_run(struct step_runner *r, const struct batch *b, struct batch_result *out) {
    uint64_t begin_ns = clock_ns(), waited_ns = comm_wait_ns(r->comm);
    uint64_t wired_ns = comm_wire_ns(r->comm);
    struct step_work work = {.r = r, .batch = b};
    mem_guard_begin();
    team_open(do_step, &work);
    mem_guard_end();
    uint64_t wait_ns = comm_wait_ns(r->comm) - waited_ns;
    uint64_t wire_ns = comm_wire_ns(r->comm) - wired_ns;
    uint64_t compute_ns = clock_ns() - begin_ns - wait_ns - wire_ns;
    r->totals.steps++;
    r->totals.compute_ns += compute_ns;
    r->totals.wait_ns += wait_ns;
    r->totals.wire_ns += wire_ns;
    if (work.e != ERR_OK || !work.results) return work.e;
    note_sampled(r, b, work.results);
    *out = (struct batch_result){.epoch = b->epoch,
                                 .step = b->step,
                                 .n_seqs = b->n_seqs,
                                 .seqs = work.results,
                                 .compute_ns = compute_ns,
                                 .wait_ns = wait_ns};
    return ERR_OK;
}
