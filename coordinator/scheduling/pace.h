/* pace.h: how many prompt tokens a step may have, learned from how long steps take.
 *
 * Two wishes are balanced.  Streams that run want the time D of a step that only decodes, and at
 * most twice that; a prompt wants its first token within 2.5 times of what it takes alone, which is
 * p for each token.  With c prompt tokens in each step, a step takes D + g c, where g is near p, so
 *
 *     the pause is     (D + g c) / D        times the usual one, and
 *     the prompt takes (D + g c) / (c p)    times as long as alone.
 *
 * Whatever g is, both come equally near their limits when c = 0.8 D / p; with g = p they are 1.8
 * and 2.25.  When nobody decodes a step may take PACE_STEP_NS, after which the first of several
 * prompts gets its token; one that nobody's token waits for, a part of one prompt, PACE_PART_NS.
 *
 * Pure: time is an argument.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_PACE_H
#define COORDINATOR_PACE_H

#include <stdint.h>

#define PACE_STEP_NS ((uint64_t)200 * 1000 * 1000)
#define PACE_PART_NS ((uint64_t)500 * 1000 * 1000) // until it ends a cancelled request costs time

/* What a step is made of. */
struct pace_step {
    uint32_t n_decoding; // single tokens of sequences that decode
    uint32_t n_prompt;   // tokens of prompts
    uint64_t depth;      // of these tokens, the sum of their positions
};

/* All 0: nothing is known yet. */
struct pace {
    double decode_ns;   // D of decode_seqs sequences, smoothed
    double decode_seqs; // of the last step that only decoded
    uint32_t n_mixed;   // steps with prompts beside streams since then
    /* Steps with prompts only: time = n_prompt * token_ns + depth * depth_ns, least squares over
     * the recent ones. */
    double nn, nd, dd, nt, dt; // sums of products of n_prompt, depth and time
    double token_ns, depth_ns;
    double deepest; // mean depth of a token, of recent steps the largest
};

/* A step took `elapsed_ns`. */
void pace_observe(struct pace *p, const struct pace_step *s, uint64_t elapsed_ns);
/* Prompt tokens for a step beside `n_decoding` sequences, when `n_prompts` prompts want some and
 * the first of them is at position `depth`. */
uint32_t pace_prompt_tokens(const struct pace *p, uint32_t n_decoding, uint32_t n_prompts,
                            uint32_t depth);
/* Tokens of a prompt for a step of its own, when nobody decodes: it has `n_left` > 0 from position
 * `depth` on, and a step holds `most` > 0 at most.  A small step reads all weights for little
 * work, and the last of a prompt would often be small, so it is cut into a few nearly equal parts.
 */
uint32_t pace_part_tokens(const struct pace *p, uint32_t n_left, uint32_t depth, uint32_t most);
/* How long a step will take; 0: not known yet. */
uint64_t pace_expect_ns(const struct pace *p, const struct pace_step *s);

#endif
