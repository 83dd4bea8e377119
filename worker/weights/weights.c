// SPDX-License-Identifier: MIT
/* weights.c: one rank's memory for its slices of the model.
 *
 * Main thread of a rank.  Everything lies in one mapping of huge pages whose size is known before
 * (weights_packed_bytes).  Matrices follow each other in the order in which a step multiplies with
 * them, so that what is fetched beyond the end of one is the beginning of the next.  The loader
 * touches each page first from the thread that will multiply with it. */

#include "worker/weights/weights.h"

#include <stdlib.h>

#include "common/mem.h"
#include "worker/weights/loader.h"
#include "worker/weights/shard.h"

#define PART_ALIGN ((size_t)64)

static size_t aligned(size_t bytes) {
    return (bytes + PART_ALIGN - 1) & ~(PART_ALIGN - 1);
}

static uint64_t parts_bytes(const struct shard_part *parts, size_t n, const struct model *m,
                            const struct plan *p, uint32_t r, const struct kernels *k) {
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        struct tensor_slice slice = shard_slice(&parts[i], &m->shape, p, r);
        sum += aligned(shard_held_bytes(&parts[i], &slice, k));
    }
    return sum;
}

uint64_t weights_packed_bytes(const struct model *m, const struct plan *p, uint32_t r,
                              const struct kernels *k) {
    struct shard_part *parts;
    size_t n = shard_list_parts(m, &parts);
    uint64_t sum = parts_bytes(parts, n, m, p, r, k);
    mem_free(parts);
    return sum;
}

/* The layers, then the output head; what is not read from end to end in every step comes last. */
static int stage_of(const struct shard_part *p) {
    if (p->is_vector) return 3;
    if (p->in_layer) return 0;
    return p->place == offsetof(struct weights, output) ? 1 : 2;
}

/* struct layer_weights names its matrices in the order of their use. */
static int by_use(const void *left, const void *right) {
    const struct shard_part *a = *(const struct shard_part *const *)left;
    const struct shard_part *b = *(const struct shard_part *const *)right;
    if (stage_of(a) != stage_of(b)) return stage_of(a) - stage_of(b);
    if (a->layer != b->layer) return a->layer < b->layer ? -1 : 1;
    return a->place < b->place ? -1 : a->place > b->place;
}

/* Gives every part its place in the mapping and in `struct weights`. */
static void place_parts(struct weights *w, struct loader_target *targets,
                        const struct shard_part *parts, size_t n, const struct kernels *k) {
    uint8_t *next = w->memory;
    const struct shard_part **used = mem_zalloc_array(n, sizeof *used);
    for (size_t i = 0; i < n; i++) used[i] = &parts[i];
    qsort(used, n, sizeof *used, by_use);
    for (size_t u = 0; u < n; u++) {
        const struct shard_part *part = used[u];
        const size_t i = (size_t)(part - parts);
        const struct tensor_slice *slice = &targets[i].slice;
        size_t bytes = shard_held_bytes(part, slice, k);
        char *owner = part->in_layer ? (char *)&w->layers[part->layer] : (char *)w;
        if (part->is_vector) {
            targets[i].vector = (float *)(void *)next;
            *(const float **)(void *)(owner + part->place) = targets[i].vector;
        } else {
            targets[i].matrix = (struct matrix *)(void *)(owner + part->place);
            *targets[i].matrix =
                (struct matrix){.kernel = &k->matmul[part->tensor->type],
                                .type = part->tensor->type,
                                .rows = slice->row_end - slice->row_begin,
                                .cols = slice->col_end - slice->col_begin,
                                .own_begin = slice->own_col_begin - slice->col_begin,
                                .own_end = slice->own_col_end - slice->col_begin,
                                .packed = bytes ? next : NULL,
                                .packed_bytes = bytes};
        }
        w->bytes += bytes;
        next += aligned(bytes);
    }
    mem_free(used);
}

static err create(struct weights **out, struct loader_target **targets, struct comm *c,
                  const struct model *m, const struct plan *p, const struct kernels *k,
                  const struct shard_part *parts, size_t n) {
    uint32_t r = (uint32_t)comm_rank(c);
    struct weights *w = mem_zalloc(sizeof *w);
    *out = w;
    w->n_layers = m->shape.n_layers;
    w->layers = mem_zalloc_array(w->n_layers, sizeof *w->layers);
    *targets = mem_zalloc_array(n, sizeof **targets);
    for (size_t i = 0; i < n; i++) (*targets)[i].slice = shard_slice(&parts[i], &m->shape, p, r);

    size_t bytes = parts_bytes(parts, n, m, p, r, k);
    TRY(mem_map(&w->memory, bytes));
    w->memory_bytes = bytes;
    place_parts(w, *targets, parts, n, k);
    if (m->output == m->token_embd) w->output = w->token_embd;
    return ERR_OK;
}

err weights_load(struct weights **out, struct comm *c, const struct gguf *g, const struct model *m,
                 const struct plan *p, const struct kernels *k, weights_progress *progress,
                 void *ctx) {
    err e = ERR_OK;
    struct weights *w = NULL;
    struct shard_part *parts;
    struct loader_target *targets = NULL;
    size_t n = shard_list_parts(m, &parts);

    TRY_GOTO(e, comm_agree(c, create(&w, &targets, c, m, p, k, parts, n), NULL), out);
    struct loader_job job = {.comm = c,
                             .gguf = g,
                             .shape = &m->shape,
                             .plan = p,
                             .parts = parts,
                             .targets = targets,
                             .n_parts = n,
                             .progress = progress,
                             .progress_ctx = ctx};
    TRY_GOTO(e, loader_run(&job, &w->file_bytes_read), out);
    *out = w;
    w = NULL;
out:
    weights_free(w);
    mem_free(targets);
    mem_free(parts);
    return e;
}

void weights_free(struct weights *w) {
    if (!w) return;
    mem_unmap(w->memory, w->memory_bytes);
    mem_free(w->layers);
    mem_free(w);
}
