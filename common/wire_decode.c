// SPDX-License-Identifier: MIT
/* wire_decode.c: from a frame's payload to the plain structs of wire.h.
 *
 * A peer is not trusted: protobuf-c checks the encoding, this file checks the meaning (counts,
 * ranges, lengths that must agree, UTF-8), so that whoever uses a decoded message may index with
 * its numbers.  protobuf-c gets an allocator over the caller's arena: memory is bounded by the
 * arena, whatever a message announces, and nothing has to be freed.  Arrays are used in place where
 * the layouts agree. */

#include "common/wire.h"

#include <math.h>
#include <string.h>

#include "proto/control.pb-c.h"

#include "common/utf8.h"

/* --- memory --- */

struct arena_source {
    struct arena *arena;
    bool exhausted;
};

static void *source_alloc(void *source, size_t size) {
    struct arena_source *s = source;
    void *p = arena_alloc(s->arena, size);
    if (!p) s->exhausted = true;
    return p;
}

static void source_free(void *source, void *p) {
    (void)source;
    (void)p;
}

static err arena_full(const struct arena *a) {
    return FAIL(ERR_PROTOCOL, "a message needs more than the %zu bytes kept for reading it",
                a->capacity);
}

static err take(struct arena *a, void **out, size_t n, size_t size) {
    size_t bytes;
    *out = mem_mul(n, size, &bytes) ? arena_alloc(a, bytes) : NULL;
    return *out ? ERR_OK : arena_full(a);
}

/* --- checks --- */

static err check_text(const char *what, const char *s) {
    if (!utf8_valid(s, strlen(s)))
        return FAIL(ERR_PROTOCOL, "the %s in a message is not valid UTF-8", what);
    return ERR_OK;
}

static err check_texts(const char *what, char *const *s, size_t n) {
    if (n > WIRE_MAX_STRINGS)
        return FAIL(ERR_PROTOCOL, "a message has %zu %s, at most %d are allowed", n, what,
                    WIRE_MAX_STRINGS);
    for (size_t i = 0; i < n; i++) TRY(check_text(what, s[i]));
    return ERR_OK;
}

static err check_at_most(const char *what, uint64_t value, uint64_t limit) {
    if (value > limit)
        return FAIL(ERR_PROTOCOL, "a message says %llu %s, at most %llu are allowed",
                    (unsigned long long)value, what, (unsigned long long)limit);
    return ERR_OK;
}

static err check_equal(const char *what, size_t a, const char *other, size_t b) {
    if (a != b) return FAIL(ERR_PROTOCOL, "a message has %zu %s but %zu %s", a, what, b, other);
    return ERR_OK;
}

static err check_tokens(const char *what, const int32_t *tokens, size_t n, int32_t smallest) {
    for (size_t i = 0; i < n; i++)
        if (tokens[i] < smallest)
            return FAIL(ERR_PROTOCOL, "%s %zu of a message is %d, which is no token id", what, i,
                        tokens[i]);
    return ERR_OK;
}

/* --- one function per kind --- */

static err read_hello(struct wire_message *m, const Lockstep__Envelope *e, struct arena *arena) {
    (void)arena;
    const Lockstep__Hello *in = e->hello;
    const Lockstep__Capabilities none = LOCKSTEP__CAPABILITIES__INIT;
    const Lockstep__Capabilities *caps = in->capabilities ? in->capabilities : &none;
    TRY(check_text("build id", in->build_id));
    TRY(check_text("secret", in->secret));
    TRY(check_text("host", in->host));
    TRY(check_text("instruction set", caps->isa));
    TRY(check_text("MPI version", caps->mpi));
    TRY(check_text("transport", caps->transport));
    TRY(check_text("CPU list", caps->cpus));
    TRY(check_texts("shared-memory files", in->shm_files, in->n_shm_files));
    TRY(check_texts("warnings", in->warnings, in->n_warnings));
    TRY(check_at_most("ranks", in->size, PLAN_MAX_RANKS));
    if (in->rank >= in->size)
        return FAIL(ERR_PROTOCOL, "a peer says that it is rank %u of %u", in->rank, in->size);
    m->hello = (struct wire_hello){
        .protocol = in->protocol,
        .build_id = in->build_id,
        .secret = in->secret,
        .epoch = in->epoch,
        .rank = in->rank,
        .size = in->size,
        .is_link = in->is_link,
        .host = in->host,
        .pid = in->pid,
        .isa = caps->isa,
        .mpi = caps->mpi,
        .transport = caps->transport,
        .threads = caps->threads,
        .cpus = caps->cpus,
        .local_rank = caps->local_rank,
        .local_size = caps->local_size,
        .memory_available_bytes = caps->memory_available_bytes,
        .n_shm_files = (uint32_t)in->n_shm_files,
        .shm_files = (const char *const *)in->shm_files,
        .n_warnings = (uint32_t)in->n_warnings,
        .warnings = (const char *const *)in->warnings,
    };
    return ERR_OK;
}

static err read_heartbeat(struct wire_message *m, const Lockstep__Envelope *e,
                          struct arena *arena) {
    (void)arena;
    const Lockstep__Heartbeat *in = e->heartbeat;
    m->heartbeat = (struct wire_heartbeat){
        .progress = in->progress,
        .in_step = in->in_step,
        .peak_rss_bytes = in->peak_rss_bytes,
        .cpu_ns = in->cpu_ns,
        .last = in->last,
        .totals = {.steps = in->steps,
                   .compute_ns = in->compute_ns,
                   .wait_ns = in->wait_ns,
                   .wire_ns = in->wire_ns,
                   .allreduce_bytes = in->allreduce_bytes},
    };
    return ERR_OK;
}

static err read_error(struct wire_message *m, const Lockstep__Envelope *e, struct arena *arena) {
    (void)arena;
    const Lockstep__Error *in = e->error;
    TRY(check_text("error message", in->message));
    m->error = (struct wire_error){.code = ERR_INTERNAL, .rank = in->rank, .message = in->message};
    for (int code = ERR_OK + 1; code < ERR_COUNT; code++) // another build may have other names
        if (strcmp(in->code, error_name((err)code)) == 0) m->error.code = (err)code;
    return ERR_OK;
}

static err read_open(struct wire_message *m, const Lockstep__Envelope *e, struct arena *arena) {
    (void)arena;
    TRY(check_text("path", e->open->path));
    m->open = (struct wire_open){.path = e->open->path, .want_headers = e->open->want_headers};
    return ERR_OK;
}

static err read_opened(struct wire_message *m, const Lockstep__Envelope *e, struct arena *arena) {
    (void)arena;
    m->opened = (struct wire_opened){
        .identity = e->opened->identity,
        .n_readers = e->opened->n_readers,
        .headers_bytes = e->opened->headers_bytes,
    };
    return ERR_OK;
}

static err read_headers(struct wire_message *m, const Lockstep__Envelope *e, struct arena *arena) {
    (void)arena;
    m->headers = (struct wire_headers){
        .bytes = e->headers->data.data,
        .n = e->headers->data.len,
        .last = e->headers->last,
    };
    return ERR_OK;
}

static err read_range(struct range *out, const char *what, uint32_t begin, uint32_t end) {
    if (begin > end)
        return FAIL(ERR_PROTOCOL, "a plan in a message has %s %u to %u", what, begin, end);
    *out = (struct range){begin, end};
    return ERR_OK;
}

static err read_plan(struct plan *p, const Lockstep__Plan *in, struct arena *arena) {
    if (!in || in->n_ranks == 0) return FAIL(ERR_PROTOCOL, "a LOAD message has no plan");
    TRY(check_at_most("ranks", in->n_ranks, PLAN_MAX_RANKS));
    p->size = (uint32_t)in->n_ranks;
    TRY(take(arena, (void **)&p->ranks, p->size, sizeof *p->ranks));
    for (uint32_t r = 0; r < p->size; r++) {
        const Lockstep__RankCut *cut = in->ranks[r];
        struct plan_rank *rank = &p->ranks[r];
        TRY(read_range(&rank->heads, "heads", cut->heads_begin, cut->heads_end));
        TRY(read_range(&rank->kv_heads, "KV heads", cut->kv_heads_begin, cut->kv_heads_end));
        TRY(read_range(&rank->ffn, "FFN columns", cut->ffn_begin, cut->ffn_end));
        TRY(read_range(&rank->vocab, "vocabulary rows", cut->vocab_begin, cut->vocab_end));
    }
    return ERR_OK;
}

static err read_load(struct wire_message *m, const Lockstep__Envelope *e, struct arena *arena) {
    const Lockstep__Load *in = e->load;
    TRY(check_at_most("tokens in a step", in->max_step_tokens, BATCH_MAX_TOKENS));
    TRY(check_at_most("sequences in a step", in->max_batch, BATCH_MAX_SEQS));
    m->load = (struct wire_load){
        .identity = in->identity,
        .plan_hash = in->plan_hash,
        .kv_blocks = in->kv_blocks,
        .kv_f32 = in->kv_f32,
        .max_step_tokens = in->max_step_tokens,
        .max_batch = in->max_batch,
        .threads = in->threads,
        .mpi_allreduce = in->mpi_allreduce,
        .check_ranks = in->check_ranks,
    };
    return read_plan(&m->load.plan, in->plan, arena);
}

static err read_progress(struct wire_message *m, const Lockstep__Envelope *e, struct arena *arena) {
    (void)arena;
    m->progress = (struct wire_progress){.bytes_done = e->progress->bytes_done,
                                         .bytes_total = e->progress->bytes_total};
    return ERR_OK;
}

static err read_loaded(struct wire_message *m, const Lockstep__Envelope *e, struct arena *arena) {
    const Lockstep__Loaded *in = e->loaded;
    struct wire_rank_stats *ranks;
    TRY(check_at_most("ranks", in->n_ranks, PLAN_MAX_RANKS));
    TRY(take(arena, (void **)&ranks, in->n_ranks, sizeof *ranks));
    for (size_t r = 0; r < in->n_ranks; r++)
        ranks[r] = (struct wire_rank_stats){
            .weight_bytes = in->ranks[r]->weight_bytes,
            .kv_bytes = in->ranks[r]->kv_bytes,
            .file_bytes_read = in->ranks[r]->file_bytes_read,
            .peak_rss_bytes = in->ranks[r]->peak_rss_bytes,
            .threads = in->ranks[r]->threads,
        };
    m->loaded =
        (struct wire_loaded){.size = (uint32_t)in->n_ranks, .ranks = ranks, .load_ns = in->load_ns};
    return ERR_OK;
}

static err read_sampling(struct sampling *out, const Lockstep__Sampling *in) {
    if (!in) return FAIL(ERR_PROTOCOL, "a sequence is to be sampled, but nothing says how");
    if (!(isfinite(in->temperature) && in->temperature >= 0 && isfinite(in->top_p) &&
          isfinite(in->min_p)))
        return FAIL(ERR_PROTOCOL,
                    "a sequence is to be sampled at temperature %g, top_p %g, min_p %g",
                    (double)in->temperature, (double)in->top_p, (double)in->min_p);
    *out = (struct sampling){
        .temperature = in->temperature,
        .top_k = in->top_k,
        .top_p = in->top_p,
        .min_p = in->min_p,
        .seed = in->seed,
        .choice = in->choice,
    };
    return ERR_OK;
}

static err read_edits(struct batch_seq *out, const Lockstep__LogitEdits *in, struct arena *arena) {
    struct logit_edit *edits;
    TRY(check_at_most("logit edits", in->n_tokens, BATCH_MAX_EDITS));
    TRY(check_equal("edited tokens", in->n_tokens, "repetition factors", in->n_repeats));
    TRY(check_equal("edited tokens", in->n_tokens, "biases", in->n_biases));
    TRY(check_tokens("edited token", in->tokens, in->n_tokens, 0));
    TRY(take(arena, (void **)&edits, in->n_tokens, sizeof *edits));
    for (size_t i = 0; i < in->n_tokens; i++) {
        if (!(in->repeats[i] > 0) || isnan(in->biases[i]))
            return FAIL(ERR_PROTOCOL, "a logit edit has factor %g and bias %g",
                        (double)in->repeats[i], (double)in->biases[i]);
        edits[i] = (struct logit_edit){in->tokens[i], in->repeats[i], in->biases[i]};
    }
    out->n_edits = (uint32_t)in->n_tokens;
    out->edits = edits;
    return ERR_OK;
}

/* The blocks must hold every position of the chunk. */
static err check_positions(const Lockstep__Chunk *in) {
    uint64_t end = (uint64_t)in->start + in->n_tokens;
    uint64_t held = (uint64_t)in->n_blocks * KV_BLOCK_TOKENS;
    if (end > held || end > INT32_MAX)
        return FAIL(ERR_PROTOCOL, "a chunk ends at position %llu, but its blocks hold %llu",
                    (unsigned long long)end, (unsigned long long)held);
    return ERR_OK;
}

static err read_chunk(struct batch_seq *out, const Lockstep__Chunk *in, struct arena *arena) {
    if (in->n_tokens == 0) return FAIL(ERR_PROTOCOL, "a chunk has no tokens");
    TRY(check_at_most("tokens in a step", in->n_tokens, BATCH_MAX_TOKENS));
    TRY(check_positions(in));
    TRY(check_at_most("outputs of a chunk", in->n_outputs, in->n_tokens));
    TRY(check_at_most("alternatives", in->top_n, BATCH_MAX_TOP));
    if (in->n_targets > 0) TRY(check_equal("targets", in->n_targets, "outputs", in->n_outputs));
    if (in->sample && in->n_outputs == 0)
        return FAIL(ERR_PROTOCOL, "a chunk is to be sampled but has no output");
    TRY(check_tokens("token", in->tokens, in->n_tokens,
                     in->n_tokens == 1 ? BATCH_TOKEN_PENDING : 0));
    TRY(check_tokens("target", in->targets, in->n_targets, -1));
    *out = (struct batch_seq){
        .seq_id = in->seq_id,
        .start = in->start,
        .n_tokens = (uint32_t)in->n_tokens,
        .tokens = in->tokens,
        .n_blocks = (uint32_t)in->n_blocks,
        .blocks = in->blocks,
        .n_outputs = in->n_outputs,
        .top_n = in->top_n,
        .targets = in->n_targets > 0 ? in->targets : NULL,
        .sample = in->sample,
    };
    if (in->sample) TRY(read_sampling(&out->sampling, in->sampling));
    if (in->edits) TRY(read_edits(out, in->edits, arena));
    return ERR_OK;
}

static err read_step(struct wire_message *m, const Lockstep__Envelope *e, struct arena *arena) {
    const Lockstep__Step *in = e->step;
    struct batch_seq *seqs;
    if (in->n_chunks == 0) return FAIL(ERR_PROTOCOL, "a step has no sequences");
    TRY(check_at_most("sequences in a step", in->n_chunks, BATCH_MAX_SEQS));
    TRY(take(arena, (void **)&seqs, in->n_chunks, sizeof *seqs));
    size_t n_tokens = 0; // no overflow: counts are checked one by one
    for (size_t i = 0; i < in->n_chunks; i++) {
        TRY(read_chunk(&seqs[i], in->chunks[i], arena));
        n_tokens += seqs[i].n_tokens;
    }
    TRY(check_at_most("tokens in a step", n_tokens, BATCH_MAX_TOKENS));
    TRY(check_equal("tokens", n_tokens, "announced", in->n_tokens));
    m->batch = (struct batch){
        .epoch = in->epoch,
        .step = in->step,
        .n_seqs = (uint32_t)in->n_chunks,
        .n_tokens = in->n_tokens,
        .seqs = seqs,
    };
    return ERR_OK;
}

/* Puts the flat lists of alternatives back to their outputs. */
static err read_outputs(struct batch_output *out, const Lockstep__SeqResult *in,
                        struct top_entry *top) {
    size_t at = 0;
    for (size_t i = 0; i < in->n_top_counts; i++) {
        uint32_t n = in->top_counts[i];
        TRY(check_at_most("alternatives", n, BATCH_MAX_TOP));
        if (n > in->n_top_tokens - at)
            return FAIL(ERR_PROTOCOL, "a result counts more alternatives than it has");
        out[i] = (struct batch_output){in->target_logprobs[i], n, top + at};
        for (uint32_t k = 0; k < n; k++, at++)
            top[at] = (struct top_entry){in->top_tokens[at], in->top_logprobs[at]};
    }
    return check_equal("counted alternatives", at, "alternatives", in->n_top_tokens);
}

static err read_seq_result(struct batch_seq_result *out, const Lockstep__SeqResult *in,
                           struct arena *arena) {
    struct batch_output *outputs;
    struct top_entry *top;
    TRY(check_at_most("outputs of a step", in->n_target_logprobs, BATCH_MAX_TOKENS));
    TRY(check_equal("outputs", in->n_target_logprobs, "counts of alternatives", in->n_top_counts));
    TRY(check_equal("alternatives", in->n_top_tokens, "log-probabilities", in->n_top_logprobs));
    TRY(check_tokens("alternative", in->top_tokens, in->n_top_tokens, 0));
    TRY(check_tokens("sampled token", &in->token, 1, -1));
    TRY(take(arena, (void **)&outputs, in->n_top_counts, sizeof *outputs));
    TRY(take(arena, (void **)&top, in->n_top_tokens, sizeof *top));
    TRY(read_outputs(outputs, in, top));
    *out = (struct batch_seq_result){
        .seq_id = in->seq_id,
        .n_outputs = (uint32_t)in->n_top_counts,
        .outputs = outputs,
        .token = in->token,
        .token_logprob = in->token_logprob,
    };
    return ERR_OK;
}

static err read_result(struct wire_message *m, const Lockstep__Envelope *e, struct arena *arena) {
    const Lockstep__Result *in = e->result;
    struct batch_seq_result *seqs;
    TRY(check_at_most("sequences in a step", in->n_seqs, BATCH_MAX_SEQS));
    TRY(take(arena, (void **)&seqs, in->n_seqs, sizeof *seqs));
    size_t n_outputs = 0;
    for (size_t i = 0; i < in->n_seqs; i++) {
        TRY(read_seq_result(&seqs[i], in->seqs[i], arena));
        n_outputs += seqs[i].n_outputs;
    }
    TRY(check_at_most("outputs of a step", n_outputs, BATCH_MAX_TOKENS));
    m->result = (struct batch_result){
        .epoch = in->epoch,
        .step = in->step,
        .n_seqs = (uint32_t)in->n_seqs,
        .seqs = seqs,
        .compute_ns = in->compute_ns,
        .wait_ns = in->wait_ns,
    };
    return ERR_OK;
}

static err read_measure(struct wire_message *m, const Lockstep__Envelope *e, struct arena *arena) {
    (void)arena;
    const Lockstep__Measure *in = e->measure;
    TRY(check_at_most("as the kind of measurement", in->what, MEASURE_N_WHATS - 1));
    TRY(check_at_most("repetitions", in->reps, MEASURE_MAX_REPS));
    if (in->reps == 0) return FAIL(ERR_PROTOCOL, "nothing is to be measured");
    m->measure = (struct measure_ask){.what = (enum measure_what)in->what,
                                      .index = in->index,
                                      .reps = in->reps,
                                      .memory_bytes = in->memory_bytes};
    return ERR_OK;
}

static err check_real(const char *what, double x) {
    if (!(isfinite(x) && x >= 0)) return FAIL(ERR_PROTOCOL, "a message says %g %s", x, what);
    return ERR_OK;
}

static err read_limits(struct measure_limits *out, const Lockstep__Limits *in) {
    TRY(check_real("bytes per second", in->read_bytes_per_s));
    TRY(check_real("operations per second", in->int8_ops_per_s));
    TRY(check_real("operations per second", in->f32_ops_per_s));
    TRY(check_text("way of reading", in->read_way));
    *out = (struct measure_limits){.read_bytes_per_s = in->read_bytes_per_s,
                                   .int8_ops_per_s = in->int8_ops_per_s,
                                   .f32_ops_per_s = in->f32_ops_per_s,
                                   .memory_bytes = in->memory_bytes,
                                   .huge_bytes = in->huge_bytes,
                                   .read_way = in->read_way};
    return ERR_OK;
}

static err read_time(struct measure_time *out, const Lockstep__Timing *in) {
    TRY(check_text("name of a kernel", in->name));
    TRY(check_text("type of a kernel", in->type));
    TRY(check_real("ns", in->median_ns));
    TRY(check_real("ns", in->min_ns));
    TRY(check_real("ns", in->max_ns));
    *out = (struct measure_time){.name = in->name,
                                 .type = in->type,
                                 .rows = in->rows,
                                 .cols = in->cols,
                                 .count = in->count,
                                 .bytes = in->bytes,
                                 .ops = in->ops,
                                 .reps = in->reps,
                                 .median_ns = in->median_ns,
                                 .min_ns = in->min_ns,
                                 .max_ns = in->max_ns};
    return ERR_OK;
}

static err read_measured(struct wire_message *m, const Lockstep__Envelope *e, struct arena *arena) {
    const Lockstep__Measured *in = e->measured;
    struct measure_answer *out = &m->measured;
    struct measure_rank *ranks;
    struct measure_time *times;
    TRY(check_at_most("ranks", in->n_ranks, PLAN_MAX_RANKS));
    TRY(check_at_most("times", in->n_times, MEASURE_MAX_TIMES));
    TRY(take(arena, (void **)&ranks, in->n_ranks, sizeof *ranks));
    TRY(take(arena, (void **)&times, in->n_times, sizeof *times));
    for (size_t r = 0; r < in->n_ranks; r++) {
        const Lockstep__RankTotals *k = in->ranks[r];
        TRY(check_text("CPU's name", k->cpu));
        ranks[r] = (struct measure_rank){.steps = k->steps,
                                         .compute_ns = k->compute_ns,
                                         .wait_ns = k->wait_ns,
                                         .wire_ns = k->wire_ns,
                                         .allreduce_calls = k->allreduce_calls,
                                         .allreduce_bytes = k->allreduce_bytes,
                                         .peak_rss_bytes = k->peak_rss_bytes,
                                         .cpu = k->cpu};
    }
    for (size_t i = 0; i < in->n_times; i++) TRY(read_time(&times[i], in->times[i]));
    *out = (struct measure_answer){.size = (uint32_t)in->n_ranks,
                                   .ranks = ranks,
                                   .n_indexes = in->n_indexes,
                                   .n_times = (uint32_t)in->n_times,
                                   .times = times};
    return in->limits ? read_limits(&out->limits, in->limits) : ERR_OK;
}

static err read_wake(struct wire_message *m, const Lockstep__Envelope *e, struct arena *arena) {
    (void)arena;
    m->step = e->wake->step;
    return ERR_OK;
}

static err read_idle(struct wire_message *m, const Lockstep__Envelope *e, struct arena *arena) {
    (void)arena;
    m->step = e->idle->step;
    return ERR_OK;
}

static err read_nothing(struct wire_message *m, const Lockstep__Envelope *e, struct arena *arena) {
    (void)e;
    (void)arena;
    m->step = 0;
    return ERR_OK;
}

static const struct {
    enum wire_kind kind;
    err (*read)(struct wire_message *m, const Lockstep__Envelope *e, struct arena *arena);
} readers[] = {
    [LOCKSTEP__ENVELOPE__BODY_HELLO] = {WIRE_HELLO, read_hello},
    [LOCKSTEP__ENVELOPE__BODY_WELCOME] = {WIRE_WELCOME, read_nothing},
    [LOCKSTEP__ENVELOPE__BODY_HEARTBEAT] = {WIRE_HEARTBEAT, read_heartbeat},
    [LOCKSTEP__ENVELOPE__BODY_WAKE] = {WIRE_WAKE, read_wake},
    [LOCKSTEP__ENVELOPE__BODY_ERROR] = {WIRE_ERROR, read_error},
    [LOCKSTEP__ENVELOPE__BODY_OPEN] = {WIRE_OPEN, read_open},
    [LOCKSTEP__ENVELOPE__BODY_OPENED] = {WIRE_OPENED, read_opened},
    [LOCKSTEP__ENVELOPE__BODY_HEADERS] = {WIRE_HEADERS, read_headers},
    [LOCKSTEP__ENVELOPE__BODY_LOAD] = {WIRE_LOAD, read_load},
    [LOCKSTEP__ENVELOPE__BODY_PROGRESS] = {WIRE_PROGRESS, read_progress},
    [LOCKSTEP__ENVELOPE__BODY_LOADED] = {WIRE_LOADED, read_loaded},
    [LOCKSTEP__ENVELOPE__BODY_STEP] = {WIRE_STEP, read_step},
    [LOCKSTEP__ENVELOPE__BODY_RESULT] = {WIRE_RESULT, read_result},
    [LOCKSTEP__ENVELOPE__BODY_IDLE] = {WIRE_IDLE, read_idle},
    [LOCKSTEP__ENVELOPE__BODY_SHUTDOWN] = {WIRE_SHUTDOWN, read_nothing},
    [LOCKSTEP__ENVELOPE__BODY_MEASURE] = {WIRE_MEASURE, read_measure},
    [LOCKSTEP__ENVELOPE__BODY_MEASURED] = {WIRE_MEASURED, read_measured},
};

err wire_decode(struct wire_message *m, const void *payload, size_t n, struct arena *arena) {
    struct arena_source source = {.arena = arena};
    ProtobufCAllocator allocator = {
        .alloc = source_alloc, .free = source_free, .allocator_data = &source};
    memset(m, 0, sizeof *m);
    const Lockstep__Envelope *e = lockstep__envelope__unpack(&allocator, n, payload);
    if (!e && source.exhausted) return arena_full(arena);
    if (!e) return FAIL(ERR_PROTOCOL, "%zu bytes from a peer are no message", n);
    size_t body = (size_t)e->body_case;
    if (body >= sizeof readers / sizeof *readers || !readers[body].read)
        return FAIL(ERR_PROTOCOL, "a message of an unknown kind arrived");
    m->kind = readers[body].kind;
    err result = readers[body].read(m, e, arena);
    return result == ERR_OK ? ERR_OK : error_prefix(result, "%s", wire_kind_name(m->kind));
}
