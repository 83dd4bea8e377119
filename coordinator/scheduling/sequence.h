/* sequence.h: the scheduler's own view of a request: one sequence per choice.
 *
 * A sequence's token log (prompt and completion) is the truth; its KV blocks are a cache of it that
 * can be dropped and computed again.  Internal to scheduling.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_SEQUENCE_H
#define COORDINATOR_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/scheduling/sched.h"
#include "coordinator/scheduling/stream.h"

struct token_count {
    int32_t token;
    uint32_t count;
};

enum sequence_place { SEQUENCE_WAITING, SEQUENCE_RUNNING, SEQUENCE_DONE };

struct sequence {
    uint64_t seq_id;
    struct request *request;
    uint32_t choice;
    enum sequence_place place;
    struct sequence *prev, *next; // in the waiting queue

    int32_t *tokens; // [capacity] prompt, then completion
    uint32_t n_tokens, n_prompt, capacity;
    uint32_t n_awaited;  // length of the log when the steps under way have answered, or less
    uint32_t n_computed; // positions whose K and V are in the cache (or in a step under way)
    uint32_t *blocks;    // [n_blocks], room for the whole capacity
    uint32_t n_blocks;
    uint32_t n_named; // full blocks at the beginning that have gone to the prefix cache
    uint64_t name;    // of the last of these there, or the root

    uint32_t n_prompt_reported; // prompt entries already given to the sink
    float next_prompt_logprob;  // of the first token of the next chunk
    struct token_count *counts; // distinct generated tokens, only with penalties
    uint32_t n_counts, counts_capacity;
    struct stream stream;
};

struct request {
    uint64_t id;
    uint64_t prefix_root;         // of its sequences' blocks in the prefix cache
    struct request_params params; // strings and arrays are the request's own
    struct request_sink sink;
    void *sink_ctx;
    uint32_t n_open; // choices that are not done
    bool started, abandoned, ended;
    bool resumed;                // after params.pause_at
    struct request *next_ending; // list of requests whose `end` is due
    err end_error;
    const char *end_message;
    struct request_usage usage;
    uint64_t submitted_ns, started_ns, first_token_ns, last_token_ns;
    struct sequence sequences[]; // [params.n]
};

/* Checks the parameters (ERR_REQUEST names the field) and copies prompt and parameters.  Of the
 * limits those of a sequence count: ctx and n_vocab.  `first_seq_id` numbers the choices. */
MUST_USE err request_create(struct request **out, const int32_t *prompt, uint32_t n_prompt,
                            const struct request_params *p, const struct sched_limits *l,
                            uint64_t first_seq_id, const struct tokenizer *t);
void request_free(struct request *r);

/* Tokens of the log, with the one that a step under way samples. */
static inline uint32_t sequence_length(const struct sequence *s) {
    return s->n_awaited > s->n_tokens ? s->n_awaited : s->n_tokens;
}
/* Positions that could be computed now: up to where the request pauses.  The last token of a full
 * log needs no K and V, since nothing follows it. */
static inline uint32_t sequence_n_due(const struct sequence *s) {
    uint32_t length = sequence_length(s), end = length;
    if (length > s->n_tokens && length == s->capacity) end--;
    if (!s->request->resumed && s->request->params.pause_at < end)
        end = s->request->params.pause_at;
    return end > s->n_computed ? end - s->n_computed : 0;
}
/* Is the next thing this sequence needs a single token of decode? */
static inline bool sequence_is_decoding(const struct sequence *s) {
    return sequence_length(s) > s->n_prompt && sequence_n_due(s) == 1;
}
void sequence_append(struct sequence *s, int32_t token);

#endif
