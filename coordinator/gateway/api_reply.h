/* api_reply.h: the JSON that answers completions: whole answers and chunks of streams.
 *
 * Written straight into buffers, field by field, as OpenAI's API documents them.  Free of I/O.
 * Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_API_REPLY_H
#define COORDINATOR_API_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/tokenizer.h"
#include "coordinator/scheduling/request.h"

/* What all objects of one answer share. */
struct reply_head {
    bool chat, stream;
    char id[64];
    int64_t created_s;
    const char *model_id, *fingerprint;
};

/* One choice, collected for a whole answer: text and log-probabilities as JSON text. */
struct reply_choice {
    struct buf text;                                              // not escaped
    struct buf logprobs;                                          // chat: elements of "content"
    struct buf tokens, token_logprobs, top_logprobs, text_offset; // completions: array elements
    uint64_t offset; // code points of text before the next token
    enum finish_reason reason;
};

void reply_choice_init(struct reply_choice *c);
void reply_choice_deinit(struct reply_choice *c);
/* Forgets the collected log-probabilities (a stream sends them with every chunk). */
void reply_choice_clear_logprobs(struct reply_choice *c);
/* Code points of a text: what `text_offset` counts. */
size_t reply_count_characters(const char *s, size_t n);
/* Adds a token's log-probabilities in the API's form. */
void reply_add_token(struct reply_choice *c, bool chat, const struct tokenizer *t,
                     const struct token_entry *e);

/* A chunk of a stream: text (and the choice's collected log-probabilities when `logprobs`), the
 * first chunk of a chat with the role, or the last with the reason. */
void reply_put_chunk(struct buf *out, const struct reply_head *h, uint32_t index, const char *text,
                     size_t n, const struct reply_choice *logprobs, bool first,
                     enum finish_reason reason, bool null_usage);
/* The last chunk of a stream that has no usage chunk: the reason and the timings. */
void reply_put_last_chunk(struct buf *out, const struct reply_head *h, uint32_t index,
                          enum finish_reason reason, const struct request_usage *u);
void reply_put_usage_chunk(struct buf *out, const struct reply_head *h,
                           const struct request_usage *u);
/* The whole answer. */
void reply_put_whole(struct buf *out, const struct reply_head *h,
                     const struct reply_choice *choices, size_t n, bool logprobs,
                     const struct request_usage *u);

#endif
