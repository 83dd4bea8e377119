/* edits.h: penalties and biases of a request as the sparse list of logit edits the ranks apply.
 * Free of I/O.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_EDITS_H
#define COORDINATOR_EDITS_H

#include "common/batch.h"
#include "coordinator/scheduling/sequence.h"

#define EDITS_REPEAT_WINDOW 64 // tokens that repeat_penalty looks back over

/* Does a token that is sampled change the edits for the next one? */
bool edits_depend_on_text(const struct request_params *p);
/* Writes the edits for the next token of `s` to out[0..limit) and returns how many; a token appears
 * once.  Order of meaning: repeat penalty first, then everything that is added. */
uint32_t edits_build(const struct sequence *s, struct logit_edit *out, uint32_t limit);

#endif
