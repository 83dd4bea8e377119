// SPDX-License-Identifier: MIT
/* chat_shape.c: see chat_shape.h.
 *
 * A template tells nothing of what it expects.  A word that is put into a message and looked for in
 * the prompt does: it is there as it was written, or quoted (the list was shown as JSON), or
 * absent. */

#include "coordinator/gateway/chat_shape.h"

#include <string.h>

#define NEEDLE "needle7531"

/* ---- trying out ---- */

/* True when the prompt of these messages holds `wanted` and not `unwanted`.  Takes `messages`. */
static bool shows(const struct template *t, const json_t *variables, json_t *messages,
                  const char *wanted, const char *unwanted) {
    json_t *all = json_copy((json_t *)variables);
    struct buf out;
    buf_init(&out, 0);
    json_object_set_new(all, "messages", messages);
    json_object_set_new(all, "add_generation_prompt", json_true());
    bool good = template_render(t, all, 0, &out) == ERR_OK && out.data &&
                strstr(out.data, wanted) && !strstr(out.data, unwanted);
    buf_deinit(&out);
    json_decref(all);
    return good;
}

static bool shows_string(const struct template *t, const json_t *variables) {
    json_t *messages = json_pack("[{s:s, s:s}]", "role", "user", "content", NEEDLE);
    return shows(t, variables, messages, NEEDLE, "\"" NEEDLE);
}

static bool shows_parts(const struct template *t, const json_t *variables) {
    json_t *messages = json_pack("[{s:s, s:[{s:s, s:s}]}]", "role", "user", "content", "type",
                                 "text", "text", NEEDLE);
    return shows(t, variables, messages, NEEDLE, "\"" NEEDLE);
}

/* Two attempts: templates disagree about the content beside a call.  Takes `arguments`. */
static bool shows_arguments(const struct template *t, const json_t *variables, json_t *arguments) {
    bool good = false;
    for (int i = 0; i < 2 && !good; i++) {
        json_t *call = json_pack("{s:s, s:s, s:{s:s, s:O}}", "id", "abcdef001", "type", "function",
                                 "function", "name", "f", "arguments", arguments);
        json_t *messages =
            json_pack("[{s:s, s:s}, {s:s, s:s?, s:[o]}]", "role", "user", "content", "x", "role",
                      "assistant", "content", i ? "" : NULL, "tool_calls", call);
        good = shows(t, variables, messages, NEEDLE, "\\\"" NEEDLE);
    }
    json_decref(arguments);
    return good;
}

struct chat_shape chat_shape_of(const struct template *t, const json_t *variables) {
    bool as_string = shows_string(t, variables), as_parts = shows_parts(t, variables);
    bool string = shows_arguments(t, variables, json_string("{\"" NEEDLE "\": 1}"));
    bool object = shows_arguments(t, variables, json_pack("{s:i}", NEEDLE, 1));
    return (struct chat_shape){.takes_parts = as_parts,
                               .needs_parts = as_parts && !as_string,
                               .object_arguments = object && !string,
                               .knows_developer = template_mentions(t, "developer")};
}

/* ---- bringing messages into shape ---- */

/* The texts of the parts as one string. */
static json_t *join_parts(const json_t *parts) {
    struct buf text;
    size_t i;
    const json_t *part;
    buf_init(&text, 0);
    json_array_foreach((json_t *)parts, i, part) {
        const json_t *t = json_object_get(part, "text");
        if (json_is_string(t)) buf_append(&text, json_string_value(t), json_string_length(t));
    }
    json_t *joined = json_stringn(text.data ? text.data : "", text.length);
    buf_deinit(&text);
    return joined;
}

static void shape_content(const struct chat_shape *shape, json_t *message) {
    const json_t *content = json_object_get(message, "content");
    if (!content)
        json_object_set_new(message, "content", json_null());
    else if (json_is_array(content) && !shape->takes_parts)
        json_object_set_new(message, "content", join_parts(content));
    else if (json_is_string(content) && shape->needs_parts)
        json_object_set_new(message, "content",
                            json_pack("[{s:s, s:O}]", "type", "text", "text", content));
}

/* {"function": {"arguments": "{…}"}} with the arguments as an object, when they are one. */
static json_t *shape_call(const json_t *call) {
    json_t *copy = json_deep_copy(call), *function = json_object_get(copy, "function");
    const json_t *arguments = json_object_get(function, "arguments");
    if (!json_is_string(arguments)) return copy;
    json_t *object = json_loadb(json_string_value(arguments), json_string_length(arguments),
                                JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(object))
        json_object_set_new(function, "arguments", object);
    else
        json_decref(object);
    return copy;
}

static void shape_calls(json_t *message) {
    const json_t *calls = json_object_get(message, "tool_calls"), *call;
    size_t i;
    if (!json_is_array(calls)) return;
    json_t *copies = json_array();
    json_array_foreach((json_t *)calls, i, call) json_array_append_new(copies, shape_call(call));
    json_object_set_new(message, "tool_calls", copies);
}

json_t *chat_shape_messages(const struct chat_shape *shape, const json_t *messages) {
    json_t *all = json_array();
    size_t i;
    const json_t *one;
    json_array_foreach((json_t *)messages, i, one) {
        json_t *message = json_copy((json_t *)one); // its members are shared
        const char *role = json_string_value(json_object_get(message, "role"));
        if (role && strcmp(role, "developer") == 0 && !shape->knows_developer)
            json_object_set_new(message, "role", json_string("system"));
        shape_content(shape, message);
        if (shape->object_arguments) shape_calls(message);
        json_array_append_new(all, message);
    }
    return all;
}
