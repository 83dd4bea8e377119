// SPDX-License-Identifier: MIT
/* test_answer.c: what a response is taken for, whole and in every piece, and how it may be wrong.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/mem.h"
#include "coordinator/load/answer.h"

#define MAX_CHUNKS 8
#define OK         "HTTP/1.1 200 OK\r\n"
#define STREAM     "Content-Type: text/event-stream; charset=utf-8\r\n"
#define CHUNKED    OK STREAM "Transfer-Encoding: chunked\r\n\r\n"
#define TO_THE_END OK STREAM "\r\n"
#define A          "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":null}]}\n\n"
#define LAST       "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"length\"}]}\n\n"
#define USAGE                                                                                      \
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3,"                \
    "\"prompt_tokens_details\":{\"cached_tokens\":5}}}\n\n"
#define DONE  "data: [DONE]\n\n"
#define WHOLE "{\"choices\":[{\"message\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}"

/* Feeds `text` in pieces, a millisecond apart; then the connection ends when `end`. */
static void feed(struct answer *a, const char *text, size_t n, size_t piece, bool end) {
    uint64_t now = 1000000;
    bool over = false;
    answer_begin(a, MAX_CHUNKS);
    for (size_t at = 0; at < n && !over; at += piece, now += 1000000) {
        size_t part = n - at < piece ? n - at : piece;
        char *copy = mem_alloc(part);
        memcpy(copy, text + at, part);
        over = answer_feed(a, copy, part, now);
        mem_free(copy);
    }
    if (!over && end) answer_end(a, now);
}

static const struct {
    const char *text;
    enum answer_error error;
    int status;
    uint32_t n_chunks;
    bool keep_alive, has_usage;
    const char *says; // in the message
} cases[] = {
    // streams
    {TO_THE_END A A LAST USAGE DONE, ANSWER_ERROR_NONE, 200, 2, false, true, ""},
    {TO_THE_END A A LAST DONE, ANSWER_ERROR_NONE, 200, 2, false, false, ""},
    {TO_THE_END A LAST, ANSWER_ERROR_NONE, 200, 1, false, false, ""}, // no [DONE] but an end
    {TO_THE_END A DONE, ANSWER_ERROR_NONE, 200, 1, false, false, ""}, // no finish_reason but [DONE]
    {CHUNKED "e\r\n" DONE "\r\n0\r\n\r\n", ANSWER_ERROR_NONE, 200, 0, true, false, ""},
    {CHUNKED "3;x=y\r\ndat\r\nB\r\na: [DONE]\n\n\r\n0\r\nT: v\r\n\r\n", ANSWER_ERROR_NONE, 200, 0,
     true, false, ""},
    {OK STREAM "Connection: close\r\nContent-Length: 14\r\n\r\n" DONE, ANSWER_ERROR_NONE, 200, 0,
     false, false, ""},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nContent-Type: x\r\n\r\n" OK STREAM
     "Content-Length: 14\r\n\r\n" DONE,
     ANSWER_ERROR_NONE, 200, 0, true, false, ""},
    {"HTTP/1.0 200 OK\r\n" STREAM "\r\n" A DONE, ANSWER_ERROR_NONE, 200, 1, false, false, ""},
    // other bodies
    {OK "Content-Type: application/json\r\nContent-Length: 65\r\n\r\n" WHOLE, ANSWER_ERROR_NONE,
     200, 1, true, false, ""},
    {OK "\r\n" WHOLE, ANSWER_ERROR_NONE, 200, 1, false, false, ""},
    {OK "Content-Length: 0\r\n\r\n", ANSWER_ERROR_STREAM, 200, 0, false, false, "no JSON"},
    {OK "Content-Length: 2\r\n\r\n{}", ANSWER_ERROR_STREAM, 200, 0, false, false,
     "no part of a completion"},
    {OK "Content-Length: 14\r\n\r\n{\"choices\":[]}", ANSWER_ERROR_STREAM, 200, 0, false, false,
     "no completion"},
    {"HTTP/1.1 204 No Content\r\n\r\n", ANSWER_ERROR_STREAM, 204, 0, false, false, "no JSON"},
    // statuses
    {"HTTP/1.1 503 Busy\r\nContent-Length: 31\r\n\r\n{\"error\":{\"message\":\"loading\"}}",
     ANSWER_ERROR_STATUS, 503, 0, true, false, "HTTP 503: loading"},
    {"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops", ANSWER_ERROR_STATUS, 500, 0, true, false,
     "HTTP 500: oops"},
    {"HTTP/1.1 404 Not Found\r\n" STREAM "Content-Length: 6\r\n\r\n\x1b[2J\xc2\x9b",
     ANSWER_ERROR_STATUS, 404, 0, true, false, "HTTP 404:  [2J "},
    {"HTTP/1.1 301 Moved\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", ANSWER_ERROR_STATUS, 301, 0,
     true, false, "HTTP 301"},
    // broken
    {"", ANSWER_ERROR_STREAM, 0, 0, false, false, "without an answer"},
    {"HTTP/1.1 200", ANSWER_ERROR_STREAM, 0, 0, false, false, "middle"},
    {TO_THE_END A, ANSWER_ERROR_STREAM, 200, 1, false, false, "without finish_reason"},
    {CHUNKED "e\r\n" DONE "\r\n", ANSWER_ERROR_STREAM, 200, 0, false, false, "middle"},
    {OK STREAM "Content-Length: 15\r\n\r\n" DONE, ANSWER_ERROR_STREAM, 200, 0, false, false,
     "middle"},
    {TO_THE_END A "data: {\"error\":{\"message\":\"a rank was lost\"}}\n\n", ANSWER_ERROR_STREAM,
     200, 1, false, false, "the server says: a rank was lost"},
    {TO_THE_END "data: {\"choices\":[\n\n", ANSWER_ERROR_STREAM, 200, 0, false, false, "no JSON"},
    {TO_THE_END A A A A A A A A A LAST DONE, ANSWER_ERROR_STREAM, 200, MAX_CHUNKS, false, false,
     "more chunks"},
    {"SSH-2.0-OpenSSH_9.2p1\r\n", ANSWER_ERROR_STREAM, 0, 0, false, false, "not HTTP/1.1"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", ANSWER_ERROR_STREAM, 0,
     0, false, false, "not HTTP/1.1"},
    {"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", ANSWER_ERROR_STREAM, 0,
     0, false, false, "another protocol"},
    {CHUNKED "zz\r\n", ANSWER_ERROR_STREAM, 200, 0, false, false, "not HTTP/1.1"},
    {"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", ANSWER_ERROR_STREAM, 0, 0, false, false,
     "HTTP/1.1"},
};

static void answers_in_all_pieces(void **state) {
    (void)state;
    struct answer *a = answer_create(); // one for all: nothing may be left of the previous one
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].text);
        for (size_t piece = 1; piece <= n + 1; piece++) {
            feed(a, cases[i].text, n, piece, true);
            const struct answer_result *r = answer_result(a);
            bool same = r->error == cases[i].error && r->status == cases[i].status &&
                        r->n_chunks == cases[i].n_chunks && r->keep_alive == cases[i].keep_alive &&
                        r->has_usage == cases[i].has_usage && strstr(r->message, cases[i].says);
            if (!same)
                fail_msg("%s\n in pieces of %zu: %s '%s', status %d, %u chunks, keep-alive %d, "
                         "usage %d",
                         cases[i].text, piece, answer_error_name(r->error), r->message, r->status,
                         r->n_chunks, r->keep_alive, r->has_usage);
        }
    }
    answer_free(a);
}

static void usage_and_times(void **state) {
    (void)state;
    struct answer *a = answer_create();
    const char *pieces[] = {CHUNKED, "1c3\r\n" A, A LAST, USAGE, DONE};
    const struct answer_result *r = answer_result(a);
    answer_begin(a, MAX_CHUNKS);
    for (size_t i = 0; i < 5; i++)
        assert_false(answer_feed(a, pieces[i], strlen(pieces[i]), 100 + i * 10));
    assert_true(r->n_chunks == 2 && r->first_ns == 110 && r->latest_ns == 120);
    assert_true(r->gaps.count == 1 && r->gaps.ns[0] == 10);
    assert_true(r->has_usage && r->prompt_tokens == 7 && r->completion_tokens == 3 &&
                r->cached_tokens == 5);
    answer_fail(a, ANSWER_ERROR_TIMEOUT, "late\n");
    assert_int_equal(r->error, ANSWER_ERROR_TIMEOUT);
    assert_string_equal(r->message, "late ");
    answer_free(a);
}

/* More bytes than the answer: nothing was asked that they could answer. */
static void surplus_ends_the_connection(void **state) {
    (void)state;
    struct answer *a = answer_create();
    const char *text = OK "Content-Length: 65\r\n\r\n" WHOLE;
    feed(a, text, strlen(text), 1000, false);
    assert_true(answer_result(a)->keep_alive);
    char *more = mem_alloc(strlen(text) + 2);
    strcat(strcpy(more, text), "H");
    feed(a, more, strlen(more), 1000, false);
    assert_int_equal(answer_result(a)->error, ANSWER_ERROR_NONE);
    assert_false(answer_result(a)->keep_alive);
    mem_free(more);
    answer_free(a);
}

static void a_document_is_kept(void **state) {
    (void)state;
    struct answer *a = answer_create();
    const char *text = OK STREAM "Content-Length: 5\r\n\r\nhello";
    answer_begin(a, 0);
    assert_true(answer_feed(a, text, strlen(text), 1));
    assert_int_equal(answer_result(a)->error, ANSWER_ERROR_NONE);
    size_t n;
    assert_string_equal(answer_body(a, &n), "hello");
    assert_int_equal(n, 5);
    answer_free(a);
}

/* `unit` again and again behind `begin`, up to `most` bytes: the answer must be over before. */
static void assert_bounded(const char *begin, const char *unit, size_t most, const char *says) {
    struct answer *a = answer_create();
    size_t n = strlen(unit), fed = 0;
    answer_begin(a, MAX_CHUNKS);
    bool over = answer_feed(a, begin, strlen(begin), 1);
    for (; !over && fed < most; fed += n) over = answer_feed(a, unit, n, 2);
    if (!over || !strstr(answer_result(a)->message, says))
        fail_msg("%zu times '%s': %s '%s'", fed / n, unit, over ? "over" : "not over",
                 answer_result(a)->message);
    assert_int_equal(answer_result(a)->error, ANSWER_ERROR_STREAM);
    answer_free(a);
}

static void bounds(void **state) {
    (void)state;
    size_t head = ANSWER_MAX_HEAD_BYTES + 1024, body = ANSWER_MAX_BODY_BYTES + 1024;
    assert_bounded(OK, "X: yyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", 2 * head, "headers");
    assert_bounded(OK "X: ", "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", head, "headers");
    assert_bounded(OK, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", head, "headers");
    assert_bounded("HTTP/1.1 200 ", "reason reason reason", head, "headers");
    assert_bounded("", "HTTP/1.1 100 Continue\r\n\r\n", 8 * head, "headers");
    assert_bounded(CHUNKED "1;", "extensionextension", head, "headers");
    assert_bounded(CHUNKED "0\r\n", "T: trailer trailer\r\n", 2 * head, "headers");
    assert_bounded(OK "\r\n", "the body of an answer without end", body, "larger than 1 MiB");
    assert_bounded(TO_THE_END, "data: a line of many without a blank one\n", body, "event of more");
    assert_bounded(TO_THE_END, "no line end", body, "event of more");
    assert_bounded("HTTP/1.1 404 No\r\n\r\n", "the body of an error without end", body,
                   "larger than 1 MiB");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_in_all_pieces),
        cmocka_unit_test(usage_and_times),
        cmocka_unit_test(surplus_ends_the_connection),
        cmocka_unit_test(a_document_is_kept),
        cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
