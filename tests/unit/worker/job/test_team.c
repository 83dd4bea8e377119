// SPDX-License-Identifier: MIT
/* test_team.c: every share runs once, in its part, whoever sleeps meanwhile. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <omp.h>

#include "worker/job/team.h"

#define MAX_THREADS 5
#define PARTS       2000u

static const struct waiting_limits manners[] = {
    {.spin_ns = 20000, .yield_ns = 2000000}, {.yield_ns = 5000}, {.spin_ns = 0}};
#define N_MANNERS (sizeof manners / sizeof *manners)

static void sleep_ms(long ms) {
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* What a part is given and what each thread does with it. */
struct part {
    uint64_t number;         // written by the main thread before the part
    uint64_t *sums;          // [threads] of the numbers
    size_t *calls;           // [threads]
    size_t expected_threads; // of every share
    long late_ms;            // thread 1 is late by that
    bool *wrong;             // a share was called with another number of threads
};

static void add_number(const void *arg, size_t thread, size_t threads) {
    const struct part *p = arg;
    if (threads != p->expected_threads || thread >= threads) {
        *p->wrong = true;
        return;
    }
    if (thread == 1 && p->late_ms) sleep_ms(p->late_ms);
    p->sums[thread] += p->number;
    p->calls[thread]++;
}

struct parts {
    struct part part;
    uint32_t n;
    long pause_ms; // of the main thread, between two parts
    uint64_t total;
    bool torn; // a share had not ended when its part had
};

static void run_parts(void *arg) {
    struct parts *p = arg;
    for (uint32_t i = 1; i <= p->n; i++) {
        p->part.number = i;
        p->total += i;
        team_run(add_number, &p->part);
        for (size_t t = 0; t < p->part.expected_threads; t++)
            p->torn = p->torn || p->part.sums[t] != p->total;
        if (p->pause_ms) sleep_ms(p->pause_ms);
    }
}

static void check_parts(size_t threads, uint32_t n, long pause_ms, long late_ms, bool open) {
    uint64_t sums[MAX_THREADS] = {0};
    size_t calls[MAX_THREADS] = {0};
    bool wrong = false;
    struct parts p = {.part = {.sums = sums,
                               .calls = calls,
                               .expected_threads = threads,
                               .late_ms = late_ms,
                               .wrong = &wrong},
                      .n = n,
                      .pause_ms = pause_ms};
    omp_set_num_threads((int)threads);
    assert_int_equal(team_size(), threads);
    if (open)
        team_open(run_parts, &p);
    else
        run_parts(&p);
    assert_false(wrong);
    assert_false(p.torn);
    for (size_t t = 0; t < threads; t++) assert_int_equal(calls[t], n);
}

static void test_every_share_runs_once(void **state) {
    (void)state;
    for (size_t m = 0; m < N_MANNERS; m++) {
        team_set_waiting(&manners[m]);
        for (size_t threads = 1; threads <= MAX_THREADS; threads++)
            check_parts(threads, PARTS / (m == 0 && threads > 2 ? 10 : 1), 0, 0, true);
    }
}

static void test_teams_open_and_close(void **state) {
    (void)state;
    team_set_waiting(&manners[0]);
    for (size_t i = 0; i < 200; i++) check_parts(1 + i % 3, i % 4, 0, 0, true);
}

static void test_a_part_without_an_open_team(void **state) {
    (void)state;
    team_set_waiting(&manners[1]);
    for (size_t threads = 1; threads <= 3; threads++) check_parts(threads, 20, 0, 0, false);
}

/* Longer than anybody spins or yields: first the others sleep, then the main thread. */
static void test_sleepers_wake(void **state) {
    (void)state;
    for (size_t m = 0; m < N_MANNERS; m++) {
        team_set_waiting(&manners[m]);
        check_parts(3, 5, 5, 0, true);
        check_parts(3, 5, 0, 5, true);
    }
}

static void count_item(const void *arg, size_t i) {
    uint8_t *const *counts = arg;
    (*counts)[i]++;
}

static void count_taken_item(const void *arg, size_t i, size_t thread) {
    if (thread < 3) count_item(arg, i);
}

struct items {
    uint8_t *counts;
    size_t n;
};

static void run_items(void *arg) {
    const struct items *items = arg;
    team_for(items->n, count_item, &items->counts);
    team_each(items->n, count_taken_item, &items->counts);
}

static void test_every_item_once(void **state) {
    (void)state;
    static const size_t lengths[] = {0, 1, 2, 3, 7, 64};
    team_set_waiting(&manners[1]);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint8_t counts[65] = {0};
        struct items items = {counts, lengths[i]};
        omp_set_num_threads(3);
        team_open(run_items, &items);
        run_items(&items);
        for (size_t k = 0; k < sizeof counts; k++) assert_int_equal(counts[k], k < items.n ? 4 : 0);
    }
}

static void test_parts_of_a_whole(void **state) {
    (void)state;
    for (size_t threads = 1; threads <= 7; threads++)
        for (size_t n = 0; n < 30; n++) {
            size_t next = 0;
            for (size_t t = 0; t < threads; t++) {
                struct team_part part = team_part(n, t, threads);
                assert_int_equal(part.begin, next);
                assert_true(part.end - part.begin <= (n + threads - 1) / threads);
                next = part.end;
            }
            assert_int_equal(next, n);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_share_runs_once),
        cmocka_unit_test(test_teams_open_and_close),
        cmocka_unit_test(test_a_part_without_an_open_team),
        cmocka_unit_test(test_sleepers_wake),
        cmocka_unit_test(test_every_item_once),
        cmocka_unit_test(test_parts_of_a_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
