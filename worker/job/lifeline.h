/* lifeline.h: every rank's own connection to the coordinator, served by a thread of its own.
 *
 * It tells the coordinator that the rank lives and moves on, wakes the rank when there is work, and
 * ends the process when the coordinator is gone.  Idle ranks wait here and never inside MPI, which
 * spins.
 *
 *      main thread                        lifeline thread                    coordinator
 *      lifeline_wait_wake ◄── condition ── wake number  ◄────── WAKE(m) ─────
 *      set_in_step, set_progress ───────►  every 500 ms ─────── HEARTBEAT ──►
 *      report_error ──────────────────────────────────────────  ERROR ──────►
 *                          unlink, _exit ◄─ end of connection ─────────────── */
// SPDX-License-Identifier: MIT
#ifndef WORKER_LIFELINE_H
#define WORKER_LIFELINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "common/wire.h"
#include "worker/job/bootstrap.h"

struct lifeline;

/* Connects, says hello and starts the thread.  coordinator_pid: the coordinator when it is a child
 * of this process, else 0: its exit code is taken over when it ends on its own.  ERR_LAUNCH, or
 * the coordinator's refusal.  Main thread.  Local. */
MUST_USE err lifeline_open(struct lifeline **out, const struct bootstrap *b,
                           const struct wire_hello *hello, pid_t coordinator_pid);

/* Blocks until the coordinator has announced a message with a number above `seen`.  Main thread.
 * Local. */
void lifeline_wait_wake(struct lifeline *l, uint64_t seen);

/* What heartbeats say.  `progress` is asked by the lifeline thread, so it must stay callable until
 * it is replaced by NULL; the number it gives is added to that of lifeline_add_progress.  Main
 * thread sets. */
typedef uint64_t lifeline_progress(const void *ctx);
void lifeline_set_progress(struct lifeline *l, lifeline_progress *progress, const void *ctx);
void lifeline_add_progress(struct lifeline *l, uint64_t n);
void lifeline_set_in_step(struct lifeline *l, bool in_step);
void lifeline_set_totals(struct lifeline *l, const struct wire_totals *totals);

/* Tells the coordinator why this rank is about to end; false when that is not possible any more.
 * Any thread.  Local. */
bool lifeline_report_error(struct lifeline *l, err code, uint32_t rank, const char *message);

/* The coordinator is gone: removes the shared memory and ends the process.  Any thread. */
_Noreturn void lifeline_end_process(struct lifeline *l, const char *why);

/* The rank ends on purpose: a last heartbeat says so, and from now on the end of the connection
 * means nothing.  NULL is accepted.  Main thread.  Local. */
void lifeline_stop(struct lifeline *l);
/* After lifeline_stop.  Closes the connection.  NULL is accepted. */
void lifeline_close(struct lifeline *l);

/* The exit code of a child process, waiting at most limit_ms (-1: for ever); `otherwise` when it
 * has not ended by then or was killed.  Any thread.  Local. */
int lifeline_child_exit_code(pid_t pid, int limit_ms, int otherwise);

#endif
