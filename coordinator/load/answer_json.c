// SPDX-License-Identifier: MIT
/* answer_json.c: see answer_json.h.  jansson refuses what is no JSON or nested too deeply; every
 * value is asked for its type before it is believed. */

#include "coordinator/load/answer_json.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static bool is_text(const json_t *v) {
    return json_is_string(v) && json_string_length(v) > 0;
}

static void read_choice(struct answer_object *o, const json_t *choice) {
    static const char *const keys[] = {"content", "reasoning_content", "reasoning"};
    const json_t *part = json_object_get(choice, "delta");
    if (!json_is_object(part)) part = json_object_get(choice, "message");
    if (is_text(json_object_get(choice, "text"))) o->has_text = true;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (is_text(json_object_get(part, keys[i]))) o->has_text = true;
    if (is_text(json_object_get(choice, "finish_reason"))) o->finished = true;
}

/* A whole number from 0 to 2^32 - 1, else 0 and false. */
static bool read_count(const json_t *object, const char *key, uint32_t *out) {
    const json_t *v = json_object_get(object, key);
    json_int_t n = json_is_integer(v) ? json_integer_value(v) : -1;
    bool good = n >= 0 && n <= (json_int_t)UINT32_MAX;
    *out = good ? (uint32_t)n : 0;
    return good;
}

static void read_usage(struct answer_object *o, const json_t *usage) {
    if (!json_is_object(usage)) return;
    bool prompt = read_count(usage, "prompt_tokens", &o->prompt_tokens);
    o->has_usage = read_count(usage, "completion_tokens", &o->completion_tokens) && prompt;
    (void)read_count(json_object_get(usage, "prompt_tokens_details"), "cached_tokens",
                     &o->cached_tokens);
}

/* {"error": {"message"}}, {"error": "…"}, {"message"}, {"detail"}: the sentence, or NULL. */
static const char *error_sentence(const json_t *object) {
    const json_t *e = json_object_get(object, "error");
    if (json_is_object(e)) e = json_object_get(e, "message");
    if (!is_text(e)) e = json_object_get(object, "message");
    if (!is_text(e)) e = json_object_get(object, "detail");
    return is_text(e) ? json_string_value(e) : NULL;
}

static void read_object(struct answer_object *o, const json_t *object) {
    const json_t *choices = json_object_get(object, "choices");
    const json_t *error = json_object_get(object, "error");
    if (!json_is_array(choices) || (error && !json_is_null(error))) {
        const char *said = error_sentence(object);
        snprintf(o->error, sizeof o->error, "%s%.150s", said ? "the server says: " : "",
                 said ? said : "the server sent JSON that is no part of a completion");
        return;
    }
    for (size_t i = 0; i < json_array_size(choices); i++)
        read_choice(o, json_array_get(choices, i));
    read_usage(o, json_object_get(object, "usage"));
}

void answer_object_read(struct answer_object *o, const char *text, size_t n) {
    *o = (struct answer_object){0};
    json_error_t e;
    json_t *object = json_loadb(text, n, 0, &e);
    if (json_is_object(object))
        read_object(o, object);
    else
        snprintf(o->error, sizeof o->error, "the server sent what is no JSON object: %.40s", text);
    json_decref(object);
}

void answer_error_text(char *out, size_t size, const char *body, size_t n) {
    json_error_t e;
    json_t *object = json_loadb(body, n, 0, &e);
    const char *said = error_sentence(object);
    snprintf(out, size, "%.*s", (int)(size - 1), said ? said : object ? "" : body);
    json_decref(object);
}

bool answer_first_model(char *out, size_t size, const char *body, size_t n) {
    json_error_t e;
    json_t *object = json_loadb(body, n, 0, &e);
    const json_t *id = json_object_get(json_array_get(json_object_get(object, "data"), 0), "id");
    bool good = is_text(id) && json_string_length(id) < size;
    if (good) snprintf(out, size, "%s", json_string_value(id));
    json_decref(object);
    return good;
}
