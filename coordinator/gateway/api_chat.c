// SPDX-License-Identifier: MIT
/* api_chat.c: see api_chat.h.  Contents are checked here, so that what a template or the plain
 * transcript gets is what the API allows.  A role is any string: templates know more of them. */

#include "coordinator/gateway/api_chat.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "coordinator/gateway/chat.h"

#define MAX_MESSAGES 4096

/* Appends the text of a content: a string, null, or an array of {"type": "text", "text": "…"}. */
static err put_content(struct buf *out, const json_t *content, const char *param) {
    if (!content || json_is_null(content)) return ERR_OK;
    if (json_is_string(content)) {
        buf_append(out, json_string_value(content), json_string_length(content));
        return ERR_OK;
    }
    if (!json_is_array(content))
        return FAIL(ERR_REQUEST, "%s must be a string or an array of text parts", param);
    size_t i;
    json_t *part;
    json_array_foreach(content, i, part) {
        const json_t *text = json_object_get(part, "text");
        const char *type = json_string_value(json_object_get(part, "type"));
        if (!type || strcmp(type, "text") != 0 || !json_is_string(text))
            return FAIL(ERR_REQUEST, "%s[%zu] must be {\"type\": \"text\", \"text\": …}", param, i);
        buf_append(out, json_string_value(text), json_string_length(text));
    }
    return ERR_OK;
}

/* Checks all messages; their roles and texts go to list[], whose contents point into `texts`. */
static err read_messages(const json_t *messages, struct chat_message *list, struct buf *texts,
                         char param[64]) {
    size_t n = json_array_size(messages);
    for (size_t i = 0; i < n; i++) {
        const json_t *m = json_array_get(messages, i);
        size_t begin = texts->length;
        list[i].role = json_string_value(json_object_get(m, "role"));
        if (!list[i].role) return FAIL(ERR_REQUEST, "messages[%zu].role must be a string", i);
        snprintf(param, 64, "messages[%zu].content", i);
        TRY(put_content(texts, json_object_get(m, "content"), param));
        list[i].content_bytes = texts->length - begin;
    }
    snprintf(param, 64, "messages");
    const char *content = texts->length ? texts->data : "";
    for (size_t i = 0; i < n; content += list[i++].content_bytes) list[i].content = content;
    return ERR_OK;
}

/* *out stays NULL when the member is absent or null. */
static err read_optional(const json_t *root, const char *name, bool (*is)(const json_t *),
                         const char *what, const json_t **out, char param[64]) {
    const json_t *v = json_object_get(root, name);
    if (!v || json_is_null(v)) return ERR_OK;
    if (!is(v)) {
        snprintf(param, 64, "%s", name);
        return FAIL(ERR_REQUEST, "%s must be %s", name, what);
    }
    *out = v;
    return ERR_OK;
}

static bool is_array(const json_t *v) {
    return json_is_array(v);
}

static bool is_object(const json_t *v) {
    return json_is_object(v);
}

static bool is_boolean(const json_t *v) {
    return json_is_boolean(v);
}

/* What a template sees beside the messages; a plain transcript has no use for it. */
static err read_input(struct chat_input *in, const json_t *root, char param[64]) {
    const json_t *prompted = NULL;
    *in =
        (struct chat_input){.messages = json_object_get(root, "messages"), .now_s = clock_unix_s()};
    TRY(read_optional(root, "tools", is_array, "an array", &in->tools, param));
    TRY(read_optional(root, "chat_template_kwargs", is_object, "an object", &in->variables, param));
    TRY(read_optional(root, "add_generation_prompt", is_boolean, "true or false", &prompted,
                      param));
    in->add_generation_prompt = !json_is_false(prompted);
    return ERR_OK;
}

err api_chat_put_prompt(struct buf *out, const json_t *root, const struct chat_template *c,
                        char param[64]) {
    const json_t *messages = json_object_get(root, "messages");
    size_t n = json_array_size(messages);
    snprintf(param, 64, "messages");
    if (!json_is_array(messages) || n == 0 || n > MAX_MESSAGES)
        return FAIL(ERR_REQUEST, "messages must be an array of 1 to %d messages", MAX_MESSAGES);
    struct chat_input input;
    TRY(read_input(&input, root, param));
    struct chat_message *list = mem_zalloc_array(n, sizeof *list);
    struct buf texts;
    buf_init(&texts, 0);
    err e = read_messages(messages, list, &texts, param);
    if (e == ERR_OK)
        e = chat_template_is_plain(c) ? chat_put_plain(out, list, n)
                                      : chat_template_render(c, &input, out);
    buf_deinit(&texts);
    mem_free(list);
    return e;
}
