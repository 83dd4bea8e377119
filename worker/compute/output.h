/* output.h: from the residual stream to tokens and log-probabilities.
 *
 * Logits stay cut by vocabulary.  For every row that something is wanted of, each rank makes a
 * small record of its part (mass, best entries, candidates after the request's edits); rank 0
 * merges the records, and asks for a whole row only where they do not decide a sampled token. Main
 * thread; uses the team. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_OUTPUT_H
#define WORKER_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

#include "common/batch.h"
#include "common/error.h"
#include "common/model.h"
#include "common/plan.h"
#include "worker/compute/forward.h"
#include "worker/job/comm.h"

struct output;

uint64_t output_bytes(const struct model_shape *s, const struct plan *p, uint32_t r,
                      size_t max_tokens, size_t max_batch);
/* ERR_MEMORY.  Local. */
MUST_USE err output_create(struct output **out, struct comm *c, const struct kernels *k,
                           const struct model_shape *s, const struct plan *p, size_t max_tokens,
                           size_t max_batch);
void output_free(struct output *o);

/* Everything the batch wants back, after forward_run of it.  Returns, on rank 0, one result per
 * sequence, valid until the next call; NULL elsewhere.  Collective. */
const struct batch_seq_result *output_run(struct output *o, struct forward *f,
                                          const struct batch *b);

#endif
