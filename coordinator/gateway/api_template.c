// SPDX-License-Identifier: MIT
/* api_template.c: POST /apply-template: what a chat becomes before it is tokenized, as llama-server
 * has it.  For people who wonder what the model really reads: {"messages": […]} → {"prompt": "…"}.
 */

#include "coordinator/gateway/api_body.h"
#include "coordinator/gateway/api_chat.h"
#include "coordinator/gateway/router.h"

static void reply_prompt(const struct responder *responder, void *conn, const struct buf *prompt) {
    struct buf json;
    buf_init(&json, 0);
    buf_puts(&json, "{\"prompt\":\"");
    buf_append_json(&json, prompt->length ? prompt->data : "", prompt->length);
    buf_puts(&json, "\"}");
    gateway_reply(responder, conn, 200, NULL, &json);
    buf_deinit(&json);
}

void api_apply_template(struct gateway *g, const struct http_request *request, const char *rest,
                        const struct responder *responder, void *conn, struct exchange **x) {
    (void)rest, (void)x;
    char param[64] = "";
    struct buf prompt;
    if (!engine_info(g->engine)) {
        gateway_reply_unready(g, responder, conn);
        return;
    }
    json_t *root = api_body_read(request, responder, conn);
    if (!root) return;
    buf_init(&prompt, 0);
    if (api_chat_put_prompt(&prompt, root, g->chat_template, param) == ERR_OK)
        reply_prompt(responder, conn, &prompt);
    else
        gateway_reply_error(responder, conn, 400, "invalid_request_error", param, NULL,
                            error_message());
    buf_deinit(&prompt);
    json_decref(root);
}
