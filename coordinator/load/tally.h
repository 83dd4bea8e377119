/* tally.h: what one level of a load test measured: so many clients at once.
 *
 * Only complete answers count for speed and times; every other one counts as an error of its kind.
 * Free of I/O.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TALLY_H
#define COORDINATOR_TALLY_H

#include <stdint.h>

#include "coordinator/load/answer.h"

#define TALLY_MAX_STATUS 600

struct tally {
    uint32_t clients;
    uint64_t complete;                      // answers
    uint64_t errors[ANSWER_ERROR_COUNT];    // by kind
    char messages[ANSWER_ERROR_COUNT][240]; // the first of each kind
    uint32_t statuses[TALLY_MAX_STATUS];    // of answers with ANSWER_ERROR_STATUS
    uint64_t prompt_tokens, cached_tokens, generated_tokens;
    uint64_t counted_by_chunks; // answers whose tokens are their chunks: no usage was reported
    struct samples first_token, between_tokens, whole;
    uint64_t begun_ns, ended_ns; // the level's begin; the end of its last complete answer
};

void tally_init(struct tally *t, uint32_t clients, uint64_t now_ns);
void tally_deinit(struct tally *t);
/* Counts an answer to a request that was made at asked_ns. */
void tally_add(struct tally *t, const struct answer_result *r, uint64_t asked_ns);
uint64_t tally_n_errors(const struct tally *t);
/* The first kind of error that happened, ANSWER_ERROR_NONE when all is well. */
enum answer_error tally_first_error(const struct tally *t);
/* n per second of the level; 0 for a level without a complete answer. */
double tally_rate(const struct tally *t, uint64_t n);

#endif
