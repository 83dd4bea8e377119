// SPDX-License-Identifier: MIT
/* team.c: see team.h.
 *
 * Hot: a dozen times per layer.  The main thread hands out a part by counting `job` up and waits
 * until as many have counted `done` up as there are others.  Nobody is more than one part ahead, so
 * what describes a part needs no copy. */

#include "worker/job/team.h"

#include <omp.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "common/mem.h"

#define LINE_BYTES 128 // two cache lines: processors fetch them in pairs

/* Written by the main thread alone, but for `done`.  What is not atomic it writes before it counts
 * `job` up; `limits` before `first`, which the others read when they come. */
static struct {
    _Alignas(LINE_BYTES) struct waiting_word job; // parts handed out, modulo 2^32
    _Atomic uint32_t first;                       // `job` when the team opened
    struct waiting_limits limits;
    bool waiting_is_set;
    bool open;
    bool in_share;           // the main thread is
    void (*work)(void *arg); // of team_open
    void *work_arg;
    _Alignas(LINE_BYTES) team_share *share; // NULL: the team closes
    const void *arg;
    size_t threads;
    _Alignas(LINE_BYTES) struct waiting_word done; // shares of the others done, modulo 2^32
    _Atomic uint32_t all_done;                     // what it will be
} team;

size_t team_size(void) {
    return (size_t)omp_get_max_threads();
}

void team_set_waiting(const struct waiting_limits *limits) {
    CHECK(!team.open);
    team.limits = *limits;
    team.waiting_is_set = true;
}

/* ---- the other threads ---- */

static void wait_for_job(uint32_t seen) {
    struct waiting w;
    waiting_begin(&w, &team.limits);
    while (atomic_load_explicit(&team.job.value, memory_order_acquire) == seen)
        (void)waiting_word_next(&team.job, seen, &w);
}

/* Only the last one may have to wake the main thread.  When that is in the next part already, it
 * was awake, and all_done is not this part's any more. */
static void count_done(void) {
    uint32_t done = atomic_fetch_add(&team.done.value, 1) + 1;
    if (done == atomic_load_explicit(&team.all_done, memory_order_relaxed))
        waiting_word_wake(&team.done);
}

static void serve(size_t thread) {
    mem_guard_begin();
    for (uint32_t seen = atomic_load(&team.first);; seen++) {
        wait_for_job(seen);
        if (!team.share) break;
        team.share(team.arg, thread, team.threads);
        count_done();
    }
    mem_guard_end();
    count_done();
}

/* ---- the main thread ---- */

/* The value of `done` when the others have done their shares. */
static uint32_t hand_out(team_share *share, const void *arg) {
    uint32_t all_done = atomic_load_explicit(&team.all_done, memory_order_relaxed);
    all_done += (uint32_t)team.threads - 1;
    atomic_store_explicit(&team.all_done, all_done, memory_order_relaxed);
    team.share = share;
    team.arg = arg;
    atomic_fetch_add(&team.job.value, 1);
    waiting_word_wake(&team.job);
    return all_done;
}

static void wait_for_all(uint32_t all_done) {
    struct waiting w;
    uint32_t done = atomic_load_explicit(&team.done.value, memory_order_acquire);
    waiting_begin(&w, &team.limits);
    while (done != all_done) done = waiting_word_next(&team.done, done, &w);
}

/* The region takes no variables along: libgomp's way of handing them over is not one that
 * ThreadSanitizer sees. */
void team_open(void (*work)(void *arg), void *arg) {
    CHECK(!team.open);
    if (team_size() == 1) {
        work(arg);
        return;
    }
    if (!team.waiting_is_set) team.limits = waiting_limits_for(true);
    team.work = work;
    team.work_arg = arg;
    atomic_store(&team.first, atomic_load(&team.job.value));
#pragma omp parallel
    if (omp_get_thread_num() == 0) {
        team.threads = (size_t)omp_get_num_threads();
        team.open = true;
        team.work(team.work_arg);
        team.open = false;
        wait_for_all(hand_out(NULL, NULL));
    } else {
        serve((size_t)omp_get_thread_num());
    }
}

struct one_part {
    team_share *share;
    const void *arg;
};

static void run_one_part(void *arg) {
    const struct one_part *part = arg;
    team_run(part->share, part->arg);
}

void team_run(team_share *share, const void *arg) {
    if (!team.open) {
        struct one_part part = {share, arg};
        if (team_size() == 1)
            share(arg, 0, 1);
        else
            team_open(run_one_part, &part);
        return;
    }
    CHECK(!team.in_share);
    uint32_t all_done = hand_out(share, arg);
    team.in_share = true;
    share(arg, 0, team.threads);
    team.in_share = false;
    wait_for_all(all_done);
}

struct items {
    size_t n;
    void (*item)(const void *arg, size_t i);
    const void *arg;
};

static void share_items(const void *arg, size_t thread, size_t threads) {
    const struct items *items = arg;
    struct team_part mine = team_part(items->n, thread, threads);
    for (size_t i = mine.begin; i < mine.end; i++) items->item(items->arg, i);
}

void team_for(size_t n, void (*item)(const void *arg, size_t i), const void *arg) {
    const struct items items = {n, item, arg};
    if (n == 1)
        item(arg, 0);
    else if (n > 0)
        team_run(share_items, &items);
}

struct queue {
    size_t n;
    void (*item)(const void *arg, size_t i, size_t thread);
    const void *arg;
    atomic_size_t *next; // the first item that nobody has taken
};

static void take_items(const void *arg, size_t thread, size_t threads) {
    const struct queue *q = arg;
    (void)threads;
    for (;;) {
        size_t i = atomic_fetch_add_explicit(q->next, 1, memory_order_relaxed);
        if (i >= q->n) return;
        q->item(q->arg, i, thread);
    }
}

void team_each(size_t n, void (*item)(const void *arg, size_t i, size_t thread), const void *arg) {
    _Alignas(LINE_BYTES) atomic_size_t next = 0;
    _Alignas(LINE_BYTES) const struct queue queue = {n, item, arg, &next};
    if (n == 1)
        item(arg, 0, 0);
    else if (n > 0)
        team_run(take_items, &queue);
}
