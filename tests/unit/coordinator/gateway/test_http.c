// SPDX-License-Identifier: MIT
/* test_http.c: requests from bytes, whatever pieces the bytes come in.
 *
 * `read_all` feeds a stream of bytes in pieces of one size and writes what happened as a text;
 * every case is read whole, byte by byte and in a few sizes between, and the texts must be the
 * same. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "coordinator/gateway/http.h"

#define MAX_HEAD_BYTES ((size_t)16 << 10)
#define MAX_BODY_BYTES ((size_t)8 << 20)

static const struct client_limits limits = {
    .head_bytes = MAX_HEAD_BYTES, .headers = 100, .body_bytes = MAX_BODY_BYTES};

static const char *text_of(const struct buf *b) {
    return b->length ? b->data : "";
}

static void describe(struct buf *out, const struct http_request *r) {
    static const char *const methods[] = {"GET", "HEAD", "POST", "OPTIONS", "OTHER"};
    buf_printf(out, "%s %s type=%s auth=%s origin=%s %s%s", methods[r->method], text_of(&r->path),
               text_of(&r->content_type), text_of(&r->authorization), text_of(&r->origin),
               r->keep_alive ? "keep" : "close", r->http_1_0 ? " 1.0" : "");
    if (r->body.length > 100)
        buf_printf(out, " body of %zu\n", r->body.length);
    else
        buf_printf(out, " body=%s\n", text_of(&r->body));
}

/* The piece is copied to memory of its own size, so that ASan sees a step beyond its end. */
static enum http_event feed(struct http_parser *p, const char *data, size_t n, size_t *taken) {
    char *copy = mem_alloc(n);
    memcpy(copy, data, n);
    enum http_event event = http_parser_feed(p, copy, n, taken);
    mem_free(copy);
    return event;
}

static void read_all(struct buf *out, const char *bytes, size_t n, size_t piece) {
    struct http_parser *p = http_parser_create(&limits);
    bool failed = false;
    for (size_t at = 0; at < n && !failed;) {
        size_t taken, left = n - at < piece ? n - at : piece;
        enum http_event event = feed(p, bytes + at, left, &taken);
        assert_in_range(taken, 0, left);
        if (event != HTTP_FAILED) at += taken;
        switch (event) {
        case HTTP_NEED_MORE: assert_int_equal(taken, left); break;
        case HTTP_HEAD_DONE:
            assert_int_equal(http_parser_request(p)->body.length, 0);
            buf_puts(out, http_parser_expects_word(p) ? "continue\n" : "");
            break;
        case HTTP_MESSAGE:
            describe(out, http_parser_request(p));
            assert_false(http_parser_is_inside(p));
            http_parser_next(p);
            break;
        case HTTP_FAILED:
            buf_printf(out, "failed %d\n", http_parser_status(p));
            assert_true(strlen(http_parser_message(p)) > 0);
            failed = true;
        }
    }
    if (!failed) buf_puts(out, http_parser_is_inside(p) ? "inside\n" : "");
    http_parser_free(p);
}

static void expect_bytes(const char *bytes, size_t n, const char *wanted) {
    static const size_t pieces[] = {SIZE_MAX / 2, 1, 2, 3, 7, 100, 4096};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        if (n > 100000 && pieces[i] < 100) continue;
        struct buf out;
        buf_init(&out, 0);
        read_all(&out, bytes, n, pieces[i]);
        if (strcmp(text_of(&out), wanted) != 0)
            fail_msg("in pieces of %zu bytes:\n%.300s\ngot:\n%s\nexpected:\n%s", pieces[i], bytes,
                     text_of(&out), wanted);
        buf_deinit(&out);
    }
}

static void expect(const char *bytes, const char *wanted) {
    expect_bytes(bytes, strlen(bytes), wanted);
}

/* ---- well-formed requests ---- */

static void requests_are_read(void **state) {
    (void)state;
    expect("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / type= auth= origin= keep body=\n");
    expect("GET /v1/models?a=b&c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
           "GET /v1/models type= auth= origin= close body=\n");
    expect("POST /p HTTP/1.1\r\nHOST: h\r\ncontent-TYPE: application/json; charset=utf-8\r\n"
           "Authorization: Bearer k\r\nOrigin: http://o\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
           "POST /p type=application/json; charset=utf-8 auth=Bearer k origin=http://o keep "
           "body={\"a\":1}\n");
    expect("HEAD /x HTTP/1.1\r\nHost: h\r\nX-Empty:\r\nContent-Type: a\r\n\r\n",
           "HEAD /x type=a auth= origin= keep body=\n");
    expect("DELETE /x HTTP/1.1\r\nHost: h\r\n\r\n", "OTHER /x type= auth= origin= keep body=\n");
    expect("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * type= auth= origin= keep body=\n");
    expect("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / type= auth= origin= keep body=\n");
    expect("GET / HTTP/1.1\r\nHost: h\r\nHo", "inside\n");
    expect("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab", "inside\n");
}

static void the_absolute_form_is_a_path(void **state) {
    (void)state;
    expect("GET http://host:80/v1/models?x HTTP/1.1\r\nHost: host\r\n\r\n",
           "GET /v1/models type= auth= origin= keep body=\n");
    expect("GET http://host?x HTTP/1.1\r\nHost: host\r\n\r\n",
           "GET / type= auth= origin= keep body=\n");
}

static void requests_follow_each_other(void **state) {
    (void)state;
    expect("POST /a HTTP/1.1\r\nHost: h\r\nAuthorization: one\r\nContent-Type: "
           "t\r\nContent-Length: 2\r\n\r\nhi"
           "GET /b HTTP/1.1\r\nHost: h\r\nOrigin: o\r\n\r\n"
           "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
           "GET /d?q HTTP/1.1\r\nHost: h\r\n\r\n",
           "POST /a type=t auth=one origin= keep body=hi\n"
           "GET /b type= auth= origin=o keep body=\n"
           "POST /c type= auth= origin= keep body=abc\n"
           "GET /d type= auth= origin= keep body=\n");
}

static void chunked_bodies_are_joined(void **state) {
    (void)state;
    expect("POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
           "1\r\na\r\nA;name=value\r\n0123456789\r\n0\r\n\r\n",
           "POST /a type= auth= origin= keep body=a0123456789\n");
    // a trailer cannot change what the head said
    expect(
        "POST /a HTTP/1.1\r\nHost: h\r\nAuthorization: mine\r\nTransfer-Encoding: chunked\r\n\r\n"
        "1\r\na\r\n0\r\nAuthorization: other\r\nContent-Type: x\r\n\r\n"
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /a type= auth=mine origin= keep body=a\n"
        "GET / type= auth= origin= keep body=\n");
}

static void the_old_protocol_closes_by_default(void **state) {
    (void)state;
    expect("GET / HTTP/1.0\r\n\r\n", "GET / type= auth= origin= close 1.0 body=\n");
    expect("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
           "GET / type= auth= origin= keep 1.0 body=\n");
    expect("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab",
           "POST / type= auth= origin= close 1.0 body=ab\n");
}

static void the_body_may_wait_for_a_word(void **state) {
    (void)state;
    expect("POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
           "continue\nPOST /a type= auth= origin= keep body=ab\n");
    expect(
        "POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n"
        "1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "continue\nPOST /a type= auth= origin= keep body=a\n"
        "GET / type= auth= origin= keep body=\n");
    // without a body nobody waits, and HTTP/1.0 knows nothing of it
    expect("GET /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n",
           "GET /a type= auth= origin= keep body=\n");
    expect("POST /a HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
           "POST /a type= auth= origin= close 1.0 body=a\n");
}

/* Who decides by the head hears of it before a body that is long, or of unknown length. */
static void the_head_of_a_long_body_comes_first(void **state) {
    (void)state;
    static const struct {
        const char *header;
        enum http_event event;
    } cases[] = {{"Content-Length: 65536", HTTP_NEED_MORE},
                 {"Content-Length: 65537", HTTP_HEAD_DONE},
                 {"Transfer-Encoding: chunked", HTTP_HEAD_DONE},
                 {"Content-Length: 1\r\nExpect: 100-continue", HTTP_HEAD_DONE},
                 {"Expect: 100-continue", HTTP_MESSAGE}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_parser *p = http_parser_create(&limits);
        char head[200];
        size_t taken, n = (size_t)snprintf(head, sizeof head,
                                           "POST /a?b HTTP/1.1\r\nHost: h\r\nAuthorization: k\r\n"
                                           "%s\r\n\r\n",
                                           cases[i].header);
        if (feed(p, head, n, &taken) != cases[i].event) fail_msg("%s", cases[i].header);
        assert_int_equal(taken, n);
        const struct http_request *r = http_parser_request(p);
        assert_int_equal(r->method, HTTP_METHOD_POST);
        assert_string_equal(r->path.data, "/a");
        assert_string_equal(r->authorization.data, "k");
        http_parser_free(p);
    }
}

/* curl --http2 offers to upgrade; the offer is passed over. */
static void an_upgrade_is_declined(void **state) {
    (void)state;
    expect(
        "GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"
        "GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a type= auth= origin= keep body=\nGET /b type= auth= origin= keep body=\n");
    expect("POST /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: "
           "1\r\n\r\nx",
           "POST /a type= auth= origin= keep body=x\n");
}

/* ---- what is refused ---- */

static void smuggling_is_refused(void **state) {
    (void)state;
    static const char *const attempts[] = {
        // both lengths, in both orders
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: "
        "chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: "
        "5\r\n\r\n0\r\n\r\n",
        // two lengths, different and the same
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\n",
        // odd lengths
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nabcde",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\nabcde",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\nabcde",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5 5\r\n\r\nabcde",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\nabcde",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\nabcde",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5,\r\n\r\nabcde",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5.0\r\n\r\nabcde",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5e0\r\n\r\nabcde",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \"5\"\r\n\r\nabcde",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551616\r\n\r\n",
        // odd chunks
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n 1\r\na\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\r\na\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
        "chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
        "identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\na\n0\n\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n c\r\n\r\n",
        // odd line ends and characters
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\nHost: h\n\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length : 5\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\tfolded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n folded: c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\x0bA: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA\tB: c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA(B): c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\x7f\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\rGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
        "GET / a HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /\t HTTP/1.1\r\nHost: h\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        // for whom it is must be said, once
        "GET / HTTP/1.1\r\nA: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: h\r\nhost: i\r\n\r\n",
        "GET / HTTP/1.1\r\nHost h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n: h\r\n\r\n",
        // no such version, no such thing
        "GET /\r\n\r\n",
        "GET / HTTP/0.9\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTPS/1.1\r\n\r\n",
        "GET HTTP/1.1\r\nHost: h\r\n\r\n",
        "get / HTTP/1.1\r\nHost: h\r\n\r\n",
        "BREW /pot HTTP/1.1\r\nHost: h\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01", // a TLS handshake
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "{\"prompt\": 1}\r\n",
    };
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
        expect(attempts[i], "failed 400\n");
    static const char nul[] = "GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n";
    expect_bytes(nul, sizeof nul - 1, "failed 400\n");
    static const char nul_in_name[] = "GET / HTTP/1.1\r\nHost: h\r\nA\0: b\r\n\r\n";
    expect_bytes(nul_in_name, sizeof nul_in_name - 1, "failed 400\n");
    static const char nul_in_path[] = "GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n";
    expect_bytes(nul_in_path, sizeof nul_in_path - 1, "failed 400\n");
}

static void what_is_not_spoken_is_named(void **state) {
    (void)state;
    expect("GET / HTTP/2.0\r\nHost: h\r\n\r\n", "failed 505\n");
    static const char *const codings[] = {"gzip, chunked", "xchunked", "identity", "chunked;q=1"};
    for (size_t i = 0; i < sizeof codings / sizeof *codings; i++) {
        char request[100];
        snprintf(request, sizeof request,
                 "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: %s\r\n\r\n", codings[i]);
        expect(request, "failed 501\n");
    }
}

static void put_many(struct buf *out, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) buf_puts(out, s);
}

/* A head of exactly `total` bytes. */
static void put_head_of(struct buf *out, size_t total) {
    const char *begin = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
    buf_puts(out, begin);
    put_many(out, "a", total - strlen(begin) - 4);
    buf_puts(out, "\r\n\r\n");
}

static void a_head_has_a_limit(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    put_head_of(&b, MAX_HEAD_BYTES);
    expect(b.data, "GET / type= auth= origin= keep body=\n");
    put_head_of(&b, MAX_HEAD_BYTES); // each has its own
    expect(b.data, "GET / type= auth= origin= keep body=\nGET / type= auth= origin= keep body=\n");
    buf_clear(&b);
    put_head_of(&b, MAX_HEAD_BYTES + 1);
    expect(b.data, "failed 431\n");

    buf_clear(&b);
    buf_puts(&b, "GET /");
    put_many(&b, "a", MAX_HEAD_BYTES);
    expect(b.data, "failed 431\n");

    buf_clear(&b);
    buf_puts(&b, "GET / HTTP/1.1\r\nHost: h\r\n");
    put_many(&b, "a:\r\n", MAX_HEAD_BYTES / 4); // 4,096 headers of nothing
    expect(b.data, "failed 431\n");

    buf_clear(&b);
    put_many(&b, "\r\n", MAX_HEAD_BYTES / 2);
    expect(b.data, "failed 431\n");
    buf_deinit(&b);
}

static void headers_are_counted(void **state) {
    (void)state;
    for (unsigned n = limits.headers - 1; n <= limits.headers; n++) {
        bool good = n < limits.headers; // and Host is one
        struct buf b;
        buf_init(&b, 0);
        buf_puts(&b, "GET / HTTP/1.1\r\nHost: h\r\n");
        put_many(&b, "A: b\r\n", n);
        buf_puts(&b, "\r\n");
        expect(b.data, good ? "GET / type= auth= origin= keep body=\n" : "failed 431\n");
        buf_clear(&b);
        buf_puts(&b, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
        put_many(&b, "A: b\r\n", n - 1); // trailers count as well
        buf_puts(&b, "\r\n");
        expect(b.data, good ? "POST / type= auth= origin= keep body=\n" : "failed 431\n");
        buf_deinit(&b);
    }
}

static void trailers_and_extensions_have_a_limit(void **state) {
    (void)state;
    static const char *const lates[] = {"0\r\nX: ", "0\r\n", "1;", "1;a="};
    for (size_t i = 0; i < sizeof lates / sizeof *lates; i++) {
        struct buf b;
        buf_init(&b, 0);
        buf_puts(&b, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        buf_puts(&b, lates[i]);
        put_many(&b, "a", MAX_HEAD_BYTES + 1);
        expect(b.data, "failed 431\n");
        buf_deinit(&b);
    }
}

static void a_body_has_a_limit(void **state) {
    (void)state;
    expect("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8388609\r\n\r\n", "failed 413\n");
    expect("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9223372036854775808\r\n\r\n",
           "failed 413\n");
    expect("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 8388609\r\n\r\n",
           "failed 413\n");
    expect("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n800001\r\n",
           "failed 413\n");
    expect("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n800000\r\n",
           "failed 413\n");

    struct buf b;
    buf_init(&b, 0);
    buf_puts(&b, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8388608\r\n\r\n");
    put_many(&b, "abcdefgh", MAX_BODY_BYTES / 8);
    expect(b.data, "POST / type= auth= origin= keep body of 8388608\n");
    buf_deinit(&b);
}

/* ---- answers ---- */

static void heads_say_how_the_body_ends(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    http_put_head(&b, 200, "application/json", NULL, 12, true, false);
    assert_string_equal(b.data, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                "Content-Length: 12\r\n\r\n");
    buf_clear(&b);
    http_put_head(&b, 503, NULL, "Retry-After: 1\r\n", 0, false, false);
    assert_string_equal(b.data, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                                "Connection: close\r\nRetry-After: 1\r\n\r\n");
    buf_clear(&b);
    http_put_head(&b, 200, "text/event-stream", NULL, -1, true, false);
    assert_string_equal(b.data, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                "Transfer-Encoding: chunked\r\n\r\n");
    buf_clear(&b);
    http_put_head(&b, 200, NULL, NULL, -1, true, true); // 1.0: the connection's end
    assert_string_equal(b.data, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    buf_clear(&b);
    http_put_head(&b, 204, NULL, NULL, 0, true, false);
    assert_string_equal(b.data, "HTTP/1.1 204 No Content\r\n\r\n");
    buf_clear(&b);
    http_put_head(&b, 200, NULL, NULL, 3, true, true);
    assert_string_equal(b.data,
                        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n");
    buf_deinit(&b);
}

static void chunks_are_framed(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    http_put_chunk(&b, "", 0);
    assert_int_equal(b.length, 0); // it would be the last one
    http_put_chunk(&b, "0123456789abcdef", 16);
    http_put_last_chunk(&b);
    assert_string_equal(b.data, "10\r\n0123456789abcdef\r\n0\r\n\r\n");
    buf_deinit(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_read),
        cmocka_unit_test(the_absolute_form_is_a_path),
        cmocka_unit_test(requests_follow_each_other),
        cmocka_unit_test(chunked_bodies_are_joined),
        cmocka_unit_test(the_old_protocol_closes_by_default),
        cmocka_unit_test(the_body_may_wait_for_a_word),
        cmocka_unit_test(the_head_of_a_long_body_comes_first),
        cmocka_unit_test(an_upgrade_is_declined),
        cmocka_unit_test(smuggling_is_refused),
        cmocka_unit_test(what_is_not_spoken_is_named),
        cmocka_unit_test(a_head_has_a_limit),
        cmocka_unit_test(headers_are_counted),
        cmocka_unit_test(trailers_and_extensions_have_a_limit),
        cmocka_unit_test(a_body_has_a_limit),
        cmocka_unit_test(heads_say_how_the_body_ends),
        cmocka_unit_test(chunks_are_framed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
