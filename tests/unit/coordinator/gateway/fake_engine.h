/* fake_engine.h: the functions of engine.h without ranks: a test says what the engine says.
 *
 * What was submitted is kept in order; the test then speaks to its sink with the fake_* functions.
 * The tokenizer is the demo model's. */
// SPDX-License-Identifier: MIT
#ifndef TESTS_UNIT_COORDINATOR_GATEWAY_FAKE_ENGINE_H
#define TESTS_UNIT_COORDINATOR_GATEWAY_FAKE_ENGINE_H

#include "coordinator/scheduling/engine.h"

#define FAKE_MAX_REQUESTS 16

struct fake_request {
    uint64_t id;
    struct token_list prompt;
    struct request_params params; // without the strings and arrays that were the caller's
    struct request_sink sink;
    void *ctx;
    bool open, abandoned;
    uint32_t n_tokens; // said so far
};

struct engine {
    enum engine_state state;
    struct cluster_info info;
    struct engine_counts counts;
    uint32_t refuse_at; // which submission is refused (from 1), 0: none
    err refuse_with;
    uint32_t retry_s; // when to come back
    struct fake_request requests[FAKE_MAX_REQUESTS];
    uint32_t n_requests;
};

void fake_engine_init(struct engine *e, struct tokenizer *t); // ready
void fake_engine_deinit(struct engine *e);

/* A choice of request `index` gets this text, token by token.  The k-th token of a request has the
 * log-probability -1 - k/8 and, when asked for, that many alternatives: itself, then ids 300, 301 …
 */
void fake_text(struct engine *e, uint32_t index, uint32_t choice, const char *text);
/* The prompt's log-probabilities, position i: -1 - i/8; what may FOLLOW i: id 300 + i and more. */
void fake_prompt(struct engine *e, uint32_t index);
void fake_finish(struct engine *e, uint32_t index, uint32_t choice, enum finish_reason reason);
/* Usage: the prompt's tokens, what was said, 2 ms queued, 3 ms prefill, 4 ms decode. */
void fake_end(struct engine *e, uint32_t index, err error, const char *message);

#endif
