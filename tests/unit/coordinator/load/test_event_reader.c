// SPDX-License-Identifier: MIT
/* test_event_reader.c: event streams in one piece and in every other, after the examples of WHATWG
 * HTML, §9.2.6. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "common/mem.h"
#include "coordinator/load/event_reader.h"

/* Collects "[data][data]…". */
static bool collect(void *ctx, const char *data, size_t n) {
    struct buf *out = ctx;
    assert_int_equal(strlen(data), n);
    buf_putc(out, '[');
    buf_append(out, data, n);
    buf_putc(out, ']');
    return true;
}

static err read_in_pieces(struct buf *out, const char *text, size_t n, size_t piece) {
    struct event_reader r;
    err e = ERR_OK;
    buf_clear(out);
    buf_puts(out, "");
    event_reader_init(&r);
    for (size_t at = 0; at < n && e == ERR_OK; at += piece) {
        size_t part = n - at < piece ? n - at : piece;
        char *copy = mem_alloc(part); // a sanitizer sees a read beyond the piece
        memcpy(copy, text + at, part);
        e = event_reader_feed(&r, copy, part, collect, out);
        mem_free(copy);
    }
    event_reader_deinit(&r);
    return e;
}

static const struct {
    const char *text, *events;
} cases[] = {
    {"data: YHOO\ndata: +2\ndata: 10\n\n", "[YHOO\n+2\n10]"},
    {": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
     "[first event][second event][ third event]"},
    {"data\n\ndata\ndata\n\ndata:", "[][\n]"}, // the last one is not complete
    {"data:test\n\ndata: test\n\n", "[test][test]"},
    {"data: a\r\n\r\ndata: b\r\rdata: c\n\r\n", "[a][b][c]"},
    {"data: a\n\r\n\n\n\r\rdata: b\n\n", "[a][b]"},
    {"\xEF\xBB\xBF"
     "data: a\n\n\xEF\xBB\xBF"
     "data: b\n\n",
     "[a]"}, // a mark at the beginning only
    {"event: message\nretry: 10\ndatum: x\ndata : x\nDATA: x\n\n", ""},
    {"event: error\ndata: {\"a\":1}\n\n: ping\n\ndata: [DONE]\n\n", "[{\"a\":1}][[DONE]]"},
    {"data: half", ""},
    {"data: half\n", ""},
    {"\n\n\n", ""},
    {"", ""},
};

static void streams_in_all_pieces(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].text);
        for (size_t piece = 1; piece <= n + 1; piece++) {
            assert_int_equal(read_in_pieces(&out, cases[i].text, n, piece), ERR_OK);
            const char *got = out.length ? out.data : "";
            if (strcmp(got, cases[i].events) != 0)
                fail_msg("'%s' in pieces of %zu: got '%s', expected '%s'", cases[i].text, piece,
                         got, cases[i].events);
        }
    }
    buf_deinit(&out);
}

static bool want_one(void *ctx, const char *data, size_t n) {
    (void)data, (void)n;
    return ++*(int *)ctx < 1;
}

static void enough_is_enough(void **state) {
    (void)state;
    struct event_reader r;
    int seen = 0;
    event_reader_init(&r);
    assert_int_equal(event_reader_feed(&r, "data: 1\n\ndata: 2\n\n", 18, want_one, &seen), ERR_OK);
    assert_int_equal(seen, 1);
    event_reader_deinit(&r);
}

static void bounds(void **state) {
    (void)state;
    struct buf out, text;
    buf_init(&out, 0);
    buf_init(&text, 0);
    buf_puts(&text, "data: "); // a line that does not end
    memset(buf_extend(&text, EVENT_MAX_BYTES), 'x', EVENT_MAX_BYTES);
    assert_int_equal(read_in_pieces(&out, text.data, text.length, 4096), ERR_PROTOCOL);
    assert_int_equal(read_in_pieces(&out, text.data, text.length, text.length), ERR_PROTOCOL);
    buf_clear(&text); // an event of many lines
    for (size_t i = 0; i <= EVENT_MAX_BYTES / 8; i++) buf_puts(&text, "data: 12345678\n");
    assert_int_equal(read_in_pieces(&out, text.data, text.length, 4096), ERR_PROTOCOL);
    buf_clear(&text); // and many events that fit
    for (size_t i = 0; i <= EVENT_MAX_BYTES / 8; i++) buf_puts(&text, "data: 12345678\n\n");
    assert_int_equal(read_in_pieces(&out, text.data, text.length, 4096), ERR_OK);
    buf_deinit(&out);
    buf_deinit(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_in_all_pieces),
        cmocka_unit_test(enough_is_enough),
        cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
