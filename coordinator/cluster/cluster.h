/* cluster.h: the ranks as one thing: started, agreed with, planned, loaded, stepped, ended.
 *
 * Drives supervisor (processes), link (connections) and planner through one state machine:
 *   LAUNCHING → HELLO (all lifelines and rank 0's link) → OPENING → LOADING → READY → ENDED
 * Whatever goes wrong in any state ends in exactly one `failed` event with a sentence for the user,
 * after every process that could be reached is gone.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_CLUSTER_H
#define COORDINATOR_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/batch.h"
#include "common/error.h"
#include "common/model.h"
#include "common/plan.h"
#include "common/tokenizer.h"
#include "common/wire.h"
#include "coordinator/cli/options.h"

struct cluster;

struct cluster_rank {
    char host[64];
    const char *isa, *cpus; // kernel table in use, "0-3,8"
    int64_t pid;
    uint32_t threads;
    bool up;
    struct wire_rank_stats stats; // peak_rss_bytes follows the heartbeats
    uint64_t cpu_ns;
    struct wire_totals totals; // of the latest heartbeat
};

/* Valid from `ready` on, until cluster_free. */
struct cluster_info {
    const struct gguf *gguf;
    const struct model *model;
    const struct tokenizer *tokenizer;
    const struct plan *plan;
    uint32_t size;
    const struct cluster_rank *ranks; // [size]
    uint32_t ctx;                     // tokens a request may hold, prompt and completion together
    uint32_t kv_blocks;
    uint32_t max_batch;
    uint32_t max_step_tokens;
    const char *mpi, *transport; // of rank 0
    uint64_t epoch;
    uint64_t load_ns;
};

/* All called on the loop, never from inside a cluster_* call. */
struct cluster_events {
    void (*ready)(void *ctx);
    /* The result of the oldest step in flight; valid during the call. */
    void (*result)(void *ctx, const struct batch_result *result);
    /* The answer to cluster_measure; valid during the call. */
    void (*measured)(void *ctx, const struct measure_answer *answer);
    /* Ranks are lost or could not be started; sentence names rank, host and signal as far as known.
     * From here on no step is answered.  Once. */
    void (*failed)(void *ctx, err code, const char *message);
    /* After cluster_stop: all processes are gone.  Once. */
    void (*stopped)(void *ctx);
};

/* Starts the ranks (or waits for them, or joins the mpirun that started us: `bootstrap_fd` >= 0 is
 * the socket to rank 0 then, else -1).  `o` must outlive the cluster.  Errors that are known at
 * once are returned; the loop must then run until its handles are closed. */
MUST_USE err cluster_start(struct cluster **out, uv_loop_t *loop, const struct options *o,
                           int bootstrap_fd, const struct cluster_events *events, void *ctx);
const struct cluster_info *cluster_info(const struct cluster *c);
bool cluster_is_ready(const struct cluster *c);
/* Sends a step.  The batch is encoded before this returns.  At most two steps may be in flight.
 * ERR_RANK_LOST when the cluster is not ready. */
MUST_USE err cluster_send_step(struct cluster *c, const struct batch *b);
/* Has the ranks measure something; one measurement at a time and no step in flight.  ERR_RANK_LOST
 * when the cluster is not ready. */
MUST_USE err cluster_measure(struct cluster *c, const struct measure_ask *ask);
/* Ends the ranks in good order (SHUTDOWN, then signals); `stopped` follows, or `failed` when one
 * was lost before. */
void cluster_stop(struct cluster *c);
/* After `failed` or `stopped`; or before cluster_start succeeded (NULL). */
void cluster_free(struct cluster *c);

#endif
