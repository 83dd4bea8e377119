// SPDX-License-Identifier: MIT
/* test_stream.c: what may be shown, and when. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "common/utf8.h"
#include "coordinator/scheduling/stream.h"
#include "demo_tokenizer.h"

/* Pushes the tokens of `text` one by one; collects what comes out.  True when a stop was hit. */
static bool push_text(struct stream *s, const char *text, struct buf *shown, size_t *n_entries) {
    struct token_list ids = {0};
    assert_int_equal(tokenizer_encode(s->tokenizer, text, strlen(text), 0, &ids), ERR_OK);
    bool stopped = false;
    for (size_t i = 0; i < ids.count && !stopped; i++) {
        stopped = stream_push(s, ids.ids[i], -1, NULL, 0);
        assert_true(utf8_valid(s->text.data ? s->text.data : "", s->text.length));
        buf_append(shown, s->text.data, s->text.length);
        *n_entries += s->n_entries;
    }
    token_list_deinit(&ids);
    return stopped;
}

static void whole_code_points_only(void **state) {
    struct stream s;
    struct buf shown;
    size_t n = 0;
    const char *text = "Größe 中文 😀 end"; // byte-level tokens cut these in the middle
    buf_init(&shown, 0);
    stream_init(&s, *state, NULL, 0);
    assert_false(push_text(&s, text, &shown, &n));
    assert_string_equal(shown.data, text);
    stream_deinit(&s);
    buf_deinit(&shown);
}

static void stop_string_is_never_shown(void **state) {
    static const char *const texts[] = {"one two STOP three", "STOP", "S ST STO STOP",
                                        "a STOPSTOP"};
    static const char *const shown_texts[] = {"one two ", "", "S ST STO ", "a "};
    const char *stops[] = {"STOP", "never"};
    for (size_t i = 0; i < 4; i++) {
        struct stream s;
        struct buf shown;
        size_t n = 0;
        buf_init(&shown, 0);
        stream_init(&s, *state, stops, 2);
        assert_true(push_text(&s, texts[i], &shown, &n));
        assert_string_equal(shown.data ? shown.data : "", shown_texts[i]);
        stream_deinit(&s);
        buf_deinit(&shown);
    }
}

static void half_a_stop_string_comes_out_at_the_end(void **state) {
    const char *stops[] = {"STOPPED"};
    struct stream s;
    struct buf shown;
    size_t n = 0;
    buf_init(&shown, 0);
    stream_init(&s, *state, stops, 1);
    assert_false(push_text(&s, "we STOPP", &shown, &n));
    assert_string_equal(shown.data, "we ");
    stream_flush(&s);
    buf_append(&shown, s.text.data, s.text.length);
    n += s.n_entries;
    assert_string_equal(shown.data, "we STOPP");
    stream_deinit(&s);
    buf_deinit(&shown);
}

static void every_shown_token_is_reported_once(void **state) {
    struct token_list ids = {0};
    const char *text = "It was the best of times, it was the worst of times.";
    assert_int_equal(tokenizer_encode(*state, text, strlen(text), 0, &ids), ERR_OK);
    const char *stops[] = {"times, x"};
    struct stream s;
    stream_init(&s, *state, stops, 1);
    size_t reported = 0;
    for (size_t i = 0; i <= ids.count; i++) {
        if (i < ids.count)
            stream_push(&s, ids.ids[i], -2, NULL, 0);
        else
            stream_flush(&s);
        for (size_t k = 0; k < s.n_entries; k++)
            assert_int_equal(s.entries[k].token, ids.ids[reported++]);
    }
    assert_int_equal(reported, ids.count);
    token_list_deinit(&ids);
    stream_deinit(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_code_points_only),
        cmocka_unit_test(stop_string_is_never_shown),
        cmocka_unit_test(half_a_stop_string_comes_out_at_the_end),
        cmocka_unit_test(every_shown_token_is_reported_once),
    };
    return cmocka_run_group_tests(tests, demo_tokenizer_open, demo_tokenizer_close);
}
