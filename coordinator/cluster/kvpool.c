// SPDX-License-Identifier: MIT
/* kvpool.c: see kvpool.h.
 *
 * A host's need is   sum over its ranks of (weights + working memory + blocks × block bytes).
 * By default KV takes at most 80 % of what is available, so that the page cache and the user's
 * other programs live on; sizes that the user names may take all of it. */

#include "coordinator/cluster/kvpool.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/batch.h"
#include "common/log.h"

#define STEP_TOKENS     512 // of prompts and decoding in one step, unless a chunk is larger
#define DEFAULT_PERCENT 80
#define PACKED_PERCENT  105                  // packed weights over the file's encoding
#define RANK_BASE_BYTES ((uint64_t)48 << 20) // MPI, libraries, staging
#define MAX_BLOCKS      ((uint64_t)1 << 26)

void kvpool_format_bytes(uint64_t bytes, char out[16]) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes / 1024;
    size_t i = 0;
    for (; v >= 1024 && i < 3; i++) v /= 1024;
    snprintf(out, 16, "%.1f %s", v, units[i]);
}

static uint64_t kv_block_bytes(const struct options *o, const struct model *m, const struct plan *p,
                               uint32_t rank) {
    uint32_t elem_bytes = o->kv_type == KV_F32 ? 4 : 2;
    return KV_BLOCK_TOKENS * plan_kv_bytes_per_token(p, rank, &m->shape, elem_bytes);
}

/* Weights, activations of a step, and what every process has. */
static uint64_t fixed_bytes(const struct model *m, const struct plan *p, uint32_t rank,
                            uint32_t step_tokens) {
    const struct plan_rank *k = &p->ranks[rank];
    uint64_t columns = 8 * (uint64_t)m->shape.dim + 3 * (uint64_t)range_len(k->ffn) +
                       3 * (uint64_t)range_len(k->heads) * m->shape.head_dim;
    return plan_weight_bytes(p, rank, m) / 100 * PACKED_PERCENT +
           columns * sizeof(float) * step_tokens + RANK_BASE_BYTES;
}

struct host_need {
    const char *name;
    uint32_t ranks;
    uint64_t fixed_bytes, block_bytes; // of its ranks together
    uint64_t available_bytes;
};

static struct host_need host_need(uint32_t leader, const struct options *o, const struct model *m,
                                  const struct plan *p, const struct roster *r,
                                  uint32_t step_tokens) {
    struct host_need h = {.name = r->ranks[leader].host, .available_bytes = UINT64_MAX};
    for (uint32_t i = leader; i < r->size; i++) {
        if (roster_host_leader(r, i) != leader) continue;
        h.ranks++;
        h.fixed_bytes += fixed_bytes(m, p, i, step_tokens);
        h.block_bytes += kv_block_bytes(o, m, p, i);
        uint64_t available = r->ranks[i].memory_available_bytes;
        if (available < h.available_bytes) h.available_bytes = available;
    }
    return h;
}

static err too_little(const struct host_need *h, const char *what, uint64_t needed,
                      const char *advice) {
    char need[16], have[16];
    kvpool_format_bytes(needed, need);
    kvpool_format_bytes(h->available_bytes, have);
    return FAIL(ERR_MEMORY, "host %s: its %u rank%s need%s %s for %s, but %s are available: %s",
                h->name, h->ranks, h->ranks == 1 ? "" : "s", h->ranks == 1 ? "s" : "", need, what,
                have, advice);
}

/* Blocks that every host has room for in `percent` of its memory; at least `least`. */
static err blocks_that_fit(uint64_t *out, uint64_t least, unsigned percent, const struct options *o,
                           const struct model *m, const struct plan *p, const struct roster *r,
                           uint32_t step_tokens) {
    *out = MAX_BLOCKS;
    for (uint32_t i = 0; i < r->size; i++) {
        if (roster_host_leader(r, i) != i) continue;
        struct host_need h = host_need(i, o, m, p, r, step_tokens);
        uint64_t usable = h.available_bytes / 100 * percent;
        if (h.fixed_bytes > h.available_bytes)
            return too_little(&h, "the weights", h.fixed_bytes,
                              "use more hosts, or a smaller or more quantised model");
        uint64_t room = usable > h.fixed_bytes ? usable - h.fixed_bytes : 0;
        uint64_t fit = room / h.block_bytes;
        if (fit < least)
            return too_little(&h, "the weights and the KV cache of one context",
                              h.fixed_bytes + least * h.block_bytes,
                              "give a smaller --ctx, --kv-memory or --kv-tokens, or more hosts");
        if (fit < *out) *out = fit;
    }
    return ERR_OK;
}

/* The pool that the user asked for; 0: none. */
static uint64_t wanted_blocks(const struct options *o, uint64_t cluster_block_bytes) {
    if (o->kv_memory) {
        uint64_t n = o->kv_memory / cluster_block_bytes;
        return n ? n : 1;
    }
    return (o->kv_tokens + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS;
}

static uint32_t blocks_of(uint32_t tokens) {
    return (tokens + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS;
}

/* A pool smaller than one context shortens the context, unless the user asked for both. */
static err fit_context(struct kvpool *k, uint64_t wanted, const struct options *o,
                       uint64_t cluster_block_bytes) {
    if (wanted == 0 || wanted >= blocks_of(k->ctx)) return ERR_OK;
    if (o->ctx) {
        char need[16];
        kvpool_format_bytes(blocks_of(k->ctx) * cluster_block_bytes, need);
        return FAIL(ERR_MEMORY,
                    "the KV cache that was asked for holds %" PRIu64
                    " tokens, but one request of --ctx %u needs %u (%s): make it "
                    "larger or the context smaller",
                    wanted * KV_BLOCK_TOKENS, k->ctx, k->ctx, need);
    }
    k->ctx = (uint32_t)wanted * KV_BLOCK_TOKENS;
    log_warn("the KV cache that was asked for holds %u tokens, so the context is that long",
             k->ctx);
    return ERR_OK;
}

static uint32_t step_tokens(const struct options *o) {
    uint32_t n = STEP_TOKENS;
    if (o->chunk_tokens > n) n = o->chunk_tokens;
    return n < BATCH_MAX_TOKENS ? n : BATCH_MAX_TOKENS;
}

err kvpool_decide(struct kvpool *out, const struct options *o, const struct model *m,
                  const struct plan *p, const struct roster *r) {
    uint64_t cluster_block_bytes = 0, fit;
    struct kvpool k = {.ctx = o->ctx ? o->ctx : m->shape.n_ctx, .max_step_tokens = step_tokens(o)};
    for (uint32_t i = 0; i < p->size; i++) cluster_block_bytes += kv_block_bytes(o, m, p, i);
    uint64_t wanted = wanted_blocks(o, cluster_block_bytes);
    TRY(fit_context(&k, wanted, o, cluster_block_bytes));
    if (wanted == 0) {
        TRY(blocks_that_fit(&fit, blocks_of(k.ctx), DEFAULT_PERCENT, o, m, p, r,
                            k.max_step_tokens));
        wanted = (uint64_t)blocks_of(k.ctx) * o->max_batch;
        if (wanted > fit) wanted = fit;
    } else {
        TRY(blocks_that_fit(&fit, wanted, 100, o, m, p, r, k.max_step_tokens));
    }
    k.blocks = (uint32_t)(wanted < MAX_BLOCKS ? wanted : MAX_BLOCKS);
    k.kv_bytes = k.blocks * cluster_block_bytes;
    for (uint32_t i = 0; i < p->size; i++) {
        uint64_t need =
            fixed_bytes(m, p, i, k.max_step_tokens) + k.blocks * kv_block_bytes(o, m, p, i);
        if (need > k.rank_bytes) k.rank_bytes = need;
    }
    *out = k;
    return ERR_OK;
}
