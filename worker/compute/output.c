// SPDX-License-Identifier: MIT
/* output.c: see output.h.
 *
 * Rows go through in tiles of TILE_ROWS, so that logits take TILE_ROWS times this rank's vocabulary
 * and no more, however many log-probabilities a prompt wants.  What a tile costs between ranks:
 *
 *     all ranks: a record per row ──comm_gatherv──► rank 0 merges
 *     all ranks: ◄──── a bit per row: not decided ──── rank 0
 *     all ranks: logits of such a row ──comm_gatherv──► rank 0 samples from the whole row
 *
 * The second happens only if a row of the tile could be left undecided.  Whether it and the third
 * happen follows from the batch and from what rank 0 sends, so all ranks agree.  A record's length
 * follows from its request alone. */

#include "worker/compute/output.h"

#include <math.h>
#include <string.h>

#include "common/mem.h"
#include "worker/compute/sampler.h"
#include "worker/compute/topk.h"
#include "worker/job/team.h"

#define TILE_ROWS 32 // bits of a mask

/* One row of logits that something is wanted of. */
struct row {
    uint32_t seq;    // index in the batch
    uint32_t output; // index in its sequence
    bool sample;
};

/* What a rank says of its part of a row.  n_top, then n_kept candidates follow; room is left for as
 * many as were asked for. */
struct record {
    struct log_sum raw;    // of the model's own distribution
    struct log_sum edited; // after edits, at the temperature; of sampled rows with temperature > 0
    struct candidate best; // of the raw logits; token -1 on a rank without vocabulary rows
    float target;          // logit of the wanted token, -INFINITY when it is another rank's
    uint32_t n_top, n_kept;
};

struct output {
    struct comm *comm;
    const struct kernels *kernels;
    uint32_t n_vocab;
    const struct plan *plan;
    struct range vocab;
    size_t most_rows; // vocabulary rows of the rank that has most
    size_t threads;
    bool is_root;

    struct row *rows; // [max_tokens] of the batch
    uint32_t *chosen; // [max_tokens] their tokens in the step
    size_t n_rows;
    const struct batch *batch;

    void *memory; // all arrays
    size_t memory_bytes;
    float *logits;    // [TILE_ROWS, my vocabulary rows]
    float *saved;     // [threads, BATCH_MAX_EDITS] values that edits replaced
    uint8_t *records; // of a tile
    size_t record_at[TILE_ROWS + 1];

    /* rank 0 */
    uint8_t *gathered;      // [ranks] records of a tile
    size_t *bytes, *offset; // [ranks]
    struct candidate *pool; // [n_vocab] candidates of one row
    float *whole;           // [n_vocab] one row of logits
    struct log_sum raw[TILE_ROWS], edited[TILE_ROWS];
    struct batch_seq_result *seq_results; // [max_batch]
    struct batch_output *outputs;         // [max_tokens]
    struct top_entry *tops;               // [max_tokens, BATCH_MAX_TOP]
    size_t n_tops;
};

/* --- memory --- */

static size_t record_bytes(size_t top_n, size_t keep) {
    size_t bytes = sizeof(struct record) + (top_n + keep) * sizeof(struct candidate);
    return (bytes + 7) & ~(size_t)7;
}

static size_t records_bytes_max(void) {
    return TILE_ROWS * record_bytes(BATCH_MAX_TOP, SAMPLER_KEEP_MAX);
}

/* Places an array or, without memory, counts it. */
static void *place(uint8_t *memory, size_t *used, size_t count, size_t size) {
    void *at = memory ? memory + *used : NULL;
    *used += (count * size + 63) & ~(size_t)63;
    return at;
}

/* Lays the arrays into memory (NULL: nowhere) and returns their bytes. */
static size_t lay_out(struct output *o, uint8_t *memory, size_t max_tokens, size_t max_batch) {
    size_t used = 0, size = o->plan->size;
    o->rows = place(memory, &used, max_tokens, sizeof *o->rows);
    o->chosen = place(memory, &used, max_tokens, sizeof *o->chosen);
    o->logits = place(memory, &used, TILE_ROWS * (size_t)range_len(o->vocab), sizeof(float));
    o->saved = place(memory, &used, o->threads * BATCH_MAX_EDITS, sizeof(float));
    o->records = place(memory, &used, records_bytes_max(), 1);
    if (o->is_root) {
        o->gathered = place(memory, &used, size * records_bytes_max(), 1);
        o->bytes = place(memory, &used, size, sizeof *o->bytes);
        o->offset = place(memory, &used, size, sizeof *o->offset);
        o->pool = place(memory, &used, o->n_vocab, sizeof *o->pool);
        o->whole = place(memory, &used, o->n_vocab, sizeof *o->whole);
        o->seq_results = place(memory, &used, max_batch, sizeof *o->seq_results);
        o->outputs = place(memory, &used, max_tokens, sizeof *o->outputs);
        o->tops = place(memory, &used, max_tokens * BATCH_MAX_TOP, sizeof *o->tops);
    }
    return used;
}

uint64_t output_bytes(const struct model_shape *s, const struct plan *p, uint32_t r,
                      size_t max_tokens, size_t max_batch) {
    struct output o = {.n_vocab = s->n_vocab,
                       .plan = p,
                       .vocab = p->ranks[r].vocab,
                       .threads = team_size(),
                       .is_root = r == 0};
    return sizeof o + lay_out(&o, NULL, max_tokens, max_batch);
}

err output_create(struct output **out, struct comm *c, const struct kernels *k,
                  const struct model_shape *s, const struct plan *p, size_t max_tokens,
                  size_t max_batch) {
    struct output *o = mem_zalloc(sizeof *o);
    *o = (struct output){.comm = c,
                         .kernels = k,
                         .n_vocab = s->n_vocab,
                         .plan = p,
                         .vocab = p->ranks[comm_rank(c)].vocab,
                         .threads = team_size(),
                         .is_root = comm_rank(c) == 0};
    for (uint32_t r = 0; r < p->size; r++)
        if (range_len(p->ranks[r].vocab) > o->most_rows)
            o->most_rows = range_len(p->ranks[r].vocab);
    o->memory_bytes = lay_out(o, NULL, max_tokens, max_batch);
    err e = mem_map(&o->memory, o->memory_bytes);
    if (e != ERR_OK) {
        mem_free(o);
        return e;
    }
    lay_out(o, o->memory, max_tokens, max_batch);
    *out = o;
    return ERR_OK;
}

void output_free(struct output *o) {
    if (!o) return;
    mem_unmap(o->memory, o->memory_bytes);
    mem_free(o);
}

/* --- what the batch wants --- */

static const struct batch_seq *seq_of(const struct output *o, size_t row) {
    return &o->batch->seqs[o->rows[row].seq];
}

static void list_rows(struct output *o, const struct batch *b) {
    uint32_t token = 0; // index in the step of the sequence's first
    o->batch = b;
    o->n_rows = 0;
    for (uint32_t s = 0; s < b->n_seqs; s++) {
        const struct batch_seq *seq = &b->seqs[s];
        for (uint32_t i = 0; i < seq->n_outputs; i++) {
            o->chosen[o->n_rows] = token + seq->n_tokens - seq->n_outputs + i;
            o->rows[o->n_rows++] = (struct row){
                .seq = s, .output = i, .sample = seq->sample && i + 1 == seq->n_outputs};
        }
        token += seq->n_tokens;
    }
}

static size_t keep_count(const struct output *o, size_t row) {
    return o->rows[row].sample ? sampler_keep_count(&seq_of(o, row)->sampling).count : 0;
}

/* Could a row need more than the candidates?  All ranks give the same answer. */
static bool may_need_whole(const struct output *o, size_t row) {
    if (!o->rows[row].sample) return false;
    struct sampler_keep keep = sampler_keep_count(&seq_of(o, row)->sampling);
    return !keep.decisive && keep.count < o->most_rows;
}

static struct candidate *record_top(struct record *r) {
    return (struct candidate *)(r + 1);
}

static struct candidate *record_kept(struct record *r) {
    return record_top(r) + r->n_top;
}

/* --- every rank: its part of a row --- */

/* logits[my vocabulary rows] come back as they were, but cleaned. */
static void make_record(struct output *o, size_t row, float *logits, float *saved,
                        struct record *r) {
    const struct batch_seq *seq = seq_of(o, row);
    size_t n = range_len(o->vocab);
    int32_t first = (int32_t)o->vocab.begin;
    int32_t target = seq->targets ? seq->targets[o->rows[row].output] : -1;

    sampler_clean(logits, n);
    *r = (struct record){.raw = log_sum_of(o->kernels, logits, n, 1.0),
                         .edited = {.max = -INFINITY}};
    r->target =
        target >= first && (uint32_t)target < o->vocab.end ? logits[target - first] : -INFINITY;
    if (topk_select(&r->best, 1, logits, n, first) == 0)
        r->best = (struct candidate){.logit = -INFINITY, .raw = -INFINITY, .token = -1};
    r->n_top = (uint32_t)topk_select(record_top(r), seq->top_n, logits, n, first);
    if (!o->rows[row].sample) return;

    sampler_edit(logits, n, first, seq->edits, seq->n_edits, saved);
    if (seq->sampling.temperature > 0)
        r->edited = log_sum_of(o->kernels, logits, n, (double)seq->sampling.temperature);
    struct candidate *kept = record_kept(r);
    r->n_kept = (uint32_t)topk_select(kept, keep_count(o, row), logits, n, first);
    sampler_unedit(logits, n, first, seq->edits, seq->n_edits, saved);
    for (uint32_t i = 0; i < r->n_kept; i++) kept[i].raw = logits[kept[i].token - first];
}

struct tile_work {
    struct output *o;
    size_t begin; // the tile's first row
};

static void make_tile_record(const void *arg, size_t i, size_t thread) {
    const struct tile_work *w = arg;
    struct output *o = w->o;
    CHECK(thread < o->threads);
    make_record(o, w->begin + i, o->logits + i * range_len(o->vocab),
                o->saved + thread * BATCH_MAX_EDITS,
                (struct record *)(void *)(o->records + o->record_at[i]));
}

static void make_records(struct output *o, size_t begin, size_t n) {
    const struct tile_work work = {o, begin};
    o->record_at[0] = 0;
    for (size_t i = 0; i < n; i++)
        o->record_at[i + 1] =
            o->record_at[i] + record_bytes(seq_of(o, begin + i)->top_n, keep_count(o, begin + i));
    team_each(n, make_tile_record, &work);
}

/* --- rank 0: the whole row --- */

static struct record *gathered_record(const struct output *o, size_t rank, size_t i, size_t n) {
    return (struct record *)(void *)(o->gathered + rank * o->record_at[n] + o->record_at[i]);
}

static void merge_output(struct output *o, size_t row, size_t i, size_t n) {
    const struct batch_seq *seq = seq_of(o, row);
    struct batch_output *out = &o->outputs[row];
    struct top_entry *top = o->tops + o->n_tops;
    struct topk_reader reader;
    float target = -INFINITY;
    size_t n_pool = 0;

    o->raw[i] = o->edited[i] = (struct log_sum){.max = -INFINITY};
    for (size_t rank = 0; rank < o->plan->size; rank++) {
        struct record *r = gathered_record(o, rank, i, n);
        log_sum_merge(&o->raw[i], &r->raw);
        log_sum_merge(&o->edited[i], &r->edited);
        if (r->target > target) target = r->target;
        memcpy(o->pool + n_pool, record_top(r), r->n_top * sizeof *o->pool);
        n_pool += r->n_top;
    }
    topk_reader_init(&reader, o->pool, n_pool);
    bool named = seq->targets && seq->targets[o->rows[row].output] >= 0;
    *out = (struct batch_output){
        .top = top, .target_logprob = named ? (float)log_sum_logprob(&o->raw[i], target) : NAN};
    const struct candidate *c;
    while (out->n_top < seq->top_n && (c = topk_reader_at(&reader, out->n_top)) != NULL)
        top[out->n_top++] = (struct top_entry){
            .token = c->token, .logprob = (float)log_sum_logprob(&o->raw[i], c->raw)};
    o->n_tops += out->n_top;
}

static void set_token(struct output *o, size_t row, size_t i, const struct candidate *c) {
    struct batch_seq_result *result = &o->seq_results[o->rows[row].seq];
    result->token = c->token;
    result->token_logprob = (float)log_sum_logprob(&o->raw[i], c->raw);
}

/* When the edits ban every token there is nothing to obey: the model's own best token is taken. */
static void set_best_token(struct output *o, size_t row, size_t i, size_t n) {
    struct topk_reader reader;
    size_t n_pool = 0;
    for (size_t rank = 0; rank < o->plan->size; rank++) {
        const struct record *r = gathered_record(o, rank, i, n);
        if (r->best.token >= 0) o->pool[n_pool++] = r->best;
    }
    topk_reader_init(&reader, o->pool, n_pool);
    set_token(o, row, i, topk_reader_at(&reader, 0));
}

/* Chooses from pool[n_pool]; false when that does not decide. */
static bool sample_pool(struct output *o, size_t row, size_t i, size_t n, size_t n_pool) {
    const struct batch_seq *seq = seq_of(o, row);
    const struct sampling *s = &seq->sampling;
    struct topk_reader reader;
    topk_reader_init(&reader, o->pool, n_pool);
    if (topk_reader_at(&reader, 0)->logit == -INFINITY) {
        set_best_token(o, row, i, n);
        return true;
    }
    uint64_t position = (uint64_t)seq->start + seq->n_tokens;
    const struct candidate *c =
        sampler_choose(s, &reader, keep_count(o, row), n_pool == o->n_vocab, &o->edited[i],
                       sampler_uniform(s->seed, s->choice, position));
    if (c) set_token(o, row, i, c);
    return c != NULL;
}

static bool sample_candidates(struct output *o, size_t row, size_t i, size_t n) {
    size_t n_pool = 0;
    for (size_t rank = 0; rank < o->plan->size; rank++) {
        struct record *r = gathered_record(o, rank, i, n);
        memcpy(o->pool + n_pool, record_kept(r), r->n_kept * sizeof *o->pool);
        n_pool += r->n_kept;
    }
    return sample_pool(o, row, i, n, n_pool);
}

static void sample_whole(struct output *o, size_t row, size_t i, size_t n) {
    const struct batch_seq *seq = seq_of(o, row);
    for (uint32_t t = 0; t < o->n_vocab; t++)
        o->pool[t] = (struct candidate){.raw = o->whole[t], .token = (int32_t)t};
    sampler_edit(o->whole, o->n_vocab, 0, seq->edits, seq->n_edits, NULL);
    for (uint32_t t = 0; t < o->n_vocab; t++) o->pool[t].logit = o->whole[t];
    CHECK(sample_pool(o, row, i, n, o->n_vocab));
}

/* Merges the tile's records; returns the rows that they do not decide, as bits. */
static uint32_t merge_tile(struct output *o, size_t begin, size_t n) {
    uint32_t undecided = 0;
    for (size_t i = 0; i < n; i++) {
        merge_output(o, begin + i, i, n);
        if (o->rows[begin + i].sample && !sample_candidates(o, begin + i, i, n))
            undecided |= 1u << i;
    }
    return undecided;
}

/* --- between ranks --- */

static void gather_records(struct output *o, size_t n) {
    size_t bytes = o->record_at[n];
    for (size_t rank = 0; o->is_root && rank < o->plan->size; rank++) {
        o->bytes[rank] = bytes;
        o->offset[rank] = rank * bytes;
    }
    comm_gatherv(o->comm, o->records, bytes, o->gathered, o->bytes, o->offset, 0);
}

static void gather_whole(struct output *o, size_t i) {
    for (size_t rank = 0; o->is_root && rank < o->plan->size; rank++) {
        o->bytes[rank] = range_len(o->plan->ranks[rank].vocab) * sizeof(float);
        o->offset[rank] = o->plan->ranks[rank].vocab.begin * sizeof(float);
    }
    size_t mine = range_len(o->vocab);
    comm_gatherv(o->comm, o->logits + i * mine, mine * sizeof(float), o->whole, o->bytes, o->offset,
                 0);
}

static void run_tile(struct output *o, struct forward *f, size_t begin, size_t n) {
    forward_logits(f, o->logits, o->chosen + begin, n);
    make_records(o, begin, n);
    gather_records(o, n);
    uint32_t undecided = o->is_root ? merge_tile(o, begin, n) : 0;

    bool ask = false;
    for (size_t i = 0; i < n; i++) ask = ask || may_need_whole(o, begin + i);
    if (!ask) return;
    comm_bcast(o->comm, &undecided, sizeof undecided, 0);
    for (size_t i = 0; i < n; i++) {
        if (!(undecided >> i & 1)) continue;
        gather_whole(o, i);
        if (o->is_root) sample_whole(o, begin + i, i, n);
    }
}

const struct batch_seq_result *output_run(struct output *o, struct forward *f,
                                          const struct batch *b) {
    list_rows(o, b);
    o->n_tops = 0;
    size_t row = 0;
    for (uint32_t s = 0; o->is_root && s < b->n_seqs; s++) {
        o->seq_results[s] = (struct batch_seq_result){.seq_id = b->seqs[s].seq_id,
                                                      .n_outputs = b->seqs[s].n_outputs,
                                                      .outputs = o->outputs + row,
                                                      .token = -1,
                                                      .token_logprob = NAN};
        row += b->seqs[s].n_outputs;
    }
    for (size_t begin = 0; begin < o->n_rows; begin += TILE_ROWS)
        run_tile(o, f, begin, o->n_rows - begin < TILE_ROWS ? o->n_rows - begin : TILE_ROWS);
    return o->is_root ? o->seq_results : NULL;
}
