/* chat.h: a conversation as one prompt.
 *
 * A model whose file holds no chat template gets a plain transcript:
 *
 *     System: <text>\n\n   User: <text>\n\n   Assistant: <text>\n\n …   Assistant:
 *
 * one paragraph per message, roles system and developer, user, assistant, tool (as "Tool:"), and
 * generation starts after the last "Assistant:".  The stop string "\nUser:" keeps the model from
 * playing both parts.  Free of I/O.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_CHAT_H
#define COORDINATOR_CHAT_H

#include <stddef.h>

#include "common/buf.h"
#include "common/error.h"

struct chat_message {
    const char *role;    // NUL-terminated
    const char *content; // [content_bytes] UTF-8
    size_t content_bytes;
};

#define CHAT_PLAIN_STOP "\nUser:"

/* Appends the prompt.  ERR_REQUEST names an unknown role. */
MUST_USE err chat_put_plain(struct buf *out, const struct chat_message *messages, size_t n);

#endif
