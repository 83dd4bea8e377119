/* banner.h: what the user is told while the cluster starts.
 *
 * Log lines at level info: who runs where on what, what is wrong with that, how loading goes.
 * Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_BANNER_H
#define COORDINATOR_BANNER_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/cluster/cluster_model.h"
#include "coordinator/cluster/kvpool.h"
#include "coordinator/cluster/roster.h"

/* Hosts, ranks, threads and CPUs, instruction sets, MPI, memory, warnings of the ranks. */
void banner_print(const struct roster *r, const struct cluster_model *m, const struct kvpool *k,
                  const struct options *o);

struct banner_progress {
    bool on_terminal; // a bar that is redrawn; else a line now and then
    bool drawn;
    uint64_t started_ns, last_ns;
};
void banner_progress_start(struct banner_progress *b);
void banner_progress_show(struct banner_progress *b, uint64_t done, uint64_t total);
/* Removes the bar. */
void banner_progress_end(struct banner_progress *b);

#endif
