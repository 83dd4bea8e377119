// SPDX-License-Identifier: MIT
/* fuzz_template.c: chat templates made of whatever libFuzzer finds, and the JSON they render.
 *
 * Before a zero byte stands the template, behind it its variables; without one there is a chat.
 * What is rendered must be valid UTF-8; what is refused has a sentence.  A good corpus:
 * tests/template/templates. */

#include <string.h>

#include "common/utf8.h"
#include "coordinator/template/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static json_t *chat(void) {
    static json_t *variables;
    if (!variables)
        variables = json_loads(
            "{\"messages\": [{\"role\": \"system\", \"content\": \"a \\u00e9 \\ud83d\\ude00\"},"
            " {\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"b\"}]},"
            " {\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": \"c\","
            " \"function\": {\"name\": \"f\", \"arguments\": {\"x\": 1.5, \"2\": [true]}}}]}],"
            " \"tools\": [{\"function\": {\"name\": \"f\", \"parameters\": {}}}],"
            " \"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"add_generation_prompt\": true,"
            " \"l\": [3, 1, 2], \"s\": \"Hello World\", \"o\": {\"b\": 1, \"a\": {\"c\": null}}}",
            0, NULL);
    CHECK(variables);
    return json_incref(variables);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct template *t;
    struct buf out;
    const uint8_t *zero = n ? memchr(data, 0, n) : NULL;
    size_t source_bytes = zero ? (size_t)(zero - data) : n;
    json_t *variables =
        zero ? json_loadb((const char *)zero + 1, n - source_bytes - 1, JSON_ALLOW_NUL, NULL)
             : chat();
    buf_init(&out, 0);
    err e = template_parse(&t, (const char *)data, source_bytes);
    if (e == ERR_OK) {
        e = template_render(t, variables, 1785326400, &out);
        template_free(t);
    }
    if (e == ERR_OK)
        CHECK(out.length == 0 || utf8_valid(out.data, out.length));
    else
        CHECK(out.length == 0 && *error_message());
    buf_deinit(&out);
    json_decref(variables);
    return 0;
}
