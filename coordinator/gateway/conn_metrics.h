/* conn_metrics.h: what is counted about connections, for GET /metrics.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_CONN_METRICS_H
#define COORDINATOR_CONN_METRICS_H

#include <stdint.h>

#include "common/buf.h"

/* Why a connection ended, unless both sides were content. */
enum conn_end {
    CONN_END_CLIENT_LEFT,  // within a request or before the end of its answer
    CONN_END_BAD_REQUEST,  // no HTTP, or too large
    CONN_END_SLOW_REQUEST, // 408
    CONN_END_IDLE,
    CONN_END_UNREAD, // more bytes waited for it to read than it may have
    CONN_END_STALLED,
    CONN_END_SENT_AHEAD, // more requests than it may send before the answers
    CONN_END_COUNT
};

struct conn_metrics {
    uint32_t open;
    uint64_t accepted;
    uint64_t pauses; // no room, or no file to be had: the next clients waited
    uint64_t ended[CONN_END_COUNT];
};

void conn_metrics_put(const struct conn_metrics *m, struct buf *out);

#endif
