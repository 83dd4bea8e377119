// SPDX-License-Identifier: MIT
/* exposition.c: see exposition.h. */

#include "coordinator/metrics/exposition.h"

#include <inttypes.h>
#include <stdio.h>

#define NS_PER_S 1e9

void exposition_begin(struct buf *out, const char *name, const char *type, const char *help) {
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_label_value(struct buf *out, const char *value) {
    for (const char *c = value; *c; c++) {
        if (*c == '\n') {
            buf_puts(out, "\\n");
            continue;
        }
        if (*c == '\\' || *c == '"') buf_putc(out, '\\');
        buf_putc(out, *c);
    }
}

static void put_series(struct buf *out, const char *name, const char *suffix,
                       const struct exposition_label *labels, size_t n) {
    buf_printf(out, "%s%s", name, suffix);
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "%s%s=\"", i ? "," : "{", labels[i].name);
        put_label_value(out, labels[i].value);
        buf_putc(out, '"');
    }
    if (n) buf_putc(out, '}');
}

void exposition_put_count(struct buf *out, const char *name, const char *suffix,
                          const struct exposition_label *labels, size_t n_labels, uint64_t value) {
    put_series(out, name, suffix, labels, n_labels);
    buf_printf(out, " %" PRIu64 "\n", value);
}

void exposition_put_real(struct buf *out, const char *name, const char *suffix,
                         const struct exposition_label *labels, size_t n_labels, double value) {
    put_series(out, name, suffix, labels, n_labels);
    buf_printf(out, " %.12g\n", value);
}

void exposition_put_gauge(struct buf *out, const char *name, const char *help, double value) {
    exposition_begin(out, name, "gauge", help);
    exposition_put_real(out, name, "", NULL, 0, value);
}

void exposition_put_counter(struct buf *out, const char *name, const char *help, uint64_t value) {
    exposition_begin(out, name, "counter", help);
    exposition_put_count(out, name, "", NULL, 0, value);
}

void exposition_put_histogram(struct buf *out, const char *name, const char *help,
                              const struct histogram *h) {
    exposition_begin(out, name, "histogram", help);
    uint64_t below = 0;
    for (size_t i = 0; i < h->n_bounds; i++) {
        char bound[32];
        snprintf(bound, sizeof bound, "%.12g", (double)h->bounds_ns[i] / NS_PER_S);
        below += h->counts[i];
        exposition_put_count(out, name, "_bucket", &(struct exposition_label){"le", bound}, 1,
                             below);
    }
    exposition_put_count(out, name, "_bucket", &(struct exposition_label){"le", "+Inf"}, 1,
                         h->count);
    exposition_put_real(out, name, "_sum", NULL, 0, (double)h->sum_ns / NS_PER_S);
    exposition_put_count(out, name, "_count", NULL, 0, h->count);
}
