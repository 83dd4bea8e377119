// SPDX-License-Identifier: MIT
/* banner.c: see banner.h. */

#include "coordinator/cluster/banner.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"

#define LINE_EVERY_NS UINT64_C(1000000000) // in a log
#define BAR_EVERY_NS  UINT64_C(50000000)   // on a terminal
#define BAR_WIDTH     30
#define MAX_LISTED    8 // ranks of one host that are shown one by one

/* A host's ranks in one line: "host a: ranks 0, 1 · 2 threads on CPUs 0-1, 2-3 · avx2". */
static void print_host(const struct roster *r, uint32_t leader) {
    struct buf ranks, cpus;
    uint32_t n = 0;
    buf_init(&ranks, 0);
    buf_init(&cpus, 0);
    for (uint32_t i = leader; i < r->size; i++) {
        if (roster_host_leader(r, i) != leader) continue;
        if (n < MAX_LISTED) {
            buf_printf(&ranks, "%s%u", n ? ", " : "", i);
            buf_printf(&cpus, "%s%s", n ? "; " : "", r->ranks[i].cpus);
        }
        n++;
    }
    if (n > MAX_LISTED) {
        buf_printf(&ranks, " and %u more", n - MAX_LISTED);
        buf_puts(&cpus, "; …");
    }
    const struct roster_rank *k = &r->ranks[leader];
    char memory[16];
    kvpool_format_bytes(k->memory_available_bytes, memory);
    log_info("host %s: rank%s %s; %u thread%s each on CPUs %s; %s; %s of memory available", k->host,
             n == 1 ? "" : "s", ranks.data, k->threads, k->threads == 1 ? "" : "s", cpus.data,
             k->isa, memory);
    buf_deinit(&ranks);
    buf_deinit(&cpus);
}

static void print_warnings(const struct roster *r) {
    for (uint32_t i = 0; i < r->size; i++)
        for (uint32_t k = 0; k < r->ranks[i].n_warnings; k++)
            log_warn("%s: %s", r->ranks[i].host, r->ranks[i].warnings[k]);
}

static void print_model(const struct cluster_model *m, const struct kvpool *k, uint32_t size) {
    const struct model_shape *s = &m->model->shape;
    char weights[16], kv[16], rank[16];
    kvpool_format_bytes(model_weight_bytes(m->model), weights);
    kvpool_format_bytes(k->kv_bytes, kv);
    kvpool_format_bytes(k->rank_bytes, rank);
    log_info("model %s: %s, %.3g million parameters, %u layers, %u query heads, %s of weights",
             s->name[0] ? s->name : m->path, s->arch, (double)model_parameters(m->model) / 1e6,
             s->n_layers, s->n_heads, weights);
    log_info("memory: KV cache for %" PRIu64 " tokens in %s over %u rank%s, context %u; a rank "
             "needs about %s",
             (uint64_t)k->blocks * KV_BLOCK_TOKENS, kv, size, size == 1 ? "" : "s", k->ctx, rank);
    if (k->ctx > s->n_ctx)
        log_warn("a context of %u was asked for, but the model was trained for %u: text beyond "
                 "that may be poor",
                 k->ctx, s->n_ctx);
}

void banner_print(const struct roster *r, const struct cluster_model *m, const struct kvpool *k,
                  const struct options *o) {
    uint32_t hosts = roster_host_count(r);
    log_info("lockstep %s: %u rank%s on %u host%s; %s, transport %s; all-reduce %s",
             wire_build_id(), r->size, r->size == 1 ? "" : "s", hosts, hosts == 1 ? "" : "s",
             r->ranks[0].mpi, r->ranks[0].transport,
             o->allreduce == ALLREDUCE_MPI ? "by MPI (results may differ between runs)" : "tree");
    for (uint32_t i = 0; i < r->size; i++)
        if (roster_host_leader(r, i) == i) print_host(r, i);
    print_model(m, k, r->size);
    print_warnings(r);
}

void banner_progress_start(struct banner_progress *b) {
    *b = (struct banner_progress){.on_terminal =
                                      isatty(STDERR_FILENO) && log_get_level() >= LOG_INFO,
                                  .started_ns = clock_ns()};
    b->last_ns = b->started_ns;
}

static void draw(struct banner_progress *b, uint64_t done, uint64_t total, double mib_per_s) {
    char bar[BAR_WIDTH + 1], text[160];
    size_t full = total ? (size_t)((double)done / (double)total * BAR_WIDTH) : 0;
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', full < BAR_WIDTH ? full : BAR_WIDTH);
    bar[BAR_WIDTH] = '\0';
    int n = snprintf(text, sizeof text, "\r\033[Kloading [%s] %3.0f %%  %.0f MiB/s", bar,
                     total ? 100.0 * (double)done / (double)total : 0.0, mib_per_s);
    if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0) b->on_terminal = false;
    b->drawn = true;
}

void banner_progress_show(struct banner_progress *b, uint64_t done, uint64_t total) {
    uint64_t now = clock_ns();
    if (now - b->last_ns < (b->on_terminal ? BAR_EVERY_NS : LINE_EVERY_NS)) return;
    b->last_ns = now;
    double seconds = (double)(now - b->started_ns) / 1e9;
    double mib_per_s = (double)done / 1048576.0 / seconds;
    if (b->on_terminal)
        draw(b, done, total, mib_per_s);
    else
        log_info("loading: %.0f of %.0f MiB, %.0f MiB/s", (double)done / 1048576.0,
                 (double)total / 1048576.0, mib_per_s);
}

void banner_progress_end(struct banner_progress *b) {
    static const char clear[] = "\r\033[K";
    if (b->drawn && write(STDERR_FILENO, clear, sizeof clear - 1) < 0) b->on_terminal = false;
    b->drawn = false;
}
