/* batch.h: one step of the engine, as the scheduler makes it and the ranks run it.
 *
 * A step is one pass of the model over a batch: chunks of prompts (prefill) and single tokens
 * (decode) of many sequences together.  The coordinator owns block ids; the same id means the same
 * tokens on every rank.  A batch is plain data that points into memory of its maker (the
 * scheduler's arrays, or the arena it was decoded into) and is read-only to everybody else.  Any
 * thread. */
// SPDX-License-Identifier: MIT
#ifndef COMMON_BATCH_H
#define COMMON_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#define KV_BLOCK_TOKENS  32   // positions in one block of the KV cache
#define BATCH_MAX_SEQS   256  // sequences in one step
#define BATCH_MAX_TOKENS 2048 // tokens in one step
#define BATCH_MAX_TOP    256  // alternatives per output
#define BATCH_MAX_EDITS  2048 // logit edits per sequence

/* In place of the only token of a chunk: the one that the step before samples for this sequence. A
 * step can so be sent before that token is known; rank 0 puts it in. */
#define BATCH_TOKEN_PENDING (-1)

struct sampling {
    float temperature; // 0: greedy, ties go to the smaller id
    uint32_t top_k;    // 0: off
    float top_p;       // 1: off
    float min_p;       // 0: off
    uint64_t seed;     // with `choice` and the position: the key of the random number
    uint32_t choice;
};

/* logit' = (logit > 0 ? logit / repeat : logit * repeat) + bias, before temperature. */
struct logit_edit {
    int32_t token;
    float repeat; // 1: none
    float bias;   // presence, frequency and logit_bias summed; -INFINITY bans
};

struct batch_seq {
    uint64_t seq_id;
    uint32_t start;        // position of tokens[0] in its sequence
    uint32_t n_tokens;     // >= 1
    const int32_t *tokens; // [n_tokens]
    uint32_t n_blocks;
    const uint32_t *blocks; // [n_blocks] block of position p is blocks[p / KV_BLOCK_TOKENS]
    /* What is wanted back.  Outputs belong to the last n_outputs tokens of the chunk. */
    uint32_t n_outputs;
    uint32_t top_n;         // best next tokens wanted per output, <= BATCH_MAX_TOP
    const int32_t *targets; // [n_outputs] token whose log-probability is wanted, -1: none; or NULL
    bool sample;            // a next token is wanted after the last token (then n_outputs >= 1)
    struct sampling sampling;
    uint32_t n_edits;
    const struct logit_edit *edits; // [n_edits], for the sampled token only
};

struct batch {
    uint64_t epoch, step;
    uint32_t n_seqs, n_tokens;    // n_tokens: sum over seqs
    const struct batch_seq *seqs; // [n_seqs]
};

struct top_entry {
    int32_t token;
    float logprob; // natural log, of the model's own distribution (before edits and temperature)
};

struct batch_output {
    float target_logprob; // NAN when no target was named
    uint32_t n_top;
    const struct top_entry *top; // [n_top] best first, ties by smaller id
};

struct batch_seq_result {
    uint64_t seq_id;
    uint32_t n_outputs;
    const struct batch_output *outputs; // [n_outputs]
    int32_t token;                      // the sampled token, -1 when none was wanted
    float token_logprob;                // of the model's own distribution
};

struct batch_result {
    uint64_t epoch, step;
    uint32_t n_seqs;
    const struct batch_seq_result *seqs; // [n_seqs] in the order of the batch
    /* Where the time of the step went on rank 0. */
    uint64_t compute_ns, wait_ns;
};

#endif
