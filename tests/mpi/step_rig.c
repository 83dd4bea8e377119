// SPDX-License-Identifier: MIT
/* step_rig.c: see step_rig.h. */

#include "tests/mpi/step_rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/buf.h"
#include "common/mem.h"
#include "tests/mpi/mpi_expect.h"

void rig_must(const struct rig *r, err e, const char *what) {
    EXPECT(r->rank, e == ERR_OK, "%s: %s", what, error_message());
}

static uint32_t share(uint32_t total, uint32_t unit, uint32_t i, uint32_t n) {
    if (i >= n) return total;
    return (uint32_t)((uint64_t)(total / unit) * i / n) * unit;
}

static void make_plan(struct rig *r, const struct rig_options *o) {
    const struct model_shape *s = &r->model->shape;
    uint32_t n = (uint32_t)r->size, group = s->n_heads / s->n_kv_heads;
    bool skewed = o->skewed && n > 1;
    plan_init(&r->plan, n);
    for (uint32_t i = 0; i < n; i++) {
        struct plan_rank *p = &r->plan.ranks[i];
        uint32_t ffn_ranks = skewed ? n - 1 : n, first = skewed ? 1 : 0;
        p->heads = (struct range){share(s->n_heads, 1, i, n), share(s->n_heads, 1, i + 1, n)};
        p->kv_heads = (struct range){p->heads.begin / group, (p->heads.end - 1) / group + 1};
        p->ffn = (struct range){share(s->n_ff, o->ffn_unit, i, ffn_ranks),
                                share(s->n_ff, o->ffn_unit, i + 1, ffn_ranks)};
        p->vocab = (struct range){i < first ? 0 : share(s->n_vocab, 1, i - first, n - first),
                                  share(s->n_vocab, 1, i + 1 - first, n - first)};
    }
    rig_must(r, plan_check(&r->plan, s), "the plan");
}

void rig_open(struct rig *r, struct comm *c, const char *path, const struct rig_options *o) {
    *r = (struct rig){.comm = c, .rank = comm_rank(c), .size = comm_size(c)};
    bool reads = !(o->no_readers >> r->rank & 1);
    struct buf headers;
    buf_init(&headers, 0);
    if (r->rank == 0) {
        struct gguf *g;
        rig_must(r, gguf_open(&g, path), "opening");
        gguf_put_headers(g, &headers);
        gguf_close(g);
    }
    comm_bcast_buf(c, &headers, 0);
    rig_must(r, gguf_from_headers(&r->gguf, headers.data, headers.length), "headers");
    if (reads) rig_must(r, gguf_attach(r->gguf, path), "attaching");
    buf_deinit(&headers);
    rig_must(r, model_create(&r->model, r->gguf), "the model");
    rig_must(r, kernels_select(&r->kernels), "kernels");
    make_plan(r, o);
}

void rig_load(struct rig *r) {
    rig_must(
        r, weights_load(&r->weights, r->comm, r->gguf, r->model, &r->plan, r->kernels, NULL, NULL),
        "loading");
}

void rig_close(struct rig *r) {
    weights_free(r->weights);
    plan_deinit(&r->plan);
    model_free(r->model);
    gguf_close(r->gguf);
}

void rig_make_file(struct comm *c, struct fixture_file *f, const struct fixture_options *o,
                   char path[512]) {
    *f = (struct fixture_file){0};
    if (comm_rank(c) == 0) {
        EXPECT(0, fixture_create(f, o) == ERR_OK, "%s", error_message());
        snprintf(path, 512, "%s", f->path);
    }
    comm_bcast(c, path, 512, 0);
}
