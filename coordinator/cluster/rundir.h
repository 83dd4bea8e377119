/* rundir.h: a private folder for one launch: the control socket and MPI's session files.
 *
 * Named lockstep-PID-XXXXXX, mode 0700, in $XDG_RUNTIME_DIR or /tmp.  What a coordinator that was
 * killed left behind is removed by the next one of the same user.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_RUNDIR_H
#define COORDINATOR_RUNDIR_H

#include <stddef.h>
#include <sys/types.h>

#include "common/error.h"

#define RUNDIR_BYTES 72 // a socket's name must still fit sun_path

/* Makes the folder and removes stale ones beside it.  ERR_IO when it cannot be made. */
MUST_USE err rundir_create(char out[RUNDIR_BYTES]);
/* With everything in it; symbolic links are not followed.  "" is accepted. */
void rundir_remove(const char *path);
/* Removes shared memory that a rank named and no longer uses: /dev/shm/vader_segment.* and
 * /dev/shm/osc_sm.* of this user only, whatever else `path` says. */
void rundir_remove_shared_memory(const char *path);
/* Removes the session folder that an mpirun which was killed has left at Open MPI's usual place. */
void rundir_remove_mpi_session(pid_t mpirun);

#endif
