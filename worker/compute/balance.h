/* balance.h: how many rows of a product each thread of a rank gets, learned from how long they
 * take.
 *
 * The threads of a rank are seldom equally fast: cores differ, share their units with another
 * hardware thread, or lie beside a busy neighbour.  Equal parts would make all wait for the
 * slowest. A thread's weight is its part of the team's speed, smoothed over many products.  Some
 * tokens wait for memory and arithmetic, many for arithmetic, so each have weights of their own;
 * one or two wait for the memory that all share, and always divide evenly.  Rows are divided, never
 * the contraction: the results do not depend on it.
 *
 * balance_rows and balance_note in any thread of the team, the others in the main thread between
 * the team's parts.  Local. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_BALANCE_H
#define WORKER_BALANCE_H

#include <stddef.h>
#include <stdint.h>

#include "worker/weights/shard.h"

struct balance;

/* For a team of `threads` > 0, equally fast at first. */
struct balance *balance_create(size_t threads);
void balance_free(struct balance *b);

/* The products that follow are of `tokens` tokens. */
void balance_begin(struct balance *b, size_t tokens);
/* The thread's rows of a matrix: whole panels but for the end.  Where threads are nearly alike, for
 * one or two tokens, and in a team of another size than balance_create was told, they are those of
 * shard_thread_rows, whose memory the thread touched first. */
struct shard_rows balance_rows(const struct balance *b, size_t rows, size_t panel_rows,
                               size_t threads, size_t thread);
/* The thread took `ns` for `rows` rows in all.  Each thread of the team once. */
void balance_note(struct balance *b, size_t thread, size_t rows, uint64_t ns);
/* All threads have noted theirs. */
void balance_learn(struct balance *b, size_t threads);

#endif
