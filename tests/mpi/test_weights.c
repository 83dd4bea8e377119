// SPDX-License-Identifier: MIT
/* test_weights.c: what the ranks hold after loading, row by row against the file; who read how
 * much; and what happens when the file cannot be read. */

#include <omp.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "tests/mpi/mpi_expect.h"
#include "tests/mpi/step_rig.h"

/* Every row of the matrix must be the slice of the file's row, bit by bit. */
static void expect_matrix(const struct rig *r, const struct gguf *file, enum tensor_role role,
                          const struct matrix *m, const struct gguf_tensor *t) {
    uint32_t me = (uint32_t)r->rank;
    struct tensor_slice s = plan_slice(&r->plan, me, &r->model->shape, role, t);
    size_t cols = s.col_end - s.col_begin;
    EXPECT(r->rank, m->rows == s.row_end - s.row_begin && m->cols == cols, "%.*s: %zu x %zu",
           (int)t->name.length, t->name.data, m->rows, m->cols);
    EXPECT(r->rank,
           m->own_begin == s.own_col_begin - s.col_begin &&
               m->own_end == s.own_col_end - s.col_begin,
           "%.*s: own columns %zu to %zu", (int)t->name.length, t->name.data, m->own_begin,
           m->own_end);
    uint8_t *raw = mem_alloc(t->row_bytes);
    float *want = mem_alloc(t->dims[0] * sizeof *want), *got = mem_alloc((cols + 1) * sizeof *got);
    for (size_t row = 0; row < m->rows && cols > 0; row++) {
        rig_must(r, gguf_read(file, t, (s.row_begin + row) * t->row_bytes, raw, t->row_bytes),
                 "reading");
        dtype_dequantize(t->type, want, raw, t->dims[0]);
        m->kernel->unpack_row(m->packed, m->rows, m->cols, row, got);
        EXPECT(r->rank, memcmp(got, want + s.col_begin, cols * sizeof *got) == 0,
               "%.*s differs in row %zu", (int)t->name.length, t->name.data, row);
    }
    mem_free(raw);
    mem_free(want);
    mem_free(got);
}

/* count values from `begin` of a vector tensor. */
static void expect_vector(const struct rig *r, const struct gguf *file, const float *got,
                          const struct gguf_tensor *t, size_t begin, size_t count) {
    EXPECT(r->rank, (got != NULL) == (t != NULL),
           "a vector that should not be there, or is missing");
    if (!t) return;
    uint8_t *raw = mem_alloc(t->bytes);
    float *want = mem_alloc(t->dims[0] * sizeof *want);
    rig_must(r, gguf_read(file, t, 0, raw, t->bytes), "reading");
    dtype_dequantize(t->type, want, raw, t->dims[0]);
    EXPECT(r->rank, memcmp(got, want + begin, count * sizeof *got) == 0, "%.*s differs",
           (int)t->name.length, t->name.data);
    mem_free(raw);
    mem_free(want);
}

static void expect_layer(const struct rig *r, const struct gguf *file, uint32_t layer) {
    const struct layer_weights *w = &r->weights->layers[layer];
    const struct model_layer *m = &r->model->layers[layer];
    const struct model_shape *s = &r->model->shape;
    const struct plan_rank *p = &r->plan.ranks[r->rank];
    size_t q = p->heads.begin * s->head_dim, n_q = range_len(p->heads) * s->head_dim;
    size_t kv = p->kv_heads.begin * s->head_dim, n_kv = range_len(p->kv_heads) * s->head_dim;
    expect_vector(r, file, w->attn_norm, m->attn_norm, 0, s->dim);
    expect_vector(r, file, w->ffn_norm, m->ffn_norm, 0, s->dim);
    expect_vector(r, file, w->q_bias, m->q_bias, q, n_q);
    expect_vector(r, file, w->k_bias, m->k_bias, kv, n_kv);
    expect_vector(r, file, w->v_bias, m->v_bias, kv, n_kv);
    expect_matrix(r, file, ROLE_ATTN_Q, &w->q, m->q);
    expect_matrix(r, file, ROLE_ATTN_KV, &w->k, m->k);
    expect_matrix(r, file, ROLE_ATTN_KV, &w->v, m->v);
    expect_matrix(r, file, ROLE_ATTN_OUT, &w->attn_out, m->attn_out);
    expect_matrix(r, file, ROLE_FFN_UP, &w->gate, m->gate);
    expect_matrix(r, file, ROLE_FFN_UP, &w->up, m->up);
    expect_matrix(r, file, ROLE_FFN_DOWN, &w->down, m->down);
}

/* Every byte of the model was read once in the whole cluster, by those who have the file. */
static void expect_reads(const struct rig *r, uint64_t no_readers) {
    uint64_t mine = r->weights->file_bytes_read, all[64], sum = 0;
    comm_allgather(r->comm, &mine, all, sizeof mine);
    for (int i = 0; i < r->size; i++) {
        sum += all[i];
        if (no_readers >> i & 1)
            EXPECT(r->rank, all[i] == 0, "rank %d read %zu", i, (size_t)all[i]);
    }
    uint64_t want = model_weight_bytes(r->model);
    EXPECT(r->rank, sum == want, "%zu bytes read, the model has %zu", (size_t)sum, (size_t)want);
    if (no_readers || r->size > 4) return;
    uint64_t share = want / (uint64_t)r->size;
    EXPECT(r->rank, mine < share * 2, "%zu bytes read, a fair share is %zu", (size_t)mine,
           (size_t)share);
}

static void check(struct comm *c, const struct fixture_options *fixture,
                  const struct rig_options *o) {
    struct fixture_file f;
    struct rig r;
    char path[512];
    struct gguf *file;
    rig_make_file(c, &f, fixture, path);
    rig_open(&r, c, path, o);
    rig_load(&r);
    rig_must(&r, gguf_open(&file, path), "opening");

    const struct weights *w = r.weights;
    const struct model_shape *s = &r.model->shape;
    for (uint32_t layer = 0; layer < s->n_layers; layer++) expect_layer(&r, file, layer);
    expect_matrix(&r, file, ROLE_VOCAB, &w->token_embd, r.model->token_embd);
    expect_matrix(&r, file, ROLE_VOCAB, &w->output, r.model->output);
    expect_vector(&r, file, w->output_norm, r.model->output_norm, 0, s->dim);
    expect_vector(&r, file, w->rope_freqs, r.model->rope_freqs, 0, s->rope_dim / 2);
    if (s->tied) EXPECT(r.rank, w->output.packed == w->token_embd.packed, "held twice");
    uint64_t predicted = weights_packed_bytes(r.model, &r.plan, (uint32_t)r.rank, r.kernels);
    EXPECT(r.rank, w->bytes <= predicted && predicted == w->memory_bytes, "%zu, %zu, %zu",
           (size_t)w->bytes, (size_t)predicted, w->memory_bytes);
    expect_reads(&r, o->no_readers);

    gguf_close(file);
    rig_close(&r);
    fixture_remove(&f);
}

/* The file loses its end after it was opened: everybody hears it, nobody waits. */
static void check_shrunk(struct comm *c) {
    const struct fixture_options fixture = {.heads = 8, .type = "Q8_0", .seed = 4};
    struct fixture_file f;
    struct rig r;
    char path[512], wanted[600];
    rig_make_file(c, &f, &fixture, path);
    rig_open(&r, c, path, &(struct rig_options){.ffn_unit = 32});
    int8_t done = 0, all[64];
    comm_allgather(c, &done, all, 1); // not before everybody has opened it
    if (r.rank == 0)
        EXPECT(0, truncate(path, (off_t)(gguf_file_bytes(r.gguf) / 2)) == 0, "truncate");
    comm_allgather(c, &done, all, 1); // nor reads before it is short
    err e = weights_load(&r.weights, c, r.gguf, r.model, &r.plan, r.kernels, NULL, NULL);
    snprintf(wanted, sizeof wanted, "%s", path);
    EXPECT(r.rank, e == ERR_MODEL, "%s", error_name(e));
    EXPECT(r.rank, strstr(error_message(), wanted), "'%s' does not name %s", error_message(),
           wanted);
    rig_close(&r);
    fixture_remove(&f);
}

static void check_nobody_reads(struct comm *c) {
    const struct fixture_options fixture = {.heads = 8, .type = "Q8_0", .seed = 4};
    struct fixture_file f;
    struct rig r;
    char path[512];
    rig_make_file(c, &f, &fixture, path);
    rig_open(&r, c, path, &(struct rig_options){.ffn_unit = 32, .no_readers = UINT64_MAX});
    err e = weights_load(&r.weights, c, r.gguf, r.model, &r.plan, r.kernels, NULL, NULL);
    EXPECT(r.rank, e == ERR_MODEL, "%s", error_name(e));
    rig_close(&r);
    fixture_remove(&f);
}

int main(int argc, char **argv) {
    struct comm *c;
    if (comm_init(&c, &argc, &argv) != ERR_OK) return 1;
    uint64_t all_but_last = ((uint64_t)1 << (comm_size(c) - 1)) - 1;
    omp_set_num_threads(3);
    /* Many chunks: an embedding of 10 MB. */
    check(c,
          &(struct fixture_options){
              .arch = "qwen2", .heads = 8, .kv_heads = 2, .vocab = 20000, .type = "F16", .seed = 1},
          &(struct rig_options){.ffn_unit = 1});
    omp_set_num_threads(1);
    /* Heads of 64 in blocks of 256: neighbours share blocks, whole ranges or one end of them. */
    check(c,
          &(struct fixture_options){
              .heads = 12, .head_dim = 64, .type = "Q4_K_M", .tied = true, .seed = 2},
          &(struct rig_options){.ffn_unit = 1, .no_readers = all_but_last});
    check(c,
          &(struct fixture_options){
              .heads = 8, .type = "Q4_0", .rope_freqs = true, .parts = 3, .seed = 3},
          &(struct rig_options){.ffn_unit = 32, .skewed = true, .no_readers = 2});
    omp_set_num_threads(2);
    check_shrunk(c);
    check_nobody_reads(c);
    comm_finalize(c);
    return 0;
}
