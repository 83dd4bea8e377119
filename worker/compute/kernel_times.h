/* kernel_times.h: how long every kernel of the table takes at this rank's own shapes.
 *
 * A question is one matrix shape and one number of tokens, or (the last one) the slots that work on
 * vectors.  Matrix products run over the team, in a parallel region each (a few microseconds), on
 * weights that are not in a cache, as decode finds them.  Main thread; uses the team.  Everything
 * here is Local. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_KERNEL_TIMES_H
#define WORKER_KERNEL_TIMES_H

#include <stdint.h>

#include "common/error.h"
#include "common/measure.h"
#include "common/model.h"
#include "worker/kernels/kernels.h"
#include "worker/weights/weights.h"

#define KERNEL_TIMES_MAX 32 // in one answer

struct kernel_times_subject {
    const struct kernels *kernels;
    const struct weights *weights;
    const struct model_shape *shape;
    uint32_t host_ranks; // that ask at the same time: they share the caches, and what fills them
};

/* Questions that there are for this rank. */
uint32_t kernel_times_count(const struct kernel_times_subject *s);
/* Answers question `index` (any number: beyond the last one there is nothing) with the median,
 * least and greatest of `reps` repetitions: out[*n].  ERR_MEMORY. */
MUST_USE err kernel_times_run(const struct kernel_times_subject *s, uint32_t index, uint32_t reps,
                              struct measure_time out[KERNEL_TIMES_MAX], uint32_t *n);

#endif
