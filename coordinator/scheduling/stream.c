// SPDX-License-Identifier: MIT
/* stream.c: see stream.h.
 *
 *   held:   | released | whole text … | could begin a stop string | half a code point |
 *                       ^ goes out now  ^ waits for the next token
 *
 * Stop strings are at most REQUEST_MAX_STOP_BYTES long, so looking back costs a bounded amount per
 * token. */

#include "coordinator/scheduling/stream.h"

#include <string.h>

#include "common/mem.h"
#include "common/utf8.h"

struct stream_pending {
    int32_t token;
    float logprob;
    uint64_t end; // position in the decoded bytes where the token's own end
    size_t piece_bytes;
    char *piece;
    struct top_entry *top;
    uint32_t n_top;
};

void stream_init(struct stream *s, const struct tokenizer *t, const char *const *stops,
                 size_t n_stops) {
    *s = (struct stream){.tokenizer = t, .stops = stops, .n_stops = n_stops};
    buf_init(&s->held, 0);
    buf_init(&s->text, 0);
    buf_init(&s->pieces, 0);
}

static void free_pending(struct stream_pending *p) {
    mem_free(p->piece);
    mem_free(p->top);
}

void stream_deinit(struct stream *s) {
    for (size_t i = 0; i < s->n_pending; i++) free_pending(&s->pending[i]);
    mem_free(s->pending);
    mem_free(s->entries);
    buf_deinit(&s->held);
    buf_deinit(&s->text);
    buf_deinit(&s->pieces);
}

/* Tokens reported by the previous call are let go: their entries pointed into `pending`. */
static void forget_reported(struct stream *s) {
    for (size_t i = 0; i < s->first_reported; i++) free_pending(&s->pending[i]);
    s->n_pending -= s->first_reported;
    if (s->n_pending)
        memmove(s->pending, s->pending + s->first_reported, s->n_pending * sizeof *s->pending);
    s->first_reported = 0;
    s->n_entries = 0;
    buf_clear(&s->text);
}

static void append_pending(struct stream *s, int32_t token, float logprob,
                           const struct top_entry *top, uint32_t n_top) {
    if (s->n_pending == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 8;
        s->pending = mem_realloc(s->pending, s->capacity * sizeof *s->pending);
    }
    buf_clear(&s->pieces);
    tokenizer_decode_piece(s->tokenizer, token, false, &s->pieces);
    struct stream_pending *p = &s->pending[s->n_pending++];
    *p = (struct stream_pending){
        .token = token, .logprob = logprob, .piece_bytes = s->pieces.length, .n_top = n_top};
    p->piece = mem_strndup(s->pieces.length ? s->pieces.data : "", s->pieces.length);
    if (n_top) {
        p->top = mem_alloc(n_top * sizeof *top);
        memcpy(p->top, top, n_top * sizeof *top);
    }
    buf_append(&s->held, p->piece, p->piece_bytes);
    p->end = s->released + s->held.length;
}

/* Shows held[0..n): whole code points as they are, everything else as U+FFFD. */
static void release(struct stream *s, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t width = utf8_sequence(s->held.data + i, n - i, NULL);
        if (width) {
            buf_append(&s->text, s->held.data + i, width);
        } else {
            buf_puts(&s->text, "\xEF\xBF\xBD");
        }
        i += width ? width : 1;
    }
    buf_consume(&s->held, n);
    s->released += n;
}

/* The tokens whose bytes are all released become entries. */
static void report(struct stream *s) {
    size_t n = 0;
    while (n < s->n_pending && s->pending[n].end <= s->released) n++;
    if (n > s->entries_capacity) {
        s->entries_capacity = n;
        s->entries = mem_realloc(s->entries, n * sizeof *s->entries);
    }
    for (size_t i = 0; i < n; i++) {
        const struct stream_pending *p = &s->pending[i];
        s->entries[i] = (struct token_entry){.token = p->token,
                                             .logprob = p->logprob,
                                             .piece = p->piece,
                                             .piece_bytes = p->piece_bytes,
                                             .top = p->top,
                                             .n_top = p->n_top};
    }
    s->n_entries = s->first_reported = n;
}

/* Where the earliest stop string begins in the held bytes, or held.length. */
static size_t find_stop(const struct stream *s) {
    size_t best = s->held.length;
    for (size_t i = 0; i < s->n_stops && s->held.length; i++) {
        const char *at = memmem(s->held.data, s->held.length, s->stops[i], strlen(s->stops[i]));
        if (at && (size_t)(at - s->held.data) < best) best = (size_t)(at - s->held.data);
    }
    return best;
}

/* How many bytes at the end of the held text could become a stop string. */
static size_t possible_stop(const struct stream *s) {
    size_t most = 0;
    for (size_t i = 0; i < s->n_stops; i++) {
        size_t n = strlen(s->stops[i]) - 1;
        if (n > s->held.length) n = s->held.length;
        for (; n > most; n--) {
            if (memcmp(s->held.data + s->held.length - n, s->stops[i], n) == 0) most = n;
        }
    }
    return most;
}

bool stream_push(struct stream *s, int32_t token, float logprob, const struct top_entry *top,
                 uint32_t n_top) {
    forget_reported(s);
    append_pending(s, token, logprob, top, n_top);
    size_t stop = find_stop(s);
    if (stop < s->held.length) {
        release(s, stop);
        buf_clear(&s->held);
        report(s);
        return true;
    }
    size_t keep = possible_stop(s);
    size_t tail = s->held.length ? utf8_incomplete_tail(s->held.data, s->held.length) : 0;
    if (tail > keep) keep = tail;
    release(s, s->held.length - keep);
    report(s);
    return false;
}

void stream_flush(struct stream *s) {
    forget_reported(s);
    release(s, s->held.length);
    report(s);
}
