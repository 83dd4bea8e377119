/* control.h: the loop in which a rank does what the coordinator asks for.
 *
 * Rank 0 receives on its link, checks and broadcasts; every rank decodes and acts.  Main thread. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_CONTROL_H
#define WORKER_CONTROL_H

#include "common/error.h"
#include "worker/job/job.h"

/* Serves until SHUTDOWN (ERR_OK) or an error, which is the same on all ranks.  Rank 0 has told the
 * coordinator nothing of the error yet.  Collective. */
MUST_USE err control_run(struct job *job);

#endif
