// SPDX-License-Identifier: MIT
/* cmd_bench.c: `lockstep bench`: how fast, and how far from what the machine can do.
 *
 * Starts a cluster for each number of ranks and of threads, has bench_run take the samples (or
 * bench_times ask about kernels or collectives), and prints a row for everything: a table, or with
 * --json {"machine", "rows"}.  Progress goes to standard error, each sample as it comes. */

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "coordinator/bench/bench_report.h"
#include "coordinator/bench/bench_run.h"
#include "coordinator/bench/bench_times.h"
#include "coordinator/bench/machine.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/session.h"
#include "coordinator/cluster/planner.h"

#define JSON_FORMAT (JSON_INDENT(1) | JSON_REAL_PRECISION(7))

/* A cluster that is measured, perhaps in several launches. */
struct target {
    uint32_t ranks, threads; // as asked for
    struct bench_cluster cluster;
    struct bench_series *series; // [n_cases]
    double *load_s;              // [n_loads]
    size_t n_loads;
    bool described; // in the JSON
};

struct bench {
    const struct options *options;
    struct options launch; // of the cluster that runs
    struct bench_cases cases;
    struct target *targets; // [n_targets]
    size_t n_targets;
    struct target *now;
    size_t wanted; // steady samples of each case after this launch
    json_t *machine;
    struct bench_run *run; // or
    struct bench_times *times;
    enum measure_what what; // that `times` asks for
    struct bench_timings timings;
    struct session session;
};

static uint32_t kv_elem_bytes(const struct options *o) {
    return o->kv_type == KV_F32 ? 4 : 2;
}

/* ---- before anything is started ---- */

static void make_targets(struct bench *b) {
    const struct options *o = b->options;
    b->n_targets = o->bench_ranks.n * o->bench_threads.n;
    b->targets = mem_zalloc_array(b->n_targets, sizeof *b->targets);
    for (size_t i = 0; i < b->n_targets; i++) {
        struct target *t = &b->targets[i];
        bool given = o->bootstrap_fd < 0; // under mpirun its number counts
        t->ranks = given ? o->bench_ranks.v[i / o->bench_threads.n] : o->ranks;
        t->threads = o->bench_threads.v[i % o->bench_threads.n];
        t->series = mem_zalloc_array(b->cases.n_cases, sizeof *t->series);
        t->load_s = mem_zalloc_array(o->reps, sizeof *t->load_s);
    }
}

static void bench_deinit(struct bench *b) {
    for (size_t i = 0; i < b->n_targets; i++) {
        for (size_t c = 0; c < b->cases.n_cases; c++) bench_series_deinit(&b->targets[i].series[c]);
        mem_free(b->targets[i].series);
        mem_free(b->targets[i].load_s);
    }
    mem_free(b->targets);
    bench_timings_deinit(&b->timings);
    bench_cases_deinit(&b->cases);
    json_decref(b->machine);
}

static err check_model(const struct bench *b, const struct model *m) {
    TRY(bench_cases_check(&b->cases, b->options, &m->shape));
    for (size_t i = 0; i < b->n_targets; i++) {
        const struct planner_options asked = {
            .size = b->targets[i].ranks,
            .ctx_planned = planner_context(&m->shape, bench_cases_context(&b->cases)),
            .kv_elem_bytes = kv_elem_bytes(b->options)};
        struct plan plan;
        TRY(planner_make(&plan, m, &asked));
        plan_deinit(&plan);
    }
    return ERR_OK;
}

static err check_collectives(const struct bench *b) {
    uint32_t most = 0;
    for (size_t i = 0; i < b->n_targets; i++)
        if (b->targets[i].ranks > most) most = b->targets[i].ranks;
    if (b->what == MEASURE_COLLECTIVES && most < 2)
        return FAIL(ERR_USAGE, "--collectives: a single rank has none, give -n 2 or more");
    return ERR_OK;
}

/* What would end the last of many clusters is said before the first; a file that only the ranks can
 * read is judged when they have. */
static err check_early(const struct bench *b) {
    struct gguf *gguf = NULL;
    struct model *model = NULL;
    TRY(check_collectives(b));
    if (access(b->options->model, R_OK) != 0 && b->options->hostfile) return ERR_OK;
    err e = gguf_open(&gguf, b->options->model);
    if (e == ERR_OK) e = model_create(&model, gguf);
    if (e == ERR_OK) e = check_model(b, model);
    model_free(model);
    gguf_close(gguf);
    return e;
}

/* ---- one cluster ---- */

static void on_sampled(void *ctx, size_t i) {
    struct bench *b = ctx;
    const struct bench_case *c = &b->cases.cases[i];
    const struct bench_series *series = &b->now->series[i];
    const struct bench_sample *s = &series->v[series->n - 1];
    bool steady = bench_sample_steady(c, &b->now->cluster.costs, s);
    double rate = (double)c->tokens * c->batch / ((double)s->wall_ns / 1e9);
    log_info("%u x %u, sample %zu: %s %u tokens, batch %u, depth %u: %.1f tokens/s%s",
             b->now->cluster.ranks, b->now->cluster.threads, series->n,
             c->kind == BENCH_PREFILL ? "prefill" : "decode", c->tokens, c->batch, c->depth, rate,
             steady ? "" : "; dropped, the limits moved");
}

static void on_answered(void *ctx, uint32_t index, uint32_t n) {
    const struct bench *b = ctx;
    log_info("%u x %u: %s, %u of %u", b->now->cluster.ranks, b->now->cluster.threads,
             b->what == MEASURE_KERNELS ? "kernels" : "collectives", index + 1, n);
}

static void on_done(void *ctx, err code, const char *message) {
    struct bench *b = ctx;
    session_end(&b->session, code, message);
}

static void on_step(void *ctx, const struct engine_step *step) {
    struct bench *b = ctx;
    if (b->run) bench_run_step(b->run, step);
}

static void on_idle(void *ctx) {
    struct bench *b = ctx;
    if (b->run) bench_run_idle(b->run);
}

static void on_measured(void *ctx, const struct measure_answer *answer) {
    struct bench *b = ctx;
    for (uint32_t r = 0; r < answer->size; r++)
        if (answer->ranks[r].peak_rss_bytes > b->now->cluster.peak_rss_bytes)
            b->now->cluster.peak_rss_bytes = answer->ranks[r].peak_rss_bytes;
    if (!b->now->described && (answer->limits.memory_bytes || b->what == MEASURE_COLLECTIVES)) {
        machine_add_cluster(b->machine, engine_info(b->session.engine), answer);
        b->now->described = true;
    }
    if (b->run)
        bench_run_measured(b->run, answer);
    else
        bench_times_measured(b->times, answer);
}

static const struct engine_events watch = {
    .step = on_step, .idle = on_idle, .measured = on_measured};

static void describe(struct target *t, const struct options *o, const struct cluster_info *info) {
    struct bench_cluster *c = &t->cluster;
    c->ranks = info->size;
    c->threads = c->cores = 0;
    c->file_bytes = 0;
    for (uint32_t r = 0; r < info->size; r++) {
        const struct cluster_rank *k = &info->ranks[r];
        c->cores += k->threads;
        c->file_bytes += k->stats.file_bytes_read;
        if (k->threads > c->threads) c->threads = k->threads;
    }
    c->costs = bench_costs_of(info->model, info->plan, kv_elem_bytes(o));
    t->load_s[t->n_loads++] = (double)info->load_ns / 1e9;
}

static void start_times(struct bench *b) {
    const struct bench_times_options o = {.what = b->what,
                                          .reps = b->options->reps,
                                          .read_memory = b->options->read_memory,
                                          .ranks = b->now->cluster.ranks,
                                          .threads = b->now->cluster.threads,
                                          .timings = &b->timings,
                                          .answered = on_answered,
                                          .done = on_done,
                                          .ctx = b};
    b->times = bench_times_start(b->session.engine, &o);
}

static void start_run(struct bench *b) {
    const struct bench_run_options o = {.cases = &b->cases,
                                        .series = b->now->series,
                                        .wanted = b->wanted,
                                        .costs = b->now->cluster.costs,
                                        .read_memory = b->options->read_memory,
                                        .sampled = on_sampled,
                                        .done = on_done,
                                        .ctx = b};
    b->run = bench_run_start(b->session.engine, &o);
}

static err on_ready(struct session *s) {
    struct bench *b = s->ctx;
    const struct cluster_info *info = engine_info(s->engine);
    TRY(check_model(b, info->model));
    if (!b->machine) b->machine = machine_json(b->options, info);
    describe(b->now, b->options, info);
    session_watch(s, &watch);
    if (b->what == MEASURE_COUNTERS)
        start_run(b);
    else
        start_times(b);
    return ERR_OK;
}

static err run_cluster(struct bench *b, struct target *t) {
    const struct options *o = b->options;
    b->now = t;
    b->launch = *o;
    b->launch.ranks = t->ranks;
    b->launch.ranks_given = true;
    b->launch.threads = t->threads;
    b->launch.max_batch = bench_cases_batch(&b->cases);
    if (!o->ctx) b->launch.ctx = bench_cases_context(&b->cases);
    if (!o->kv_memory && !o->kv_tokens) {
        uint64_t needed = bench_cases_kv_tokens(&b->cases);
        b->launch.kv_tokens = needed > b->launch.ctx ? needed : b->launch.ctx;
    }
    err e = session_run(&b->session, &b->launch, on_ready, b);
    session_close(&b->session);
    bench_run_free(b->run);
    bench_times_free(b->times);
    b->run = NULL;
    b->times = NULL;
    return e;
}

/* One cluster after the other, or a sample of each in turn. */
static err run_clusters(struct bench *b) {
    bool in_turn = b->options->alternate && b->n_targets > 1;
    size_t rounds = in_turn ? b->options->reps : 1;
    for (size_t round = 0; round < rounds; round++) {
        b->wanted = in_turn ? round + 1 : b->options->reps;
        for (size_t i = 0; i < b->n_targets; i++) TRY(run_cluster(b, &b->targets[i]));
    }
    return ERR_OK;
}

/* ---- the result ---- */

static err write_json(const struct bench *b, json_t *rows) {
    const struct options *o = b->options;
    json_t *root = json_pack("{s:O, s:O}", "machine", b->machine, "rows", rows);
    char *text = json_dumps(root, JSON_FORMAT);
    json_decref(root);
    err e = ERR_OK;
    if (!text) return FAIL(ERR_INTERNAL, "the result could not be written as JSON");
    if (o->json) puts(text);
    if (o->json_out) e = session_write_file(o->json_out, text, strlen(text));
    free(text);
    return e;
}

/* To standard output, to files, as the options say.  `table` is for people. */
static err publish(const struct bench *b, json_t *rows, const struct buf *table) {
    const struct options *o = b->options;
    err e = ERR_OK;
    if (o->json || o->json_out) TRY(write_json(b, rows));
    if (o->csv) {
        struct buf csv;
        buf_init(&csv, 0);
        bench_report_csv(&csv, rows);
        e = session_write_file(o->csv, csv.data, csv.length);
        buf_deinit(&csv);
    }
    if (e == ERR_OK && !o->json) fwrite(table->data, 1, table->length, stdout);
    return e;
}

static err report_rows(struct bench *b) {
    size_t n_columns, n = 0;
    const struct bench_column *columns = bench_row_columns(&n_columns);
    struct bench_row *rows = mem_zalloc_array(b->n_targets * b->cases.n_rows, sizeof *rows);
    struct buf table;
    buf_init(&table, 0);
    for (size_t i = 0; i < b->n_targets; i++) {
        struct target *t = &b->targets[i];
        t->cluster.load_s = bench_range_of(t->load_s, t->n_loads);
        for (size_t k = 0; k < b->cases.n_rows; k++)
            rows[n++] = bench_row_of(&b->cases, k, &t->cluster, t->series);
    }
    bench_rows_compare(rows, n);
    bench_report_table(&table, rows, n);
    json_t *array = bench_report_json(columns, n_columns, rows, sizeof *rows, n);
    err e = publish(b, array, &table);
    json_decref(array);
    buf_deinit(&table);
    mem_free(rows);
    return e;
}

static err report_times(struct bench *b) {
    size_t n_columns;
    const struct bench_timings *t = &b->timings;
    const struct bench_column *columns = bench_times_columns(b->what, &n_columns);
    struct buf table;
    buf_init(&table, 0);
    bench_times_table(&table, b->what, t);
    json_t *array = bench_report_json(columns, n_columns, t->v, sizeof *t->v, t->n);
    err e = publish(b, array, &table);
    json_decref(array);
    buf_deinit(&table);
    return e;
}

err cmd_bench(const struct options *o) {
    struct bench b = {.options = o};
    if (o->kernels) b.what = MEASURE_KERNELS;
    if (o->collectives) b.what = MEASURE_COLLECTIVES;
    err e = bench_cases_init(&b.cases, o);
    if (e == ERR_OK) {
        make_targets(&b);
        e = check_early(&b);
    }
    if (e == ERR_OK) e = run_clusters(&b);
    if (e == ERR_OK) e = b.what == MEASURE_COUNTERS ? report_rows(&b) : report_times(&b);
    bench_deinit(&b);
    return e;
}
