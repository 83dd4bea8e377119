// SPDX-License-Identifier: MIT
/* test_balance.c: rows of pretended threads that are not equally fast. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "worker/compute/balance.h"

#define PANEL   32
#define ROWS    ((size_t)2048)
#define MAX     8
#define ROW_NS  1000.0
#define SETTLED 400 // products after which nothing changes any more

/* A product: thread i takes ROW_NS / speed[i] for each of its rows.  How long the slowest takes. */
static double multiply(struct balance *b, const double *speed, size_t threads, size_t tokens,
                       size_t rows) {
    double longest = 0;
    size_t at = 0;
    balance_begin(b, tokens);
    for (size_t i = 0; i < threads; i++) {
        struct shard_rows r = balance_rows(b, rows, PANEL, threads, i);
        assert_int_equal(r.begin, at); // all rows once, in order
        assert_true(r.end >= r.begin && (r.end % PANEL == 0 || r.end == rows));
        at = r.end;
        double ns = ROW_NS * (double)(r.end - r.begin) / speed[i];
        if (ns > longest) longest = ns;
        balance_note(b, i, r.end - r.begin, (uint64_t)ns);
    }
    assert_int_equal(at, rows);
    balance_learn(b, threads);
    return longest;
}

static void assert_even(const struct balance *b, size_t rows, size_t threads) {
    for (size_t i = 0; i < threads; i++) {
        struct shard_rows r = balance_rows(b, rows, PANEL, threads, i);
        struct shard_rows even = shard_thread_rows(rows, PANEL, threads, i);
        assert_int_equal(r.begin, even.begin);
        assert_int_equal(r.end, even.end);
    }
}

static void slow_threads_get_fewer_rows(void **state) {
    (void)state;
    static const double speeds[][MAX] = {
        {1, 0.8}, {1, 0.25}, {1, 1, 1, 0.5}, {1, 1, 1, 1, 0.4, 0.4, 0.4, 0.4}, // two kinds of cores
    };
    static const size_t threads[] = {2, 2, 4, 8}, tokens[] = {3, 16, 17, 512};
    for (size_t k = 0; k < 4; k++) {
        double all = 0;
        for (size_t i = 0; i < threads[k]; i++) all += speeds[k][i];
        for (size_t t = 0; t < 4; t++) {
            struct balance *b = balance_create(threads[k]);
            double longest = 0;
            for (int n = 0; n < SETTLED; n++)
                longest = multiply(b, speeds[k], threads[k], tokens[t], ROWS);
            // a panel more than its part at most, and 3 %, which count as alike
            double best = ROW_NS * (double)ROWS / all, slowest = speeds[k][threads[k] - 1];
            assert_true(longest <= best * 1.03 + ROW_NS * PANEL / slowest);
            (void)multiply(b, speeds[k], threads[k], tokens[t], 33); // fewer panels than threads
            (void)multiply(b, speeds[k], threads[k], tokens[t], 1000);
            (void)multiply(b, speeds[k], threads[k], tokens[t], 0);
            balance_free(b);
        }
    }
}

static void equal_threads_keep_what_they_touched(void **state) {
    (void)state;
    const double speed[] = {1, 1.01, 0.99};
    struct balance *b = balance_create(3);
    for (int n = 0; n < SETTLED; n++) multiply(b, speed, 3, 64, ROWS);
    assert_even(b, ROWS, 3);
    balance_free(b);
}

static void few_tokens_and_other_teams_divide_evenly(void **state) {
    (void)state;
    const double speed[] = {1, 0.5};
    struct balance *b = balance_create(2);
    for (int n = 0; n < SETTLED; n++) multiply(b, speed, 2, 1 + (size_t)n % 2, ROWS);
    assert_even(b, ROWS, 2);
    for (int n = 0; n < SETTLED; n++) multiply(b, speed, 2, 64, ROWS);
    assert_true(balance_rows(b, ROWS, PANEL, 2, 0).end > ROWS / 2);
    assert_even(b, ROWS, 1); // fewer threads than were asked for
    balance_begin(b, 8);     // what bounds these has not been seen
    assert_even(b, ROWS, 2);
    balance_begin(b, 1);
    assert_even(b, ROWS, 2);
    balance_free(b);
}

/* One product that was interrupted for long, and many that are too short to tell. */
static void odd_measurements_change_little(void **state) {
    (void)state;
    const double speed[] = {1, 0.7}, stopped[] = {1, 0.0001}, fast[] = {1000, 10};
    struct balance *b = balance_create(2);
    for (int n = 0; n < SETTLED; n++) multiply(b, speed, 2, 64, ROWS);
    const size_t end = balance_rows(b, ROWS, PANEL, 2, 0).end;
    multiply(b, stopped, 2, 64, ROWS);
    assert_in_range(balance_rows(b, ROWS, PANEL, 2, 0).end, end, end + PANEL);
    for (int n = 0; n < SETTLED; n++) multiply(b, fast, 2, 64, 64);
    assert_in_range(balance_rows(b, ROWS, PANEL, 2, 0).end, end, end + PANEL);
    for (int n = 0; n < SETTLED; n++) multiply(b, stopped, 2, 64, ROWS);
    assert_true(balance_rows(b, ROWS, PANEL, 2, 1).end > balance_rows(b, ROWS, PANEL, 2, 1).begin);
    for (int n = 0; n < 4 * SETTLED; n++) multiply(b, speed, 2, 64, ROWS); // it comes back
    assert_in_range(balance_rows(b, ROWS, PANEL, 2, 0).end, end - PANEL, end + PANEL);
    balance_free(b);
}

/* With four panels, a fifth of a part is none: its speed is not seen any more. */
static void a_thread_without_rows_comes_back(void **state) {
    (void)state;
    const double alike[] = {1, 1}, stopped[] = {1, 0.0001};
    const size_t rows = 4 * PANEL;
    struct balance *b = balance_create(2);
    for (int n = 0; n < 4 * SETTLED; n++) multiply(b, stopped, 2, 64, rows);
    for (int n = 0; n < SETTLED; n++) multiply(b, alike, 2, 64, rows);
    assert_even(b, rows, 2);
    balance_free(b);
}

/* A matrix of fewer panels than threads says nothing about those that have none of it. */
static void small_matrices_change_little(void **state) {
    (void)state;
    const double alike[] = {1, 1, 1, 1};
    struct balance *b = balance_create(4);
    for (int n = 0; n < SETTLED; n++) multiply(b, alike, 4, 64, n % 2 ? ROWS : PANEL);
    assert_even(b, ROWS, 4);
    balance_free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_threads_get_fewer_rows),
        cmocka_unit_test(equal_threads_keep_what_they_touched),
        cmocka_unit_test(few_tokens_and_other_teams_divide_evenly),
        cmocka_unit_test(odd_measurements_change_little),
        cmocka_unit_test(a_thread_without_rows_comes_back),
        cmocka_unit_test(small_matrices_change_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
