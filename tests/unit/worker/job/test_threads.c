// SPDX-License-Identifier: MIT
/* test_threads.c: how CPUs are divided among the ranks of a host. */

#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/job/threads.h"

#define MAX_RANKS 8

static struct threads_view views[MAX_RANKS];

/* A host of n ranks that all may use CPUs [0, cpus), whose order is 0, cpus/2, 1, cpus/2 + 1, …: as
 * the threads of a core are numbered on many machines. */
static struct threads_host host_of(size_t n, size_t cpus) {
    struct threads_host h = {.ranks = views, .n = n, .n_online = cpus, .name = "host"};
    for (size_t i = 0; i < CPU_SETSIZE; i++)
        h.order[i] = (uint16_t)(i < cpus ? i / 2 + i % 2 * (cpus / 2) : i);
    for (size_t r = 0; r < n; r++) {
        views[r] = (struct threads_view){.cgroup_id = 1};
        CPU_ZERO(&views[r].mask);
        for (size_t cpu = 0; cpu < cpus; cpu++) CPU_SET(cpu, &views[r].mask);
    }
    return h;
}

static struct threads_team decide(struct threads_host *h, size_t me, uint32_t wanted) {
    struct threads_team t;
    h->me = me;
    threads_decide(&t, h, wanted);
    return t;
}

static void expect_cpus(const struct threads_team *t, const char *wanted) {
    char text[128];
    threads_describe(t, text, sizeof text);
    assert_string_equal(text, wanted);
}

/* Neighbours in the machine stay together: rank 0 gets cores 0 and 1 with both threads of each. */
static void ranks_share_equally(void **state) {
    (void)state;
    struct threads_host h = host_of(2, 8);
    struct threads_team t0 = decide(&h, 0, 0), t1 = decide(&h, 1, 0);
    assert_int_equal(t0.threads, 4);
    assert_int_equal(t1.threads, 4);
    assert_true(t0.pinned && t1.pinned && !t0.crowded);
    expect_cpus(&t0, "0-1,4-5");
    expect_cpus(&t1, "2-3,6-7");
    assert_int_equal(t0.n_warnings, 0);
}

static void a_remainder_stays_free(void **state) {
    (void)state;
    struct threads_host h = host_of(3, 8);
    for (size_t r = 0; r < 3; r++) {
        struct threads_team t = decide(&h, r, 0);
        assert_int_equal(t.threads, 2);
        assert_true(t.pinned);
    }
}

static void fewer_threads_on_request(void **state) {
    (void)state;
    struct threads_host h = host_of(2, 8);
    struct threads_team t = decide(&h, 1, 1);
    assert_int_equal(t.threads, 1);
    assert_true(t.pinned);
    expect_cpus(&t, "2");
}

static void too_many_threads_are_not_pinned(void **state) {
    (void)state;
    struct threads_host h = host_of(2, 4);
    struct threads_team t = decide(&h, 0, 3);
    assert_int_equal(t.threads, 3);
    assert_false(t.pinned);
    assert_true(t.crowded);
    expect_cpus(&t, "0-3");
    assert_int_equal(t.n_warnings, 1);
    assert_non_null(strstr(t.warnings[0], "2 ranks with 3 threads each share 4 CPUs of host"));
    assert_int_equal(decide(&h, 1, 3).n_warnings, 0); // one voice per host
}

static void more_ranks_than_cpus(void **state) {
    (void)state;
    struct threads_host h = host_of(5, 2);
    struct threads_team t = decide(&h, 4, 0);
    assert_int_equal(t.threads, 1);
    assert_false(t.pinned);
    assert_true(t.crowded);
    expect_cpus(&t, "0-1");
}

/* What mpirun does by itself for two ranks: each on one core. */
static void bound_to_a_core(void **state) {
    (void)state;
    struct threads_host h = host_of(2, 8);
    for (size_t r = 0; r < 2; r++) {
        CPU_ZERO(&views[r].mask);
        CPU_SET(r, &views[r].mask);
    }
    struct threads_team t0 = decide(&h, 0, 0), t1 = decide(&h, 1, 0);
    assert_int_equal(t1.threads, 1);
    assert_true(t1.pinned);
    expect_cpus(&t1, "1");
    assert_false(t0.crowded);
    assert_int_equal(t0.n_warnings, 1);
    assert_non_null(strstr(t0.warnings[0], "--bind-to none"));
}

/* A mask inside another: counts are divided, but nobody owns a CPU. */
static void masks_that_overlap(void **state) {
    (void)state;
    struct threads_host h = host_of(2, 4);
    CPU_ZERO(&views[1].mask);
    CPU_SET(0, &views[1].mask);
    CPU_SET(1, &views[1].mask);
    struct threads_team t0 = decide(&h, 0, 0), t1 = decide(&h, 1, 0);
    assert_int_equal(t0.threads, 2);
    assert_int_equal(t1.threads, 1);
    assert_false(t0.pinned);
    assert_false(t1.pinned);
}

static void quota_of_the_control_group(void **state) {
    (void)state;
    struct threads_host h = host_of(2, 8);
    views[0].quota_cpus = views[1].quota_cpus = 3;
    assert_int_equal(decide(&h, 0, 0).threads, 1); // 3 CPUs for both
    views[1].cgroup_id = 2;
    assert_int_equal(decide(&h, 0, 0).threads, 3); // 3 CPUs for each
    assert_true(decide(&h, 0, 4).crowded);
}

static void every_thread_runs_where_it_belongs(void **state) {
    (void)state;
    cpu_set_t all;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    struct threads_team t = {.pinned = true};
    for (uint16_t cpu = 0; cpu < CPU_SETSIZE && t.n_cpus < 2; cpu++) {
        if (CPU_ISSET(cpu, &all)) t.cpus[t.n_cpus++] = cpu;
    }
    t.threads = t.n_cpus;
    threads_apply(&t);
    assert_int_equal(omp_get_max_threads(), t.threads);
    int wrong = 0;
#pragma omp parallel reduction(+ : wrong)
    {
        cpu_set_t mine;
        sched_getaffinity(0, sizeof mine, &mine);
        wrong += CPU_COUNT(&mine) != 1 || !CPU_ISSET(t.cpus[omp_get_thread_num()], &mine);
    }
    assert_int_equal(wrong, 0);
    sched_setaffinity(0, sizeof all, &all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_share_equally),
        cmocka_unit_test(a_remainder_stays_free),
        cmocka_unit_test(fewer_threads_on_request),
        cmocka_unit_test(too_many_threads_are_not_pinned),
        cmocka_unit_test(more_ranks_than_cpus),
        cmocka_unit_test(bound_to_a_core),
        cmocka_unit_test(masks_that_overlap),
        cmocka_unit_test(quota_of_the_control_group),
        cmocka_unit_test(every_thread_runs_where_it_belongs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
