/* event_reader.h: server-sent events from bytes (WHATWG HTML, §9.2.6), in whatever pieces they
 * come.
 *
 * Only the data of an event is kept: names, ids and times of reconnection mean nothing to the API.
 * Free of I/O.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_EVENT_READER_H
#define COORDINATOR_EVENT_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/error.h"

#define EVENT_MAX_BYTES ((size_t)256 << 10) // of one line, and of the data of one event

struct event_reader {
    struct buf line, data;
    bool after_cr;  // a LF that follows belongs to the same line end
    bool has_data;  // the event has a data field, empty or not
    bool past_mark; // the stream's first line is behind us: no byte order mark any more
};

/* The data of an event, NUL-terminated; false: no more events are wanted. */
typedef bool event_handler(void *ctx, const char *data, size_t n);

void event_reader_init(struct event_reader *r);
void event_reader_deinit(struct event_reader *r);
/* Makes ready for another stream. */
void event_reader_reset(struct event_reader *r);
/* Calls the handler for every event that is complete.  ERR_PROTOCOL when a line or an event is
 * longer than EVENT_MAX_BYTES. */
MUST_USE err event_reader_feed(struct event_reader *r, const char *bytes, size_t n,
                               event_handler *handler, void *ctx);

#endif
