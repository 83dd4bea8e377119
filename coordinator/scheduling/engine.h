/* engine.h: scheduler and cluster put together: the one engine behind run, eval, bench and serve.
 *
 * engine.c is the pump: it asks the scheduler for the next batch when the scheduler wants to be
 * asked, and sends it; a result goes to the scheduler, which feeds the sinks.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_ENGINE_H
#define COORDINATOR_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "coordinator/cli/options.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/scheduling/request.h"

struct engine;

#define ENGINE_MIN_RETRY_S 1u
#define ENGINE_MAX_RETRY_S 60u // the official clients ignore more

enum engine_state { ENGINE_STARTING, ENGINE_READY, ENGINE_DRAINING, ENGINE_FAILED, ENGINE_STOPPED };

/* The ranks may have had another step before this one when it was sent. */
struct engine_step {
    uint64_t sent_ns, received_ns;
    uint32_t n_seqs, n_tokens;
};

/* The last three may be NULL. */
struct engine_events {
    void (*ready)(void *ctx);
    /* After every open request got its `end` with the same error.  Once. */
    void (*failed)(void *ctx, err code, const char *message);
    /* After engine_stop.  Once. */
    void (*stopped)(void *ctx);
    /* A step was answered; the sinks have not heard of it yet. */
    void (*step)(void *ctx, const struct engine_step *step);
    /* Nothing is under way and no request can go on: they have all ended or pause. */
    void (*idle)(void *ctx);
    /* The answer to engine_measure, valid during the call. */
    void (*measured)(void *ctx, const struct measure_answer *answer);
};

struct engine_counts {
    uint32_t running, waiting; // requests
    uint32_t kv_blocks, kv_blocks_used;
    /* since the start */
    uint64_t cancelled;                               // requests
    uint64_t preempted;                               // sequences
    uint64_t prefix_cache_queries, prefix_cache_hits; // prompt tokens looked up, and found
};

MUST_USE err engine_start(struct engine **out, uv_loop_t *loop, const struct options *o,
                          int bootstrap_fd, const struct engine_events *events, void *ctx);
enum engine_state engine_get_state(const struct engine *e);
/* Model, tokenizer, plan, ranks, ctx.  NULL before `ready`; still valid after `failed`. */
const struct cluster_info *engine_info(const struct engine *e);
struct engine_counts engine_get_counts(const struct engine *e);
/* When a request that found the queue full may try again: once half of the queue has moved on, by
 * the measured pace; ENGINE_MIN_RETRY_S to ENGINE_MAX_RETRY_S seconds. */
uint32_t engine_retry_s(const struct engine *e);

/* Queues a request; *id is not 0.  Copies prompt and params.  Refusals (nothing was queued, the
 * sink is not called): ERR_RANK_LOST / ERR_LAUNCH not ready or ranks lost, ERR_CONTEXT the
 * prompt leaves no room (n_prompt >= ctx with max_tokens > 0, or n_prompt > ctx; both numbers; a
 * completion that reaches the edge ends with FINISH_LENGTH), ERR_REQUEST empty prompt or a value
 * out of range, ERR_BUSY the queue is full. */
MUST_USE err engine_submit(struct engine *e, const int32_t *prompt, size_t n_prompt,
                           const struct request_params *p, const struct request_sink *sink,
                           void *sink_ctx, uint64_t *id);
/* Work stops within one step and the blocks are free; `end` comes with ERR_CANCELLED, later, from
 * the loop.  The sink stays in use until then.  Unknown ids are ignored. */
void engine_cancel(struct engine *e, uint64_t id);
/* Like engine_cancel, but the sink is never called again: for an owner that is going away. */
void engine_abandon(struct engine *e, uint64_t id);
/* A request that pauses (request_params.pause_at), now or later, goes on.  Unknown ids are ignored.
 */
void engine_resume(struct engine *e, uint64_t id);
/* Has all ranks measure something; steps wait until `measured` has come.  ERR_BUSY while a step or
 * another measurement is under way (never from `idle` or `measured`), ERR_RANK_LOST when the ranks
 * are lost. */
MUST_USE err engine_measure(struct engine *e, const struct measure_ask *ask);
/* No new requests; running ones go on (drain).  engine_stop ends the ranks at once: open requests
 * get `end` with ERR_CANCELLED, then `stopped`, or `failed` when a rank was lost before. */
void engine_drain(struct engine *e);
void engine_stop(struct engine *e);
/* After `failed` or `stopped`. */
void engine_free(struct engine *e);

#endif
