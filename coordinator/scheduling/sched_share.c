// SPDX-License-Identifier: MIT
/* sched_share.c: what a sequence takes over from others instead of computing it.
 *
 * There is one mechanism for prompts that begin alike, for the choices of one request and for a
 * sequence that was preempted: full blocks have names in the prefix cache, and a sequence that is
 * admitted holds those that it finds there.  The rest of the prompt, also the last few tokens of
 * what is alike, it computes itself: a shared block is never written to, and at least one token is
 * computed, since the next one is sampled from its output.  Nobody has to wait for a prompt that is
 * being computed: the oldest has all that a step can have, so whoever begins after it finds all of
 * it. */

#include "coordinator/scheduling/sched_internal.h"

void sched__name_blocks(struct sched *s, struct sequence *q) {
    uint32_t known = q->n_computed < q->n_tokens ? q->n_computed : q->n_tokens;
    while ((q->n_named + 1) * KV_BLOCK_TOKENS <= known) {
        const int32_t *tokens = q->tokens + (size_t)q->n_named * KV_BLOCK_TOKENS;
        q->name = prefix_add(&s->prefix, q->blocks[q->n_named], q->name, tokens);
        q->n_named++;
    }
}

/* Log-probabilities of a prompt come from computing it. */
static bool may_take_over(const struct sequence *q) {
    return !q->request->params.want_prompt || q->choice > 0 || q->n_prompt_reported == q->n_prompt;
}

struct shared sched__find_shared(const struct sched *s, struct sequence *q) {
    struct shared found = {.name = q->request->prefix_root};
    uint32_t most = may_take_over(q) ? (q->n_tokens - 1) / KV_BLOCK_TOKENS : 0;
    while (found.n_blocks < most) {
        const int32_t *tokens = q->tokens + (size_t)found.n_blocks * KV_BLOCK_TOKENS;
        uint32_t *block = &q->blocks[found.n_blocks];
        if (!prefix_find(&s->prefix, found.name, tokens, block, &found.name)) break;
        found.n_blocks++;
        found.n_in_use += s->blocks.refs[*block] > 0;
    }
    return found;
}

void sched__take_shared(struct sched *s, struct sequence *q, const struct shared *found) {
    CHECK(q->n_blocks == 0);
    for (uint32_t i = 0; i < found->n_blocks; i++) block_share(&s->blocks, q->blocks[i]);
    q->n_blocks = q->n_named = found->n_blocks;
    q->name = found->name;
    q->n_computed = found->n_blocks * KV_BLOCK_TOKENS;
}
