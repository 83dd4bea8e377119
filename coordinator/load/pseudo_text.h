/* pseudo_text.h: text that nobody has written before, the same for the same seed.
 *
 * Common English words in random order: most vocabularies have each as one token, and two texts of
 * different seeds share no beginning that a server could have cached.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_PSEUDO_TEXT_H
#define COORDINATOR_PSEUDO_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

/* Appends `words` words with a space before each but the first.  They need no escape in JSON. */
void pseudo_text_put(struct buf *out, uint64_t seed, size_t words);
/* A seed for text number i of a run. */
uint64_t pseudo_text_seed(uint64_t run_seed, uint64_t i);

#endif
