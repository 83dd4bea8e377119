// SPDX-License-Identifier: MIT
/* fake_model.c: see fake_model.h.  The tensors live behind the model in one block. */

#include "tests/unit/common/fake_model.h"

#include "common/mem.h"

struct fake {
    struct model model; // first: fake_model_free gets this pointer
    struct gguf_tensor norm, q, kv, q_bias, kv_bias, attn_out, up, down, other_down, embd, output;
};

static struct gguf_tensor matrix(enum dtype type, uint64_t rows, uint64_t cols) {
    CHECK(cols % dtype_info(type)->block_elems == 0);
    struct gguf_tensor t = {
        .type = type, .n_dims = 2, .dims = {cols, rows, 1, 1}, .rows = (size_t)rows};
    t.row_bytes = dtype_row_bytes(type, (size_t)cols);
    t.bytes = t.rows * t.row_bytes;
    return t;
}

static struct gguf_tensor vector(uint64_t n) {
    struct gguf_tensor t = matrix(DTYPE_F32, 1, n);
    t.n_dims = 1;
    return t;
}

struct model *fake_model_create(const struct fake_shape *s) {
    struct fake *f = mem_zalloc(sizeof *f);
    struct model *m = &f->model;
    uint64_t q_rows = (uint64_t)s->n_heads * s->head_dim;
    uint64_t kv_rows = (uint64_t)s->n_kv_heads * s->head_dim;
    f->norm = vector(s->dim);
    f->q = matrix(s->type, q_rows, s->dim);
    f->kv = matrix(s->type, kv_rows, s->dim);
    f->q_bias = vector(q_rows);
    f->kv_bias = vector(kv_rows);
    f->attn_out = matrix(s->type, s->dim, q_rows);
    f->up = matrix(s->type, s->n_ff, s->dim);
    f->down = matrix(s->type, s->dim, s->n_ff);
    f->other_down = matrix(s->down_type, s->dim, s->n_ff);
    f->embd = f->output = matrix(s->type, s->n_vocab, s->dim);
    m->shape = (struct model_shape){
        .arch = "llama",
        .n_layers = s->n_layers,
        .dim = s->dim,
        .n_heads = s->n_heads,
        .n_kv_heads = s->n_kv_heads,
        .head_dim = s->head_dim,
        .n_ff = s->n_ff,
        .n_vocab = s->n_vocab,
        .n_ctx = 2048,
        .tied = s->tied,
        .qkv_bias = s->qkv_bias,
    };
    m->token_embd = &f->embd;
    m->output = s->tied ? &f->embd : &f->output;
    m->output_norm = &f->norm;
    m->layers = mem_zalloc_array(s->n_layers, sizeof *m->layers);
    for (uint32_t i = 0; i < s->n_layers; i++)
        m->layers[i] = (struct model_layer){
            .attn_norm = &f->norm,
            .q = &f->q,
            .k = &f->kv,
            .v = &f->kv,
            .q_bias = s->qkv_bias ? &f->q_bias : NULL,
            .k_bias = s->qkv_bias ? &f->kv_bias : NULL,
            .v_bias = s->qkv_bias ? &f->kv_bias : NULL,
            .attn_out = &f->attn_out,
            .ffn_norm = &f->norm,
            .gate = &f->up,
            .up = &f->up,
            .down = i % 2 ? &f->other_down : &f->down,
        };
    return m;
}

void fake_model_free(struct model *m) {
    mem_free(m->layers);
    mem_free((struct fake *)m);
}
