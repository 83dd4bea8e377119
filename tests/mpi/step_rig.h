/* step_rig.h: a model loaded over the ranks of a test job, ready for steps.
 *
 * Stands in for the coordinator: makes a plan by hand, sends the model's headers to ranks that are
 * told not to have the file, and loads.  Every failure ends the job with its sentence. */
// SPDX-License-Identifier: MIT
#ifndef TESTS_STEP_RIG_H
#define TESTS_STEP_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/gguf.h"
#include "common/model.h"
#include "common/plan.h"
#include "tests/fixtures/fixture.h"
#include "worker/compute/step.h"
#include "worker/job/comm.h"
#include "worker/weights/weights.h"

struct rig_options {
    uint32_t ffn_unit;   // FFN columns are cut at multiples of this (1: inside blocks)
    bool skewed;         // the last rank has no FFN column, the first no vocabulary row (N > 1)
    uint64_t no_readers; // bit r: rank r has no file
};

struct rig {
    struct comm *comm;
    int rank, size;
    struct gguf *gguf;
    struct model *model;
    struct plan plan;
    const struct kernels *kernels;
    struct weights *weights;
};

/* Ends the job with the error's sentence. */
void rig_must(const struct rig *r, err e, const char *what);
/* Opens, plans; the weights are not loaded yet.  Collective. */
void rig_open(struct rig *r, struct comm *c, const char *path, const struct rig_options *o);
/* Loads the weights.  Collective. */
void rig_load(struct rig *r);
void rig_close(struct rig *r);

/* A model file made by rank 0; all ranks get its path.  Collective. */
void rig_make_file(struct comm *c, struct fixture_file *f, const struct fixture_options *o,
                   char path[512]);

#endif
