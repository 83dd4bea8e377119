/* job.h: everything one rank owns while it serves a coordinator.
 *
 * Plain data, filled from top to bottom as the rank starts, opens and loads; control.c and
 * loading.c work on it.  Main thread. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_JOB_H
#define WORKER_JOB_H

#include <stdint.h>

#include "common/gguf.h"
#include "common/mem.h"
#include "common/model.h"
#include "common/plan.h"
#include "worker/compute/step.h"
#include "worker/job/comm.h"
#include "worker/job/lifeline.h"
#include "worker/job/limits.h"
#include "worker/job/threads.h"
#include "worker/job/uplink.h"
#include "worker/kernels/kernels.h"
#include "worker/weights/weights.h"

struct job {
    struct comm *comm;
    struct lifeline *lifeline;
    struct uplink *link; // to the coordinator, rank 0 only, else NULL
    struct threads_host host;
    const struct kernels *kernels;
    uint64_t epoch;
    struct arena arena;   // the message being worked on
    struct arena scratch; // of messages being sent
    /* after OPEN */
    struct gguf *gguf;
    /* after LOAD */
    struct model *model;
    struct plan plan;
    struct threads_team team;
    struct weights *weights;
    struct step_runner *runner;
    /* with the first MEASURE */
    struct limits *limits;
    uint64_t peak_rss_bytes; // not counting memory for measuring
};

#endif
