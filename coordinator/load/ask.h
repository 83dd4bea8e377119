/* ask.h: the requests of a load test, as bytes.
 *
 * A prompt is made of words and wanted in tokens; how many tokens a word is, and how many the
 * server puts around a prompt, is learnt from what it reports about two prompts of different
 * length.  Free of I/O.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_ASK_H
#define COORDINATOR_ASK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "coordinator/load/target.h"

/* What all requests of a run have in common. */
struct ask_form {
    const struct target *target;
    const char *model;   // its name at the server
    const char *api_key; // or NULL
    bool chat;
    bool may_stop; // the model may end a completion early
    double temperature;
    uint64_t seed;         // of the texts
    uint32_t prefix_words; // that all prompts begin with
};

/* A streamed completion of prompt number i: `words` words of its own behind the shared ones. */
void ask_put_completion(struct buf *out, const struct ask_form *f, uint64_t number, uint32_t words,
                        uint32_t max_tokens);
/* GET of a path below the target's prefix. */
void ask_put_get(struct buf *out, const struct ask_form *f, const char *path);

/* tokens = fixed + per_word * words */
struct ask_fit {
    double fixed, per_word;
};

/* From two prompts, the second the longer one. */
struct ask_fit ask_fit_make(uint32_t words_1, uint32_t tokens_1, uint32_t words_2,
                            uint32_t tokens_2);
/* Words of a prompt of so many tokens, at least 1; of a part of one that has nothing around it when
 * `part`. */
uint32_t ask_words_for(const struct ask_fit *fit, uint32_t tokens, bool part);

#endif
