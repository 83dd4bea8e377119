// SPDX-License-Identifier: MIT
/* bench_report.c: see bench_report.h. */

#include "coordinator/bench/bench_report.h"

#include <inttypes.h>
#include <string.h>

/* ---- JSON ---- */

static json_t *range_json(const struct bench_range *r) {
    return json_pack("{s:f, s:f, s:f}", "median", r->median, "min", r->min, "max", r->max);
}

static json_t *value_json(const struct bench_column *c, const char *row) {
    const void *p = row + c->offset;
    switch (c->type) {
    case COLUMN_U32: return json_integer(*(const uint32_t *)p);
    case COLUMN_U64: return json_integer((json_int_t) * (const uint64_t *)p);
    case COLUMN_REAL: return json_real(*(const double *)p);
    case COLUMN_FLAG: return json_boolean(*(const bool *)p);
    case COLUMN_RANGE: return range_json(p);
    case COLUMN_TEXT: return json_string(*(const char *const *)p);
    }
    return json_null();
}

json_t *bench_report_json(const struct bench_column *columns, size_t n_columns, const void *rows,
                          size_t row_bytes, size_t n) {
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *object = json_object();
        for (size_t c = 0; c < n_columns; c++)
            json_object_set_new(object, columns[c].key,
                                value_json(&columns[c], (const char *)rows + i * row_bytes));
        json_array_append_new(array, object);
    }
    return array;
}

/* ---- CSV ---- */

static void put_comma(struct buf *out) {
    if (out->length && out->data[out->length - 1] != '\n') buf_putc(out, ',');
}

static void put_names(struct buf *out, const char *prefix, json_t *object) {
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        char name[128];
        snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "." : "", key);
        if (json_is_object(value)) {
            put_names(out, name, value);
        } else {
            put_comma(out);
            buf_puts(out, name);
        }
    }
}

/* Texts are names of kernels and types: no comma, no quote. */
static void put_values(struct buf *out, json_t *object) {
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        if (json_is_object(value)) {
            put_values(out, value);
            continue;
        }
        put_comma(out);
        if (json_is_integer(value))
            buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        else if (json_is_real(value))
            buf_printf(out, "%.9g", json_real_value(value));
        else if (json_is_string(value))
            buf_puts(out, json_string_value(value));
        else
            buf_puts(out, json_is_true(value) ? "true" : "false");
    }
}

void bench_report_csv(struct buf *out, const json_t *rows) {
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        if (i == 0) {
            put_names(out, "", row);
            buf_putc(out, '\n');
        }
        put_values(out, row);
        buf_putc(out, '\n');
    }
}

/* ---- rows of combinations ---- */

#define AT(field) offsetof(struct bench_row, field)

static const struct bench_column row_columns[] = {
    {"ranks", COLUMN_U32, AT(ranks)},
    {"threads", COLUMN_U32, AT(threads)},
    {"batch", COLUMN_U32, AT(batch)},
    {"ctx_depth", COLUMN_U32, AT(ctx_depth)},
    {"prefill_tokens", COLUMN_U32, AT(prefill_tokens)},
    {"decode_tokens", COLUMN_U32, AT(decode_tokens)},
    {"prefill_tokens_per_s", COLUMN_RANGE, AT(prefill_tokens_per_s)},
    {"decode_tokens_per_s", COLUMN_RANGE, AT(decode_tokens_per_s)},
    {"ms_per_token", COLUMN_REAL, AT(ms_per_token)},
    {"decode_gb_per_s", COLUMN_REAL, AT(decode_gb_per_s)},
    {"read_bandwidth_gb_per_s", COLUMN_REAL, AT(read_bandwidth_gb_per_s)},
    {"prefill_gops", COLUMN_REAL, AT(prefill_gops)},
    {"peak_gops", COLUMN_REAL, AT(peak_gops)},
    {"allreduce_calls_per_token", COLUMN_REAL, AT(allreduce_calls_per_token)},
    {"allreduce_bytes_per_token", COLUMN_REAL, AT(allreduce_bytes_per_token)},
    {"step_compute_ms", COLUMN_REAL, AT(step_compute_ms)},
    {"step_wait_ms", COLUMN_REAL, AT(step_wait_ms)},
    {"step_wire_ms", COLUMN_REAL, AT(step_wire_ms)},
    {"speedup", COLUMN_REAL, AT(speedup)},
    {"efficiency", COLUMN_REAL, AT(efficiency)},
    {"prefill_speedup", COLUMN_REAL, AT(prefill_speedup)},
    {"prefill_efficiency", COLUMN_REAL, AT(prefill_efficiency)},
    {"peak_rss_bytes", COLUMN_U64, AT(peak_rss_bytes)},
    {"load_s", COLUMN_REAL, AT(load_s)},
    {"load_gb_per_s", COLUMN_REAL, AT(load_gb_per_s)},
    {"prefill_chunks", COLUMN_U32, AT(prefill_chunks)},
    {"prefill_samples", COLUMN_U32, AT(prefill_samples)},
    {"prefill_dropped", COLUMN_U32, AT(prefill_dropped)},
    {"decode_samples", COLUMN_U32, AT(decode_samples)},
    {"decode_dropped", COLUMN_U32, AT(decode_dropped)},
    {"steady", COLUMN_FLAG, AT(steady)},
};

const struct bench_column *bench_row_columns(size_t *n) {
    *n = sizeof row_columns / sizeof *row_columns;
    return row_columns;
}

static double percent(double part, double whole) {
    return whole > 0 ? 100 * part / whole : 0;
}

static void put_row(struct buf *out, const struct bench_row *r) {
    char prefill[48], decode[48];
    snprintf(prefill, sizeof prefill, "%.1f (%.1f-%.1f)", r->prefill_tokens_per_s.median,
             r->prefill_tokens_per_s.min, r->prefill_tokens_per_s.max);
    snprintf(decode, sizeof decode, "%.1f (%.1f-%.1f)", r->decode_tokens_per_s.median,
             r->decode_tokens_per_s.min, r->decode_tokens_per_s.max);
    buf_printf(out, "%4ux%-2u %5u %6u | %6u %22s %6.0f %3.0f%% | %6u %22s %8.3f %6.1f %3.0f%%",
               r->ranks, r->threads, r->batch, r->ctx_depth, r->prefill_tokens, prefill,
               r->prefill_gops, percent(r->prefill_gops, r->peak_gops), r->decode_tokens, decode,
               r->ms_per_token, r->decode_gb_per_s,
               percent(r->decode_gb_per_s, r->read_bandwidth_gb_per_s));
    buf_printf(out, " | %8.3f %6.3f %6.3f | %5.2f %4.0f%%%s\n", r->step_compute_ms, r->step_wait_ms,
               r->step_wire_ms, r->speedup, 100 * r->efficiency, r->steady ? "" : " *");
}

/* What belongs to a cluster and not to a row. */
static void put_cluster(struct buf *out, const struct bench_row *r) {
    buf_printf(out,
               "%u rank%s x %u thread%s: loaded in %.2f s (%.2f GB/s), %.0f MB per rank at most; "
               "limits %.1f GB/s, %.0f GOPS\n",
               r->ranks, r->ranks == 1 ? "" : "s", r->threads, r->threads == 1 ? "" : "s",
               r->load_s, r->load_gb_per_s, (double)r->peak_rss_bytes / 1e6,
               r->read_bandwidth_gb_per_s, r->peak_gops);
}

void bench_report_table(struct buf *out, const struct bench_row *rows, size_t n) {
    uint32_t dropped = 0, samples = 0;
    bool steady = true;
    buf_puts(out, " ranks batch  depth |          prefill: tokens/s   GOPS peak |"
                  "          decode: tokens/s      ms/tok   GB/s read |"
                  "  compute   wait   wire | speed   eff\n");
    for (size_t i = 0; i < n; i++) {
        put_row(out, &rows[i]);
        samples += rows[i].prefill_samples + rows[i].decode_samples;
        dropped += rows[i].prefill_dropped + rows[i].decode_dropped;
        steady &= rows[i].steady;
    }
    for (size_t i = 0; i < n; i++)
        if (i == 0 || rows[i].ranks != rows[i - 1].ranks || rows[i].threads != rows[i - 1].threads)
            put_cluster(out, &rows[i]);
    buf_printf(out,
               "medians (least-greatest) of %u samples in all; %u dropped because the limits "
               "moved by over %.0f %% meanwhile%s\n",
               samples, dropped, 100 * BENCH_STEADY,
               steady ? "" : "; *: no sample was steady, so all count");
}
