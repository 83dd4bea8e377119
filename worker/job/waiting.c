// SPDX-License-Identifier: MIT
/* waiting.c: see waiting.h.
 *
 * Hot: twice per layer, and between the threads of a rank a dozen times.  Reading the clock takes
 * as long as some turns of spinning, so the first turns are only counted.
 *
 *      turns:  pause pause … │ pause, clock … │ sched_yield, clock …      │ false
 *                FREE_TURNS  │     spin_ns    │        yield_ns           │ the caller sleeps */

#include "worker/job/waiting.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/clock.h"

#define FREE_TURNS       64
#define SPIN_NS          20000u   // longer than ranks in time are apart
#define YIELD_NS         2000000u // longer than the coordinator takes between two steps
#define CROWDED_YIELD_NS 5000u    // a rank on the same CPU is behind by more than that

struct waiting_limits waiting_limits_for(bool enough_cpus) {
    if (enough_cpus) return (struct waiting_limits){.spin_ns = SPIN_NS, .yield_ns = YIELD_NS};
    return (struct waiting_limits){.yield_ns = CROWDED_YIELD_NS};
}

static void pause_cpu(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

bool waiting_turn(struct waiting *w) {
    if (w->limits.spin_ns && w->turns < FREE_TURNS) {
        w->turns++;
        pause_cpu();
        return true;
    }
    uint64_t now_ns = clock_ns();
    if (w->begin_ns == 0) w->begin_ns = now_ns;
    uint64_t since_ns = now_ns - w->begin_ns;
    if (since_ns < w->limits.spin_ns) {
        pause_cpu();
        return true;
    }
    if (since_ns - w->limits.spin_ns < w->limits.yield_ns) {
        sched_yield();
        return true;
    }
    return false;
}

static void futex(_Atomic uint32_t *word, int operation, uint32_t value) {
    (void)syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
}

/* Between a sleeper's two steps (say so, look again) and the other side's (change, look for
 * sleepers) there is one order for all, so one of the two sees the other. */
static void sleep_until_changed(struct waiting_word *word, uint32_t seen) {
    atomic_fetch_add(&word->sleepers, 1);
    if (atomic_load(&word->value) == seen) futex(&word->value, FUTEX_WAIT, seen);
    atomic_fetch_sub(&word->sleepers, 1);
}

uint32_t waiting_word_next(struct waiting_word *word, uint32_t seen, struct waiting *w) {
    if (!waiting_turn(w)) sleep_until_changed(word, seen);
    return atomic_load_explicit(&word->value, memory_order_acquire);
}

void waiting_word_wake(struct waiting_word *word) {
    if (atomic_load(&word->sleepers)) futex(&word->value, FUTEX_WAKE, INT_MAX);
}
