// SPDX-License-Identifier: MIT
/* render_template.c: renders templates for tests: one JSON object per line in, one out.
 *
 *   {"template": "…", "variables": {…}, "now": 0}   →   {"text": "…"} or {"error": "…"} */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/template/template.h"

static void put_answer(const char *key, const char *s, size_t n) {
    struct buf line;
    buf_init(&line, 0);
    buf_printf(&line, "{\"%s\":\"", key);
    buf_append_json(&line, s, n);
    buf_puts(&line, "\"}\n");
    fwrite(line.data, 1, line.length, stdout);
    buf_deinit(&line);
}

static err render(const json_t *request, struct buf *out) {
    const json_t *source = json_object_get(request, "template");
    struct template *t;
    if (!json_is_string(source)) return FAIL(ERR_USAGE, "a line needs a template");
    TRY(template_parse(&t, json_string_value(source), json_string_length(source)));
    err e = template_render(t, json_object_get(request, "variables"),
                            json_integer_value(json_object_get(request, "now")), out);
    template_free(t);
    return e;
}

int main(void) {
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    while ((n = getline(&line, &capacity, stdin)) > 0) {
        struct buf out;
        buf_init(&out, 0);
        json_t *request = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, NULL);
        if (render(request, &out) == ERR_OK)
            put_answer("text", out.data ? out.data : "", out.length);
        else
            put_answer("error", error_message(), strlen(error_message()));
        json_decref(request);
        buf_deinit(&out);
    }
    free(line);
    return 0;
}
