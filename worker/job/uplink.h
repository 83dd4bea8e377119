/* uplink.h: one connection of a rank to the coordinator, speaking frames.
 *
 * Both the lifeline and rank 0's link are uplinks.  Calls block, each with a time limit; the peer
 * is trusted no further than the frame cap.  TCP connections notice a dead peer within 4 s.
 * One thread at a time.  Local. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_UPLINK_H
#define WORKER_UPLINK_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/wire.h"
#include "worker/job/bootstrap.h"

struct uplink {
    int fd;
    struct buf in; // bytes received; the first `taken` belong to the message given out last
    size_t taken;
    struct buf out; // the frame being sent
};

/* Tries the addresses in order, and all of them again with growing pauses, for at most limit_ms; no
 * longer than 2 s when the coordinator has started us, since then it listens already or is gone.
 * ERR_LAUNCH names the addresses and the last reason. */
MUST_USE err uplink_connect(struct uplink *u, const struct bootstrap *b, int limit_ms);
/* Introduces this process and waits for the answer.  The error of an ERROR frame is returned with
 * the coordinator's sentence; ERR_LAUNCH when no answer comes within limit_ms. */
MUST_USE err uplink_hello(struct uplink *u, const struct wire_hello *hello, struct arena *scratch,
                          int limit_ms);
/* Sends one message whole.  `scratch` is reset.  ERR_RANK_LOST when the coordinator is gone or
 * takes nothing for 4 s. */
MUST_USE err uplink_send(struct uplink *u, const struct wire_message *m, struct arena *scratch);
/* Waits up to timeout_ms (-1: for ever) for one frame.  *payload = NULL when none came; otherwise
 * valid until the next call.  ERR_RANK_LOST at the end of the connection, ERR_PROTOCOL. */
MUST_USE err uplink_receive(struct uplink *u, int timeout_ms, const uint8_t **payload, size_t *n);
/* A sentence as it may stand in a message: invalid UTF-8 (of a file's name, of a tensor's) becomes
 * '?'.  Copied into out[n], cut to fit. */
void uplink_clean_text(char *out, size_t n, const char *s);
/* Says that nothing follows, and lets the coordinator read what was sent before the connection
 * goes: for at most limit_ms. */
void uplink_finish(struct uplink *u, int limit_ms);
/* Closes at once; an uplink that was never connected (fd -1) is accepted. */
void uplink_close(struct uplink *u);

#endif
