/* frame.h: length-prefixed frames of the control connections.
 *
 * A frame is a 4-byte little-endian length followed by that many bytes (one protobuf envelope).
 * Lengths of 0 and above the cap are refused before anything is stored.  No I/O.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COMMON_FRAME_H
#define COMMON_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"

#define FRAME_HEADER_BYTES 4
#define FRAME_MAX_BYTES    ((size_t)8 << 20)  // of an authenticated peer
#define FRAME_HELLO_BYTES  ((size_t)64 << 10) // before hello was accepted

/* Looks at the beginning of data[0..n).  *payload = NULL when the frame is not complete yet (and
 * *consumed = 0); else payload, its length, and the bytes to drop afterwards.  ERR_PROTOCOL for a
 * length of 0 or above `cap`. */
MUST_USE err frame_next(const void *data, size_t n, size_t cap, const uint8_t **payload,
                        size_t *payload_bytes, size_t *consumed);

/* Reserves a header in `out`, returning where it is; frame_end writes the length of what was
 * appended since.  ERR_PROTOCOL when that is empty or above FRAME_MAX_BYTES, or `out` failed. */
size_t frame_begin(struct buf *out);
MUST_USE err frame_end(struct buf *out, size_t begin);

#endif
