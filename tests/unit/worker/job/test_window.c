// SPDX-License-Identifier: MIT
/* test_window.c: processes that meet in shared memory, in time, late, and not at all.
 *
 * The test is rank 0; children are the others.  A child ends with status 0 or says what it saw. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker/job/window.h"

#define RANKS  4u
#define BYTES  ((size_t)100000) // no multiple of a page
#define ROUNDS 5000u

static const struct waiting_limits manners[] = {
    {.spin_ns = 20000, .yield_ns = 1000000}, {.yield_ns = 5000}, {.spin_ns = 0}};

static void sleep_ms(long ms) {
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

typedef int rank_body(struct window *w, uint32_t me, const struct waiting_limits *limits);

/* Runs body as every rank of a new window; returns rank 0's answer when all others gave 0. */
static int run_ranks(rank_body *body, const struct waiting_limits *limits) {
    struct window *w;
    struct window_name name;
    pid_t children[RANKS] = {0};
    assert_int_equal(window_make(&w, RANKS, BYTES, &name), ERR_OK);
    for (uint32_t r = 1; r < RANKS; r++) {
        children[r] = fork();
        if (children[r] > 0) continue;
        struct window *mine;
        if (window_join(&mine, r, RANKS, BYTES, &name) != ERR_OK) _exit(99);
        _exit(body(mine, r, limits));
    }
    int answer = body(w, 0, limits);
    for (uint32_t r = 1; r < RANKS; r++) {
        int status = 0;
        assert_int_equal(waitpid(children[r], &status, 0), children[r]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    window_close(w);
    return answer;
}

/* Everybody writes the number of the round and reads everybody's, in memory used by turns. */
static int count_rounds(struct window *w, uint32_t me, const struct waiting_limits *limits) {
    for (uint32_t round = 0; round < ROUNDS / (limits->yield_ns ? 1 : 10); round++) {
        size_t at = (round & 1) * (BYTES / 8 - 1); // in words: the first and the last one
        ((uint64_t *)window_memory(w, me))[at] = round * 10 + me;
        window_meet(w, limits);
        for (uint32_t r = 0; r < RANKS; r++)
            if (((uint64_t *)window_memory(w, r))[at] != round * 10 + r) return 1;
    }
    return 0;
}

static void test_rounds(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof manners / sizeof *manners; i++)
        assert_int_equal(run_ranks(count_rounds, &manners[i]), 0);
}

/* Rank 0 hands out numbers, the others take them and answer; nobody waits for the answers of
 * others. */
static int hand_out(struct window *w, uint32_t me, const struct waiting_limits *limits) {
    for (uint32_t i = 0; i < ROUNDS / 20; i++) {
        uint32_t *first = window_memory(w, 0), *own = window_memory(w, me);
        if (me == 0) {
            window_wait_all(w, limits);
            first[i & 1] = i;
        } else {
            window_wait_next(w, 0, limits);
            if (first[i & 1] != i) return 1;
        }
        window_arrive(w);
        if (me == 0) {
            for (uint32_t r = 1; r < RANKS; r++) {
                window_wait_next(w, r, limits);
                if (((uint32_t *)window_memory(w, r))[8 + (i & 1)] != i + r) return 2;
            }
        } else {
            window_wait_all(w, limits);
            own[8 + (i & 1)] = i + me;
        }
        window_arrive(w);
    }
    return 0;
}

static void test_broadcast_and_gather(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof manners / sizeof *manners; i++)
        assert_int_equal(run_ranks(hand_out, &manners[i]), 0);
}

/* Rank 1 is 30 ms late: it has not waited for anybody that long, all others have. */
static int come_late(struct window *w, uint32_t me, const struct waiting_limits *limits) {
    window_meet(w, limits);
    if (me == 1) sleep_ms(30);
    uint64_t ns = window_meet(w, limits);
    if (me == 1) return ns < 25000000 ? 0 : 1;
    return ns >= 25000000 ? 0 : 2;
}

static void test_time_of_waiting(void **state) {
    (void)state;
    int answer = 1;
    for (int attempt = 0; attempt < 5 && answer; attempt++) // ranks may be late by themselves
        answer = run_ranks(come_late, &manners[attempt % 3]);
    assert_int_equal(answer, 0);
}

static void test_memory_of_one(void **state) {
    (void)state;
    struct window *w;
    struct window_name name;
    assert_int_equal(window_make(&w, 1, 10, &name), ERR_OK);
    assert_int_equal((uintptr_t)window_memory(w, 0) % 4096, 0);
    assert_int_equal(window_meet(w, &manners[2]), 0);
    window_close(w);
    window_close(NULL);
}

static void test_failures(void **state) {
    (void)state;
    struct window *w = NULL;
    struct window_name name = {.pid = getpid(), .fd = 9999};
    assert_int_equal(window_join(&w, 1, 2, 4096, &name), ERR_MEMORY);
    assert_non_null(strstr(error_message(), "/fd/9999"));
    assert_int_equal(window_make(&w, 2, (size_t)1 << 60, &name), ERR_MEMORY);

    struct rlimit before, low = {.rlim_cur = 65536, .rlim_max = RLIM_INFINITY};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    low.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    err e = window_make(&w, 2, 65536, &name); // without the signal that the limit sends
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(e, ERR_MEMORY);
    assert_non_null(strstr(error_message(), "ulimit"));
    assert_null(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounds),          cmocka_unit_test(test_broadcast_and_gather),
        cmocka_unit_test(test_time_of_waiting), cmocka_unit_test(test_memory_of_one),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
