/* supervisor.h: the processes of one launch on this host.
 *
 * Starts the launcher (mpirun) in a session of its own, so that Ctrl-C on the terminal is the
 * coordinator's to handle; reads what it prints; and sees to it that at the end nothing is left:
 * no process, no shared memory, no folder.  Processes on other hosts are the launcher's business
 * and, should it be gone, end by themselves when their lifeline does.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_SUPERVISOR_H
#define COORDINATOR_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "common/error.h"
#include "coordinator/cluster/launcher_output.h"

#define SUPERVISOR_LIMIT_MS 5000 // from the first signal to giving up

struct supervisor;

struct supervisor_events {
    /* The launcher has ended and everything it printed was read.  Not after supervisor_end. */
    void (*launcher_ended)(void *ctx);
    /* After supervisor_end: all is gone, or the time is over.  supervisor_free may follow. */
    void (*ended)(void *ctx);
};

/* What became of the launcher. */
struct supervisor_launcher {
    const char *name; // its program, NULL when there is none
    pid_t pid;
    bool ended;
    int exit_code, signal;
    struct launcher_output output;
};

struct supervisor *supervisor_create(uv_loop_t *loop, const struct supervisor_events *events,
                                     void *ctx);
/* The folder that supervisor_end removes at last. */
void supervisor_own_folder(struct supervisor *s, const char *path);
/* Starts argv and writes `line` to its standard input.  ERR_LAUNCH says what to install when the
 * program does not exist. */
MUST_USE err supervisor_launch(struct supervisor *s, char **argv, const char *line);
/* A rank on this host: to be gone at the end, with its shared-memory files.  Ignored when the pid
 * is no lockstep-worker.  `spared`: the rank that waits for us under mpirun; it is killed only by
 * supervisor_kill. */
void supervisor_watch(struct supervisor *s, uint32_t rank, pid_t pid, bool spared,
                      const char *const *shm_files, uint32_t n_shm_files);
/* SIGKILL to one rank of this host, for one that hangs. */
void supervisor_kill(struct supervisor *s, uint32_t rank);
const struct supervisor_launcher *supervisor_launcher(const struct supervisor *s);
/* Waits grace_ms for all to end by themselves, then SIGTERM, a second later SIGKILL.  A second call
 * may shorten the grace. */
void supervisor_end(struct supervisor *s, unsigned grace_ms);
void supervisor_free(struct supervisor *s); // after `ended`; NULL is accepted

#endif
