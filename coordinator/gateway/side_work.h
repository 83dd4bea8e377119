/* side_work.h: work that would hold up the loop: long bodies are parsed and tokenized beside it.
 *
 *   add ─► running?  ──no──► run ─► work (another thread) ─► finished ─► done (loop thread)
 *             └─yes─► [ waiting: SIDE_WORK_MAX_WAITING ] ──────┘
 *
 * One at a time: what clients send never takes more than one CPU from the ranks.  `run` is the hook
 * of whoever has a loop (server_work.c); without one there is no line and all is done at once.
 * Loop thread, but for `work`. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_SIDE_WORK_H
#define COORDINATOR_SIDE_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

#define SIDE_WORK_MIN_BYTES   ((size_t)64 << 10) // shorter bodies are done at once
#define SIDE_WORK_MAX_WAITING 64

/* Embedded in what it works for; in use until `done` was called or it was removed. */
struct side_work {
    void (*work)(struct side_work *w); // reads what never changes, writes what is its own
    void (*done)(struct side_work *w);
    struct side_work *next;
};

/* All 0: no hook. */
struct side_line {
    /* Has w->work called by another thread, and side_line_finished afterwards by the loop's. */
    void (*run)(struct side_line *l, struct side_work *w);
    void *runner;
    struct side_work *running, *first;
    uint32_t n_waiting;
};

/* Is a body of n bytes too long to be worked on by the loop? */
bool side_line_wants(const struct side_line *l, size_t n);
/* ERR_BUSY when too many wait. */
MUST_USE err side_line_add(struct side_line *l, struct side_work *w);
/* Takes work back that has not begun: true.  False: it has, and `done` will be called. */
bool side_line_remove(struct side_line *l, struct side_work *w);
/* The hook says that the work which ran has ended. */
void side_line_finished(struct side_line *l);

#endif
