/* api_answer.h: endpoints whose answer follows from the body alone: /tokenize and its like.
 *
 * Short bodies are answered at once, long ones by side work.  Loop thread, but for what computes.
 */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_API_ANSWER_H
#define COORDINATOR_API_ANSWER_H

#include "coordinator/gateway/api_body.h"
#include "coordinator/gateway/gateway.h"

/* None of it changes while the answer is computed. */
struct api_input {
    const json_t *root; // an object
    const struct tokenizer *tokenizer;
    const struct chat_template *chat_template;
};

/* Appends the answer's JSON, or fills in *e and returns false.  Any thread. */
typedef bool api_compute(const struct api_input *in, struct buf *json, struct api_error *e);

/* Answers with what is wrong.  Loop thread. */
void api_answer_error(const struct api_error *e, const struct responder *responder, void *conn);
/* Answers the request, now or later; 503 while the model is not known. */
void api_answer(struct gateway *g, const struct http_request *request, api_compute *compute,
                const struct responder *responder, void *conn, struct exchange **x);

#endif
