// SPDX-License-Identifier: MIT
/* bench_rows.c: see bench_rows.h.
 *
 * A limit is the better one of those before and after a sample, and a row's the median over its
 * samples: a result can only look further from it than it was. */

#include "coordinator/bench/bench_rows.h"

#include <math.h>
#include <stdlib.h>

#include "common/mem.h"

/* ---- samples ---- */

void bench_series_add(struct bench_series *s, const struct bench_sample *sample) {
    s->v = mem_realloc(s->v, (s->n + 1) * sizeof *s->v);
    s->v[s->n++] = *sample;
}

void bench_series_deinit(struct bench_series *s) {
    mem_free(s->v);
    *s = (struct bench_series){0};
}

static bool moved(double before, double after) {
    return fabs(after - before) > BENCH_STEADY * fmax(before, after);
}

struct bench_limits bench_limits_of(const struct measure_limits *l) {
    return (struct bench_limits){.read_gb_per_s = l->read_bytes_per_s / 1e9,
                                 .int8_gops = l->int8_ops_per_s / 1e9,
                                 .f32_gops = l->f32_ops_per_s / 1e9};
}

bool bench_limits_moved(const struct bench_limits *before, const struct bench_limits *after) {
    return moved(before->read_gb_per_s, after->read_gb_per_s) ||
           moved(before->int8_gops, after->int8_gops) || moved(before->f32_gops, after->f32_gops);
}

bool bench_sample_steady(const struct bench_case *c, const struct bench_costs *costs,
                         const struct bench_sample *s) {
    bool products = costs->quantized ? moved(s->before.int8_gops, s->after.int8_gops)
                                     : moved(s->before.f32_gops, s->after.f32_gops);
    bool reading = moved(s->before.read_gb_per_s, s->after.read_gb_per_s);
    if (c->kind == BENCH_PREFILL) return !products;
    return !reading && !(products && c->batch > 1);
}

size_t bench_series_steady(const struct bench_series *s, const struct bench_case *c,
                           const struct bench_costs *costs) {
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) n += bench_sample_steady(c, costs, &s->v[i]);
    return n;
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct bench_range bench_range_of(double *v, size_t n) {
    CHECK(n > 0);
    qsort(v, n, sizeof *v, compare_doubles);
    return (struct bench_range){
        .median = (v[(n - 1) / 2] + v[n / 2]) / 2, .min = v[0], .max = v[n - 1]};
}

/* ---- what must be done ---- */

static double elements(const struct gguf_tensor *t) {
    return (double)t->dims[0] * (double)t->rows;
}

static double layer_elements(const struct model_layer *l) {
    return elements(l->q) + elements(l->k) + elements(l->v) + elements(l->attn_out) +
           elements(l->gate) + elements(l->up) + elements(l->down);
}

struct bench_costs bench_costs_of(const struct model *m, const struct plan *p,
                                  uint32_t kv_elem_bytes) {
    struct bench_costs c = {.head_ops = 2 * elements(m->output),
                            .quantized = dtype_info(m->layers[0].gate->type)->quantized};
    for (uint32_t i = 0; i < m->shape.n_layers; i++)
        c.layer_ops += 2 * layer_elements(&m->layers[i]);
    for (uint32_t r = 0; r < p->size; r++) {
        c.weight_bytes += plan_read_bytes_per_token(p, r, m);
        c.kv_bytes_per_token += plan_kv_bytes_per_token(p, r, &m->shape, kv_elem_bytes);
    }
    return c;
}

/* Weights, and the K and V of all positions up to its own that each sequence looks at: the timed
 * steps compute positions prompt + 1 … prompt + tokens. */
static double decode_bytes_per_step(const struct bench_case *c, const struct bench_costs *costs) {
    double positions = bench_case_prompt(c) + 1 + (c->tokens + 1) / 2.0;
    return (double)costs->weight_bytes + c->batch * positions * (double)costs->kv_bytes_per_token;
}

static double prefill_ops(const struct bench_case *c, const struct bench_costs *costs) {
    return c->tokens * costs->layer_ops + costs->head_ops;
}

/* ---- a row ---- */

/* The samples that count: the steady ones, or all of them when there is none. */
struct counted {
    const struct bench_case *c;
    const struct bench_costs *costs;
    const struct bench_series *series;
    bool all;
};

static bool counts(const struct counted *k, size_t i) {
    return k->all || bench_sample_steady(k->c, k->costs, &k->series->v[i]);
}

static struct bench_range range_over(const struct counted *k,
                                     double (*value)(const struct counted *k,
                                                     const struct bench_sample *s)) {
    size_t n = 0;
    double *v = mem_zalloc_array(k->series->n, sizeof *v);
    for (size_t i = 0; i < k->series->n; i++)
        if (counts(k, i)) v[n++] = value(k, &k->series->v[i]);
    struct bench_range r = bench_range_of(v, n);
    mem_free(v);
    return r;
}

static double tokens_per_s(const struct counted *k, const struct bench_sample *s) {
    return (double)k->c->tokens * k->c->batch / ((double)s->wall_ns / 1e9);
}

static double read_limit(const struct counted *k, const struct bench_sample *s) {
    (void)k;
    return fmax(s->before.read_gb_per_s, s->after.read_gb_per_s);
}

static double peak_limit(const struct counted *k, const struct bench_sample *s) {
    return k->costs->quantized ? fmax(s->before.int8_gops, s->after.int8_gops)
                               : fmax(s->before.f32_gops, s->after.f32_gops);
}

static double chunks(const struct counted *k, const struct bench_sample *s) {
    (void)k;
    return s->chunks;
}

static double per_step_ms(const struct bench_sample *s, uint64_t ns) {
    return s->steps ? (double)ns / 1e6 / (double)s->steps : 0;
}

static double compute_ms(const struct counted *k, const struct bench_sample *s) {
    (void)k;
    return per_step_ms(s, s->compute_ns);
}

static double wait_ms(const struct counted *k, const struct bench_sample *s) {
    (void)k;
    return per_step_ms(s, s->wait_ns);
}

static double wire_ms(const struct counted *k, const struct bench_sample *s) {
    (void)k;
    return per_step_ms(s, s->wire_ns);
}

/* Every step of a decode makes a token of each sequence. */
static double calls_per_token(const struct counted *k, const struct bench_sample *s) {
    return s->steps ? (double)s->allreduce_calls / (double)s->steps / k->c->batch : 0;
}

static double bytes_per_token(const struct counted *k, const struct bench_sample *s) {
    return s->steps ? (double)s->allreduce_bytes / (double)s->steps / k->c->batch : 0;
}

static struct counted count(const struct bench_cases *b, size_t i,
                            const struct bench_cluster *cluster,
                            const struct bench_series *series) {
    struct counted k = {.c = &b->cases[i], .costs = &cluster->costs, .series = &series[i]};
    k.all = bench_series_steady(k.series, k.c, k.costs) == 0;
    return k;
}

static void fill_prefill(struct bench_row *r, const struct counted *k) {
    r->prefill_samples =
        (uint32_t)(k->all ? k->series->n : bench_series_steady(k->series, k->c, k->costs));
    r->prefill_dropped = (uint32_t)k->series->n - r->prefill_samples;
    r->prefill_tokens_per_s = range_over(k, tokens_per_s);
    r->prefill_gops =
        prefill_ops(k->c, k->costs) / k->c->tokens * r->prefill_tokens_per_s.median / 1e9;
    r->peak_gops = range_over(k, peak_limit).median;
    r->prefill_chunks = (uint32_t)range_over(k, chunks).median;
}

static void fill_decode(struct bench_row *r, const struct counted *k) {
    r->decode_samples =
        (uint32_t)(k->all ? k->series->n : bench_series_steady(k->series, k->c, k->costs));
    r->decode_dropped = (uint32_t)k->series->n - r->decode_samples;
    r->decode_tokens_per_s = range_over(k, tokens_per_s);
    r->ms_per_token = 1000.0 * k->c->batch / r->decode_tokens_per_s.median;
    r->decode_gb_per_s = decode_bytes_per_step(k->c, k->costs) / 1e6 / r->ms_per_token;
    r->read_bandwidth_gb_per_s = range_over(k, read_limit).median;
    r->allreduce_calls_per_token = range_over(k, calls_per_token).median;
    r->allreduce_bytes_per_token = range_over(k, bytes_per_token).median;
    r->step_compute_ms = range_over(k, compute_ms).median;
    r->step_wait_ms = range_over(k, wait_ms).median;
    r->step_wire_ms = range_over(k, wire_ms).median;
}

struct bench_row bench_row_of(const struct bench_cases *b, size_t row,
                              const struct bench_cluster *cluster,
                              const struct bench_series *series) {
    const struct bench_combination *c = &b->rows[row];
    struct counted prefill = count(b, c->prefill_case, cluster, series);
    struct counted decode = count(b, c->decode_case, cluster, series);
    struct bench_row r = {.ranks = cluster->ranks,
                          .threads = cluster->threads,
                          .batch = c->batch,
                          .ctx_depth = c->depth,
                          .prefill_tokens = c->prefill,
                          .decode_tokens = c->decode,
                          .peak_rss_bytes = cluster->peak_rss_bytes,
                          .load_s = cluster->load_s.median,
                          .steady = !prefill.all && !decode.all,
                          .cores = cluster->cores};
    if (r.load_s > 0) r.load_gb_per_s = (double)cluster->file_bytes / 1e9 / r.load_s;
    fill_prefill(&r, &prefill);
    fill_decode(&r, &decode);
    return r;
}

/* ---- rows against each other ---- */

static bool comparable(const struct bench_row *a, const struct bench_row *b) {
    return a->batch == b->batch && a->ctx_depth == b->ctx_depth &&
           a->prefill_tokens == b->prefill_tokens && a->decode_tokens == b->decode_tokens;
}

void bench_rows_compare(struct bench_row *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct bench_row *base = NULL;
        for (size_t k = 0; k < n; k++)
            if (comparable(&rows[i], &rows[k]) && (!base || rows[k].cores < base->cores))
                base = &rows[k];
        struct bench_row *r = &rows[i];
        double cores = (double)r->cores / base->cores;
        r->speedup = r->decode_tokens_per_s.median / base->decode_tokens_per_s.median;
        r->efficiency = r->speedup / cores;
        r->prefill_speedup = r->prefill_tokens_per_s.median / base->prefill_tokens_per_s.median;
        r->prefill_efficiency = r->prefill_speedup / cores;
    }
}
