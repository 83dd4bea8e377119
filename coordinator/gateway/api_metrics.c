// SPDX-License-Identifier: MIT
/* api_metrics.c: GET /metrics: requests, the engine and each rank, for Prometheus.
 *
 * Nothing is computed for it but the text: counts are kept where things happen, and what ranks say
 * about themselves comes with their heartbeats.  A server that is loading has no ranks to speak of
 * yet; its answer is shorter. */

#include <stdio.h>

#include "coordinator/gateway/router.h"
#include "coordinator/metrics/exposition.h"

#define NS_PER_S        1e9
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* ---- the engine ---- */

static void put_engine(struct buf *out, const struct engine *e) {
    struct engine_counts c = engine_get_counts(e);
    exposition_put_gauge(out, "lockstep:num_requests_running", "Sequences that are worked on.",
                         c.running);
    exposition_put_gauge(out, "lockstep:num_requests_waiting",
                         "Sequences that wait for their turn.", c.waiting);
    exposition_put_gauge(out, "lockstep:kv_cache_usage_perc",
                         "Part of the KV blocks in use, 0 to 1.",
                         c.kv_blocks ? (double)c.kv_blocks_used / c.kv_blocks : 0);
    exposition_put_counter(out, "lockstep:prefix_cache_queries_total",
                           "Tokens of prompts that were looked up in the prefix cache.",
                           c.prefix_cache_queries);
    exposition_put_counter(out, "lockstep:prefix_cache_hits_total",
                           "Tokens of prompts that were found in the prefix cache.",
                           c.prefix_cache_hits);
    exposition_put_counter(out, "lockstep:num_preemptions_total",
                           "Times that a sequence gave up its KV blocks to an older one.",
                           c.preempted);
}

/* ---- the ranks ---- */

static uint64_t rank_up(const struct cluster_rank *r) {
    return r->up;
}

static uint64_t weight_bytes(const struct cluster_rank *r) {
    return r->stats.weight_bytes;
}

static uint64_t kv_bytes(const struct cluster_rank *r) {
    return r->stats.kv_bytes;
}

static uint64_t allreduce_bytes(const struct cluster_rank *r) {
    return r->totals.allreduce_bytes;
}

static uint64_t compute_ns(const struct cluster_rank *r) {
    return r->totals.compute_ns;
}

static uint64_t wait_ns(const struct cluster_rank *r) {
    return r->totals.wait_ns;
}

static uint64_t wire_ns(const struct cluster_rank *r) {
    return r->totals.wire_ns;
}

/* A time of steps is a summary without quantiles: its sum by its count is the mean of a step. */
static const struct rank_metric {
    const char *name, *type, *help;
    uint64_t (*value)(const struct cluster_rank *r);
    bool of_steps; // nanoseconds of all steps together
} rank_metrics[] = {
    {"lockstep:rank_up", "gauge", "Is the rank connected?", rank_up, false},
    {"lockstep:weights_bytes", "gauge", "Memory of the rank's weights.", weight_bytes, false},
    {"lockstep:kv_bytes", "gauge", "Memory of the rank's KV cache.", kv_bytes, false},
    {"lockstep:allreduce_bytes_total", "counter", "Bytes that went through all-reduces.",
     allreduce_bytes, false},
    {"lockstep:step_compute_seconds", "summary", "Time of steps in which the rank computed.",
     compute_ns, true},
    {"lockstep:step_wait_seconds", "summary", "Time of steps in which it waited for the others.",
     wait_ns, true},
    {"lockstep:step_wire_seconds", "summary",
     "Time of steps in which it moved and added the others' numbers.", wire_ns, true},
};

static void put_rank_metric(struct buf *out, const struct rank_metric *m,
                            const struct cluster_info *info) {
    exposition_begin(out, m->name, m->type, m->help);
    for (uint32_t i = 0; i < info->size; i++) {
        const struct cluster_rank *r = &info->ranks[i];
        char number[16];
        snprintf(number, sizeof number, "%u", i);
        const struct exposition_label labels[] = {{"rank", number}, {"host", r->host}};
        if (m->of_steps) {
            exposition_put_real(out, m->name, "_sum", labels, 2, (double)m->value(r) / NS_PER_S);
            exposition_put_count(out, m->name, "_count", labels, 2, r->totals.steps);
        } else {
            exposition_put_count(out, m->name, "", labels, 2, m->value(r));
        }
    }
}

static void put_ranks(struct buf *out, const struct cluster_info *info) {
    exposition_put_gauge(out, "lockstep:epoch", "Grows each time the ranks are started again.",
                         (double)info->epoch);
    for (size_t i = 0; i < COUNT_OF(rank_metrics); i++)
        put_rank_metric(out, &rank_metrics[i], info);
}

void api_metrics(struct gateway *g, const struct http_request *request, const char *rest,
                 const struct responder *responder, void *conn, struct exchange **x) {
    (void)request, (void)rest, (void)x;
    struct buf text;
    buf_init(&text, 0);
    put_engine(&text, g->engine);
    request_metrics_put(&g->metrics, &text);
    conn_metrics_put(&g->connections, &text);
    const struct cluster_info *info = engine_info(g->engine);
    if (info) put_ranks(&text, info);
    responder->head(conn, 200, EXPOSITION_CONTENT_TYPE, NULL, (int64_t)text.length);
    responder->body(conn, text.data, text.length);
    responder->done(conn);
    buf_deinit(&text);
}
