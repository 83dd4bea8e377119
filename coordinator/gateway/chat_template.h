/* chat_template.h: the templates of a model that turn chats into prompts.
 *
 * Where they come from: --chat-template FILE or NAME, else the model file (tokenizer.chat_template
 * and tokenizer.chat_template.NAME; the one named tool_use serves chats with tools).  A model
 * without one, and --chat-template plain, get the transcript of chat.h.
 *
 * Templates expect messages in different shapes, so they are tried out when the model is there:
 * whether contents may be lists of parts, or must be; whether arguments of calls must be objects
 * (the API has them as strings).  Blocks while files are read and templates tried.  Loop thread;
 * once the model is there nothing changes, and any thread renders. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_CHAT_TEMPLATE_H
#define COORDINATOR_CHAT_TEMPLATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/gguf.h"
#include "common/tokenizer.h"

struct chat_template;

/* `choice` is the option's value or NULL, and outlives the object.  When it is a file it is read
 * and parsed: ERR_USAGE with the line when that fails. */
MUST_USE err chat_template_create(struct chat_template **out, const char *choice);
void chat_template_free(struct chat_template *c);
/* Takes what it needs from the model's metadata.  ERR_USAGE when the choice is neither a file nor a
 * template of the model.  A template of the model that does not parse is a warning here and the
 * answer to every chat. */
MUST_USE err chat_template_use_model(struct chat_template *c, const struct gguf *g,
                                     const struct tokenizer *t);

/* True when chats become plain transcripts; also for NULL, and before the model is there. */
bool chat_template_is_plain(const struct chat_template *c);

struct chat_input {
    const json_t *messages;  // array of objects with roles
    const json_t *tools;     // array, or NULL
    const json_t *variables; // object of more variables, or NULL: they go before all others
    bool add_generation_prompt;
    int64_t now_s;
};

/* Appends the prompt.  ERR_REQUEST when the template refuses or fails; not for plain ones. */
MUST_USE err chat_template_render(const struct chat_template *c, const struct chat_input *in,
                                  struct buf *out);

#endif
