/* limits.h: what the machine can do at best: read memory, multiply.
 *
 * All ranks measure together, with the teams that compute steps, and add up what they got: the
 * numbers that a row of the benchmark is compared with.  The memory stays mapped between
 * measurements.  Main thread; uses the team. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_LIMITS_H
#define WORKER_LIMITS_H

#include <stdint.h>

#include "common/error.h"
#include "common/measure.h"
#include "worker/job/comm.h"
#include "worker/kernels/kernels.h"

struct limits;

/* `memory_bytes` are read on each host, but at most half of what is available there; its ranks have
 * equal parts, touched by the threads that read them.  ERR_MEMORY, on all ranks.  Collective. */
MUST_USE err limits_create(struct limits **out, struct comm *c, const struct kernels *k,
                           uint64_t memory_bytes);
void limits_free(struct limits *l); // NULL is accepted.  Local.
/* Bytes of the mapping on this rank.  Local. */
uint64_t limits_memory_bytes(const struct limits *l);
/* The best of `reps` passes of every kind; the same on all ranks.  Collective. */
void limits_measure(struct limits *l, uint32_t reps, struct measure_limits *out);

#endif
