/* request_bodies.h: bodies of requests that are taken, or refused with a name. */
// SPDX-License-Identifier: MIT
#ifndef TESTS_UNIT_COORDINATOR_GATEWAY_REQUEST_BODIES_H
#define TESTS_UNIT_COORDINATOR_GATEWAY_REQUEST_BODIES_H

#include <stdbool.h>
#include <stddef.h>

#include "coordinator/gateway/api_request.h"

#define MODEL "demo-q8_0" // of the requests' server

/* For cmocka_run_group_tests. */
int open_request_tests(void **state);
int close_request_tests(void **state);
/* That of the demo model, between the two. */
const struct tokenizer *request_tokenizer(void);

/* The body's bytes in memory of their own size, so that ASan sees a step beyond the end. */
bool parse_bytes(struct api_request *r, bool chat, const char *body, size_t n, struct api_error *e);
/* The same, and it is taken. */
void parse(struct api_request *r, bool chat, const char *body);
/* `fields` goes into a completion with a prompt, or a chat with a message. */
void parse_with(struct api_request *r, bool chat, const char *fields);
/* It is refused with a 400 whose message names `param`, if that is not empty. */
void refuse_bytes(bool chat, const char *body, size_t n, const char *param);
void refuse(bool chat, const char *body, const char *param);
void refuse_with(bool chat, const char *fields, const char *param);
/* Prompt `index` has the tokens of `text`. */
void expect_prompt(const struct api_request *r, size_t index, const char *text);

#endif
