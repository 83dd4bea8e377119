// SPDX-License-Identifier: MIT
/* cmd_plan.c: `lockstep plan`: how a model would be cut over N ranks and what that costs.
 *
 * Reads the model's headers only, never a weight, and starts no rank: the answer is the same
 * planner's that `serve` uses.  Numbers are bytes of the file's encoding; the speed is an estimate
 * from an assumed memory bandwidth and says so. */

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/gguf.h"
#include "common/model.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/session.h"
#include "coordinator/cluster/planner.h"

#define MIB (1024.0 * 1024.0)

/* All that there is to print. */
struct report {
    const struct options *options;
    struct gguf *gguf;
    struct model *model;
    struct planner_options asked;
    struct plan plan;
    struct planner_estimate estimate;
};

static err report_make(struct report *r, const struct options *o) {
    r->options = o;
    TRY(gguf_open(&r->gguf, o->model));
    TRY(model_create(&r->model, r->gguf));
    r->asked = (struct planner_options){
        .size = o->ranks,
        .ctx_planned = planner_context(&r->model->shape, o->ctx),
        .kv_elem_bytes = o->kv_type == KV_F32 ? 4 : 2,
    };
    TRY(planner_make(&r->plan, r->model, &r->asked));
    planner_estimate_init(&r->estimate, &r->plan, r->model, &r->asked);
    return ERR_OK;
}

static void report_deinit(struct report *r) {
    planner_estimate_deinit(&r->estimate);
    plan_deinit(&r->plan);
    model_free(r->model);
    gguf_close(r->gguf);
}

static void put_range(json_t *object, const char *key, struct range r) {
    json_object_set_new(object, key, json_pack("[I, I]", (json_int_t)r.begin, (json_int_t)r.end));
}

static void put_count(json_t *object, const char *key, uint64_t n) {
    json_object_set_new(object, key, json_integer((json_int_t)n));
}

static json_t *rank_json(const struct plan_rank *rank, const struct planner_rank_estimate *e) {
    json_t *o = json_object();
    put_range(o, "heads", rank->heads);
    put_range(o, "kv_heads", rank->kv_heads);
    put_range(o, "ffn", rank->ffn);
    put_range(o, "vocab", rank->vocab);
    put_count(o, "weight_bytes", e->weight_bytes);
    put_count(o, "kv_bytes_per_token", e->kv_bytes_per_token);
    put_count(o, "read_bytes_per_token", e->read_bytes_per_token);
    put_count(o, "memory_bytes", e->memory_bytes);
    return o;
}

static const char *kv_type_name(const struct report *r) {
    return r->options->kv_type == KV_F32 ? "f32" : "f16";
}

static json_t *report_json(const struct report *r) {
    const struct planner_estimate *e = &r->estimate;
    json_t *o = json_object(), *ranks = json_array();
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64, plan_hash(&r->plan));
    for (uint32_t i = 0; i < r->plan.size; i++)
        json_array_append_new(ranks, rank_json(&r->plan.ranks[i], &e->ranks[i]));
    json_object_set_new(o, "model", json_string(r->model->shape.name));
    put_count(o, "size", r->plan.size);
    put_count(o, "ctx_planned", r->asked.ctx_planned);
    json_object_set_new(o, "kv_type", json_string(kv_type_name(r)));
    json_object_set_new(o, "plan_hash", json_string(hash));
    json_object_set_new(o, "ranks", ranks);
    json_object_set_new(o, "imbalance", json_real(e->imbalance));
    put_count(o, "allreduce_calls_per_token", e->allreduce_calls_per_token);
    put_count(o, "allreduce_bytes_per_token", e->allreduce_bytes_per_token);
    put_count(o, "candidate_merges_per_token", e->candidate_merges_per_token);
    json_object_set_new(o, "assumed_gb_per_s", json_real(PLANNER_GB_PER_S));
    json_object_set_new(o, "predicted_tokens_per_s", json_real(e->predicted_tokens_per_s));
    return o;
}

static err write_json(const struct report *r) {
    json_t *root = report_json(r);
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(root);
    if (!text) return FAIL(ERR_MEMORY, "there is no memory for the plan as JSON");
    err e = ERR_OK;
    if (r->options->json) puts(text);
    if (r->options->json_out) e = session_write_file(r->options->json_out, text, strlen(text));
    free(text);
    return e;
}

static void print_range(struct range r, int width) {
    char text[32] = "none";
    if (range_len(r) > 0) snprintf(text, sizeof text, "%u-%u", r.begin, r.end - 1);
    printf("  %*s", width, text);
}

static void print_table(const struct report *r) {
    const struct model_shape *s = &r->model->shape;
    const struct planner_estimate *e = &r->estimate;
    printf("%s: %u layers, %u query heads, %u KV heads of %u, %u FFN columns, %u words, cut over "
           "%u rank%s\n",
           s->name[0] ? s->name : s->arch, s->n_layers, s->n_heads, s->n_kv_heads, s->head_dim,
           s->n_ff, s->n_vocab, r->plan.size, r->plan.size == 1 ? "" : "s");
    printf("Planned for %u tokens of context in %s.  All ranges include both ends.\n\n",
           r->asked.ctx_planned, kv_type_name(r));
    printf("%4s  %9s  %9s  %13s  %15s  %11s  %10s  %14s  %10s\n", "rank", "heads", "KV heads",
           "FFN columns", "vocabulary", "weights MiB", "KV B/token", "read MiB/token",
           "memory MiB");
    for (uint32_t i = 0; i < r->plan.size; i++) {
        const struct planner_rank_estimate *rank = &e->ranks[i];
        printf("%4u", i);
        print_range(r->plan.ranks[i].heads, 9);
        print_range(r->plan.ranks[i].kv_heads, 9);
        print_range(r->plan.ranks[i].ffn, 13);
        print_range(r->plan.ranks[i].vocab, 15);
        printf("  %11.1f  %10" PRIu64 "  %14.1f  %10.1f\n", (double)rank->weight_bytes / MIB,
               rank->kv_bytes_per_token, (double)rank->read_bytes_per_token / MIB,
               (double)rank->memory_bytes / MIB);
    }
    printf("\nimbalance        %.3f (largest read over the mean)\n", e->imbalance);
    printf(
        "all-reduce       %u calls and %" PRIu64 " bytes per token, then %u merge of candidates\n",
        e->allreduce_calls_per_token, e->allreduce_bytes_per_token, e->candidate_merges_per_token);
    printf("estimated speed  %.1f tokens/s for one sequence at the end of that context, if every "
           "rank reads %g GB/s and the network costs nothing\n",
           e->predicted_tokens_per_s, PLANNER_GB_PER_S);
}

err cmd_plan(const struct options *o) {
    struct report r = {0};
    err e = report_make(&r, o);
    if (e == ERR_OK && (o->json || o->json_out)) e = write_json(&r);
    if (e == ERR_OK && !o->json) print_table(&r);
    if (e == ERR_OK && fflush(stdout) != 0)
        e = FAIL(ERR_IO, "the plan could not be written to standard output");
    report_deinit(&r);
    return e;
}
