// SPDX-License-Identifier: MIT
/* wire_encode.c: from the plain structs of wire.h to frames; see wire_decode.c for the way back.
 *
 * The protobuf structures point at the caller's arrays wherever the layouts agree; only arrays of
 * structs are taken apart, in the scratch arena.  The message is then packed straight into the
 * output buffer: in steady state nothing is allocated. */

#include "common/wire.h"

#include "proto/control.pb-c.h"

#include "common/frame.h"

/* The body of one message, whatever its kind; lives on the stack of wire_encode. */
union body {
    Lockstep__Hello hello;
    Lockstep__Welcome welcome;
    Lockstep__Heartbeat heartbeat;
    Lockstep__Wake wake;
    Lockstep__Error error;
    Lockstep__Open open;
    Lockstep__Opened opened;
    Lockstep__Headers headers;
    Lockstep__Load load;
    Lockstep__Progress progress;
    Lockstep__Loaded loaded;
    Lockstep__Step step;
    Lockstep__Result result;
    Lockstep__Idle idle;
    Lockstep__Shutdown shutdown;
    Lockstep__Measure measure;
    Lockstep__Measured measured;
};

/* What a builder gets: it fills `body` from `m` and names it in `envelope`. */
struct encoder {
    const struct wire_message *m;
    struct arena *scratch;
    Lockstep__Envelope envelope;
    union body body;
};

/* n elements in the scratch arena. */
static err take(struct arena *a, void **out, size_t n, size_t size) {
    size_t bytes;
    *out = mem_mul(n, size, &bytes) ? arena_alloc(a, bytes) : NULL;
    if (!*out)
        return FAIL(ERR_PROTOCOL, "a message needs more than the %zu bytes kept for making it",
                    a->capacity);
    return ERR_OK;
}

/* Generated fields are not const, although packing only reads them. */
static char *text(const char *s) {
    return s ? (char *)s : (char *)"";
}

static err build_hello(struct encoder *e) {
    const struct wire_hello *h = &e->m->hello;
    Lockstep__Hello *out = &e->body.hello;
    Lockstep__Capabilities *caps;
    TRY(take(e->scratch, (void **)&caps, 1, sizeof *caps));
    lockstep__capabilities__init(caps);
    caps->isa = text(h->isa);
    caps->mpi = text(h->mpi);
    caps->transport = text(h->transport);
    caps->threads = h->threads;
    caps->cpus = text(h->cpus);
    caps->local_rank = h->local_rank;
    caps->local_size = h->local_size;
    caps->memory_available_bytes = h->memory_available_bytes;

    lockstep__hello__init(out);
    out->protocol = h->protocol;
    out->build_id = text(h->build_id);
    out->secret = text(h->secret);
    out->epoch = h->epoch;
    out->rank = h->rank;
    out->size = h->size;
    out->is_link = h->is_link;
    out->host = text(h->host);
    out->pid = h->pid;
    out->capabilities = caps;
    out->n_shm_files = h->n_shm_files;
    out->shm_files = (char **)h->shm_files;
    out->n_warnings = h->n_warnings;
    out->warnings = (char **)h->warnings;
    e->envelope.hello = out;
    return ERR_OK;
}

static err build_welcome(struct encoder *e) {
    lockstep__welcome__init(&e->body.welcome);
    e->envelope.welcome = &e->body.welcome;
    return ERR_OK;
}

static err build_heartbeat(struct encoder *e) {
    const struct wire_heartbeat *h = &e->m->heartbeat;
    Lockstep__Heartbeat *out = &e->body.heartbeat;
    lockstep__heartbeat__init(out);
    out->progress = h->progress;
    out->in_step = h->in_step;
    out->peak_rss_bytes = h->peak_rss_bytes;
    out->cpu_ns = h->cpu_ns;
    out->last = h->last;
    out->steps = h->totals.steps;
    out->compute_ns = h->totals.compute_ns;
    out->wait_ns = h->totals.wait_ns;
    out->wire_ns = h->totals.wire_ns;
    out->allreduce_bytes = h->totals.allreduce_bytes;
    e->envelope.heartbeat = out;
    return ERR_OK;
}

static err build_wake(struct encoder *e) {
    lockstep__wake__init(&e->body.wake);
    e->body.wake.step = e->m->step;
    e->envelope.wake = &e->body.wake;
    return ERR_OK;
}

static err build_error(struct encoder *e) {
    Lockstep__Error *out = &e->body.error;
    lockstep__error__init(out);
    out->code = text(error_name(e->m->error.code));
    out->rank = e->m->error.rank;
    out->message = text(e->m->error.message);
    e->envelope.error = out;
    return ERR_OK;
}

static err build_open(struct encoder *e) {
    lockstep__open__init(&e->body.open);
    e->body.open.path = text(e->m->open.path);
    e->body.open.want_headers = e->m->open.want_headers;
    e->envelope.open = &e->body.open;
    return ERR_OK;
}

static err build_opened(struct encoder *e) {
    const struct wire_opened *o = &e->m->opened;
    lockstep__opened__init(&e->body.opened);
    e->body.opened.identity = o->identity;
    e->body.opened.n_readers = o->n_readers;
    e->body.opened.headers_bytes = o->headers_bytes;
    e->envelope.opened = &e->body.opened;
    return ERR_OK;
}

static err build_headers(struct encoder *e) {
    const struct wire_headers *h = &e->m->headers;
    lockstep__headers__init(&e->body.headers);
    e->body.headers.data = (ProtobufCBinaryData){.len = h->n, .data = (uint8_t *)h->bytes};
    e->body.headers.last = h->last;
    e->envelope.headers = &e->body.headers;
    return ERR_OK;
}

static err build_plan(struct encoder *e, Lockstep__Plan **out) {
    const struct plan *p = &e->m->load.plan;
    Lockstep__RankCut *cuts;
    TRY(take(e->scratch, (void **)out, 1, sizeof **out));
    lockstep__plan__init(*out);
    (*out)->n_ranks = p->size;
    TRY(take(e->scratch, (void **)&cuts, p->size, sizeof *cuts));
    TRY(take(e->scratch, (void **)&(*out)->ranks, p->size, sizeof *(*out)->ranks));
    for (uint32_t r = 0; r < p->size; r++) {
        const struct plan_rank *rank = &p->ranks[r];
        lockstep__rank_cut__init(&cuts[r]);
        cuts[r].heads_begin = rank->heads.begin;
        cuts[r].heads_end = rank->heads.end;
        cuts[r].kv_heads_begin = rank->kv_heads.begin;
        cuts[r].kv_heads_end = rank->kv_heads.end;
        cuts[r].ffn_begin = rank->ffn.begin;
        cuts[r].ffn_end = rank->ffn.end;
        cuts[r].vocab_begin = rank->vocab.begin;
        cuts[r].vocab_end = rank->vocab.end;
        (*out)->ranks[r] = &cuts[r];
    }
    return ERR_OK;
}

static err build_load(struct encoder *e) {
    const struct wire_load *l = &e->m->load;
    Lockstep__Load *out = &e->body.load;
    lockstep__load__init(out);
    TRY(build_plan(e, &out->plan));
    out->identity = l->identity;
    out->plan_hash = l->plan_hash;
    out->kv_blocks = l->kv_blocks;
    out->kv_f32 = l->kv_f32;
    out->max_step_tokens = l->max_step_tokens;
    out->max_batch = l->max_batch;
    out->threads = l->threads;
    out->mpi_allreduce = l->mpi_allreduce;
    out->check_ranks = l->check_ranks;
    e->envelope.load = out;
    return ERR_OK;
}

static err build_progress(struct encoder *e) {
    lockstep__progress__init(&e->body.progress);
    e->body.progress.bytes_done = e->m->progress.bytes_done;
    e->body.progress.bytes_total = e->m->progress.bytes_total;
    e->envelope.progress = &e->body.progress;
    return ERR_OK;
}

static err build_loaded(struct encoder *e) {
    const struct wire_loaded *l = &e->m->loaded;
    Lockstep__Loaded *out = &e->body.loaded;
    Lockstep__RankStats *stats;
    lockstep__loaded__init(out);
    TRY(take(e->scratch, (void **)&stats, l->size, sizeof *stats));
    TRY(take(e->scratch, (void **)&out->ranks, l->size, sizeof *out->ranks));
    for (uint32_t r = 0; r < l->size; r++) {
        lockstep__rank_stats__init(&stats[r]);
        stats[r].weight_bytes = l->ranks[r].weight_bytes;
        stats[r].kv_bytes = l->ranks[r].kv_bytes;
        stats[r].file_bytes_read = l->ranks[r].file_bytes_read;
        stats[r].peak_rss_bytes = l->ranks[r].peak_rss_bytes;
        stats[r].threads = l->ranks[r].threads;
        out->ranks[r] = &stats[r];
    }
    out->n_ranks = l->size;
    out->load_ns = l->load_ns;
    e->envelope.loaded = out;
    return ERR_OK;
}

static err build_sampling(struct arena *scratch, Lockstep__Chunk *out, const struct sampling *s) {
    TRY(take(scratch, (void **)&out->sampling, 1, sizeof *out->sampling));
    lockstep__sampling__init(out->sampling);
    out->sampling->temperature = s->temperature;
    out->sampling->top_k = s->top_k;
    out->sampling->top_p = s->top_p;
    out->sampling->min_p = s->min_p;
    out->sampling->seed = s->seed;
    out->sampling->choice = s->choice;
    return ERR_OK;
}

static err build_edits(struct arena *scratch, Lockstep__Chunk *out, const struct batch_seq *s) {
    Lockstep__LogitEdits *edits;
    TRY(take(scratch, (void **)&edits, 1, sizeof *edits));
    lockstep__logit_edits__init(edits);
    edits->n_tokens = edits->n_repeats = edits->n_biases = s->n_edits;
    TRY(take(scratch, (void **)&edits->tokens, s->n_edits, sizeof *edits->tokens));
    TRY(take(scratch, (void **)&edits->repeats, s->n_edits, sizeof *edits->repeats));
    TRY(take(scratch, (void **)&edits->biases, s->n_edits, sizeof *edits->biases));
    for (uint32_t i = 0; i < s->n_edits; i++) {
        edits->tokens[i] = s->edits[i].token;
        edits->repeats[i] = s->edits[i].repeat;
        edits->biases[i] = s->edits[i].bias;
    }
    out->edits = edits;
    return ERR_OK;
}

static err build_chunk(struct arena *scratch, Lockstep__Chunk *out, const struct batch_seq *s) {
    lockstep__chunk__init(out);
    out->seq_id = s->seq_id;
    out->start = s->start;
    out->n_tokens = s->n_tokens;
    out->tokens = (int32_t *)s->tokens;
    out->n_blocks = s->n_blocks;
    out->blocks = (uint32_t *)s->blocks;
    out->n_outputs = s->n_outputs;
    out->top_n = s->top_n;
    out->n_targets = s->targets ? s->n_outputs : 0;
    out->targets = (int32_t *)s->targets;
    out->sample = s->sample;
    if (s->sample) TRY(build_sampling(scratch, out, &s->sampling));
    if (s->n_edits > 0) TRY(build_edits(scratch, out, s));
    return ERR_OK;
}

static err build_step(struct encoder *e) {
    const struct batch *b = &e->m->batch;
    Lockstep__Step *out = &e->body.step;
    Lockstep__Chunk *chunks;
    lockstep__step__init(out);
    out->epoch = b->epoch;
    out->step = b->step;
    out->n_tokens = b->n_tokens;
    out->n_chunks = b->n_seqs;
    TRY(take(e->scratch, (void **)&chunks, b->n_seqs, sizeof *chunks));
    TRY(take(e->scratch, (void **)&out->chunks, b->n_seqs, sizeof *out->chunks));
    for (uint32_t i = 0; i < b->n_seqs; i++) {
        out->chunks[i] = &chunks[i];
        TRY(build_chunk(e->scratch, &chunks[i], &b->seqs[i]));
    }
    e->envelope.step = out;
    return ERR_OK;
}

static err build_seq_result(struct arena *scratch, Lockstep__SeqResult *out,
                            const struct batch_seq_result *s) {
    size_t n_top = 0;
    for (uint32_t i = 0; i < s->n_outputs; i++) n_top += s->outputs[i].n_top;
    lockstep__seq_result__init(out);
    out->seq_id = s->seq_id;
    out->token = s->token;
    out->token_logprob = s->token_logprob;
    out->n_target_logprobs = out->n_top_counts = s->n_outputs;
    out->n_top_tokens = out->n_top_logprobs = n_top;
    TRY(take(scratch, (void **)&out->target_logprobs, s->n_outputs, sizeof *out->target_logprobs));
    TRY(take(scratch, (void **)&out->top_counts, s->n_outputs, sizeof *out->top_counts));
    TRY(take(scratch, (void **)&out->top_tokens, n_top, sizeof *out->top_tokens));
    TRY(take(scratch, (void **)&out->top_logprobs, n_top, sizeof *out->top_logprobs));
    size_t at = 0;
    for (uint32_t i = 0; i < s->n_outputs; i++) {
        const struct batch_output *o = &s->outputs[i];
        out->target_logprobs[i] = o->target_logprob;
        out->top_counts[i] = o->n_top;
        for (uint32_t k = 0; k < o->n_top; k++, at++) {
            out->top_tokens[at] = o->top[k].token;
            out->top_logprobs[at] = o->top[k].logprob;
        }
    }
    return ERR_OK;
}

static err build_result(struct encoder *e) {
    const struct batch_result *r = &e->m->result;
    Lockstep__Result *out = &e->body.result;
    Lockstep__SeqResult *seqs;
    lockstep__result__init(out);
    out->epoch = r->epoch;
    out->step = r->step;
    out->compute_ns = r->compute_ns;
    out->wait_ns = r->wait_ns;
    out->n_seqs = r->n_seqs;
    TRY(take(e->scratch, (void **)&seqs, r->n_seqs, sizeof *seqs));
    TRY(take(e->scratch, (void **)&out->seqs, r->n_seqs, sizeof *out->seqs));
    for (uint32_t i = 0; i < r->n_seqs; i++) {
        out->seqs[i] = &seqs[i];
        TRY(build_seq_result(e->scratch, &seqs[i], &r->seqs[i]));
    }
    e->envelope.result = out;
    return ERR_OK;
}

static err build_idle(struct encoder *e) {
    lockstep__idle__init(&e->body.idle);
    e->body.idle.step = e->m->step;
    e->envelope.idle = &e->body.idle;
    return ERR_OK;
}

static err build_shutdown(struct encoder *e) {
    lockstep__shutdown__init(&e->body.shutdown);
    e->envelope.shutdown = &e->body.shutdown;
    return ERR_OK;
}

static err build_measure(struct encoder *e) {
    const struct measure_ask *a = &e->m->measure;
    Lockstep__Measure *out = &e->body.measure;
    lockstep__measure__init(out);
    out->what = (uint32_t)a->what;
    out->index = a->index;
    out->reps = a->reps;
    out->memory_bytes = a->memory_bytes;
    e->envelope.measure = out;
    return ERR_OK;
}

static err build_limits(struct arena *scratch, Lockstep__Measured *out,
                        const struct measure_limits *l) {
    TRY(take(scratch, (void **)&out->limits, 1, sizeof *out->limits));
    lockstep__limits__init(out->limits);
    out->limits->read_bytes_per_s = l->read_bytes_per_s;
    out->limits->int8_ops_per_s = l->int8_ops_per_s;
    out->limits->f32_ops_per_s = l->f32_ops_per_s;
    out->limits->memory_bytes = l->memory_bytes;
    out->limits->huge_bytes = l->huge_bytes;
    out->limits->read_way = text(l->read_way);
    return ERR_OK;
}

static err build_totals(struct arena *scratch, Lockstep__Measured *out,
                        const struct measure_answer *a) {
    Lockstep__RankTotals *totals;
    TRY(take(scratch, (void **)&totals, a->size, sizeof *totals));
    TRY(take(scratch, (void **)&out->ranks, a->size, sizeof *out->ranks));
    out->n_ranks = a->size;
    for (uint32_t r = 0; r < a->size; r++) {
        lockstep__rank_totals__init(&totals[r]);
        totals[r].steps = a->ranks[r].steps;
        totals[r].compute_ns = a->ranks[r].compute_ns;
        totals[r].wait_ns = a->ranks[r].wait_ns;
        totals[r].wire_ns = a->ranks[r].wire_ns;
        totals[r].allreduce_calls = a->ranks[r].allreduce_calls;
        totals[r].allreduce_bytes = a->ranks[r].allreduce_bytes;
        totals[r].peak_rss_bytes = a->ranks[r].peak_rss_bytes;
        totals[r].cpu = text(a->ranks[r].cpu);
        out->ranks[r] = &totals[r];
    }
    return ERR_OK;
}

static err build_times(struct arena *scratch, Lockstep__Measured *out,
                       const struct measure_answer *a) {
    Lockstep__Timing *times;
    TRY(take(scratch, (void **)&times, a->n_times, sizeof *times));
    TRY(take(scratch, (void **)&out->times, a->n_times, sizeof *out->times));
    out->n_times = a->n_times;
    for (uint32_t i = 0; i < a->n_times; i++) {
        const struct measure_time *t = &a->times[i];
        lockstep__timing__init(&times[i]);
        times[i].name = text(t->name);
        times[i].type = text(t->type);
        times[i].rows = t->rows;
        times[i].cols = t->cols;
        times[i].count = t->count;
        times[i].bytes = t->bytes;
        times[i].ops = t->ops;
        times[i].reps = t->reps;
        times[i].median_ns = t->median_ns;
        times[i].min_ns = t->min_ns;
        times[i].max_ns = t->max_ns;
        out->times[i] = &times[i];
    }
    return ERR_OK;
}

static err build_measured(struct encoder *e) {
    const struct measure_answer *a = &e->m->measured;
    Lockstep__Measured *out = &e->body.measured;
    lockstep__measured__init(out);
    TRY(build_totals(e->scratch, out, a));
    if (a->limits.memory_bytes > 0) TRY(build_limits(e->scratch, out, &a->limits));
    TRY(build_times(e->scratch, out, a));
    out->n_indexes = a->n_indexes;
    e->envelope.measured = out;
    return ERR_OK;
}

static const struct {
    Lockstep__Envelope__BodyCase body_case;
    err (*build)(struct encoder *e);
} builders[WIRE_KIND_COUNT] = {
    [WIRE_HELLO] = {LOCKSTEP__ENVELOPE__BODY_HELLO, build_hello},
    [WIRE_WELCOME] = {LOCKSTEP__ENVELOPE__BODY_WELCOME, build_welcome},
    [WIRE_HEARTBEAT] = {LOCKSTEP__ENVELOPE__BODY_HEARTBEAT, build_heartbeat},
    [WIRE_WAKE] = {LOCKSTEP__ENVELOPE__BODY_WAKE, build_wake},
    [WIRE_ERROR] = {LOCKSTEP__ENVELOPE__BODY_ERROR, build_error},
    [WIRE_OPEN] = {LOCKSTEP__ENVELOPE__BODY_OPEN, build_open},
    [WIRE_OPENED] = {LOCKSTEP__ENVELOPE__BODY_OPENED, build_opened},
    [WIRE_HEADERS] = {LOCKSTEP__ENVELOPE__BODY_HEADERS, build_headers},
    [WIRE_LOAD] = {LOCKSTEP__ENVELOPE__BODY_LOAD, build_load},
    [WIRE_PROGRESS] = {LOCKSTEP__ENVELOPE__BODY_PROGRESS, build_progress},
    [WIRE_LOADED] = {LOCKSTEP__ENVELOPE__BODY_LOADED, build_loaded},
    [WIRE_STEP] = {LOCKSTEP__ENVELOPE__BODY_STEP, build_step},
    [WIRE_RESULT] = {LOCKSTEP__ENVELOPE__BODY_RESULT, build_result},
    [WIRE_IDLE] = {LOCKSTEP__ENVELOPE__BODY_IDLE, build_idle},
    [WIRE_SHUTDOWN] = {LOCKSTEP__ENVELOPE__BODY_SHUTDOWN, build_shutdown},
    [WIRE_MEASURE] = {LOCKSTEP__ENVELOPE__BODY_MEASURE, build_measure},
    [WIRE_MEASURED] = {LOCKSTEP__ENVELOPE__BODY_MEASURED, build_measured},
};

err wire_encode(struct buf *out, const struct wire_message *m, struct arena *scratch) {
    CHECK((unsigned)m->kind < WIRE_KIND_COUNT);
    struct encoder e = {.m = m, .scratch = scratch};
    lockstep__envelope__init(&e.envelope);
    e.envelope.body_case = builders[m->kind].body_case;
    TRY(builders[m->kind].build(&e));

    size_t bytes = lockstep__envelope__get_packed_size(&e.envelope);
    if (bytes > FRAME_MAX_BYTES)
        return FAIL(ERR_PROTOCOL,
                    "a %s message of %zu bytes cannot be sent, at most %zu fit a frame",
                    wire_kind_name(m->kind), bytes, FRAME_MAX_BYTES);
    size_t begin = frame_begin(out);
    void *place = buf_extend(out, bytes);
    if (place) (void)lockstep__envelope__pack(&e.envelope, place);
    err result = frame_end(out, begin);
    if (result != ERR_OK && out->data) { // never half a frame
        out->length = begin;
        out->data[begin] = '\0';
    }
    return result;
}
