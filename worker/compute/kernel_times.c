// SPDX-License-Identifier: MIT
/* kernel_times.c: see kernel_times.h.
 *
 * Matrices of equal shape and type take turns, and before each timed product the team reads memory
 * that is larger than the caches.  The vector slots work on a few KiB per thread, as in a step;
 * those of attention walk through memory like a long context, each repetition on from where the one
 * before it ended. */

#include "worker/compute/kernel_times.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/batch.h"
#include "common/clock.h"
#include "common/mem.h"
#include "worker/weights/shard.h"

#define FLUSH_MIN_BYTES ((size_t)64 << 20)
#define FLUSH_MAX_BYTES ((size_t)1 << 30)
#define FLUSH_ALIGN     ((size_t)1 << 20) // of a thread's part: more than any block of a cache
#define CALLS           1024              // of a vector slot in one repetition
#define BLOCKS_AHEAD    2 // from a block in use to the one that is fetched (attend.c)

static const uint32_t token_counts[] = {1, 8, 32, 128, 512};
#define N_TOKEN_COUNTS (sizeof token_counts / sizeof *token_counts)

/* ---- which shapes there are ---- */

static bool same_shape(const struct matrix *a, const struct matrix *b) {
    return a->type == b->type && a->rows == b->rows && a->cols == b->cols;
}

/* Matrices in the order of a step; NULL at the end. */
static const struct matrix *matrix_at(const struct weights *w, size_t i) {
    size_t layer = i / 7;
    if (layer > w->n_layers || (layer == w->n_layers && i % 7 > 0)) return NULL;
    if (layer == w->n_layers) return &w->output;
    const struct layer_weights *l = &w->layers[layer];
    const struct matrix *all[] = {&l->q, &l->k, &l->v, &l->attn_out, &l->gate, &l->up, &l->down};
    return all[i % 7];
}

/* The first matrix of the shape number `shape`; NULL when there are fewer.  *count of shapes, when
 * it is not NULL. */
static const struct matrix *shape_at(const struct weights *w, size_t shape, size_t *count) {
    const struct matrix *m, *found = NULL;
    size_t n = 0;
    for (size_t i = 0; (m = matrix_at(w, i)) != NULL; i++) {
        bool is_new = m->rows > 0;
        for (size_t k = 0; k < i && is_new; k++) is_new = !same_shape(m, matrix_at(w, k));
        if (!is_new) continue;
        if (n++ == shape) found = m;
    }
    if (count) *count = n;
    return found;
}

uint32_t kernel_times_count(const struct kernel_times_subject *s) {
    size_t shapes;
    (void)shape_at(s->weights, 0, &shapes);
    return (uint32_t)(shapes * N_TOKEN_COUNTS + 1);
}

/* ---- memory ---- */

struct bench_memory {
    const struct kernel_times_subject *s;
    size_t threads;
    uint8_t *flush; // [flush_bytes] larger than the caches; 0.01 as f32, 1 as f16
    size_t flush_bytes, part_bytes;
    double *ns; // [reps]
};

static err memory_init(struct bench_memory *b, const struct kernel_times_subject *s,
                       uint32_t reps) {
    void *p;
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    size_t bytes = cache > 0 ? 2 * (size_t)cache / s->host_ranks : 0;
    if (bytes < FLUSH_MIN_BYTES) bytes = FLUSH_MIN_BYTES;
    if (bytes > FLUSH_MAX_BYTES) bytes = FLUSH_MAX_BYTES;
    *b = (struct bench_memory){.s = s, .threads = (size_t)omp_get_max_threads()};
    b->part_bytes = (bytes / b->threads + FLUSH_ALIGN - 1) / FLUSH_ALIGN * FLUSH_ALIGN;
    b->flush_bytes = b->part_bytes * b->threads;
    TRY(mem_map(&p, b->flush_bytes));
    b->flush = p;
    b->ns = mem_zalloc_array(reps, sizeof *b->ns);
#pragma omp parallel
    memset(b->flush + (size_t)omp_get_thread_num() * b->part_bytes, 0x3c, b->part_bytes);
    return ERR_OK;
}

static void memory_deinit(struct bench_memory *b) {
    mem_unmap(b->flush, b->flush_bytes);
    mem_free(b->ns);
}

/* Other bytes than those of the weights fill the caches. */
static void flush_caches(const struct bench_memory *b) {
#pragma omp parallel
    {
        const uint8_t *part = b->flush + (size_t)omp_get_thread_num() * b->part_bytes;
        volatile uint64_t seen = b->s->kernels->read_memory(part, b->part_bytes, READ_ONE_STREAM);
        (void)seen;
    }
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void put_times(struct measure_time *out, double *ns, uint32_t reps) {
    qsort(ns, reps, sizeof *ns, compare_doubles);
    out->reps = reps;
    out->median_ns = (ns[(reps - 1) / 2] + ns[reps / 2]) / 2;
    out->min_ns = ns[0];
    out->max_ns = ns[reps - 1];
}

/* ---- products ---- */

struct product {
    size_t tokens, bytes; // bytes: of all that is mapped
    void *memory;
    float *x, *y; // [tokens, cols], [tokens, rows]
    struct act_rows q;
};

static err product_init(struct product *p, const struct kernels *k, const struct matrix *m,
                        size_t tokens) {
    size_t act = act_rows_bytes(m->cols, tokens), x = tokens * m->cols, y = tokens * m->rows;
    *p = (struct product){.tokens = tokens, .bytes = act + (x + y) * sizeof(float)};
    TRY(mem_map(&p->memory, p->bytes));
    act_rows_place(&p->q, p->memory, m->cols, tokens);
    p->x = (float *)(void *)((uint8_t *)p->memory + act);
    p->y = p->x + x;
    memset(p->y, 0, y * sizeof *p->y); // its pages are there before the clock runs
    for (size_t i = 0; i < x; i++) p->x[i] = (float)((i * 37) % 201) / 100 - 1;
    for (size_t t = 0; t < tokens; t++) k->quantize_row(&p->q, t, p->x + t * m->cols, m->cols);
    return ERR_OK;
}

static void multiply(const struct product *p, const struct matrix *m) {
#pragma omp parallel
    {
        struct shard_rows mine =
            shard_thread_rows(m->rows, m->kernel->panel_rows, (size_t)omp_get_num_threads(),
                              (size_t)omp_get_thread_num());
        if (mine.begin == mine.end) {
            // more threads than panels
        } else if (m->kernel->matmul_q) {
            m->kernel->matmul_q(p->y, m->rows, m->packed, m->rows, m->cols, mine.begin, mine.end,
                                &p->q);
        } else {
            m->kernel->matmul_f(p->y, m->rows, m->packed, m->rows, m->cols, mine.begin, mine.end,
                                p->x, m->cols, p->tokens);
        }
    }
}

/* The next matrix of the same shape after *at, around the end. */
static const struct matrix *next_alike(const struct weights *w, const struct matrix *m,
                                       size_t *at) {
    for (;;) {
        const struct matrix *next = matrix_at(w, (*at)++);
        if (!next)
            *at = 0;
        else if (same_shape(next, m))
            return next;
    }
}

static err time_product(struct bench_memory *b, const struct matrix *m, uint32_t tokens,
                        uint32_t reps, struct measure_time *out) {
    struct product p;
    size_t at = 0;
    TRY(product_init(&p, b->s->kernels, m, tokens));
    for (uint32_t i = 0; i <= reps; i++) { // the first is to warm up
        const struct matrix *next = next_alike(b->s->weights, m, &at);
        flush_caches(b);
        volatile float seen = 0; // the inputs are where a step would have left them
        for (size_t k = 0; k < p.bytes / sizeof seen; k += 16) seen = ((float *)p.memory)[k];
        (void)seen;
        uint64_t begin_ns = clock_ns();
        multiply(&p, next);
        if (i > 0) b->ns[i - 1] = (double)(clock_ns() - begin_ns);
    }
    *out = (struct measure_time){.name = m->kernel->matmul_q ? "matmul_q" : "matmul_f",
                                 .type = dtype_info(m->type)->name,
                                 .rows = m->rows,
                                 .cols = m->cols,
                                 .count = tokens,
                                 .bytes = m->packed_bytes,
                                 .ops = 2 * (uint64_t)m->rows * m->cols * tokens};
    put_times(out, b->ns, reps);
    mem_unmap(p.memory, p.bytes);
    return ERR_OK;
}

/* ---- vectors ---- */

/* What one thread works on.  Floats, but where a slot says otherwise. */
struct vectors {
    const struct kernels *k;
    float *a, *b, *c; // [n]
    struct act_rows q;
    const uint8_t *past; // [past_bytes] of a long context
    size_t past_bytes;
    size_t block; // of the past: how many came before, in all repetitions
    size_t n, head_dim, rope_dim, group;
};

/* Block i of the past, around its end. */
static const void *past_block(const struct vectors *v, size_t i, size_t bytes) {
    return v->past + i % (v->past_bytes / bytes) * bytes;
}

static void run_rms_norm(struct vectors *v) {
    v->k->rms_norm(v->a, v->b, v->c, v->n, 1e-5f);
}

static void run_add(struct vectors *v) {
    v->k->add(v->a, v->b, v->n);
}

static void run_silu_mul(struct vectors *v) {
    v->k->silu_mul(v->a, v->b, v->c, v->n);
}

static void run_quantize_row(struct vectors *v) {
    v->k->quantize_row(&v->q, 0, v->b, v->n);
}

static void run_quantize_twice(struct vectors *v) {
    v->k->quantize_twice(&v->q, 0, 1, v->b, v->n);
}

static void run_rope_interleaved(struct vectors *v) {
    v->k->rope_interleaved(v->a, v->b, v->c, v->rope_dim);
}

static void run_rope_neox(struct vectors *v) {
    v->k->rope_neox(v->a, v->b, v->c, v->rope_dim);
}

/* The scores of a block: the queries of a KV head's group against 32 positions. */
static void run_scores(struct vectors *v, size_t element_bytes,
                       void (*product)(const struct attn_product *)) {
    const size_t bytes = KV_BLOCK_TOKENS * v->head_dim * element_bytes, block = v->block++;
    product(&(struct attn_product){.c = v->c,
                                   .ldc = KV_BLOCK_TOKENS,
                                   .a = v->b,
                                   .lda = v->head_dim,
                                   .b = past_block(v, block, bytes),
                                   .next = past_block(v, block + BLOCKS_AHEAD, bytes),
                                   .rows = v->group,
                                   .depth = v->head_dim,
                                   .cols = KV_BLOCK_TOKENS});
}

/* The values of a block, weighted by the group's scores. */
static void run_values(struct vectors *v, size_t element_bytes,
                       void (*product)(const struct attn_product *)) {
    const size_t bytes = KV_BLOCK_TOKENS * v->head_dim * element_bytes, block = v->block++;
    product(&(struct attn_product){.c = v->c,
                                   .ldc = v->head_dim,
                                   .a = v->b,
                                   .lda = KV_BLOCK_TOKENS,
                                   .b = past_block(v, block, bytes),
                                   .next = past_block(v, block + BLOCKS_AHEAD, bytes),
                                   .rows = v->group,
                                   .depth = KV_BLOCK_TOKENS,
                                   .cols = v->head_dim,
                                   .add = true});
}

static void run_scores_f16(struct vectors *v) {
    run_scores(v, 2, v->k->attn_product_f16);
}

static void run_scores_f32(struct vectors *v) {
    run_scores(v, 4, v->k->attn_product_f32);
}

static void run_values_f16(struct vectors *v) {
    run_values(v, 2, v->k->attn_product_f16);
}

static void run_values_f32(struct vectors *v) {
    run_values(v, 4, v->k->attn_product_f32);
}

static void run_softmax(struct vectors *v) {
    struct attn_state state = {.max = 1, .sum = 1, .out = v->a};
    memcpy(v->c, v->b, KV_BLOCK_TOKENS * sizeof *v->c);
    v->k->attn_softmax(&state, v->c, KV_BLOCK_TOKENS, 1, KV_BLOCK_TOKENS, 1, v->head_dim);
}

static void run_f32_to_f16(struct vectors *v) {
    v->k->f32_to_f16((uint16_t *)(void *)v->a, v->b, v->n);
}

static void run_f16_to_f32(struct vectors *v) {
    v->k->f16_to_f32(v->a, (const uint16_t *)(const void *)v->b, v->n);
}

/* How long a vector is. */
enum length { LENGTH_DIM, LENGTH_FFN, LENGTH_HEAD, LENGTH_ROPE, LENGTH_BLOCK };

static const struct vector_slot {
    const char *name;
    void (*run)(struct vectors *v);
    enum length length;
    uint32_t positions;   // vectors of that length, in one call
    double element_bytes; // read and written for each element
} vector_slots[] = {
    {"rms_norm", run_rms_norm, LENGTH_DIM, 1, 12},
    {"add", run_add, LENGTH_DIM, 1, 12},
    {"quantize_row", run_quantize_row, LENGTH_DIM, 1, 5.5},
    {"quantize_row", run_quantize_row, LENGTH_FFN, 1, 5.5},
    {"quantize_twice", run_quantize_twice, LENGTH_DIM, 1, 7},
    {"silu_mul", run_silu_mul, LENGTH_FFN, 1, 12},
    {"rope_interleaved", run_rope_interleaved, LENGTH_ROPE, 1, 12},
    {"rope_neox", run_rope_neox, LENGTH_ROPE, 1, 12},
    {"f32_to_f16", run_f32_to_f16, LENGTH_HEAD, 1, 6},
    {"f16_to_f32", run_f16_to_f32, LENGTH_HEAD, 1, 6},
    {"attn_softmax", run_softmax, LENGTH_BLOCK, 1, 8},
    {"attn_scores_f16", run_scores_f16, LENGTH_HEAD, KV_BLOCK_TOKENS, 2},
    {"attn_values_f16", run_values_f16, LENGTH_HEAD, KV_BLOCK_TOKENS, 2},
    {"attn_scores_f32", run_scores_f32, LENGTH_HEAD, KV_BLOCK_TOKENS, 4},
    {"attn_values_f32", run_values_f32, LENGTH_HEAD, KV_BLOCK_TOKENS, 4},
};
#define N_VECTOR_SLOTS (sizeof vector_slots / sizeof *vector_slots)
_Static_assert(N_VECTOR_SLOTS <= KERNEL_TIMES_MAX, "they are one answer");

static size_t length_of(const struct kernel_times_subject *s, enum length length) {
    switch (length) {
    case LENGTH_DIM: return s->shape->dim;
    case LENGTH_FFN: return s->weights->layers[0].gate.rows;
    case LENGTH_HEAD: return s->shape->head_dim;
    case LENGTH_ROPE: return s->shape->rope_dim;
    case LENGTH_BLOCK: return KV_BLOCK_TOKENS;
    }
    return 0;
}

/* Query heads that share a KV head. */
static size_t group_of(const struct kernel_times_subject *s) {
    return s->shape->n_heads / s->shape->n_kv_heads;
}

/* Space of one thread for vectors of n floats, three of them and two quantised ones. */
static size_t vectors_bytes(size_t n) {
    return 3 * n * sizeof(float) + act_rows_bytes(n, 2);
}

static void vectors_place(struct vectors *v, const struct bench_memory *b, uint8_t *memory,
                          size_t most, size_t n, size_t calls_before) {
    size_t thread = (size_t)omp_get_thread_num();
    *v = (struct vectors){.k = b->s->kernels,
                          .past = b->flush + thread * b->part_bytes,
                          .past_bytes = b->part_bytes,
                          .block = calls_before,
                          .n = n,
                          .head_dim = b->s->shape->head_dim,
                          .rope_dim = b->s->shape->rope_dim,
                          .group = group_of(b->s)};
    memory += thread * vectors_bytes(most);
    act_rows_place(&v->q, memory, n, 2);
    v->a = (float *)(void *)(memory + act_rows_bytes(most, 2));
    v->b = v->a + most;
    v->c = v->b + most;
}

static void time_vectors(struct bench_memory *b, const struct vector_slot *slot, uint8_t *memory,
                         size_t most, uint32_t reps, struct measure_time *out) {
    size_t n = length_of(b->s, slot->length);
    for (uint32_t i = 0; i <= reps; i++) {
        uint64_t begin_ns = clock_ns();
#pragma omp parallel
        {
            struct vectors v;
            vectors_place(&v, b, memory, most, n, (size_t)i * CALLS);
            for (size_t call = 0; call < CALLS; call++) slot->run(&v);
        }
        if (i > 0) b->ns[i - 1] = (double)(clock_ns() - begin_ns) / CALLS;
    }
    *out = (struct measure_time){
        .name = slot->name,
        .type = "",
        .cols = n,
        .count = slot->positions,
        .bytes = (uint64_t)(slot->element_bytes * slot->positions * (double)(n * b->threads))};
    put_times(out, b->ns, reps);
}

/* A rank without FFN columns has no vectors of that length. */
static err time_all_vectors(struct bench_memory *b, uint32_t reps, struct measure_time *out,
                            uint32_t *n) {
    size_t longest =
        b->s->shape->head_dim > KV_BLOCK_TOKENS ? b->s->shape->head_dim : KV_BLOCK_TOKENS;
    size_t most = group_of(b->s) * longest; // the queries or scores of a group
    for (int length = LENGTH_DIM; length <= LENGTH_ROPE; length++)
        if (length_of(b->s, (enum length)length) > most)
            most = length_of(b->s, (enum length)length);
    most = (most + ACT_BLOCK - 1) / ACT_BLOCK * ACT_BLOCK;
    void *memory;
    size_t bytes = b->threads * vectors_bytes(most);
    TRY(mem_map(&memory, bytes));
    memset(memory, 0x3c, bytes);
    for (size_t i = 0; i < N_VECTOR_SLOTS; i++)
        if (length_of(b->s, vector_slots[i].length) > 0)
            time_vectors(b, &vector_slots[i], memory, most, reps, &out[(*n)++]);
    mem_unmap(memory, bytes);
    return ERR_OK;
}

/* ---- a question ---- */

err kernel_times_run(const struct kernel_times_subject *s, uint32_t index, uint32_t reps,
                     struct measure_time out[KERNEL_TIMES_MAX], uint32_t *n) {
    struct bench_memory b;
    uint32_t count = kernel_times_count(s);
    *n = 0;
    if (index >= count) return ERR_OK;
    err e = memory_init(&b, s, reps);
    if (e != ERR_OK) return e;
    if (index == count - 1) {
        e = time_all_vectors(&b, reps, out, n);
    } else {
        const struct matrix *m = shape_at(s->weights, index / N_TOKEN_COUNTS, NULL);
        e = time_product(&b, m, token_counts[index % N_TOKEN_COUNTS], reps, out);
        if (e == ERR_OK) *n = 1;
    }
    memory_deinit(&b);
    return e;
}
