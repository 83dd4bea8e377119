// SPDX-License-Identifier: MIT
/* request_bodies.c: see request_bodies.h. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/coordinator/gateway/request_bodies.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/coordinator/gateway/group_tokenizer.h"

int open_request_tests(void **state) {
    return open_tokenizer(state);
}

int close_request_tests(void **state) {
    return close_tokenizer(state);
}

const struct tokenizer *request_tokenizer(void) {
    return tokenizer;
}

bool parse_bytes(struct api_request *r, bool chat, const char *body, size_t n,
                 struct api_error *e) {
    char *copy = test_malloc(n + 1);
    memmove(copy + 1, body, n);
    *e = (struct api_error){0};
    bool ok = api_request_parse(r, chat, copy + 1, n, tokenizer, NULL, MODEL, e);
    test_free(copy);
    return ok;
}

void parse(struct api_request *r, bool chat, const char *body) {
    struct api_error e;
    if (!parse_bytes(r, chat, body, strlen(body), &e))
        fail_msg("%s\nwas refused: %d %s: %s", body, e.status, e.param, e.message);
}

void parse_with(struct api_request *r, bool chat, const char *fields) {
    char body[2000];
    snprintf(body, sizeof body,
             chat ? "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],%s}"
                  : "{\"prompt\":\"hi\",%s}",
             fields);
    parse(r, chat, body);
}

void refuse_bytes(bool chat, const char *body, size_t n, const char *param) {
    struct api_request r;
    struct api_error e;
    if (parse_bytes(&r, chat, body, n, &e)) fail_msg("%.500s\nwas taken", body);
    if (strcmp(e.param, param) != 0 || e.status != 400)
        fail_msg("%.500s\nwas refused with %d '%s' (%s), expected is 400 '%s'", body, e.status,
                 e.param, e.message, param);
    assert_true(strlen(e.message) > 10);
    // a message names its parameter, and the request holds nothing
    if (*param && !strstr(e.message, param)) fail_msg("'%s' does not name %s", e.message, param);
    assert_null(r.stop);
    assert_null(r.bias);
}

void refuse(bool chat, const char *body, const char *param) {
    refuse_bytes(chat, body, strlen(body), param);
}

void refuse_with(bool chat, const char *fields, const char *param) {
    char body[2000];
    snprintf(body, sizeof body,
             chat ? "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],%s}"
                  : "{\"prompt\":\"hi\",%s}",
             fields);
    refuse(chat, body, param);
}

void expect_prompt(const struct api_request *r, size_t index, const char *text) {
    struct token_list wanted = {0};
    assert_int_equal(tokenizer_encode(tokenizer, text, strlen(text),
                                      TOKENIZE_ADD_SPECIAL | TOKENIZE_PARSE_SPECIAL, &wanted),
                     ERR_OK);
    assert_in_range(index, 0, r->n_prompts - 1);
    assert_int_equal(r->prompts[index].count, wanted.count);
    assert_memory_equal(r->prompts[index].ids, wanted.ids, wanted.count * sizeof *wanted.ids);
    token_list_deinit(&wanted);
}
