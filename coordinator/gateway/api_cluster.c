// SPDX-License-Identifier: MIT
/* api_cluster.c: GET /cluster: the cluster at a glance, as JSON, for the page.
 *
 * The numbers are those of /metrics, with what does not change beside them: the model, the cut, the
 * hosts.  Times and counts are totals since the start: who asks twice knows what happened between.
 * A server that is loading has neither a model nor ranks to speak of yet: both are null then. */

#include <inttypes.h>
#include <string.h>

#include "common/clock.h"
#include "coordinator/gateway/router.h"

#define NS_PER_S 1e9

static void put_text(struct buf *out, const char *key, const char *s) {
    buf_printf(out, "\"%s\":\"", key);
    if (s) buf_append_json(out, s, strlen(s));
    buf_puts(out, "\",");
}

static void put_requests(struct buf *out, struct gateway *g) {
    struct engine_counts c = engine_get_counts(g->engine);
    uint64_t rate[TOKEN_RATE_SECONDS];
    token_rate_read(&g->metrics.rate, clock_ns(), rate);
    buf_printf(out, "\"requests\":{\"running\":%u,\"waiting\":%u,\"cancelled\":%" PRIu64 "},",
               c.running, c.waiting, c.cancelled);
    buf_printf(out, "\"kv\":{\"blocks\":%u,\"blocks_used\":%u,\"block_tokens\":%d},", c.kv_blocks,
               c.kv_blocks_used, KV_BLOCK_TOKENS);
    buf_printf(out, "\"prefix_cache\":{\"queries\":%" PRIu64 ",\"hits\":%" PRIu64 "},",
               c.prefix_cache_queries, c.prefix_cache_hits);
    buf_printf(out, "\"preempted\":%" PRIu64 ",", c.preempted);
    buf_printf(out, "\"tokens\":{\"prompt\":%" PRIu64 ",\"generated\":%" PRIu64 ",\"per_second\":[",
               g->metrics.prompt_tokens, g->metrics.generated_tokens);
    for (size_t i = 0; i < TOKEN_RATE_SECONDS; i++)
        buf_printf(out, "%s%" PRIu64, i ? "," : "", rate[i]);
    buf_puts(out, "]},");
}

static void put_model(struct buf *out, const struct gateway *g, const struct cluster_info *info) {
    const struct model_shape *s = &info->model->shape;
    buf_puts(out, "\"model\":{");
    put_text(out, "id", g->model_id);
    put_text(out, "name", s->name);
    put_text(out, "architecture", s->arch);
    buf_printf(out, "\"parameters\":%" PRIu64 ",\"bytes\":%" PRIu64 ",",
               model_parameters(info->model), model_weight_bytes(info->model));
    buf_printf(out,
               "\"layers\":%u,\"dim\":%u,\"heads\":%u,\"kv_heads\":%u,\"head_dim\":%u,"
               "\"ffn\":%u,\"vocab\":%u,\"context\":%u,\"chat_template\":%s},",
               s->n_layers, s->dim, s->n_heads, s->n_kv_heads, s->head_dim, s->n_ff, s->n_vocab,
               info->ctx, chat_template_is_plain(g->chat_template) ? "false" : "true");
}

static void put_range(struct buf *out, const char *key, struct range r) {
    buf_printf(out, "\"%s\":[%u,%u],", key, r.begin, r.end);
}

static void put_rank(struct buf *out, const struct cluster_rank *r, const struct plan_rank *cut) {
    const struct wire_totals *t = &r->totals;
    buf_putc(out, '{');
    put_text(out, "host", r->host);
    put_text(out, "isa", r->isa);
    put_text(out, "cpus", r->cpus);
    put_range(out, "heads", cut->heads);
    put_range(out, "kv_heads", cut->kv_heads);
    put_range(out, "ffn", cut->ffn);
    put_range(out, "vocab", cut->vocab);
    buf_printf(out, "\"up\":%s,\"threads\":%u,\"weights_bytes\":%" PRIu64 ",\"kv_bytes\":%" PRIu64,
               r->up ? "true" : "false", r->threads, r->stats.weight_bytes, r->stats.kv_bytes);
    buf_printf(out, ",\"peak_rss_bytes\":%" PRIu64 ",\"cpu_seconds\":%.9g,\"steps\":%" PRIu64,
               r->stats.peak_rss_bytes, (double)r->cpu_ns / NS_PER_S, t->steps);
    buf_printf(out, ",\"compute_seconds\":%.9g,\"wait_seconds\":%.9g,\"wire_seconds\":%.9g",
               (double)t->compute_ns / NS_PER_S, (double)t->wait_ns / NS_PER_S,
               (double)t->wire_ns / NS_PER_S);
    buf_printf(out, ",\"allreduce_bytes\":%" PRIu64 "}", t->allreduce_bytes);
}

static void put_ranks(struct buf *out, const struct cluster_info *info) {
    put_text(out, "mpi", info->mpi);
    put_text(out, "transport", info->transport);
    buf_printf(out, "\"epoch\":%" PRIu64 ",\"load_seconds\":%.9g,\"ranks\":[", info->epoch,
               (double)info->load_ns / NS_PER_S);
    for (uint32_t i = 0; i < info->size; i++) {
        if (i) buf_putc(out, ',');
        put_rank(out, &info->ranks[i], &info->plan->ranks[i]);
    }
    buf_putc(out, ']');
}

void api_cluster(struct gateway *g, const struct http_request *request, const char *rest,
                 const struct responder *responder, void *conn, struct exchange **x) {
    (void)request, (void)rest, (void)x;
    struct buf json;
    buf_init(&json, 0);
    buf_putc(&json, '{');
    put_text(&json, "status", gateway_state_name(g));
    put_text(&json, "fingerprint", g->fingerprint);
    buf_printf(&json, "\"uptime_seconds\":%lld,", (long long)(clock_unix_s() - g->created_s));
    put_requests(&json, g);
    const struct cluster_info *info = engine_info(g->engine);
    if (info) {
        put_model(&json, g, info);
        put_ranks(&json, info);
    } else {
        buf_puts(&json, "\"model\":null,\"ranks\":null");
    }
    buf_putc(&json, '}');
    gateway_reply(responder, conn, 200, "Cache-Control: no-store\r\n", &json);
    buf_deinit(&json);
}
