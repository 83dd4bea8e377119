/* fake_ranks.h: pretended ranks for the scheduler: KV memory, and a model that is a hash.
 *
 * A place of the cache holds a token and a state, the hash of the state before it and the token, so
 * a state stands for everything that a real model would have seen.  The next token is a hash of
 * state, sampling and edits: a sequence gets the tokens that it would get alone if and only if it
 * was computed from the right past.  With every chunk all of its past is checked in the cache.
 * Steps are kept in their encoded form until they are answered.  Not a mock of speed: time is the
 * simulation's. */
// SPDX-License-Identifier: MIT
#ifndef TESTS_SIM_FAKE_RANKS_H
#define TESTS_SIM_FAKE_RANKS_H

#include <stdint.h>

#include "common/batch.h"

struct fake_ranks;

/* About every 60th token ends a sequence: `end_token`. */
struct fake_ranks *fake_ranks_create(uint32_t n_blocks, int32_t end_token);
void fake_ranks_free(struct fake_ranks *f);
/* Takes a step; at most two wait. */
void fake_ranks_send(struct fake_ranks *f, const struct batch *b);
/* Computes the oldest step; its result is valid until the next call. */
const struct batch_result *fake_ranks_answer(struct fake_ranks *f);
/* Tokens that were computed so far; hash of all steps that were sent. */
uint64_t fake_ranks_n_computed(const struct fake_ranks *f);
uint64_t fake_ranks_hash(const struct fake_ranks *f);

#endif
