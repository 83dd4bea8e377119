/* sched.h: which tokens of which sequences go into the next step.
 *
 *   submit → waiting ──admit──► running ──────────► done
 *                      ▲           │ blocks run out: the newest is preempted,
 *                      └───────────┘ its blocks dropped, its token log kept
 *
 * Continuous batching: every running sequence that decodes has one token in every step; beside them
 * a step has chunks of prompts, oldest first, as many tokens as pace.h allows.  Two steps may be
 * with the ranks, so that they need not wait for the next one.  Blocks of prompts that begin alike
 * are shared.  Free of I/O; time is an argument; the same calls with the same times give the same
 * schedule.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_SCHED_H
#define COORDINATOR_SCHED_H

#include <stdbool.h>
#include <stdint.h>

#include "common/batch.h"
#include "coordinator/scheduling/request.h"

struct sched;
struct tokenizer;

#define SCHED_MAX_FLIGHTS 2u // steps that are sent and not answered
#define SCHED_NEVER       UINT64_MAX

struct sched_limits {
    uint32_t n_vocab;            // of the model; the tokenizer may have spellings for fewer tokens
    uint32_t kv_blocks;          // of the cluster; at least one context
    uint32_t ctx;                // tokens per sequence
    uint32_t max_batch;          // sequences in a step
    uint32_t max_step_tokens;    // tokens in a step, >= max_batch
    uint32_t chunk_tokens;       // fixed size of prompt chunks, 0: by measured speed
    uint32_t max_queue_requests; // waiting sequences; an empty queue takes any request
    uint64_t max_queue_tokens;   // tokens of the waiting sequences
    bool no_prefix_cache;        // requests share nothing with each other
    uint64_t epoch;
};

struct sched_counts {
    uint32_t running, waiting; // sequences
    uint64_t waiting_tokens;
    uint32_t requests; // open ones
    uint32_t kv_blocks, kv_blocks_used;
    /* since the start */
    uint64_t cancelled, preempted;
    uint64_t prefix_queries, prefix_hits; // prompt tokens looked up and found in the cache
};

struct sched *sched_create(const struct sched_limits *l, const struct tokenizer *t);
/* Open requests are dropped without a word: end them first (sched_fail_all). */
void sched_free(struct sched *s);

/* engine_submit, _cancel, _abandon and _resume say what these do. */
MUST_USE err sched_submit(struct sched *s, const int32_t *prompt, size_t n_prompt,
                          const struct request_params *p, const struct request_sink *sink,
                          void *sink_ctx, uint64_t now_ns, uint64_t *id);
void sched_cancel(struct sched *s, uint64_t id);
void sched_abandon(struct sched *s, uint64_t id);
void sched_resume(struct sched *s, uint64_t id);

/* Calls `end` of requests that are over.  Not from inside a sink. */
void sched_flush(struct sched *s);
/* How long to wait before sched_next: not at all, until the step under way is about to end, or
 * SCHED_NEVER: a result must come first. */
uint64_t sched_wait_ns(const struct sched *s, uint64_t now_ns);
/* Makes the next batch (valid until the next call), which the caller sends; false when no sequence
 * can do anything yet.  At most SCHED_MAX_FLIGHTS batches may be unanswered. */
bool sched_next(struct sched *s, uint64_t now_ns, struct batch *out);
/* The result of the oldest batch: tokens go to the sinks.  ERR_PROTOCOL when it is not the answer
 * to that batch. */
MUST_USE err sched_apply(struct sched *s, const struct batch_result *r, uint64_t now_ns);
/* Every open request ends with this error at the next sched_flush. */
void sched_fail_all(struct sched *s, err code, const char *message);
struct sched_counts sched_get_counts(const struct sched *s);
/* How long until half of those that wait will have got a place, by the measured pace; 0: nothing is
 * known. */
uint64_t sched_expect_room_ns(const struct sched *s, uint64_t now_ns);

#endif
