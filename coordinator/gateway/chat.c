// SPDX-License-Identifier: MIT
/* chat.c: see chat.h. */

#include "coordinator/gateway/chat.h"

#include <string.h>

static const struct {
    const char *role, *label;
} roles[] = {{"system", "System"},
             {"developer", "System"},
             {"user", "User"},
             {"assistant", "Assistant"},
             {"tool", "Tool"}};

err chat_put_plain(struct buf *out, const struct chat_message *messages, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char *label = NULL;
        for (size_t k = 0; k < sizeof roles / sizeof *roles; k++) {
            if (strcmp(messages[i].role, roles[k].role) == 0) label = roles[k].label;
        }
        if (!label)
            return FAIL(ERR_REQUEST,
                        "messages[%zu].role is '%.40s', allowed are system, developer, user, "
                        "assistant, tool",
                        i, messages[i].role);
        buf_puts(out, label);
        buf_puts(out, ": ");
        buf_append(out, messages[i].content, messages[i].content_bytes);
        buf_puts(out, "\n\n");
    }
    buf_puts(out, "Assistant:");
    return ERR_OK;
}
