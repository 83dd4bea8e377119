/* sched_internal.h: what the files of the scheduler share: sched.c (requests come and go),
 * sched_next.c (what goes into a step) and sched_apply.c (what a result means).  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_SCHED_INTERNAL_H
#define COORDINATOR_SCHED_INTERNAL_H

#include "coordinator/scheduling/block.h"
#include "coordinator/scheduling/pace.h"
#include "coordinator/scheduling/prefix.h"
#include "coordinator/scheduling/queue.h"
#include "coordinator/scheduling/sched.h"
#include "coordinator/scheduling/sequence.h"
#include "coordinator/scheduling/turnover.h"

/* A step that the ranks have and have not answered. */
struct flight {
    uint64_t step;
    struct batch_seq *seqs;   // [max_batch] as sent, but without what they point to
    struct sequence **owners; // [max_batch] of seqs; NULL: done meanwhile
    uint32_t n_seqs;
    struct pace_step made_of;
    uint64_t sent_ns;
};

struct sched {
    struct sched_limits limits;
    const struct tokenizer *tokenizer;
    struct block_pool blocks;
    struct prefix prefix;
    struct queue waiting;
    struct turnover turnover;  // of the queue
    struct sequence **running; // [max_batch], oldest first
    uint32_t n_running;
    struct request **requests; // [requests_capacity] open ones
    uint32_t n_requests, requests_capacity;
    struct request *ending; // `end` is due
    uint64_t next_id, next_seq_id, next_step;

    struct flight flights[SCHED_MAX_FLIGHTS]; // oldest first
    uint32_t n_flights;
    uint64_t answered_ns; // when the last result came
    struct pace pace;

    uint32_t n_tokens;        // of the batch being made
    int32_t *targets;         // [max_step_tokens] of it
    struct logit_edit *edits; // [max_batch * BATCH_MAX_EDITS] of it
    struct sched_counts counts;
};

/* What a sequence finds in the prefix cache; the blocks are in its table, not yet held. */
struct shared {
    uint32_t n_blocks, n_in_use; // in_use: somebody holds them, so they take no free block
    uint64_t name;               // of the last one, or the root
};

/* sched_share.c */
/* The full blocks of q whose tokens are known go to the prefix cache. */
void sched__name_blocks(struct sched *s, struct sequence *q);
struct shared sched__find_shared(const struct sched *s, struct sequence *q);
void sched__take_shared(struct sched *s, struct sequence *q, const struct shared *found);

/* sched.c */
/* Takes a sequence out of wherever it is and frees its blocks. */
void sched__retire(struct sched *s, struct sequence *q);
/* From running back to the front of the queue; its blocks are free, its log stays. */
void sched__preempt(struct sched *s, struct sequence *q);
/* `end` is due; sched_flush calls it. */
void sched__end_request(struct sched *s, struct request *r, err error, const char *message);

#endif
