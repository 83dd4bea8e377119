/* allreduce_times.h: how long each way of the all-reduce takes, by size.
 *
 * A question is a way and a size, from 8 bytes to 4 MiB; measured as the OSU benchmarks do: many in
 * a row, the mean of each rank, and of those the mean, the least and the greatest.  Main thread. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_ALLREDUCE_TIMES_H
#define WORKER_ALLREDUCE_TIMES_H

#include <stdint.h>

#include "common/error.h"
#include "common/measure.h"
#include "worker/job/comm.h"

/* Questions that there are.  Local. */
uint32_t allreduce_times_count(void);
/* Answers question `index`: *n is 1, or 0 when these ranks cannot go that way (one rank goes none).
 * Collective. */
MUST_USE err allreduce_times_run(struct comm *c, uint32_t index, uint32_t reps,
                                 struct measure_time *out, uint32_t *n);

#endif
