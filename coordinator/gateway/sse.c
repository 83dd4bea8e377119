// SPDX-License-Identifier: MIT
/* sse.c: see sse.h. */

#include "coordinator/gateway/sse.h"

void sse_begin(struct buf *out) {
    buf_puts(out, "data: ");
}

void sse_end(struct buf *out) {
    buf_puts(out, "\n\n");
}

void sse_put_done(struct buf *out) {
    buf_puts(out, "data: [DONE]\n\n");
}

void sse_put_ping(struct buf *out) {
    buf_puts(out, ": ping\n\n");
}
