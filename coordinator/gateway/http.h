/* http.h: HTTP/1.1 messages (RFC 9112): bytes in, requests out; responses as bytes.
 *
 * The parser is llhttp in its strict mode; this module bounds what it collects and keeps only the
 * headers that the gateway uses.  Free of I/O.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_HTTP_H
#define COORDINATOR_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "coordinator/gateway/client_limits.h"

enum http_method {
    HTTP_METHOD_GET,
    HTTP_METHOD_HEAD,
    HTTP_METHOD_POST,
    HTTP_METHOD_OPTIONS,
    HTTP_METHOD_OTHER
};

struct http_request {
    enum http_method method;
    struct buf path;                                               // without the query, not decoded
    struct buf content_type, authorization, origin, if_none_match; // "" when absent
    struct buf asked_headers;                                      // Access-Control-Request-Headers
    struct buf body;
    bool keep_alive;
    bool http_1_0; // no chunked answers
};

const char *http_method_name(enum http_method m);

/* Bodies up to here are read before anything is decided, so that a refusal keeps the connection. */
#define HTTP_SHORT_BODY_BYTES ((size_t)64 << 10)

enum http_event {
    HTTP_NEED_MORE, // all bytes taken
    HTTP_HEAD_DONE, // the headers are complete and a body follows that is not short
    HTTP_MESSAGE,   // a request is complete; bytes behind it were not taken
    HTTP_FAILED     // answer with parser->status and close
};

struct http_parser;

/* Keeps the limits, which must outlive it. */
struct http_parser *http_parser_create(const struct client_limits *limits);
void http_parser_free(struct http_parser *p);
/* Takes bytes until something happens; *taken says how many. */
enum http_event http_parser_feed(struct http_parser *p, const char *data, size_t n, size_t *taken);
/* The request after HTTP_MESSAGE, or after HTTP_HEAD_DONE without its body; valid until
 * http_parser_next. */
const struct http_request *http_parser_request(const struct http_parser *p);
/* Makes ready for the next request of the connection. */
void http_parser_next(struct http_parser *p);
/* The status (400, 413, 431 …) and a sentence after HTTP_FAILED. */
int http_parser_status(const struct http_parser *p);
const char *http_parser_message(const struct http_parser *p);
/* Has a byte of a request arrived that is not complete? */
bool http_parser_is_inside(const struct http_parser *p);
/* Are its headers complete? */
bool http_parser_has_head(const struct http_parser *p);
/* Does the client wait for "100 Continue" before it sends the body? */
bool http_parser_expects_word(const struct http_parser *p);

/* Appends status line and headers.  length >= 0: Content-Length; -1: chunked, or delimited by the
 * end of the connection when `http_1_0`.  `extra` are whole header lines ("Retry-After: 1\r\n") or
 * NULL. */
void http_put_head(struct buf *out, int status, const char *content_type, const char *extra,
                   int64_t length, bool keep_alive, bool http_1_0);
/* Appends one chunk of a chunked body; n = 0 appends nothing. */
void http_put_chunk(struct buf *out, const void *data, size_t n);
void http_put_last_chunk(struct buf *out);
const char *http_status_text(int status);

#endif
