// SPDX-License-Identifier: MIT
/* frame.c: see frame.h.
 *
 * The length is judged as soon as its four bytes are there, so a peer that announces 4 GiB is
 * refused before a buffer grows for it. */

#include "common/frame.h"

#include "common/cursor.h"

err frame_next(const void *data, size_t n, size_t cap, const uint8_t **payload,
               size_t *payload_bytes, size_t *consumed) {
    *payload = NULL;
    *payload_bytes = 0;
    *consumed = 0;
    if (n < FRAME_HEADER_BYTES) return ERR_OK;

    struct cursor c = cursor_over(data, n);
    size_t length = cursor_u32(&c);
    if (length == 0) return FAIL(ERR_PROTOCOL, "a frame of length 0 arrived; dropping the peer");
    if (length > cap)
        return FAIL(ERR_PROTOCOL, "a frame of %zu bytes was announced, at most %zu are allowed",
                    length, cap);
    const uint8_t *bytes = cursor_take(&c, length);
    if (!bytes) return ERR_OK;
    *payload = bytes;
    *payload_bytes = length;
    *consumed = c.offset;
    return ERR_OK;
}

size_t frame_begin(struct buf *out) {
    size_t begin = out->length;
    (void)buf_extend(out, FRAME_HEADER_BYTES);
    return begin;
}

err frame_end(struct buf *out, size_t begin) {
    if (out->failed)
        return FAIL(ERR_PROTOCOL, "a frame does not fit the %zu bytes that may wait to be sent",
                    out->limit);
    size_t length = out->length - begin - FRAME_HEADER_BYTES;
    if (length == 0) return FAIL(ERR_PROTOCOL, "a frame of length 0 cannot be sent");
    if (length > FRAME_MAX_BYTES)
        return FAIL(ERR_PROTOCOL, "a frame of %zu bytes cannot be sent, at most %zu are allowed",
                    length, FRAME_MAX_BYTES);
    for (size_t i = 0; i < FRAME_HEADER_BYTES; i++)
        out->data[begin + i] = (char)(uint8_t)(length >> (8 * i));
    return ERR_OK;
}
