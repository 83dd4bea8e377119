// SPDX-License-Identifier: MIT
/* test_answer_json.c: chunks and errors as different servers write them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "coordinator/load/answer_json.h"

static const struct {
    const char *json;
    bool has_text, finished, has_usage;
    const char *error; // in the sentence; NULL: none
} objects[] = {
    {"{\"choices\":[{\"text\":\"a\"}]}", true, false, false, NULL},
    {"{\"choices\":[{\"text\":\"\"}]}", false, false, false, NULL},
    {"{\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}", false, false, false,
     NULL},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":null}],\"usage\":null}", true,
     false, false, NULL},
    {"{\"choices\":[{\"delta\":{\"content\":null,\"reasoning_content\":\"hm\"}}]}", true, false,
     false, NULL},
    {"{\"choices\":[{\"delta\":{\"reasoning\":\"hm\"}}]}", true, false, false, NULL},
    {"{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}", false, true, false, NULL},
    {"{\"choices\":[{\"message\":{\"content\":\"a\"},\"finish_reason\":\"length\"}],"
     "\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}",
     true, true, true, NULL},
    {"{\"choices\":[{\"index\":0},{\"text\":\"b\"}],\"error\":null}", true, false, false, NULL},
    {"{\"choices\":[]}", false, false, false, NULL},
    // wrong types are as good as absent
    {"{\"choices\":[7,null,[],{\"text\":7},{\"delta\":\"x\"},{\"finish_reason\":true}]}", false,
     false, false, NULL},
    {"{\"choices\":[],\"usage\":[1]}", false, false, false, NULL},
    {"{\"choices\":[],\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":1}}", false, false,
     false, NULL},
    {"{\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":4294967296}}", false,
     false, false, NULL},
    {"{\"choices\":[],\"usage\":{\"prompt_tokens\":1.5,\"completion_tokens\":\"2\"}}", false, false,
     false, NULL},
    // errors
    {"{\"error\":{\"message\":\"gone\"}}", false, false, false, "says: gone"},
    {"{\"error\":\"gone\"}", false, false, false, "says: gone"},
    {"{\"choices\":[],\"error\":{\"message\":\"gone\"}}", false, false, false, "says: gone"},
    {"{\"object\":\"error\",\"message\":\"gone\"}", false, false, false, "says: gone"},
    {"{\"detail\":\"Not Found\"}", false, false, false, "says: Not Found"},
    {"{}", false, false, false, "no part of a completion"},
    {"{\"choices\":{}}", false, false, false, "no part of a completion"},
    {"[1]", false, false, false, "no JSON object"},
    {"nonsense", false, false, false, "no JSON object: nonsense"},
    {"{\"choices\":[]} x", false, false, false, "no JSON object"},
    {"{\"choices\":[],\"n\":1e999}", false, false, false, "no JSON object"},
    {"", false, false, false, "no JSON object"},
};

static void objects_of_all_kinds(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++) {
        struct answer_object o;
        answer_object_read(&o, objects[i].json, strlen(objects[i].json));
        const char *error = objects[i].error;
        if (o.has_text != objects[i].has_text || o.finished != objects[i].finished ||
            o.has_usage != objects[i].has_usage || (o.error[0] != '\0') != (error != NULL) ||
            (error && !strstr(o.error, error)))
            fail_msg("%s: text %d, finished %d, usage %d, error '%s'", objects[i].json, o.has_text,
                     o.finished, o.has_usage, o.error);
    }
}

static void the_first_model(void **state) {
    (void)state;
    static const struct {
        const char *json, *id; // NULL: none
    } lists[] = {{"{\"data\":[{\"id\":\"a\"},{\"id\":\"b\"}]}", "a"},
                 {"{\"data\":[]}", NULL},
                 {"{\"data\":{\"id\":\"a\"}}", NULL},
                 {"{\"data\":[{\"id\":7}]}", NULL},
                 {"{\"data\":[{\"id\":\"a name that does not fit\"}]}", NULL},
                 {"<html>", NULL}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        char id[16] = "";
        bool found = answer_first_model(id, sizeof id, lists[i].json, strlen(lists[i].json));
        if (found != (lists[i].id != NULL)) fail_msg("%s: %d", lists[i].json, found);
        if (found) assert_string_equal(id, lists[i].id);
    }
}

static void the_sentence_of_an_error(void **state) {
    (void)state;
    char out[16];
    answer_error_text(out, sizeof out, "{\"error\":{\"message\":\"m\"}}", 25);
    assert_string_equal(out, "m");
    answer_error_text(out, sizeof out, "plain words, too many of them", 29);
    assert_string_equal(out, "plain words, to");
    answer_error_text(out, sizeof out, "{\"x\":1}", 7);
    assert_string_equal(out, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_of_all_kinds),
        cmocka_unit_test(the_first_model),
        cmocka_unit_test(the_sentence_of_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
