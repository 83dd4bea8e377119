/* stream.h: from sampled tokens to text that may be shown.
 *
 *   token → its bytes → [held back: half a UTF-8 sequence, the beginning of a stop string] → text
 *
 * What is released is whole UTF-8 (bytes that can never become valid are shown as U+FFFD) and never
 * any part of a stop string.  Tokens are reported together with the text they end in.
 * Free of I/O.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_STREAM_H
#define COORDINATOR_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/tokenizer.h"
#include "coordinator/scheduling/request.h"

struct stream_pending; // a token that waits for its text to be released

struct stream {
    const struct tokenizer *tokenizer;
    const char *const *stops; // [n_stops], not owned
    size_t n_stops;
    struct buf held;   // decoded bytes that were not released
    uint64_t released; // bytes released so far (counted before U+FFFD replacement)
    struct stream_pending *pending;
    size_t n_pending, capacity, first_reported;
    struct buf text;   // what the last call released, valid until the next
    struct buf pieces; // bytes behind the reported entries
    struct token_entry *entries;
    size_t n_entries, entries_capacity;
};

void stream_init(struct stream *s, const struct tokenizer *t, const char *const *stops,
                 size_t n_stops);
void stream_deinit(struct stream *s);
/* Takes one token (copying `top`) and releases what can be shown: s->text and s->entries.  True
 * when a stop string was completed: the text before it is released, the rest is dropped. */
bool stream_push(struct stream *s, int32_t token, float logprob, const struct top_entry *top,
                 uint32_t n_top);
/* The sequence has ended for another reason: releases everything that was held. */
void stream_flush(struct stream *s);

#endif
