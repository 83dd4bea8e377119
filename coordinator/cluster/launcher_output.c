// SPDX-License-Identifier: MIT
/* launcher_output.c: see launcher_output.h.  The forms are those of Open MPI 4.1:
 *
 *   ---------------------------------------------------------------------
 *   mpirun noticed that process rank 1 with PID 0 on node h exited on signal 9 (Killed).
 *   ---------------------------------------------------------------------
 *   …
 *     Process name: [[19015,1],1]
 *     Exit code:    7
 *
 * A launcher that says it otherwise only costs the signal's name in a message. */

#include "coordinator/cluster/launcher_output.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define RULE_MIN 20 // dashes

void launcher_output_init(struct launcher_output *l) {
    *l = (struct launcher_output){.rank = -1, .exit_code = -1, .named_rank = -1};
}

static bool is_rule(const char *line) {
    size_t n = strspn(line, "-");
    return n >= RULE_MIN && line[n + strspn(line + n, " \r")] == '\0';
}

/* "[host:12345] …", as MPI's libraries begin their lines. */
static bool has_prefix(const char *line) {
    const char *end = *line == '[' ? strchr(line, ']') : NULL;
    const char *colon = end ? memchr(line, ':', (size_t)(end - line)) : NULL;
    return colon && isdigit((unsigned char)colon[1]);
}

static void note_end(struct launcher_output *l, int rank, int signal, int exit_code) {
    if (l->rank >= 0) return; // the first one is the cause
    l->rank = rank;
    l->signal = signal;
    l->exit_code = exit_code;
}

static void read_fate(struct launcher_output *l, const char *line) {
    int rank, number;
    const char *at = strstr(line, "process rank ");
    if (at && sscanf(at, "process rank %d with PID %*s on node %*s exited on signal %d", &rank,
                     &number) == 2)
        note_end(l, rank, number, -1);
    at = strstr(line, "Process name: [[");
    if (at && sscanf(at, "Process name: [[%*d,%*d],%d]", &rank) == 1) l->named_rank = rank;
    at = strstr(line, "Exit code:");
    if (at && sscanf(at, "Exit code: %d", &number) == 1 && l->named_rank >= 0)
        note_end(l, l->named_rank, 0, number);
    at = strstr(line, "MPI_ABORT was invoked on rank ");
    if (at && sscanf(at, "MPI_ABORT was invoked on rank %d", &rank) == 1) note_end(l, rank, 0, -1);
}

/* "   12.345 info  …": a rank's log.  It passes wherever it stands, even inside a block. */
static bool is_log_line(const char *line) {
    double seconds;
    char level[8];
    return sscanf(line, "%lf %7[a-z]", &seconds, level) == 2 && strchr(line, '.') != NULL;
}

/* Outside of blocks mpirun says little, and this only because of what we did. */
static bool is_idle_talk(const char *line) {
    return line[strspn(line, " \r")] == '\0' || strncmp(line, "mpirun: abort is already", 24) == 0;
}

/* A block explains more than lines around it, and a later one more than an earlier one, but for the
 * one that only says that there was a failure. */
static void remember(struct launcher_output *l, const char *line) {
    line += strspn(line, " ");
    if (!*line) return;
    if (l->block_is_new) {
        l->block_is_new = false;
        l->block_is_empty_talk = strncmp(line, "Primary job", 11) == 0;
        if (!l->block_is_empty_talk) l->n_lines = 0;
    }
    if ((l->in_block && l->block_is_empty_talk) || l->n_lines == LAUNCHER_OUTPUT_LINES) return;
    snprintf(l->lines[l->n_lines++], LAUNCHER_OUTPUT_WIDTH, "%s", line);
}

enum launcher_line launcher_output_take(struct launcher_output *l, const char *line) {
    if (is_log_line(line)) return LINE_RANK_LOG;
    if (is_rule(line)) {
        l->in_block = !l->in_block;
        l->block_is_new = l->in_block;
        return LINE_LAUNCHER;
    }
    bool own = l->in_block || has_prefix(line) || is_idle_talk(line);
    if (own) read_fate(l, line);
    remember(l, line);
    return own ? LINE_LAUNCHER : LINE_OTHER;
}

void launcher_output_explain(const struct launcher_output *l, struct buf *out) {
    for (size_t i = 0; i < l->n_lines; i++) buf_printf(out, "%s%s", i ? " | " : "", l->lines[i]);
}
