// SPDX-License-Identifier: MIT
/* plan.c: see plan.h.
 *
 * What a rank holds is never stored: it is worked out from a few ranges per rank and the model's
 * shape.  Planner, loader and memory estimates all ask plan_slice, so they count the same bytes. */

#include "common/plan.h"

#include "common/dtype.h"
#include "common/mem.h"

void plan_init(struct plan *p, uint32_t size) {
    *p = (struct plan){.size = size, .ranks = mem_zalloc_array(size, sizeof *p->ranks)};
}

void plan_deinit(struct plan *p) {
    mem_free(p->ranks);
    *p = (struct plan){0};
}

/* One number into a running hash: the finaliser of splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t hash_add(uint64_t h, uint64_t v) {
    h += v + 0x9e3779b97f4a7c15u;
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
    return h ^ (h >> 31);
}

static uint64_t hash_add_range(uint64_t h, struct range r) {
    return hash_add(hash_add(h, r.begin), r.end);
}

uint64_t plan_hash(const struct plan *p) {
    uint64_t h = hash_add(0, p->size);
    for (uint32_t r = 0; r < p->size; r++) {
        h = hash_add_range(h, p->ranks[r].heads);
        h = hash_add_range(h, p->ranks[r].kv_heads);
        h = hash_add_range(h, p->ranks[r].ffn);
        h = hash_add_range(h, p->ranks[r].vocab);
    }
    return h;
}

/* A range that begins where the rank before ended. */
static err check_next(uint32_t rank, const char *what, struct range r, uint32_t *end) {
    if (r.begin != *end || r.end < r.begin)
        return FAIL(ERR_PLAN, "rank %u has %s %u to %u where they should begin at %u", rank, what,
                    r.begin, r.end, *end);
    *end = r.end;
    return ERR_OK;
}

static err check_end(const char *what, uint32_t end, uint32_t want) {
    if (end != want)
        return FAIL(ERR_PLAN, "the plan ends at %u %s, the model has %u", end, what, want);
    return ERR_OK;
}

err plan_check(const struct plan *p, const struct model_shape *s) {
    if (p->size == 0 || p->size > PLAN_MAX_RANKS)
        return FAIL(ERR_PLAN, "the plan is for %u ranks; 1 to %u are possible", p->size,
                    PLAN_MAX_RANKS);
    if (s->n_kv_heads == 0 || s->n_heads % s->n_kv_heads != 0)
        return FAIL(ERR_PLAN, "%u query heads cannot share %u KV heads evenly", s->n_heads,
                    s->n_kv_heads);
    uint32_t group = s->n_heads / s->n_kv_heads;
    uint32_t heads = 0, ffn = 0, vocab = 0;
    for (uint32_t r = 0; r < p->size; r++) {
        const struct plan_rank *rank = &p->ranks[r];
        TRY(check_next(r, "heads", rank->heads, &heads));
        TRY(check_next(r, "FFN columns", rank->ffn, &ffn));
        TRY(check_next(r, "vocabulary rows", rank->vocab, &vocab));
        if (range_len(rank->heads) == 0) return FAIL(ERR_PLAN, "rank %u has no query head", r);
        struct range kv = {rank->heads.begin / group, (rank->heads.end - 1) / group + 1};
        if (rank->kv_heads.begin != kv.begin || rank->kv_heads.end != kv.end)
            return FAIL(ERR_PLAN, "rank %u has KV heads %u to %u, its query heads read %u to %u", r,
                        rank->kv_heads.begin, rank->kv_heads.end, kv.begin, kv.end);
    }
    TRY(check_end("query heads", heads, s->n_heads));
    TRY(check_end("FFN columns", ffn, s->n_ff));
    return check_end("vocabulary rows", vocab, s->n_vocab);
}

static uint64_t rows_of(const struct gguf_tensor *t) {
    return t->n_dims == 1 ? t->dims[0] : t->rows;
}

static uint64_t columns_of(const struct gguf_tensor *t) {
    return t->n_dims == 1 ? 1 : t->dims[0];
}

static struct tensor_slice slice_rows(const struct gguf_tensor *t, uint64_t begin, uint64_t end) {
    return (struct tensor_slice){
        .kind = CUT_ROWS,
        .row_begin = begin,
        .row_end = end,
        .col_end = columns_of(t),
        .own_col_end = columns_of(t),
    };
}

static struct tensor_slice slice_columns(const struct gguf_tensor *t, uint64_t begin,
                                         uint64_t end) {
    uint64_t block = dtype_info(t->type)->block_elems;
    uint64_t first = begin / block * block;
    uint64_t last = (end + block - 1) / block * block;
    struct tensor_slice s = {
        .kind = CUT_COLUMNS,
        .row_end = rows_of(t),
        .col_begin = first,
        .col_end = last,
        .own_col_begin = begin,
        .own_col_end = end,
    };
    if (begin == end) s.col_end = s.own_col_begin = s.own_col_end = first;
    return s;
}

struct tensor_slice plan_slice(const struct plan *p, uint32_t r, const struct model_shape *s,
                               enum tensor_role role, const struct gguf_tensor *t) {
    CHECK(r < p->size);
    const struct plan_rank *rank = &p->ranks[r];
    uint64_t width = s->head_dim;
    switch (role) {
    case ROLE_ATTN_Q: return slice_rows(t, rank->heads.begin * width, rank->heads.end * width);
    case ROLE_ATTN_KV:
        return slice_rows(t, rank->kv_heads.begin * width, rank->kv_heads.end * width);
    case ROLE_ATTN_OUT: return slice_columns(t, rank->heads.begin * width, rank->heads.end * width);
    case ROLE_FFN_UP: return slice_rows(t, rank->ffn.begin, rank->ffn.end);
    case ROLE_FFN_DOWN: return slice_columns(t, rank->ffn.begin, rank->ffn.end);
    case ROLE_VOCAB: return slice_rows(t, rank->vocab.begin, rank->vocab.end);
    case ROLE_REPLICATED: break;
    }
    struct tensor_slice all = slice_rows(t, 0, rows_of(t));
    all.kind = CUT_REPLICATED;
    return all;
}

uint64_t plan_slice_bytes(const struct tensor_slice *slice, const struct gguf_tensor *t) {
    const struct dtype_info *info = dtype_info(t->type);
    uint64_t rows = slice->row_end - slice->row_begin;
    uint64_t columns = slice->col_end - slice->col_begin;
    if (t->n_dims == 1) return rows / info->block_elems * info->block_bytes;
    return rows * (columns / info->block_elems) * info->block_bytes;
}

/* Bytes of one rank's part of a tensor; a tensor that the model does not have counts nothing. */
static uint64_t part(const struct plan *p, uint32_t r, const struct model *m, enum tensor_role role,
                     const struct gguf_tensor *t) {
    if (!t) return 0;
    struct tensor_slice slice = plan_slice(p, r, &m->shape, role, t);
    return plan_slice_bytes(&slice, t);
}

static uint64_t layer_bytes(const struct plan *p, uint32_t r, const struct model *m,
                            const struct model_layer *l) {
    const struct {
        enum tensor_role role;
        const struct gguf_tensor *tensor;
    } parts[] = {
        {ROLE_REPLICATED, l->attn_norm},
        {ROLE_ATTN_Q, l->q},
        {ROLE_ATTN_KV, l->k},
        {ROLE_ATTN_KV, l->v},
        {ROLE_ATTN_Q, l->q_bias},
        {ROLE_ATTN_KV, l->k_bias},
        {ROLE_ATTN_KV, l->v_bias},
        {ROLE_ATTN_OUT, l->attn_out},
        {ROLE_REPLICATED, l->ffn_norm},
        {ROLE_FFN_UP, l->gate},
        {ROLE_FFN_UP, l->up},
        {ROLE_FFN_DOWN, l->down},
    };
    uint64_t bytes = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        bytes += part(p, r, m, parts[i].role, parts[i].tensor);
    return bytes;
}

/* A decode step reads one row of the embedding, on one of the ranks: too little to count. */
uint64_t plan_read_bytes_per_token(const struct plan *p, uint32_t r, const struct model *m) {
    uint64_t bytes = part(p, r, m, ROLE_VOCAB, m->output) +
                     part(p, r, m, ROLE_REPLICATED, m->output_norm) +
                     part(p, r, m, ROLE_REPLICATED, m->rope_freqs);
    for (uint32_t i = 0; i < m->shape.n_layers; i++) bytes += layer_bytes(p, r, m, &m->layers[i]);
    return bytes;
}

uint64_t plan_weight_bytes(const struct plan *p, uint32_t r, const struct model *m) {
    uint64_t bytes = plan_read_bytes_per_token(p, r, m);
    if (m->output != m->token_embd) bytes += part(p, r, m, ROLE_VOCAB, m->token_embd);
    return bytes;
}

uint64_t plan_kv_bytes_per_token(const struct plan *p, uint32_t r, const struct model_shape *s,
                                 uint32_t elem_bytes) {
    CHECK(r < p->size);
    return (uint64_t)2 * s->n_layers * range_len(p->ranks[r].kv_heads) * s->head_dim * elem_bytes;
}
