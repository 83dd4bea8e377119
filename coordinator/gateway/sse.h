/* sse.h: server-sent events (WHATWG HTML, §9.2), as OpenAI's API uses them.  Free of I/O. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_SSE_H
#define COORDINATOR_SSE_H

#include "common/buf.h"

#define SSE_CONTENT_TYPE "text/event-stream"

/* An event is written straight into `out`: sse_begin, JSON without line breaks, sse_end. */
void sse_begin(struct buf *out); // "data: "
void sse_end(struct buf *out);   // blank line
void sse_put_done(struct buf *out);
void sse_put_ping(struct buf *out); // a comment: keeps proxies from closing an idle stream

#endif
