// SPDX-License-Identifier: MIT
/* fuzz_answer.c: a server sends anything to the load generator, in any pieces (libFuzzer).
 *
 * The first byte sets the size of the pieces; the rest is read in one piece and in such pieces, and
 * what was understood must be the same, whatever the times. */

#include <string.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/mem.h"
#include "coordinator/load/answer.h"

#define MAX_CHUNKS 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void read_all(struct buf *out, struct answer *a, const uint8_t *data, size_t n,
                     size_t piece) {
    bool over = false;
    answer_begin(a, MAX_CHUNKS);
    for (size_t at = 0; at < n && !over; at += piece) {
        size_t part = n - at < piece ? n - at : piece;
        char *copy = mem_alloc(part); // the sanitizer sees a read beyond its end
        memcpy(copy, data + at, part);
        over = answer_feed(a, copy, part, at);
        mem_free(copy);
    }
    if (!over) answer_end(a, n);
    const struct answer_result *r = answer_result(a);
    size_t body_bytes;
    (void)answer_body(a, &body_bytes);
    CHECK(r->n_chunks <= MAX_CHUNKS && body_bytes <= ANSWER_MAX_BODY_BYTES);
    CHECK((r->error == ANSWER_ERROR_NONE) == (r->message[0] == '\0'));
    CHECK(r->gaps.count == (r->n_chunks ? r->n_chunks - 1 : 0));
    buf_clear(out);
    buf_printf(out, "%d %s %d %d %u %u %u %u", (int)r->error, r->message, r->status, r->has_usage,
               r->n_chunks, r->prompt_tokens, r->cached_tokens, r->completion_tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static struct buf whole, pieces;
    static struct answer *a;
    if (n == 0) return 0;
    if (!a) {
        a = answer_create();
        buf_init(&whole, 0);
        buf_init(&pieces, 0);
    }
    read_all(&whole, a, data + 1, n - 1, n);
    read_all(&pieces, a, data + 1, n - 1, 1 + (size_t)data[0] % 32);
    CHECK(strcmp(whole.data, pieces.data) == 0);
    return 0;
}
