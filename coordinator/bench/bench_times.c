// SPDX-License-Identifier: MIT
/* bench_times.c: see bench_times.h.  Limits are measured between the questions about kernels; a
 * collective has no other limit than its own ways. */

#include "coordinator/bench/bench_times.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "common/dtype.h"
#include "common/mem.h"

#define LIMIT_REPS 3 // before and after every question: more would take longer than the kernels

struct bench_times {
    struct engine *engine;
    struct bench_times_options o;
    uint32_t index, n_indexes;  // of the question that is asked next
    struct measure_time *times; // [n_times] of the last one, waiting for the limits after it
    size_t n_times;
    struct bench_limits before;
    bool over;
};

void bench_timings_deinit(struct bench_timings *t) {
    for (size_t i = 0; i < t->n; i++) {
        mem_free((void *)(uintptr_t)t->v[i].name);
        mem_free((void *)(uintptr_t)t->v[i].type);
    }
    mem_free(t->v);
    *t = (struct bench_timings){0};
}

/* ---- arithmetic ---- */

static const char *products_of(const char *type) {
    for (uint32_t i = 0; i < DTYPE_LIMIT; i++) {
        const struct dtype_info *info = dtype_find(i);
        if (info && strcmp(info->name, type) == 0) return info->quantized ? "int8" : "f32";
    }
    return "f32";
}

struct bench_timing bench_timing_of(const struct measure_time *t, const struct bench_limits *before,
                                    const struct bench_limits *after) {
    const char *products = products_of(t->type);
    bool bytes = strcmp(products, "int8") == 0;
    double read = fmax(before->read_gb_per_s, after->read_gb_per_s);
    double peak =
        bytes ? fmax(before->int8_gops, after->int8_gops) : fmax(before->f32_gops, after->f32_gops);
    double read_ns = read > 0 ? (double)t->bytes / read : 0;
    double product_ns = peak > 0 ? (double)t->ops / peak : 0;
    double ns = t->median_ns > 0 ? t->median_ns : 1;
    return (struct bench_timing){.name = t->name,
                                 .type = t->type,
                                 .rows = t->rows,
                                 .cols = t->cols,
                                 .count = t->count,
                                 .bytes = t->bytes,
                                 .repetitions = t->reps,
                                 .us = {ns / 1e3, t->min_ns / 1e3, t->max_ns / 1e3},
                                 .gb_per_s = (double)t->bytes / ns,
                                 .gops = (double)t->ops / ns,
                                 .mb_per_s = (double)t->bytes / ns * 1e3,
                                 .limit = read_ns >= product_ns ? "read" : products,
                                 .of_limit = fmax(read_ns, product_ns) / ns,
                                 .steady = !bench_limits_moved(before, after)};
}

/* ---- questions and answers ---- */

static void finish(struct bench_times *b, err code, const char *message) {
    if (b->over) return;
    b->over = true;
    b->o.done(b->o.ctx, code, message);
}

static void ask(struct bench_times *b, enum measure_what what) {
    const struct measure_ask question = {.what = what,
                                         .index = b->index,
                                         .reps = what == MEASURE_LIMITS ? LIMIT_REPS : b->o.reps,
                                         .memory_bytes = b->o.read_memory};
    err e = engine_measure(b->engine, &question);
    if (e != ERR_OK) finish(b, e, error_message());
}

/* The answer's texts live during the call only. */
static void keep_times(struct bench_times *b, const struct measure_answer *answer) {
    b->n_indexes = answer->n_indexes;
    b->n_times = answer->n_times;
    b->times = mem_realloc(b->times, b->n_times * sizeof *b->times);
    for (size_t i = 0; i < b->n_times; i++) {
        b->times[i] = answer->times[i];
        b->times[i].name = mem_strdup(answer->times[i].name);
        b->times[i].type = mem_strdup(answer->times[i].type);
    }
}

/* They become rows, which own the texts. */
static void add_rows(struct bench_times *b, const struct bench_limits *after) {
    struct bench_timings *t = b->o.timings;
    t->v = mem_realloc(t->v, (t->n + b->n_times) * sizeof *t->v);
    for (size_t i = 0; i < b->n_times; i++) {
        struct bench_timing *row = &t->v[t->n++];
        *row = bench_timing_of(&b->times[i], &b->before, after);
        row->ranks = b->o.ranks;
        row->threads = b->o.threads;
    }
    b->n_times = 0;
}

/* A question is complete, with the limits around it; the next one, if there is one. */
static void go_on(struct bench_times *b, const struct bench_limits *limits) {
    if (b->n_indexes) {
        add_rows(b, limits);
        b->o.answered(b->o.ctx, b->index, b->n_indexes);
        b->index++;
    }
    b->before = *limits;
    if (b->n_indexes && b->index == b->n_indexes)
        finish(b, ERR_OK, "");
    else
        ask(b, b->o.what);
}

void bench_times_measured(struct bench_times *b, const struct measure_answer *answer) {
    const struct bench_limits none = {0};
    if (b->over) return;
    if (answer->n_indexes == 0) {
        const struct bench_limits limits = bench_limits_of(&answer->limits);
        go_on(b, &limits);
        return;
    }
    keep_times(b, answer);
    if (b->o.what == MEASURE_KERNELS)
        ask(b, MEASURE_LIMITS);
    else
        go_on(b, &none);
}

struct bench_times *bench_times_start(struct engine *e, const struct bench_times_options *o) {
    struct bench_times *b = mem_zalloc(sizeof *b);
    b->engine = e;
    b->o = *o;
    ask(b, o->what == MEASURE_KERNELS ? MEASURE_LIMITS : o->what);
    return b;
}

void bench_times_free(struct bench_times *b) {
    if (!b) return;
    for (size_t i = 0; i < b->n_times; i++) {
        mem_free((void *)(uintptr_t)b->times[i].name);
        mem_free((void *)(uintptr_t)b->times[i].type);
    }
    mem_free(b->times);
    mem_free(b);
}

/* ---- columns and tables ---- */

#define AT(field) offsetof(struct bench_timing, field)

static const struct bench_column kernel_columns[] = {
    {"ranks", COLUMN_U32, AT(ranks)},        {"threads", COLUMN_U32, AT(threads)},
    {"kernel", COLUMN_TEXT, AT(name)},       {"type", COLUMN_TEXT, AT(type)},
    {"rows", COLUMN_U64, AT(rows)},          {"cols", COLUMN_U64, AT(cols)},
    {"count", COLUMN_U64, AT(count)},        {"us", COLUMN_RANGE, AT(us)},
    {"gb_per_s", COLUMN_REAL, AT(gb_per_s)}, {"gops", COLUMN_REAL, AT(gops)},
    {"limit", COLUMN_TEXT, AT(limit)},       {"of_limit", COLUMN_REAL, AT(of_limit)},
    {"steady", COLUMN_FLAG, AT(steady)},
};

static const struct bench_column collective_columns[] = {
    {"ranks", COLUMN_U32, AT(ranks)},
    {"threads", COLUMN_U32, AT(threads)},
    {"algorithm", COLUMN_TEXT, AT(name)},
    {"size", COLUMN_U64, AT(bytes)},
    {"avg_latency_us", COLUMN_REAL, AT(us.median)},
    {"min_latency_us", COLUMN_REAL, AT(us.min)},
    {"max_latency_us", COLUMN_REAL, AT(us.max)},
    {"bandwidth_mb_per_s", COLUMN_REAL, AT(mb_per_s)},
    {"iterations", COLUMN_U64, AT(repetitions)},
};

const struct bench_column *bench_times_columns(enum measure_what what, size_t *n) {
    bool kernels = what == MEASURE_KERNELS;
    *n = kernels ? sizeof kernel_columns / sizeof *kernel_columns
                 : sizeof collective_columns / sizeof *collective_columns;
    return kernels ? kernel_columns : collective_columns;
}

static void put_kernel(struct buf *out, const struct bench_timing *t, bool first) {
    char shape[32], us[48];
    if (first)
        buf_printf(out,
                   "# %u rank%s x %u thread%s; rank 0's shapes, all ranks at once\n"
                   "# kernel           type           rows x cols count        us (least-greatest)"
                   "     GB/s    GOPS   of limit\n",
                   t->ranks, t->ranks == 1 ? "" : "s", t->threads, t->threads == 1 ? "" : "s");
    snprintf(shape, sizeof shape, "%" PRIu64 " x %" PRIu64, t->rows ? t->rows : 1, t->cols);
    snprintf(us, sizeof us, "%.2f (%.2f-%.2f)", t->us.median, t->us.min, t->us.max);
    buf_printf(out, "%-18s %-5s %20s %5" PRIu64 " %26s %8.1f %7.1f  %4.0f%% %s%s\n", t->name,
               t->type, shape, t->count, us, t->gb_per_s, t->gops, 100 * t->of_limit, t->limit,
               t->steady ? "" : " *");
}

static void put_collective(struct buf *out, const struct bench_timing *t, bool first) {
    if (first)
        buf_printf(out,
                   "# all-reduce, %s, %u ranks\n"
                   "# Size       Avg Latency(us)   Min Latency(us)   Max Latency(us)   "
                   "Bandwidth(MB/s)  Iterations\n",
                   t->name, t->ranks);
    buf_printf(out, "%-10" PRIu64 " %17.2f %17.2f %17.2f %17.2f %11" PRIu64 "\n", t->bytes,
               t->us.median, t->us.min, t->us.max, t->mb_per_s, t->repetitions);
}

void bench_times_table(struct buf *out, enum measure_what what, const struct bench_timings *t) {
    for (size_t i = 0; i < t->n; i++) {
        const struct bench_timing *a = i ? &t->v[i - 1] : NULL, *b = &t->v[i];
        bool other = !a || a->ranks != b->ranks || a->threads != b->threads;
        if (what == MEASURE_KERNELS)
            put_kernel(out, b, other);
        else
            put_collective(out, b, other || strcmp(a->name, b->name) != 0);
    }
    if (what == MEASURE_KERNELS)
        buf_puts(out, "# of limit: the time that reading the weights once at the machine's "
                      "bandwidth, or multiplying at its peak, would take; *: those moved\n");
}
