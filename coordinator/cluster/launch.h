/* launch.h: the command line that starts the ranks, and what their launcher must not inherit.
 *
 * Pure but for the environment: made from the options and a few facts, so a test can read it.
 * Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_LAUNCH_H
#define COORDINATOR_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "coordinator/cli/options.h"

struct launch_facts {
    uint32_t ranks;
    const char *worker;  // path of lockstep-worker
    const char *run_dir; // "" to leave MPI's session folder where it is
    bool one_host;
    bool no_cma; // processes may not read each other's memory (launch_cma_works)
};

/* Ends with NULL, as execvp wants it.  Release with launch_free.  ERR_USAGE for a launcher without
 * a word or with an open quote. */
MUST_USE err launch_build(char ***argv, const struct options *o, const struct launch_facts *f);
void launch_free(char **argv);

/* Might the ranks come up on more than this host?  Then a Unix socket does not reach them.  Looks
 * at the options and at what batch systems put into the environment. */
bool launch_spans_hosts(const struct options *o);
/* Does process_vm_readv work here?  Containers often forbid it, and Open MPI then complains. */
bool launch_cma_works(void);

/* Takes the marks of an MPI rank or a batch system's task out of this process's environment, so
 * that mpirun does not believe to run inside a rank.  The user's own settings (OMPI_MCA_*,
 * PMIX_MCA_*, PRTE_MCA_*, OPAL_PREFIX) stay.  As root, Open MPI's permission to run as root is
 * added. */
void launch_clean_environment(void);

#endif
