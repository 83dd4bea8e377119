// SPDX-License-Identifier: MIT
/* forward.c: see forward.h.
 *
 * Decoder-only transformer with pre-normalisation, rotary positions, grouped-query attention and a
 * gated FFN (Touvron et al., 2023), cut by tensor parallelism as in Megatron (Shoeybi et al.,
 * 2019). Seen from one rank:
 *
 *     x (everywhere) ─ norm ─ Q,K,V of my heads ─ attention ─ my columns of the output ─┐
 *     x  ◄───────────────────────────── + ◄──────────────────────────────── all-reduce ◄┘
 *     x (everywhere) ─ norm ─ gate, up: my columns ─ silu(gate) * up ─ my part of down ─┐
 *     x  ◄───────────────────────────── + ◄──────────────────────────────── all-reduce ◄┘
 *
 * Every collective here is reached by all ranks in the same order: the number of layers and tokens
 * decides alone, also on a rank that holds no FFN column or no vocabulary row. */

#include "worker/compute/forward.h"

#include <string.h>

#include "common/mem.h"
#include "worker/compute/attention.h"
#include "worker/compute/linear.h"
#include "worker/compute/rope.h"
#include "worker/job/team.h"

/* Below this width of the residual stream all products are fine (linear.h): such a model waits for
 * its ranks, not for its products. */
#define FINE_DIM 1024

/* Lengths of a row of activations on this rank. */
struct widths {
    size_t dim, q, kv, ff, vocab;
    size_t max_cols; // of any matrix, masked blocks included
};

struct forward {
    struct forward_options o;
    struct widths n;
    struct range vocab;
    bool all_fine; // not only the products that matter most
    struct attention *attention;
    struct linear *linear;
    struct rope *rope;
    struct allreduce *allreduce;
    uint64_t *checksums; // [ranks]

    void *memory; // all of the following
    size_t memory_bytes;
    float *x;      // [tokens, dim] the residual stream
    float *normed; // [tokens, dim]
    float *q;      // [tokens, my heads, head_dim]
    float *k, *v;  // [tokens, my KV heads, head_dim]
    float *mixed;  // [tokens, my heads, head_dim] attention's result
    float *gate;   // [tokens, my FFN columns]
    float *up;     // [tokens, my FFN columns]
    float *hidden; // [tokens, my FFN columns] silu(gate) * up
};

/* --- the pass --- */

struct norm_rows {
    const struct forward *f;
    float *y; // [tokens, dim]
    const float *x, *weight;
};

static void norm_row(const void *arg, size_t t) {
    const struct norm_rows *r = arg;
    size_t dim = r->f->n.dim;
    r->f->o.kernels->rms_norm(r->y + t * dim, r->x + t * dim, r->weight, dim,
                              r->f->o.shape->norm_eps);
}

static void norm_rows(const struct forward *f, float *y, const float *x, const float *weight,
                      size_t tokens) {
    const struct norm_rows rows = {f, y, x, weight};
    team_for(tokens, norm_row, &rows);
}

static void silu_mul_row(const void *arg, size_t t) {
    const struct forward *f = arg;
    size_t ff = f->n.ff;
    f->o.kernels->silu_mul(f->hidden + t * ff, f->gate + t * ff, f->up + t * ff, ff);
}

struct stored_rows {
    const struct forward *f;
    const struct kv_row *rows;
    uint32_t layer;
};

static void store_row(const void *arg, size_t t) {
    const struct stored_rows *s = arg;
    const struct forward *f = s->f;
    size_t head_dim = f->o.shape->head_dim;
    uint32_t heads = kv_get_shape(f->o.kv)->n_heads;
    for (uint32_t h = 0; h < heads; h++)
        kv_store(f->o.kv, f->o.kernels, s->layer, h, &s->rows[t], f->k + (t * heads + h) * head_dim,
                 f->v + (t * heads + h) * head_dim);
}

/* Where this rank's part of a block's output goes: [tokens, dim]. */
static float *my_part(struct forward *f, size_t tokens) {
    return allreduce_part(f->allreduce, tokens * f->n.dim);
}

/* x += the sum of all ranks' parts. */
static void add_everybodys(struct forward *f, size_t tokens) {
    allreduce_add(f->allreduce, f->x, tokens * f->n.dim);
}

struct embedded_rows {
    const struct forward *f;
    const int32_t *tokens;
};

/* The embedding is cut by vocabulary: a token's row comes from the one rank that holds it, all
 * others add zeros, which is exact. */
static void embed_row(const void *arg, size_t t) {
    const struct embedded_rows *r = arg;
    const struct forward *f = r->f;
    const struct matrix *e = &f->o.weights->token_embd;
    size_t dim = f->n.dim;
    uint32_t token = (uint32_t)r->tokens[t];
    if (token >= f->vocab.begin && token < f->vocab.end)
        e->kernel->unpack_row(e->packed, e->rows, e->cols, token - f->vocab.begin, f->x + t * dim);
    else
        memset(f->x + t * dim, 0, dim * sizeof *f->x);
}

static void embed(struct forward *f, const int32_t *tokens, size_t n) {
    const struct embedded_rows rows = {f, tokens};
    team_for(n, embed_row, &rows);
    allreduce_sum(f->allreduce, f->x, n * f->n.dim);
}

static void attention_block(struct forward *f, uint32_t layer, const struct kv_row *rows,
                            size_t tokens) {
    const struct layer_weights *w = &f->o.weights->layers[layer];
    const struct stored_rows stored = {f, rows, layer};
    size_t head_dim = f->o.shape->head_dim;

    norm_rows(f, f->normed, f->x, w->attn_norm, tokens);
    linear_set_input(f->linear, f->normed, f->n.dim, tokens);
    const struct linear_product qkv[] = {
        {.y = f->q, .w = &w->q, .bias = w->q_bias, .fine = f->all_fine},
        {.y = f->k, .w = &w->k, .bias = w->k_bias, .fine = true}, // every later token reads these,
        {.y = f->v, .w = &w->v, .bias = w->v_bias, .fine = true}, // and they are few
    };
    linear_apply(f->linear, qkv, 3);

    rope_apply(f->rope, f->q, tokens, f->n.q / head_dim);
    rope_apply(f->rope, f->k, tokens, f->n.kv / head_dim);
    team_for(tokens, store_row, &stored);
    attention_apply(f->attention, f->mixed, f->q, layer);

    linear_set_input(f->linear, f->mixed, f->n.q, tokens);
    const struct linear_product out = {
        .y = my_part(f, tokens), .w = &w->attn_out, .fine = f->all_fine};
    linear_apply(f->linear, &out, 1);
    add_everybodys(f, tokens);
}

static void ffn_block(struct forward *f, uint32_t layer, size_t tokens) {
    const struct layer_weights *w = &f->o.weights->layers[layer];

    norm_rows(f, f->normed, f->x, w->ffn_norm, tokens);
    linear_set_input(f->linear, f->normed, f->n.dim, tokens);
    const struct linear_product gate_up[] = {{.y = f->gate, .w = &w->gate, .fine = f->all_fine},
                                             {.y = f->up, .w = &w->up, .fine = f->all_fine}};
    linear_apply(f->linear, gate_up, 2);
    team_for(tokens, silu_mul_row, f);

    linear_set_input(f->linear, f->hidden, f->n.ff, tokens);
    const struct linear_product down = {
        .y = my_part(f, tokens), .w = &w->down, .fine = f->all_fine};
    linear_apply(f->linear, &down, 1);
    add_everybodys(f, tokens);
}

/* Position-dependent, so that two rows changing places is seen. */
static uint64_t checksum(const float *x, size_t n) {
    uint64_t hash = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        hash = (hash ^ bits) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
    }
    return hash;
}

/* All ranks see the same checksums and come to the same answer: the rank that differs from most. */
static err compare_ranks(struct forward *f, uint32_t layer, size_t tokens) {
    size_t size = f->o.plan->size, most = 0, votes = 0;
    uint64_t mine = checksum(f->x, tokens * f->n.dim);
    comm_allgather(f->o.comm, &mine, f->checksums, sizeof mine);
    for (size_t i = 0; i < size; i++) {
        size_t equal = 0;
        for (size_t j = 0; j < size; j++) equal += f->checksums[j] == f->checksums[i];
        if (equal > votes) {
            votes = equal;
            most = i;
        }
    }
    for (size_t i = 0; i < size; i++)
        if (f->checksums[i] != f->checksums[most])
            return FAIL(ERR_INTERNAL,
                        "after layer %u the residual stream of rank %zu differs from that of "
                        "rank %zu (checksums %016llx and %016llx)",
                        layer, i, most, (unsigned long long)f->checksums[i],
                        (unsigned long long)f->checksums[most]);
    return ERR_OK;
}

err forward_run(struct forward *f, const int32_t *tokens, const struct kv_row *rows, size_t n) {
    CHECK(n <= f->o.max_tokens);
    embed(f, tokens, n);
    rope_set_rows(f->rope, rows, n);
    attention_set_rows(f->attention, rows, n);
    for (uint32_t layer = 0; layer < f->o.shape->n_layers; layer++) {
        attention_block(f, layer, rows, n);
        ffn_block(f, layer, n);
        atomic_fetch_add_explicit(f->o.progress, 1, memory_order_relaxed);
        if (f->o.check_ranks) TRY(compare_ranks(f, layer, n));
    }
    return ERR_OK;
}

void forward_logits(struct forward *f, float *logits, const uint32_t *chosen, size_t n) {
    CHECK(n <= f->o.max_tokens);
    for (size_t i = 0; i < n; i++)
        norm_rows(f, f->normed + i * f->n.dim, f->x + chosen[i] * f->n.dim,
                  f->o.weights->output_norm, 1);
    linear_set_input(f->linear, f->normed, f->n.dim, n);
    const struct linear_product head = {.y = logits, .w = &f->o.weights->output, .fine = true};
    linear_apply(f->linear, &head, 1);
    atomic_fetch_add_explicit(f->o.progress, 1, memory_order_relaxed);
}

const struct allreduce *forward_allreduce(const struct forward *f) {
    return f->allreduce;
}

/* --- memory --- */

static struct widths widths_of(const struct model_shape *s, const struct plan_rank *r) {
    struct widths n = {.dim = s->dim,
                       .q = (size_t)range_len(r->heads) * s->head_dim,
                       .kv = (size_t)range_len(r->kv_heads) * s->head_dim,
                       .ff = range_len(r->ffn),
                       .vocab = range_len(r->vocab)};
    /* A column range widened to whole blocks of 256 grows by less than a block at either end. */
    n.max_cols = (n.q > n.ff ? n.q : n.ff) + 2 * 256;
    if (n.max_cols < n.dim) n.max_cols = n.dim;
    n.max_cols = (n.max_cols + ACT_BLOCK - 1) / ACT_BLOCK * ACT_BLOCK;
    return n;
}

#define ALIGN_FLOATS 16 // every array begins on a cache line

static size_t activation_floats(const struct widths *n, size_t tokens) {
    return (2 * n->dim + 2 * n->q + 2 * n->kv + 3 * n->ff) * tokens + 9 * ALIGN_FLOATS;
}

static struct attention_options attention_options_of(const struct model_shape *s,
                                                     const struct plan_rank *r, size_t max_tokens) {
    return (struct attention_options){.n_heads = range_len(r->heads),
                                      .first_head = r->heads.begin,
                                      .n_kv_heads = range_len(r->kv_heads),
                                      .first_kv_head = r->kv_heads.begin,
                                      .group = s->n_heads / s->n_kv_heads,
                                      .head_dim = s->head_dim,
                                      .max_tokens = max_tokens};
}

uint64_t forward_bytes(const struct model_shape *s, const struct plan *p, uint32_t r,
                       size_t max_tokens) {
    struct widths n = widths_of(s, &p->ranks[r]);
    struct attention_options attention = attention_options_of(s, &p->ranks[r], max_tokens);
    return activation_floats(&n, max_tokens) * sizeof(float) + rope_bytes(s, max_tokens) +
           attention_bytes(&attention) + linear_bytes(n.max_cols, max_tokens);
}

static float *take(float **next, size_t floats) {
    float *begin = *next;
    *next += (floats + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    return begin;
}

static err make_activations(struct forward *f) {
    size_t tokens = f->o.max_tokens;
    f->memory_bytes = activation_floats(&f->n, tokens) * sizeof(float);
    TRY(mem_map(&f->memory, f->memory_bytes));
    float *next = f->memory;
    f->x = take(&next, tokens * f->n.dim);
    f->normed = take(&next, tokens * f->n.dim);
    f->q = take(&next, tokens * f->n.q);
    f->mixed = take(&next, tokens * f->n.q);
    f->k = take(&next, tokens * f->n.kv);
    f->v = take(&next, tokens * f->n.kv);
    f->gate = take(&next, tokens * f->n.ff);
    f->up = take(&next, tokens * f->n.ff);
    f->hidden = take(&next, tokens * f->n.ff);
    return ERR_OK;
}

err forward_create(struct forward **out, const struct forward_options *o) {
    err e = ERR_OK;
    const struct model_shape *s = o->shape;
    const struct plan_rank *mine = &o->plan->ranks[comm_rank(o->comm)];
    struct forward *f = mem_zalloc(sizeof *f);
    f->o = *o;
    f->n = widths_of(s, mine);
    f->vocab = mine->vocab;
    f->all_fine = s->dim < FINE_DIM;
    struct attention_options attention = attention_options_of(s, mine, o->max_tokens);
    attention.kernels = o->kernels;
    attention.kv = o->kv;
    f->checksums = mem_zalloc_array(o->plan->size, sizeof *f->checksums);
    TRY_GOTO(e, make_activations(f), fail);
    TRY_GOTO(e, attention_create(&f->attention, &attention), fail);
    TRY_GOTO(e, linear_create(&f->linear, o->kernels, f->n.max_cols, o->max_tokens), fail);
    TRY_GOTO(e, rope_create(&f->rope, o->kernels, s, o->weights->rope_freqs, o->max_tokens), fail);
    TRY_GOTO(e,
             allreduce_create(&f->allreduce, o->comm, o->max_tokens * f->n.dim, o->mpi_allreduce),
             fail);
    *out = f;
    return ERR_OK;
fail:
    forward_free(f);
    return e;
}

void forward_free(struct forward *f) {
    if (!f) return;
    allreduce_free(f->allreduce);
    rope_free(f->rope);
    attention_free(f->attention);
    linear_free(f->linear);
    mem_unmap(f->memory, f->memory_bytes);
    mem_free(f->checksums);
    mem_free(f);
}
