/* rankstart.h: `mpirun -n N lockstep serve …`: when the coordinator's program is started as ranks.
 *
 *   mpirun ──► lockstep, rank 0 ──fork──► coordinator (own session, no MPI environment)
 *      │             └──exec──► lockstep-worker, waits for the coordinator at the end
 *      └─────► lockstep, rank 1 ──exec──► lockstep-worker
 *
 * Before MPI_Init, with one thread.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_RANKSTART_H
#define COORDINATOR_RANKSTART_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "coordinator/cli/options.h"

struct rankstart {
    bool is_rank;
    uint32_t rank;
    uint32_t size;    // 0: the environment does not say
    bool spans_hosts; // not all ranks are on this host, as far as the environment says
};

/* Looks at the environment: OMPI_COMM_WORLD_RANK, or PMIX_RANK with PMIX_NAMESPACE.  Batch scripts
 * have SLURM_PROCID too, so that alone says nothing. */
struct rankstart rankstart_detect(void);
/* Sets o->ranks to mpirun's number.  ERR_USAGE names both when -n says another. */
MUST_USE err rankstart_check(const struct rankstart *r, struct options *o);
/* Turns this process into a rank.  Returns in a new process only, the coordinator, with
 * o->bootstrap_fd set; or ERR_LAUNCH when that is impossible. */
MUST_USE err rankstart_become(const struct rankstart *r, struct options *o);

#endif
