// SPDX-License-Identifier: MIT
/* fuzz_sse.c: event streams, as they are read and as they are written (libFuzzer).
 *
 * The first byte sets the size of the pieces.  The rest is read as a stream, in one piece and in
 * such pieces, and the events must be the same.  Then it is text that a model said, a new piece
 * after each zero byte: written as events with comments between them it must come back, one event
 * for each. */

#include <jansson.h>
#include <string.h>

#include "common/error.h"
#include "common/mem.h"
#include "common/utf8.h"
#include "coordinator/gateway/sse.h"
#include "coordinator/load/event_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* ---- any bytes as a stream ---- */

static bool note_event(void *ctx, const char *data, size_t n) {
    struct buf *out = ctx;
    CHECK(data[n] == '\0' && n <= EVENT_MAX_BYTES);
    buf_printf(out, "%zu:", n);
    buf_append(out, data, n);
    return true;
}

static void read_all(struct buf *out, const uint8_t *data, size_t n, size_t piece) {
    struct event_reader r;
    err e = ERR_OK;
    event_reader_init(&r);
    for (size_t at = 0; at < n && e == ERR_OK; at += piece) {
        size_t part = n - at < piece ? n - at : piece;
        char *copy = mem_alloc(part); // the sanitizer sees a read beyond its end
        memcpy(copy, data + at, part);
        e = event_reader_feed(&r, copy, part, note_event, out);
        mem_free(copy);
    }
    buf_printf(out, "%d", (int)e);
    event_reader_deinit(&r);
}

/* ---- any text as events ---- */

struct expected {
    const uint8_t *at, *end;
    size_t n_events;
};

static const uint8_t *end_of_text(const struct expected *x) {
    const uint8_t *zero = memchr(x->at, 0, (size_t)(x->end - x->at));
    return zero ? zero : x->end;
}

static bool compare_event(void *ctx, const char *data, size_t n) {
    struct expected *x = ctx;
    const uint8_t *end = end_of_text(x);
    size_t length = (size_t)(end - x->at);
    json_t *event = json_loadb(data, n, 0, NULL), *text = json_object_get(event, "text");
    CHECK(json_is_string(text));
    if (utf8_valid((const char *)x->at, length))
        CHECK(json_string_length(text) == length &&
              memcmp(json_string_value(text), x->at, length) == 0);
    json_decref(event);
    x->n_events++;
    x->at = end < x->end ? end + 1 : end;
    return true;
}

static size_t put_events(struct buf *out, const uint8_t *data, size_t n) {
    struct expected x = {.at = data, .end = data + n};
    size_t n_events = 0;
    for (bool more = true; more; n_events++) {
        const uint8_t *end = end_of_text(&x);
        sse_put_ping(out);
        sse_begin(out);
        buf_puts(out, "{\"text\":\"");
        buf_append_json(out, (const char *)x.at, (size_t)(end - x.at));
        buf_puts(out, "\"}");
        sse_end(out);
        more = end < x.end;
        x.at = end + more;
    }
    return n_events;
}

static void write_and_read(struct buf *out, const uint8_t *data, size_t n) {
    struct expected x = {.at = data, .end = data + n};
    struct event_reader r;
    size_t n_events = put_events(out, data, n);
    event_reader_init(&r);
    CHECK(event_reader_feed(&r, out->data, out->length, compare_event, &x) == ERR_OK);
    CHECK(x.n_events == n_events);
    event_reader_deinit(&r);
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
    buf_clear(&whole);
    write_and_read(&whole, data + 1, n - 1);
    return 0;
}
