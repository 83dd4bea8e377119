// SPDX-License-Identifier: MIT
/* test_tally.c: what a level counts, and how it is shown. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/load/load_report.h"
#include "coordinator/load/tally.h"

#define S 1000000000u

/* A level of 2 s: two complete answers, one of them without usage, and three errors. */
static void fill(struct tally *t) {
    struct answer_result r = {.has_usage = true,
                              .prompt_tokens = 100,
                              .cached_tokens = 60,
                              .completion_tokens = 10,
                              .n_chunks = 9,
                              .first_ns = 1 * S,
                              .end_ns = 2 * S};
    tally_init(t, 4, S / 2);
    samples_add(&r.gaps, S / 100);
    tally_add(t, &r, S / 2);
    r.has_usage = false;
    r.end_ns = 5 * (uint64_t)S / 2;
    tally_add(t, &r, S);
    samples_deinit(&r.gaps);
    struct answer_result bad = {.error = ANSWER_ERROR_STATUS, .status = 429, .message = "HTTP 429"};
    tally_add(t, &bad, S);
    snprintf(bad.message, sizeof bad.message, "another");
    tally_add(t, &bad, S);
    tally_add(t, &(struct answer_result){.error = ANSWER_ERROR_TIMEOUT, .message = "late"}, S);
}

static void counts(void **state) {
    (void)state;
    struct tally t;
    fill(&t);
    assert_true(t.complete == 2 && tally_n_errors(&t) == 3);
    assert_true(t.prompt_tokens == 100 && t.cached_tokens == 60 && t.generated_tokens == 19);
    assert_int_equal(t.counted_by_chunks, 1);
    assert_true(tally_rate(&t, t.complete) == 1.0 && tally_rate(&t, 19) == 9.5);
    assert_int_equal(tally_first_error(&t), ANSWER_ERROR_STATUS);
    assert_string_equal(t.messages[ANSWER_ERROR_STATUS], "HTTP 429"); // the first one
    assert_int_equal(t.statuses[429], 2);
    struct samples_summary first = samples_summarize(&t.first_token);
    assert_true(first.count == 2 && first.max_ms == 500 && first.p50_ms == 0);
    assert_true(samples_summarize(&t.between_tokens).count == 2);
    assert_true(samples_summarize(&t.whole).p50_ms == 1500);
    tally_deinit(&t);
    tally_init(&t, 1, 0);
    assert_true(tally_rate(&t, 5) == 0 && tally_first_error(&t) == ANSWER_ERROR_NONE);
}

static void as_json(void **state) {
    (void)state;
    struct tally t;
    fill(&t);
    json_t *o = load_report_level_json(&t);
    double rate, p95;
    int complete, failed, status, connect, s429;
    const char *late;
    assert_int_equal(json_unpack(o, "{s:i, s:i, s:F, s:{s:F}, s:{s:i, s:i, s:{s:i}, s:{s:s}}}",
                                 "complete", &complete, "failed", &failed, "generated_tokens_per_s",
                                 &rate, "answer_ms", "p95", &p95, "errors", "status", &status,
                                 "connect", &connect, "statuses", "429", &s429, "messages",
                                 "timeout", &late),
                     0);
    assert_true(complete == 2 && failed == 3 && rate == 9.5 && p95 == 1500);
    assert_true(status == 2 && connect == 0 && s429 == 2);
    assert_string_equal(late, "late");
    json_decref(o);
    tally_deinit(&t);
    tally_init(&t, 1, 0); // nothing was measured: no percentiles
    o = load_report_level_json(&t);
    assert_true(json_is_null(json_object_get(o, "first_token_ms")));
    json_decref(o);
}

static void as_a_table(void **state) {
    (void)state;
    char *text = NULL;
    size_t n;
    struct tally t;
    fill(&t);
    FILE *f = open_memstream(&text, &n);
    assert_non_null(f);
    load_report_print_level(f, &t);
    tally_deinit(&t);
    tally_init(&t, 1, 0);
    load_report_print_level(f, &t);
    fclose(f);
    assert_non_null(strstr(text, "      4        2      3     1.00      50.0       9.5 "));
    assert_non_null(strstr(text, "2 x status: HTTP 429\n"));
    assert_non_null(strstr(text, "1 x timeout: late\n"));
    assert_non_null(strstr(text, " -\n"));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),
        cmocka_unit_test(as_json),
        cmocka_unit_test(as_a_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
