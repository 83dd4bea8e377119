/* exposition.h: metrics as text, in Prometheus' exposition format 0.0.4.
 *
 *   # HELP name what it is
 *   # TYPE name counter
 *   name{label="value"} 12
 *
 * A metric is exposition_begin and then all its samples.  Free of I/O.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_EXPOSITION_H
#define COORDINATOR_EXPOSITION_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "coordinator/metrics/histogram.h"

#define EXPOSITION_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* `value` may hold anything; it is escaped. */
struct exposition_label {
    const char *name, *value;
};

/* type: "counter", "gauge", "summary" or "histogram". */
void exposition_begin(struct buf *out, const char *name, const char *type, const char *help);
/* One sample; `suffix` ("_sum", "_count" or "") follows the name. */
void exposition_put_count(struct buf *out, const char *name, const char *suffix,
                          const struct exposition_label *labels, size_t n_labels, uint64_t value);
void exposition_put_real(struct buf *out, const char *name, const char *suffix,
                         const struct exposition_label *labels, size_t n_labels, double value);
/* Whole metrics of one sample, without labels. */
void exposition_put_gauge(struct buf *out, const char *name, const char *help, double value);
void exposition_put_counter(struct buf *out, const char *name, const char *help, uint64_t value);
/* A whole metric, in seconds. */
void exposition_put_histogram(struct buf *out, const char *name, const char *help,
                              const struct histogram *h);

#endif
