// SPDX-License-Identifier: MIT
/* api_template.c: POST /apply-template: what a chat becomes before it is tokenized, as llama-server
 * has it.  For people who wonder what the model really reads: {"messages": […]} → {"prompt": "…"}.
 */

#include "coordinator/gateway/api_answer.h"
#include "coordinator/gateway/api_chat.h"
#include "coordinator/gateway/router.h"

static bool apply(const struct api_input *in, struct buf *json, struct api_error *e) {
    char param[64] = "";
    struct buf prompt;
    buf_init(&prompt, 0);
    bool good = api_chat_put_prompt(&prompt, in->root, in->chat_template, param) == ERR_OK ||
                api_refuse(e, param, "%s", error_message());
    if (good) {
        buf_puts(json, "{\"prompt\":\"");
        buf_append_json(json, prompt.length ? prompt.data : "", prompt.length);
        buf_puts(json, "\"}");
    }
    buf_deinit(&prompt);
    return good;
}

void api_apply_template(struct gateway *g, const struct http_request *request, const char *rest,
                        const struct responder *responder, void *conn, struct exchange **x) {
    (void)rest;
    api_answer(g, request, apply, responder, conn, x);
}
