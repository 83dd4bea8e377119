/* answer_json.h: what one JSON object of the API says: a chunk of a stream, a whole answer, or an
 * error.
 *
 * Both kinds of completion are understood, plain (`text`) and chat (`delta` or `message`, with the
 * reasoning that some servers put beside the content).  Free of I/O.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_ANSWER_JSON_H
#define COORDINATOR_ANSWER_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct answer_object {
    char error[200]; // why it is no part of a completion, or what the server says went wrong; ""
    bool has_text;   // a choice has text that is not empty
    bool finished;   // a choice has a finish_reason
    bool has_usage;
    uint32_t prompt_tokens, cached_tokens, completion_tokens;
};

void answer_object_read(struct answer_object *o, const char *text, size_t n);
/* The sentence in the body of an HTTP error: of a JSON error object in one of its usual forms, else
 * the beginning of the text. */
void answer_error_text(char *out, size_t size, const char *body, size_t n);
/* The id of the first model in the body of GET /v1/models; false when there is none that fits. */
bool answer_first_model(char *out, size_t size, const char *body, size_t n);

#endif
