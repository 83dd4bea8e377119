/* measuring.h: the message MEASURE, from the question to the answer.
 *
 * Main thread of every rank, between steps. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_MEASURING_H
#define WORKER_MEASURING_H

#include "common/error.h"
#include "common/measure.h"
#include "worker/job/job.h"

/* Measures; rank 0 sends the coordinator the answer for all.  Collective. */
MUST_USE err measuring_run(struct job *job, const struct measure_ask *ask);

#endif
