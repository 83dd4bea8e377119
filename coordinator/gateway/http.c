// SPDX-License-Identifier: MIT
/* http.c: see http.h.  llhttp calls back with pieces of fields; a header's value is appended to the
 * buffer that its name chose.  While a head is read llhttp is given no more bytes than a head may
 * have, so its limit does not depend on how the bytes arrive; a body that says how long it is meets
 * its limit before any of it is stored. */

#include "coordinator/gateway/http.h"

#include <llhttp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/mem.h"

struct http_parser {
    llhttp_t llhttp;
    const struct client_limits *limits;
    struct http_request request;
    struct buf field;   // name of the header being read
    struct buf ignored; // its value when nobody wants it
    struct buf expect, coding;
    struct buf *value;             // where the value goes
    size_t head_bytes, late_bytes; // late: trailers and chunk extensions
    uint32_t n_headers, n_hosts;
    size_t line_bytes;                  // of the present line of a head or of trailers
    bool in_lines, past_line, after_cr; // in such lines; behind the first that is not empty
    bool inside, url_complete, head_complete, complete;
    bool expects_word; // "100 Continue"
    bool says_head;    // HTTP_HEAD_DONE is due
    int status;
    char message[160];
};

/* The return value ends llhttp's work with an error of one kind or another; `status` says why. */
static int fail(struct http_parser *p, int status, const char *message) {
    p->status = status;
    snprintf(p->message, sizeof p->message, "%s", message);
    return HPE_USER;
}

static int fail_head(struct http_parser *p) {
    return fail(p, 431, "the request line and headers are too large");
}

static int fail_body(struct http_parser *p) {
    char message[80];
    snprintf(message, sizeof message, "the body is larger than %zu bytes", p->limits->body_bytes);
    return fail(p, 413, message);
}

static int fail_version_0(struct http_parser *p) {
    return fail(p, 400, "HTTP/0.9 is not spoken here");
}

static int fail_headers(struct http_parser *p) {
    char message[80];
    snprintf(message, sizeof message, "there are more than %u headers", p->limits->headers);
    return fail(p, 431, message);
}

static int on_message_begin(llhttp_t *l) {
    struct http_parser *p = l->data;
    p->inside = true;
    return 0;
}

static int on_url(llhttp_t *l, const char *at, size_t n) {
    struct http_parser *p = l->data;
    buf_append(&p->request.path, at, n);
    return 0;
}

static int on_url_complete(llhttp_t *l) {
    struct http_parser *p = l->data;
    p->url_complete = true;
    return 0;
}

/* What comes between and behind the chunks is counted and forgotten: a trailer may not change what
 * the head said. */
static int on_late(llhttp_t *l, const char *at, size_t n) {
    struct http_parser *p = l->data;
    (void)at;
    p->late_bytes += n;
    return p->late_bytes > p->limits->head_bytes ? fail_head(p) : 0;
}

static int on_field(llhttp_t *l, const char *at, size_t n) {
    struct http_parser *p = l->data;
    if (l->http_major == 0) return fail_version_0(p);
    if (p->head_complete) return on_late(l, at, n);
    if (p->value) buf_clear(&p->field); // the previous header is complete
    p->value = NULL;
    buf_append(&p->field, at, n);
    return 0;
}

/* llhttp takes a header without a name; others would not. */
static int on_field_complete(llhttp_t *l) {
    struct http_parser *p = l->data;
    bool nameless = p->value || p->field.length == 0;
    if (++p->n_headers > p->limits->headers) return fail_headers(p);
    if (p->head_complete) return 0;
    if (nameless) return fail(p, 400, "a header has no name");
    p->n_hosts += strcasecmp(p->field.data, "host") == 0;
    return 0;
}

static struct buf *buffer_for(struct http_parser *p) {
    const struct {
        const char *name;
        struct buf *value;
    } wanted[] = {{"content-type", &p->request.content_type},
                  {"authorization", &p->request.authorization},
                  {"origin", &p->request.origin},
                  {"if-none-match", &p->request.if_none_match},
                  {"access-control-request-headers", &p->request.asked_headers},
                  {"expect", &p->expect},
                  {"transfer-encoding", &p->coding}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (p->field.length && strcasecmp(p->field.data, wanted[i].name) == 0) {
            if (wanted[i].value != &p->coding) buf_clear(wanted[i].value);
            return wanted[i].value;
        }
    }
    buf_clear(&p->ignored);
    return &p->ignored;
}

static int on_value(llhttp_t *l, const char *at, size_t n) {
    struct http_parser *p = l->data;
    if (p->head_complete) return on_late(l, at, n);
    if (!p->value) p->value = buffer_for(p);
    buf_append(p->value, at, n);
    return 0;
}

static int on_value_complete(llhttp_t *l) {
    struct http_parser *p = l->data;
    if (!p->head_complete && !p->value) p->value = buffer_for(p); // an empty value
    return 0;
}

static enum http_method method_of(uint8_t method) {
    switch (method) {
    case HTTP_GET: return HTTP_METHOD_GET;
    case HTTP_HEAD: return HTTP_METHOD_HEAD;
    case HTTP_POST: return HTTP_METHOD_POST;
    case HTTP_OPTIONS: return HTTP_METHOD_OPTIONS;
    default: return HTTP_METHOD_OTHER;
    }
}

/* "http://host/path?query" and "/path?query" become "/path". */
static void trim_path(struct buf *path) {
    if (path->length && strncasecmp(path->data, "http://", 7) == 0) {
        size_t authority = strcspn(path->data + 7, "/?");
        buf_consume(path, 7 + authority);
    }
    char *query = path->length ? strchr(path->data, '?') : NULL;
    if (query) {
        path->length = (size_t)(query - path->data);
        *query = '\0';
    }
    if (path->length == 0) buf_putc(path, '/');
}

static int on_headers_complete(llhttp_t *l) {
    struct http_parser *p = l->data;
    p->head_complete = true;
    p->request.method = method_of(l->method);
    p->request.http_1_0 = l->http_minor == 0;
    trim_path(&p->request.path);
    if (l->http_major == 0) return fail_version_0(p);
    if (l->http_major != 1 || l->http_minor > 1)
        return fail(p, 505, "this server speaks HTTP/1.0 and HTTP/1.1");
    if (p->n_hosts > 1) return fail(p, 400, "there is more than one Host header");
    if (p->n_hosts == 0 && !p->request.http_1_0) return fail(p, 400, "there is no Host header");
    l->upgrade = 0; // an offer to speak another protocol is declined by not mentioning it
    if (p->coding.length && p->request.http_1_0)
        return fail(p, 400, "HTTP/1.0 has no Transfer-Encoding");
    if (p->coding.length && strcasecmp(p->coding.data, "chunked") != 0)
        return fail(p, 501, "the only Transfer-Encoding this server knows is chunked");
    if ((l->flags & F_CONTENT_LENGTH) && l->content_length > p->limits->body_bytes)
        return fail_body(p);
    bool body_follows = (l->flags & F_CHUNKED) || l->content_length > 0;
    if (body_follows && !p->request.http_1_0 && p->expect.length &&
        strcasecmp(p->expect.data, "100-continue") == 0)
        p->expects_word = true;
    p->says_head =
        (l->flags & F_CHUNKED) || p->expects_word || l->content_length > HTTP_SHORT_BODY_BYTES;
    return p->says_head ? HPE_PAUSED : 0;
}

static void begin_lines(struct http_parser *p, bool empty_ends) {
    p->line_bytes = 0;
    p->in_lines = true;
    p->past_line = empty_ends;
    p->after_cr = false;
}

static int on_chunk_header(llhttp_t *l) {
    struct http_parser *p = l->data;
    if (l->content_length == 0) {
        begin_lines(p, true);
        return HPE_PAUSED; // trailers begin at the next byte
    }
    return l->content_length > p->limits->body_bytes - p->request.body.length ? fail_body(p) : 0;
}

static int on_body(llhttp_t *l, const char *at, size_t n) {
    struct http_parser *p = l->data;
    buf_append(&p->request.body, at, n);
    return p->request.body.failed ? fail_body(p) : 0;
}

static int on_message_complete(llhttp_t *l) {
    struct http_parser *p = l->data;
    p->request.keep_alive = llhttp_should_keep_alive(l) != 0;
    p->complete = true;
    return HPE_PAUSED;
}

static const struct llhttp_settings_s callbacks = {
    .on_message_begin = on_message_begin,
    .on_url = on_url,
    .on_url_complete = on_url_complete,
    .on_header_field = on_field,
    .on_header_field_complete = on_field_complete,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_chunk_header = on_chunk_header,
    .on_chunk_extension_name = on_late,
    .on_chunk_extension_value = on_late,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

struct http_parser *http_parser_create(const struct client_limits *limits) {
    struct http_parser *p = mem_zalloc(sizeof *p);
    size_t head_bytes = limits->head_bytes;
    p->limits = limits;
    llhttp_init(&p->llhttp, HTTP_REQUEST, &callbacks);
    p->llhttp.data = p;
    begin_lines(p, false);
    buf_init(&p->request.path, head_bytes);
    buf_init(&p->request.content_type, head_bytes);
    buf_init(&p->request.authorization, head_bytes);
    buf_init(&p->request.origin, head_bytes);
    buf_init(&p->request.if_none_match, head_bytes);
    buf_init(&p->request.asked_headers, head_bytes);
    buf_init(&p->request.body, limits->body_bytes);
    buf_init(&p->field, head_bytes);
    buf_init(&p->ignored, head_bytes);
    buf_init(&p->expect, head_bytes);
    buf_init(&p->coding, head_bytes);
    return p;
}

void http_parser_free(struct http_parser *p) {
    if (!p) return;
    buf_deinit(&p->request.path);
    buf_deinit(&p->request.content_type);
    buf_deinit(&p->request.authorization);
    buf_deinit(&p->request.origin);
    buf_deinit(&p->request.if_none_match);
    buf_deinit(&p->request.asked_headers);
    buf_deinit(&p->request.body);
    buf_deinit(&p->field);
    buf_deinit(&p->ignored);
    buf_deinit(&p->expect);
    buf_deinit(&p->coding);
    mem_free(p);
}

static enum http_event explain(struct http_parser *p) {
    if (p->status == 0) {
        p->status = 400;
        snprintf(p->message, sizeof p->message, "this is not an HTTP/1.1 request: %s",
                 llhttp_get_error_reason(&p->llhttp));
    }
    return HTTP_FAILED;
}

/* What llhttp takes though others read it otherwise: a line that begins with a blank, which for
 * some continues the one before, and an empty line without CR.  Returns the bytes before such a
 * place in the lines of a head or of trailers, or n. */
static size_t before_odd_line(struct http_parser *p, const char *data, size_t n) {
    for (size_t i = 0; i < n && p->in_lines; i++) {
        char c = data[i];
        if (p->line_bytes == 0 && (c == ' ' || c == '\t')) return i;
        if (c == '\n' && !p->after_cr) return i;
        p->after_cr = c == '\r';
        if (c == '\n') {
            p->in_lines = p->line_bytes > 0 || !p->past_line;
            p->past_line |= p->line_bytes > 0;
            p->line_bytes = 0;
        } else if (c != '\r') {
            p->line_bytes++;
        }
    }
    return n;
}

/* Gives llhttp data[0..n), a head up to its limit; *taken says how far it came. */
static enum http_event feed_part(struct http_parser *p, const char *data, size_t n, size_t *taken) {
    bool in_head = !p->head_complete;
    size_t room = p->limits->head_bytes - p->head_bytes;
    *taken = in_head && n > room ? room : n;
    *taken = before_odd_line(p, data, *taken);
    if (*taken == 0) {
        fail(p, 400, "a header goes on in the next line, or a line ends without CR");
        return HTTP_FAILED;
    }
    enum llhttp_errno e = llhttp_execute(&p->llhttp, data, *taken);
    if (e == HPE_PAUSED) {
        *taken = (size_t)(llhttp_get_error_pos(&p->llhttp) - data);
        llhttp_resume(&p->llhttp);
        if (p->complete) return HTTP_MESSAGE;
        bool head = p->says_head;
        p->says_head = false;
        return head ? HTTP_HEAD_DONE : HTTP_NEED_MORE; // else trailers begin
    }
    if (e != HPE_OK) return explain(p);
    if (p->url_complete && p->llhttp.http_major == 0 && p->llhttp.http_minor == 9) {
        fail_version_0(p);
        return HTTP_FAILED;
    }
    if (in_head) p->head_bytes += *taken;
    if (!p->head_complete && p->head_bytes >= p->limits->head_bytes) {
        fail_head(p);
        return HTTP_FAILED;
    }
    return HTTP_NEED_MORE;
}

enum http_event http_parser_feed(struct http_parser *p, const char *data, size_t n, size_t *taken) {
    enum http_event event = HTTP_NEED_MORE;
    *taken = 0;
    while (*taken < n && event == HTTP_NEED_MORE) {
        size_t part;
        event = feed_part(p, data + *taken, n - *taken, &part);
        *taken += part;
    }
    return event;
}

const struct http_request *http_parser_request(const struct http_parser *p) {
    return &p->request;
}

void http_parser_next(struct http_parser *p) {
    buf_clear(&p->request.path);
    buf_clear(&p->request.content_type);
    buf_clear(&p->request.authorization);
    buf_clear(&p->request.origin);
    buf_clear(&p->request.if_none_match);
    buf_clear(&p->request.asked_headers);
    buf_clear(&p->field);
    buf_clear(&p->expect);
    buf_clear(&p->coding);
    buf_deinit(&p->request.body); // may be large: an idle connection holds none of it
    p->value = NULL;
    p->head_bytes = p->late_bytes = 0;
    p->n_headers = p->n_hosts = 0;
    begin_lines(p, false);
    p->inside = p->url_complete = p->head_complete = p->complete = false;
    p->expects_word = p->says_head = p->request.keep_alive = false;
}

int http_parser_status(const struct http_parser *p) {
    return p->status;
}

const char *http_parser_message(const struct http_parser *p) {
    return p->message;
}

bool http_parser_is_inside(const struct http_parser *p) {
    bool half_a_line = p->after_cr && p->status == 0; // an empty one before the request
    return (p->inside || half_a_line) && !p->complete;
}

bool http_parser_has_head(const struct http_parser *p) {
    return p->head_complete;
}

bool http_parser_expects_word(const struct http_parser *p) {
    return p->expects_word;
}

const char *http_method_name(enum http_method m) {
    static const char *const names[] = {[HTTP_METHOD_GET] = "GET",
                                        [HTTP_METHOD_HEAD] = "HEAD",
                                        [HTTP_METHOD_POST] = "POST",
                                        [HTTP_METHOD_OPTIONS] = "OPTIONS",
                                        [HTTP_METHOD_OTHER] = "OTHER"};
    return names[m];
}

const char *http_status_text(int status) {
    static const struct {
        int status;
        const char *text;
    } texts[] = {{200, "OK"},
                 {204, "No Content"},
                 {304, "Not Modified"},
                 {400, "Bad Request"},
                 {401, "Unauthorized"},
                 {404, "Not Found"},
                 {405, "Method Not Allowed"},
                 {408, "Request Timeout"},
                 {413, "Content Too Large"},
                 {415, "Unsupported Media Type"},
                 {429, "Too Many Requests"},
                 {431, "Request Header Fields Too Large"},
                 {500, "Internal Server Error"},
                 {501, "Not Implemented"},
                 {503, "Service Unavailable"},
                 {505, "HTTP Version Not Supported"}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (texts[i].status == status) return texts[i].text;
    }
    return "Status";
}

void http_put_head(struct buf *out, int status, const char *content_type, const char *extra,
                   int64_t length, bool keep_alive, bool http_1_0) {
    buf_printf(out, "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
    if (content_type) buf_printf(out, "Content-Type: %s\r\n", content_type);
    bool never_has_body = status == 204; // then it says nothing of one: RFC 9110, 8.6
    if (length >= 0 && !never_has_body)
        buf_printf(out, "Content-Length: %lld\r\n", (long long)length);
    else if (length < 0 && !http_1_0)
        buf_puts(out, "Transfer-Encoding: chunked\r\n");
    if (!keep_alive || (length < 0 && http_1_0))
        buf_puts(out, "Connection: close\r\n");
    else if (http_1_0)
        buf_puts(out, "Connection: keep-alive\r\n");
    if (extra) buf_puts(out, extra);
    buf_puts(out, "\r\n");
}

void http_put_chunk(struct buf *out, const void *data, size_t n) {
    if (n == 0) return; // a chunk of length 0 would end the body
    buf_printf(out, "%zx\r\n", n);
    buf_append(out, data, n);
    buf_puts(out, "\r\n");
}

void http_put_last_chunk(struct buf *out) {
    buf_puts(out, "0\r\n\r\n");
}
