// SPDX-License-Identifier: MIT
/* fuzz_http.c: a client sends anything, in any pieces (libFuzzer).
 *
 * The first byte sets the size of the pieces; the rest is read in one piece and in such pieces, and
 * what was understood must be the same: a request may not depend on how the network cuts it. */

#include <string.h>

#include "common/error.h"
#include "common/mem.h"
#include "coordinator/gateway/http.h"

/* Small ones, so that they are reached. */
static const struct client_limits limits = {.head_bytes = 512, .headers = 8, .body_bytes = 256};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void put_field(struct buf *out, const struct buf *field) {
    buf_printf(out, " %zu:", field->length);
    buf_append(out, field->data, field->length);
}

static void describe(struct buf *out, const struct http_request *r) {
    buf_printf(out, "%d %d %d", (int)r->method, r->keep_alive, r->http_1_0);
    CHECK(r->path.length > 0 && r->body.length <= limits.body_bytes);
    put_field(out, &r->path);
    put_field(out, &r->content_type);
    put_field(out, &r->authorization);
    put_field(out, &r->origin);
    put_field(out, &r->body);
}

/* The piece is copied, so that the sanitizer sees a read beyond its end. */
static enum http_event feed(struct http_parser *p, const uint8_t *data, size_t n, size_t *taken) {
    char *copy = mem_alloc(n);
    memcpy(copy, data, n);
    enum http_event event = http_parser_feed(p, copy, n, taken);
    mem_free(copy);
    CHECK(*taken <= n && (event != HTTP_NEED_MORE || *taken == n));
    return event;
}

static void read_all(struct buf *out, const uint8_t *data, size_t n, size_t piece) {
    struct http_parser *p = http_parser_create(&limits);
    enum http_event event = HTTP_NEED_MORE;
    for (size_t at = 0; at < n && event != HTTP_FAILED;) {
        size_t taken;
        event = feed(p, data + at, n - at < piece ? n - at : piece, &taken);
        if (event == HTTP_FAILED) {
            buf_printf(out, "failed %d", http_parser_status(p));
            CHECK(http_parser_status(p) >= 400 && *http_parser_message(p));
            break;
        }
        at += taken;
        if (event == HTTP_HEAD_DONE)
            buf_puts(out, http_parser_expects_word(p) ? "continue " : "head ");
        if (event == HTTP_MESSAGE) {
            describe(out, http_parser_request(p));
            http_parser_next(p);
        }
    }
    buf_printf(out, "%d", http_parser_is_inside(p));
    http_parser_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static struct buf whole, pieces;
    if (n == 0) return 0;
    if (!whole.limit) {
        buf_init(&whole, 0);
        buf_init(&pieces, 0);
    }
    buf_clear(&whole);
    buf_clear(&pieces);
    read_all(&whole, data + 1, n - 1, n);
    read_all(&pieces, data + 1, n - 1, 1 + (size_t)data[0] % 32);
    CHECK(whole.length == pieces.length && memcmp(whole.data, pieces.data, whole.length) == 0);
    return 0;
}
