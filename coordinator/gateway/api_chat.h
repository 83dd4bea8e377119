/* api_chat.h: the messages of a chat request as the text of a prompt.  Free of I/O.  Any thread.
 */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_API_CHAT_H
#define COORDINATOR_API_CHAT_H

#include <jansson.h>

#include "common/buf.h"
#include "common/error.h"
#include "coordinator/gateway/chat_template.h"

/* Appends the prompt made of the members messages, tools, add_generation_prompt and
 * chat_template_kwargs of `root`.  ERR_REQUEST with the name of the wrong member in `param`. */
MUST_USE err api_chat_put_prompt(struct buf *out, const json_t *root, const struct chat_template *c,
                                 char param[64]);

#endif
