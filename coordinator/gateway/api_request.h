/* api_request.h: the JSON body of a completion as checked parameters.
 *
 * Known fields are rows of a table with type and range; a wrong one is an api_error that names it,
 * unknown ones are ignored.  Nothing is allocated in proportion to a number in the request.
 * Free of I/O.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_API_REQUEST_H
#define COORDINATOR_API_REQUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/tokenizer.h"
#include "coordinator/gateway/api_body.h"
#include "coordinator/gateway/chat_template.h"
#include "coordinator/scheduling/request.h"

#define API_MAX_PROMPTS 16

struct api_request {
    bool chat, stream, include_usage, echo;
    struct request_params params; // its strings live in `stop`
    struct token_list prompts[API_MAX_PROMPTS];
    size_t n_prompts;
    struct request_bias *bias; // owned
    json_t *stop;              // owned: the member of the body
};

/* Fills *r from a body, chats by their template (NULL: as plain transcripts); false with *e filled
 * (then r holds nothing).  Release with deinit. */
bool api_request_parse(struct api_request *r, bool chat, const char *body, size_t n,
                       const struct tokenizer *t, const struct chat_template *c,
                       const char *model_id, struct api_error *e);
void api_request_deinit(struct api_request *r);

#endif
