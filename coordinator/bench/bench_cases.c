// SPDX-License-Identifier: MIT
/* bench_cases.c: see bench_cases.h.  Depth is the outermost loop of the rows and tokens are the
 * innermost, as the table is read. */

#include "coordinator/bench/bench_cases.h"

#include "common/batch.h"
#include "common/mem.h"

/* The index of a case, which is added when it is new. */
static size_t find_case(struct bench_cases *b, enum bench_kind kind, uint32_t batch, uint32_t depth,
                        uint32_t tokens) {
    for (size_t i = 0; i < b->n_cases; i++) {
        const struct bench_case *c = &b->cases[i];
        if (c->kind == kind && c->batch == batch && c->depth == depth && c->tokens == tokens)
            return i;
    }
    b->cases[b->n_cases] = (struct bench_case){kind, batch, depth, tokens};
    return b->n_cases++;
}

static void add_row(struct bench_cases *b, uint32_t batch, uint32_t depth, uint32_t prefill,
                    uint32_t decode) {
    b->rows[b->n_rows++] =
        (struct bench_combination){.batch = batch,
                                   .depth = depth,
                                   .prefill = prefill,
                                   .decode = decode,
                                   .prefill_case = find_case(b, BENCH_PREFILL, 1, depth, prefill),
                                   .decode_case = find_case(b, BENCH_DECODE, batch, depth, decode)};
}

err bench_cases_init(struct bench_cases *b, const struct options *o) {
    *b = (struct bench_cases){0};
    size_t n = o->batch.n * o->ctx_depth.n * o->prefill.n * o->generate.n;
    if (n > BENCH_MAX_ROWS)
        return FAIL(ERR_USAGE, "these lists make %zu rows for each cluster, at most %d are allowed",
                    n, BENCH_MAX_ROWS);
    b->rows = mem_zalloc_array(n, sizeof *b->rows);
    b->cases = mem_zalloc_array(2 * n, sizeof *b->cases);
    for (size_t d = 0; d < o->ctx_depth.n; d++)
        for (size_t s = 0; s < o->batch.n; s++)
            for (size_t p = 0; p < o->prefill.n; p++)
                for (size_t g = 0; g < o->generate.n; g++)
                    add_row(b, o->batch.v[s], o->ctx_depth.v[d], o->prefill.v[p], o->generate.v[g]);
    return ERR_OK;
}

void bench_cases_deinit(struct bench_cases *b) {
    mem_free(b->cases);
    mem_free(b->rows);
    *b = (struct bench_cases){0};
}

uint32_t bench_case_prompt(const struct bench_case *c) {
    if (c->kind == BENCH_PREFILL) return c->depth + c->tokens;
    return c->depth ? c->depth : 1; // something must be there to go on from
}

uint32_t bench_case_pause(const struct bench_case *c) {
    return c->kind == BENCH_PREFILL ? c->depth : bench_case_prompt(c);
}

uint32_t bench_case_generate(const struct bench_case *c) {
    return c->kind == BENCH_PREFILL ? 1 : c->tokens + 2;
}

static uint32_t length(const struct bench_case *c) {
    return bench_case_prompt(c) + bench_case_generate(c);
}

uint32_t bench_cases_context(const struct bench_cases *b) {
    uint32_t most = 0;
    for (size_t i = 0; i < b->n_cases; i++)
        if (length(&b->cases[i]) > most) most = length(&b->cases[i]);
    return most;
}

uint64_t bench_cases_kv_tokens(const struct bench_cases *b) {
    uint64_t most = 0;
    for (size_t i = 0; i < b->n_cases; i++) {
        uint64_t blocks = (length(&b->cases[i]) + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS;
        uint64_t tokens = blocks * KV_BLOCK_TOKENS * b->cases[i].batch;
        if (tokens > most) most = tokens;
    }
    return most;
}

uint32_t bench_cases_batch(const struct bench_cases *b) {
    uint32_t most = 1;
    for (size_t i = 0; i < b->n_cases; i++)
        if (b->cases[i].batch > most) most = b->cases[i].batch;
    return most;
}

err bench_cases_check(const struct bench_cases *b, const struct options *o,
                      const struct model_shape *s) {
    uint32_t needed = bench_cases_context(b), allowed = o->ctx ? o->ctx : s->n_ctx;
    if (needed <= allowed) return ERR_OK;
    if (o->ctx)
        return FAIL(ERR_CONTEXT, "the longest sequence would have %u tokens, --ctx allows %u",
                    needed, allowed);
    return FAIL(ERR_CONTEXT,
                "the longest sequence would have %u tokens, and the model was trained for %u: ask "
                "for less with --ctx-depth, --prefill and --decode, or for more with --ctx",
                needed, allowed);
}
