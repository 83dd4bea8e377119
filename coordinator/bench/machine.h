/* machine.h: what a measurement was made on, in full.
 *
 * CPU, memory, kernel, build, MPI, model: what somebody else needs to know who compares numbers.
 * What cannot be read is null.  Of this host; the ranks' own facts are listed beside.  Loop
 * thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_MACHINE_H
#define COORDINATOR_MACHINE_H

#include <jansson.h>

#include "coordinator/cli/options.h"
#include "coordinator/cluster/cluster.h"

/* `root` is put before /proc and /sys: "" on a real machine, a folder in tests. */
json_t *machine_host_json(const char *root);
/* The host, the build, the date, and what the cluster says of MPI, kernels and model. */
json_t *machine_json(const struct options *o, const struct cluster_info *info);
/* One more member of "clusters": its ranks, and the limits of the answer if it has them. */
void machine_add_cluster(json_t *machine, const struct cluster_info *info,
                         const struct measure_answer *answer);

#endif
