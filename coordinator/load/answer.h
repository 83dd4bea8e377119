/* answer.h: one answer of a server, from bytes to times and counts.
 *
 *   bytes ─► llhttp ─► event stream ─► chunks: when they came, usage at the end
 *                  └─► any other body: kept, and read as one JSON object when it is complete
 *
 * The server is not trusted: everything that is kept has a bound, and what does not look like the
 * answer to a completion is an error of the answer with a sentence, never of this process.  Free of
 * I/O; time is an argument.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_ANSWER_H
#define COORDINATOR_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/load/samples.h"

#define ANSWER_MAX_HEAD_BYTES ((size_t)64 << 10) // headers, trailers and chunk extensions together
#define ANSWER_MAX_BODY_BYTES ((size_t)1 << 20)  // of a body that is no event stream

/* X(name, as the JSON report calls it) */
#define ANSWER_ERROR_MAP(X)                                                                        \
    X(NONE, "none")                                                                                \
    X(CONNECT, "connect") /* no connection */                                                      \
    X(STATUS, "status")   /* an HTTP status that is no success */                                  \
    X(STREAM, "stream")   /* it broke off, or made no sense */                                     \
    X(TIMEOUT, "timeout") /* not complete in time */

enum answer_error {
#define X(name, text) ANSWER_ERROR_##name,
    ANSWER_ERROR_MAP(X)
#undef X
        ANSWER_ERROR_COUNT
};

struct answer_result {
    enum answer_error error;
    char message[240];   // of the error: printable, also when the server made it
    int status;          // HTTP; 0 before there is one
    bool began;          // at least one byte came
    bool keep_alive;     // the connection may carry another request
    bool has_usage;      // prompt, cached and completion tokens are the server's own count
    uint32_t n_chunks;   // with text in them
    uint64_t first_ns;   // when the first of them came
    uint64_t latest_ns;  // the latest
    uint64_t end_ns;     // when the answer was complete
    struct samples gaps; // between chunks
    uint32_t prompt_tokens, cached_tokens, completion_tokens;
};

struct answer;

struct answer *answer_create(void);
void answer_free(struct answer *a);
/* Forgets the previous answer.  A completion may have `max_chunks` chunks with text; 0: it is no
 * completion, its body is only kept. */
void answer_begin(struct answer *a, uint32_t max_chunks);
/* Takes bytes; true when the answer is over, for good or bad.  Not to be called again then. */
bool answer_feed(struct answer *a, const char *bytes, size_t n, uint64_t now_ns);
/* The connection has ended: an answer that is not over is over now. */
void answer_end(struct answer *a, uint64_t now_ns);
/* Ends it with an error from outside; cleans the message of what is not printable. */
void answer_fail(struct answer *a, enum answer_error error, const char *message);
/* Valid until the next answer_begin. */
const struct answer_result *answer_result(const struct answer *a);
/* The body of an answer that was no event stream. */
const char *answer_body(const struct answer *a, size_t *n);
const char *answer_error_name(enum answer_error e);

#endif
