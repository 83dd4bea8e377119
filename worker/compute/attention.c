// SPDX-License-Identifier: MIT
/* attention.c: see attention.h.
 *
 * The division is made once per step, for all layers: pieces of tokens, each to be done once for
 * every KV head.
 *
 *     tokens   | seq 7: prefill, 40 tokens      | seq 2 | seq 9, deep |
 *     pieces   [ 12 ]  [ 12 ]  [ 12 ]  [ 4 ]     [ 1 ]   [p0][p1][p2]    x KV heads
 *
 * A piece may cost a quarter of a thread's fair share, so that the team ends together; a single
 * token that costs more than half of one is cut into the parts of its past, which are merged when
 * all pieces are done.  There can be only two such (token, KV head) pairs per thread, which bounds
 * the memory for their results. */

#include "worker/compute/attention.h"

#include <string.h>

#include "common/mem.h"
#include "common/plan.h"
#include "worker/compute/attend.h"
#include "worker/job/team.h"

#define PIECES_PER_THREAD 4

#define WHOLE_PAST UINT32_MAX

struct piece {
    uint32_t row, tokens;
    uint32_t part; // of one token's past, or WHOLE_PAST
    uint32_t cut;  // where its result goes when it is a part
};

/* A token whose past is cut. */
struct cut {
    uint32_t row, parts;
};

struct attention {
    struct attention_options o;
    size_t threads, queries; // queries: of a scratch
    size_t max_cuts;
    const struct kv_row *rows;
    struct piece *pieces; // [max_tokens + max_cuts * ATTEND_MAX_PARTS]
    struct cut *cuts;     // [max_cuts]
    size_t n_pieces, n_cuts;
    struct attend_scratch *scratch; // [threads]
    struct attn_state *parts;       // [max_cuts, ATTEND_MAX_PARTS, n_heads]
    void *memory;                   // of scratch and parts
    size_t memory_bytes;
};

/* --- memory --- */

struct sizes {
    size_t threads, queries, max_cuts, max_pieces;
    size_t scratch_bytes; // of one thread
    size_t part_states;
};

static struct sizes sizes_of(const struct attention_options *o) {
    struct sizes n = {.threads = team_size()};
    n.queries = o->group > ATTEND_QUERIES ? o->group : ATTEND_QUERIES;
    n.max_cuts = n.threads > 1 ? 2 * n.threads / o->n_kv_heads : 0;
    n.max_pieces = o->max_tokens + n.max_cuts * ATTEND_MAX_PARTS;
    n.scratch_bytes = attend_scratch_bytes(n.queries, o->head_dim);
    n.part_states = n.max_cuts * ATTEND_MAX_PARTS * o->n_heads;
    return n;
}

static size_t mapped_bytes(const struct attention_options *o, const struct sizes *n) {
    return n->threads * n->scratch_bytes +
           n->part_states * (sizeof(struct attn_state) + o->head_dim * sizeof(float));
}

uint64_t attention_bytes(const struct attention_options *o) {
    struct sizes n = sizes_of(o);
    return mapped_bytes(o, &n) + n.max_pieces * sizeof(struct piece) +
           n.max_cuts * sizeof(struct cut) + n.threads * sizeof(struct attend_scratch);
}

err attention_create(struct attention **out, const struct attention_options *o) {
    struct sizes n = sizes_of(o);
    struct attention *a = mem_zalloc(sizeof *a);
    a->o = *o;
    a->threads = n.threads;
    a->queries = n.queries;
    a->max_cuts = n.max_cuts;
    a->memory_bytes = mapped_bytes(o, &n);
    err e = mem_map(&a->memory, a->memory_bytes);
    if (e != ERR_OK) {
        mem_free(a);
        return error_prefix(e, "attention with %zu threads", n.threads);
    }
    a->pieces = mem_zalloc_array(n.max_pieces, sizeof *a->pieces);
    a->cuts = mem_zalloc_array(n.max_cuts, sizeof *a->cuts);
    a->scratch = mem_zalloc_array(n.threads, sizeof *a->scratch);
    char *next = a->memory;
    for (size_t i = 0; i < n.threads; i++, next += n.scratch_bytes)
        attend_place(&a->scratch[i], next, n.queries, o->head_dim);
    float *part_out = (float *)(void *)next;
    a->parts = (struct attn_state *)(void *)(part_out + n.part_states * o->head_dim);
    for (size_t i = 0; i < n.part_states; i++) a->parts[i].out = part_out + i * o->head_dim;
    *out = a;
    return ERR_OK;
}

void attention_free(struct attention *a) {
    if (!a) return;
    mem_unmap(a->memory, a->memory_bytes);
    mem_free(a->pieces);
    mem_free(a->cuts);
    mem_free(a->scratch);
    mem_free(a);
}

/* --- the division of a step --- */

/* Positions that a token reads in each KV head. */
static uint64_t cost_of(const struct kv_row *row) {
    return (uint64_t)row->position + 1;
}

/* Tokens from `row` on that make one piece of at most `most` cost, at least one. */
static size_t neighbours(const struct attention *a, size_t row, size_t end, uint64_t most) {
    const struct kv_row *first = &a->rows[row];
    size_t limit = a->queries / a->o.group, n = 1;
    uint64_t cost = cost_of(first);
    for (; row + n < end && n < limit; n++) {
        const struct kv_row *next = first + n;
        cost += cost_of(next);
        if (next->blocks != first->blocks || next->position != first->position + n ||
            attend_part_tokens(next->position) != attend_part_tokens(first->position) ||
            cost > most)
            break;
    }
    return n;
}

static void cut_token(struct attention *a, size_t row) {
    uint32_t parts = attend_parts(a->rows[row].position);
    for (uint32_t part = 0; part < parts; part++)
        a->pieces[a->n_pieces++] = (struct piece){
            .row = (uint32_t)row, .tokens = 1, .part = part, .cut = (uint32_t)a->n_cuts};
    a->cuts[a->n_cuts++] = (struct cut){.row = (uint32_t)row, .parts = parts};
}

void attention_set_rows(struct attention *a, const struct kv_row *rows, size_t tokens) {
    CHECK(tokens <= a->o.max_tokens);
    a->rows = rows;
    a->n_pieces = a->n_cuts = 0;
    uint64_t total = 0; // of one KV head
    for (size_t t = 0; t < tokens; t++) total += cost_of(&rows[t]);
    total *= a->o.n_kv_heads;
    uint64_t most = total / (PIECES_PER_THREAD * a->threads);

    for (size_t row = 0; row < tokens;) {
        size_t n = neighbours(a, row, tokens, most);
        bool deep = n == 1 && cost_of(&rows[row]) > 2 * most;
        if (deep && a->n_cuts < a->max_cuts && attend_parts(rows[row].position) > 1)
            cut_token(a, row);
        else
            a->pieces[a->n_pieces++] =
                (struct piece){.row = (uint32_t)row, .tokens = (uint32_t)n, .part = WHOLE_PAST};
        row += n;
    }
}

/* --- the work --- */

struct attention_work {
    const struct attention *a;
    float *out;     // [tokens, n_heads, head_dim]
    const float *q; // [tokens, n_heads, head_dim]
    uint32_t layer;
};

/* This rank's query heads that read a KV head, counted from its first. */
static struct range heads_of(const struct attention *a, uint32_t kv_head) {
    uint32_t begin = (a->o.first_kv_head + kv_head) * a->o.group, end = begin + a->o.group;
    uint32_t first = a->o.first_head, last = first + a->o.n_heads;
    return (struct range){.begin = (begin > first ? begin : first) - first,
                          .end = (end < last ? end : last) - first};
}

static void store_result(const struct attention *a, float *out, const struct attn_state *state) {
    float norm = 1.0f / state->sum;
    for (size_t i = 0; i < a->o.head_dim; i++) out[i] = state->out[i] * norm;
}

static struct attn_state *part_states(const struct attention *a, size_t cut, size_t part) {
    return a->parts + (cut * ATTEND_MAX_PARTS + part) * a->o.n_heads;
}

static void do_piece(const struct attention_work *work, const struct piece *p, uint32_t kv_head,
                     const struct attend_scratch *s) {
    const struct attention *a = work->a;
    struct range heads = heads_of(a, kv_head);
    size_t dim = a->o.head_dim, width = range_len(heads) * dim;
    struct attend_task task = {.kernels = a->o.kernels,
                               .kv = a->o.kv,
                               .layer = work->layer,
                               .kv_head = kv_head,
                               .position = a->rows[p->row].position,
                               .blocks = a->rows[p->row].blocks,
                               .tokens = p->tokens,
                               .heads = range_len(heads)};

    for (size_t t = 0; t < p->tokens; t++)
        memcpy(s->q + t * width, work->q + ((p->row + t) * a->o.n_heads + heads.begin) * dim,
               width * sizeof *s->q);
    if (p->part != WHOLE_PAST) {
        attend_part(&task, s, part_states(a, p->cut, p->part) + heads.begin, p->part);
        return;
    }
    attend_past(&task, s);
    for (size_t i = 0; i < p->tokens * task.heads; i++) {
        size_t token = p->row + i / task.heads, head = heads.begin + i % task.heads;
        store_result(a, work->out + (token * a->o.n_heads + head) * dim, &s->states[i]);
    }
}

static void merge_cut(const struct attention *a, size_t cut, uint32_t head, float *out) {
    struct attn_state *total = part_states(a, cut, 0) + head;
    for (uint32_t part = 1; part < a->cuts[cut].parts; part++)
        a->o.kernels->attn_merge(total, part_states(a, cut, part) + head, a->o.head_dim);
    store_result(a, out + (a->cuts[cut].row * a->o.n_heads + head) * a->o.head_dim, total);
}

/* Task i: a piece for one KV head. */
static void do_task(const void *arg, size_t i, size_t thread) {
    const struct attention_work *work = arg;
    const struct attention *a = work->a;
    CHECK(thread < a->threads);
    do_piece(work, &a->pieces[i / a->o.n_kv_heads], (uint32_t)(i % a->o.n_kv_heads),
             &a->scratch[thread]);
}

static void do_merge(const void *arg, size_t i) {
    const struct attention_work *work = arg;
    size_t heads = work->a->o.n_heads;
    merge_cut(work->a, i / heads, (uint32_t)(i % heads), work->out);
}

void attention_apply(const struct attention *a, float *out, const float *q, uint32_t layer) {
    const struct attention_work work = {a, out, q, layer};
    team_each(a->n_pieces * a->o.n_kv_heads, do_task, &work);
    team_for(a->n_cuts * a->o.n_heads, do_merge, &work);
}
