/* request.h: what a client asks for, and how it hears the answer.
 *
 * A request is one prompt with n choices; every choice is a sequence of its own.  The answers go to
 * a sink: function pointers of whoever made the request (a connection, the `run` command, a test).
 * Free of I/O and libuv.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_REQUEST_H
#define COORDINATOR_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/batch.h"
#include "common/error.h"

#define REQUEST_MAX_CHOICES    16
#define REQUEST_MAX_STOPS      4
#define REQUEST_MAX_STOP_BYTES 256
#define REQUEST_MAX_BIAS       1024
#define REQUEST_NO_PAUSE       UINT32_MAX
#define REQUEST_MAX_TOP        20 // of the HTTP API; `run` and `eval` allow BATCH_MAX_TOP

struct request_bias {
    int32_t token;
    float bias; // -100 and below bans
};

/* Defaults by request_params_init.  Plain data; strings and arrays belong to the caller until
 * submit returns (it copies). */
struct request_params {
    struct sampling sampling;                  // .choice is set per choice
    uint32_t n;                                // choices, 1..REQUEST_MAX_CHOICES
    uint32_t max_tokens;                       // 0: nothing is generated (eval, echo)
    float presence_penalty, frequency_penalty; // over generated tokens, -2..2
    float repeat_penalty; // over the last 64 tokens of prompt and completion, 1: off
    const struct request_bias *bias;
    size_t n_bias;
    const char *stops[REQUEST_MAX_STOPS]; // UTF-8, not empty
    size_t n_stops;
    bool ignore_eos;
    bool want_logprobs; // of the generated tokens
    uint32_t top_n;     // alternatives with them
    bool want_prompt;   // log-probabilities of the prompt's tokens (echo, eval), with prompt_top_n
    uint32_t prompt_top_n;
    uint32_t pause_at; // waits for engine_resume when so many tokens are in the KV cache; and
                       // REQUEST_NO_PAUSE
};
/* Greedy, one choice, 16 tokens, no penalties. */
void request_params_init(struct request_params *p);

enum finish_reason { FINISH_NONE, FINISH_STOP, FINISH_LENGTH, FINISH_CANCELLED, FINISH_ERROR };
/* "stop", "length", …; NULL for FINISH_NONE. */
const char *finish_reason_name(enum finish_reason r);

/* A token as shown to the user.  Pointers are valid during the call. */
struct token_entry {
    int32_t token;
    float logprob;
    const char *piece; // the token's bytes; not always whole UTF-8
    size_t piece_bytes;
    const struct top_entry *top; // [n_top]
    uint32_t n_top;
};

struct request_usage {
    uint32_t prompt_tokens, completion_tokens; // completion over all choices
    uint32_t cached_tokens;                    // prompt tokens whose KV was found in the cache
    uint64_t queue_ns;                         // submitted → first step
    uint64_t prefill_ns;                       // first step → first token
    uint64_t decode_ns;                        // first token → last token
};

/* Never called from inside engine_submit; `end` is called exactly once and last. */
struct request_sink {
    /* Prompt positions [first, first + n) in order: entry i is the token at that position, its
     * log-probability given those before it (NAN for position 0), and the best tokens to FOLLOW it.
     * Only with want_prompt. */
    void (*prompt)(void *ctx, uint32_t first, const struct token_entry *entries, size_t n);
    /* New text of a choice: whole UTF-8, never part of a stop string; and the tokens that it came
     * from (a token is reported once its text was).  Either may be empty. */
    void (*text)(void *ctx, uint32_t choice, const char *text, size_t bytes,
                 const struct token_entry *tokens, size_t n_tokens);
    /* A choice is complete. */
    void (*finish)(void *ctx, uint32_t choice, enum finish_reason reason);
    /* All choices are finished (ERR_OK), or the request was cancelled or failed; message for
     * errors, else "". */
    void (*end)(void *ctx, const struct request_usage *usage, err error, const char *message);
};

#endif
