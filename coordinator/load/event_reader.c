// SPDX-License-Identifier: MIT
/* event_reader.c: see event_reader.h.  Lines end with LF, CR or CRLF; a blank line ends an event;
 * an event that the stream's end cuts off never happened. */

#include "coordinator/load/event_reader.h"

#include <string.h>

void event_reader_init(struct event_reader *r) {
    *r = (struct event_reader){0};
    buf_init(&r->line, EVENT_MAX_BYTES);
    buf_init(&r->data, EVENT_MAX_BYTES);
}

void event_reader_deinit(struct event_reader *r) {
    buf_deinit(&r->line);
    buf_deinit(&r->data);
}

void event_reader_reset(struct event_reader *r) {
    buf_clear(&r->line);
    buf_clear(&r->data);
    r->after_cr = r->has_data = r->past_mark = false;
}

static err too_long(void) {
    return FAIL(ERR_PROTOCOL, "the server sent an event of more than %zu bytes", EVENT_MAX_BYTES);
}

/* "data", "data:", "data:x" and "data: x"; several are joined by line ends. */
static void take_field(struct event_reader *r, const char *line, size_t n) {
    if (n < 4 || memcmp(line, "data", 4) != 0 || (n > 4 && line[4] != ':')) return;
    size_t skip = n > 4 ? 5 : 4;
    if (n > skip && line[skip] == ' ') skip++;
    if (r->has_data) buf_putc(&r->data, '\n');
    r->has_data = true;
    buf_append(&r->data, line + skip, n - skip);
}

/* A line is complete.  *wanted turns false when the handler has had enough. */
static err take_line(struct event_reader *r, event_handler *handler, void *ctx, bool *wanted) {
    const char *line = r->line.length ? r->line.data : "";
    size_t n = r->line.length;
    if (!r->past_mark && n >= 3 && memcmp(line, "\xEF\xBB\xBF", 3) == 0) {
        line += 3;
        n -= 3;
    }
    r->past_mark = true;
    if (n > 0) {
        take_field(r, line, n);
    } else {
        bool complete = r->has_data;
        r->has_data = false;
        if (complete) *wanted = handler(ctx, r->data.length ? r->data.data : "", r->data.length);
        buf_clear(&r->data);
    }
    buf_clear(&r->line);
    return r->data.failed ? too_long() : ERR_OK;
}

/* Bytes before the next line end. */
static size_t line_length(const char *bytes, size_t n) {
    size_t i = 0;
    while (i < n && bytes[i] != '\n' && bytes[i] != '\r') i++;
    return i;
}

err event_reader_feed(struct event_reader *r, const char *bytes, size_t n, event_handler *handler,
                      void *ctx) {
    bool wanted = true;
    for (size_t at = 0; at < n && wanted;) {
        if (r->after_cr && bytes[at] == '\n') at++;
        if (at == n) { // that LF was all
            r->after_cr = false;
            break;
        }
        r->after_cr = false;
        size_t length = line_length(bytes + at, n - at);
        buf_append(&r->line, bytes + at, length);
        if (r->line.failed) return too_long();
        at += length;
        if (at == n) break;
        r->after_cr = bytes[at++] == '\r';
        TRY(take_line(r, handler, ctx, &wanted));
    }
    return ERR_OK;
}
