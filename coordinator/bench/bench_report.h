/* bench_report.h: rows as JSON, as CSV, and as a table that people read.
 *
 * A list of columns describes what a row has; the JSON's keys and the CSV's columns both come from
 * it.  A value with a spread is {"median", "min", "max"} in the JSON and three columns in the CSV.
 * Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_BENCH_REPORT_H
#define COORDINATOR_BENCH_REPORT_H

#include <jansson.h>
#include <stddef.h>

#include "common/buf.h"
#include "coordinator/bench/bench_rows.h"

enum column_type { COLUMN_U32, COLUMN_U64, COLUMN_REAL, COLUMN_FLAG, COLUMN_RANGE, COLUMN_TEXT };

/* One member of a struct that is a row. */
struct bench_column {
    const char *key;
    enum column_type type; // of the member: uint32_t, …, struct bench_range, const char *
    size_t offset;
};

/* An array with an object for each of the n rows of row_bytes each. */
json_t *bench_report_json(const struct bench_column *columns, size_t n_columns, const void *rows,
                          size_t row_bytes, size_t n);
/* The same array as CSV: a line of names, a line for each row. */
void bench_report_csv(struct buf *out, const json_t *rows);

/* The columns of struct bench_row. */
const struct bench_column *bench_row_columns(size_t *n);
/* The table of the terminal. */
void bench_report_table(struct buf *out, const struct bench_row *rows, size_t n);

#endif
