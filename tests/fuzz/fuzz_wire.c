// SPDX-License-Identifier: MIT
/* fuzz_wire.c: a control connection sends anything (libFuzzer).
 *
 * The input is a byte stream: frames are taken off its front and decoded.  What the decoder accepts
 * must survive: encoded and decoded again it has to give the same bytes, which also reads every
 * array to its end. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/frame.h"
#include "common/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct arena arena, scratch;
static struct buf once, twice;

static void encode(struct buf *out, const struct wire_message *m) {
    buf_clear(out);
    arena_reset(&scratch);
    CHECK(wire_encode(out, m, &scratch) == ERR_OK);
}

static void check_message(const uint8_t *payload, size_t n) {
    struct wire_message m;
    arena_reset(&arena);
    if (wire_decode(&m, payload, n, &arena) != ERR_OK) return;
    encode(&once, &m);
    arena_reset(&arena);
    CHECK(wire_decode(&m, once.data + FRAME_HEADER_BYTES, once.length - FRAME_HEADER_BYTES,
                      &arena) == ERR_OK);
    encode(&twice, &m);
    CHECK(once.length == twice.length && memcmp(once.data, twice.data, once.length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!arena.base) {
        arena_init(&arena, WIRE_ARENA_BYTES);
        arena_init(&scratch, WIRE_ARENA_BYTES);
        buf_init(&once, 0);
        buf_init(&twice, 0);
    }
    const uint8_t *payload;
    size_t n, used;
    while (frame_next(data, size, FRAME_HELLO_BYTES, &payload, &n, &used) == ERR_OK && payload) {
        check_message(payload, n);
        data += used;
        size -= used;
    }
    return 0;
}
