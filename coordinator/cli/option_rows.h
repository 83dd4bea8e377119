/* option_rows.h: what the files of the option table share: one group of rows for each subject.
 *
 * A new option is a row in the file of its subject, a field in options.h and a line in
 * configs/lockstep.ini; a test compares the last with the first.  Constant data.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_OPTION_ROWS_H
#define COORDINATOR_OPTION_ROWS_H

#include "coordinator/cli/option_table.h"

#define AT(field)   offsetof(struct options, field)
#define MIB         1048576.0
#define MAX_CONTEXT 16777216.0
#define NO_MAX      1e30 // the type's own

struct option_group {
    const struct option_row *rows; // [n]
    size_t n;
};

extern const struct option_group option_group_cluster, option_group_text, option_group_serve,
    option_group_limits, option_group_bench, option_group_load, option_group_output;

#endif
