/* launcher_output.h: what mpirun prints, read for the fate of the ranks.
 *
 * Fed with the lines of the launcher's standard error.  Lines of the ranks pass; the launcher's own
 * talk (blocks between rules of dashes, lines that begin with [host:pid]) is kept back, the
 * beginning of its last explanation remembered, and what it says about a rank's end is understood.
 * Pure.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_LAUNCHER_OUTPUT_H
#define COORDINATOR_LAUNCHER_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"

#define LAUNCHER_OUTPUT_LINES 12
#define LAUNCHER_OUTPUT_WIDTH 200

struct launcher_output {
    bool in_block, block_is_new, block_is_empty_talk;
    char lines[LAUNCHER_OUTPUT_LINES][LAUNCHER_OUTPUT_WIDTH];
    size_t n_lines;
    int rank;       // that ended first, -1: nothing was said
    int signal;     // that ended it, 0: none
    int exit_code;  // it ended with, -1: not said
    int named_rank; // of a message that gives rank and exit code on two lines
};

void launcher_output_init(struct launcher_output *l);
enum launcher_line {
    LINE_LAUNCHER, // the launcher's own, not for the user
    LINE_RANK_LOG, // a log line of a rank
    LINE_OTHER,    // anything else: for the user
};
enum launcher_line launcher_output_take(struct launcher_output *l, const char *line);
/* Appends the remembered lines to `out`, " | " between them. */
void launcher_output_explain(const struct launcher_output *l, struct buf *out);

#endif
