/* process.h: other processes of this host, as /proc shows them.
 *
 * A pid alone may belong to somebody else by the time it is used; a process is a pid and its start
 * time.  A zombie counts as gone: it holds no memory, no port and no shared memory.
 * Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_PROCESS_H
#define COORDINATOR_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct process {
    pid_t pid;
    uint64_t start_ticks; // since the boot
};

/* False when there is no such process or its program's file is not called `program`. */
bool process_find(struct process *out, pid_t pid, const char *program);
bool process_is_alive(const struct process *p);
/* Only if it is still the same process. */
void process_signal(const struct process *p, int signal);

/* Sends `signal` (0: none) to every living process of a session, this one excepted; how many there
 * were. */
size_t process_signal_session(pid_t session, int signal);

#endif
