/* chat_shape.h: messages in the shape that a template expects.  Free of I/O.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_CHAT_SHAPE_H
#define COORDINATOR_CHAT_SHAPE_H

#include <jansson.h>
#include <stdbool.h>

#include "coordinator/template/template.h"

struct chat_shape {
    bool takes_parts;      // a content may be a list of parts
    bool needs_parts;      // it must be one
    bool object_arguments; // arguments of calls must be objects, not strings of JSON
    bool knows_developer;  // the role; else developers speak as the system
};

/* Finds out by rendering small chats; `variables` as for a real one, without messages. */
struct chat_shape chat_shape_of(const struct template *t, const json_t *variables);
/* A new array of messages in this shape; `messages` is not changed.  A message without content has
 * the content null. */
json_t *chat_shape_messages(const struct chat_shape *shape, const json_t *messages);

#endif
