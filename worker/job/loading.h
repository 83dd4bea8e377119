/* loading.h: what the messages OPEN and LOAD do on every rank.
 *
 * All errors are agreed: every rank returns the same one.  Rank 0 answers the coordinator when the
 * ranks have succeeded together.  Main thread. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_LOADING_H
#define WORKER_LOADING_H

#include "common/wire.h"
#include "worker/job/job.h"

/* Every rank that can opens the model; the others get its headers.  job->gguf is set on all ranks.
 * ERR_MODEL with the reason when nobody can, ERR_MISMATCH when two hosts have different files.
 * Collective. */
MUST_USE err loading_open(struct job *job, const struct wire_open *open);
/* Checks that this is the model and the plan the coordinator means and that it fits the memory,
 * then loads this rank's share.  ERR_MISMATCH, ERR_MEMORY, ERR_PLAN, ERR_MODEL, ERR_IO. Collective.
 */
MUST_USE err loading_load(struct job *job, const struct wire_load *load);
/* Frees what the two have made.  Local. */
void loading_release(struct job *job);

#endif
