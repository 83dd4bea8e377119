// SPDX-License-Identifier: MIT
/* window.c: see window.h.
 *
 * Main thread of every rank.  One mapping: a head of one flag per rank, then each rank's memory.
 * A flag is written by its rank alone and lies on cache lines of its own, so ranks that are in time
 * exchange two cache lines and make no system call.
 *
 *      flags:    │ rank 0: round, times │ rank 1 │ … │
 *      memory:   │ rank 0: bytes                  │ rank 1 │ … │ */

#include "worker/job/window.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/mem.h"

#define LINE_BYTES 128 // two cache lines: processors fetch them in pairs
#define PAGE_BYTES ((size_t)4096)
#define HUGE_BYTES ((size_t)2 << 20) // memory this large begins on a huge page

struct flag {
    _Alignas(LINE_BYTES) struct waiting_word round; // compared modulo 2^32
    _Atomic uint64_t arrived_ns[2]; // of an even and of an odd round, on the host's clock
};

struct window {
    uint32_t me, n;
    uint32_t round;
    int fd; // of the maker, else -1
    size_t bytes, stride, head_bytes;
    uint8_t *map;
    size_t map_bytes;
};

static struct flag *flag_of(const struct window *w, uint32_t rank) {
    return (struct flag *)(void *)w->map + rank;
}

/* ---- the memory ---- */

static size_t round_up(size_t bytes, size_t unit) {
    return (bytes + unit - 1) / unit * unit;
}

static struct window *new_window(uint32_t me, uint32_t n, size_t bytes) {
    struct window *w = mem_zalloc(sizeof *w);
    size_t unit = bytes >= HUGE_BYTES ? HUGE_BYTES : PAGE_BYTES;
    *w = (struct window){.me = me, .n = n, .fd = -1, .bytes = bytes};
    w->stride = round_up(bytes, unit);
    w->head_bytes = round_up(n * sizeof(struct flag), unit);
    w->map_bytes = w->head_bytes + n * w->stride;
    return w;
}

static err map_file(struct window *w, int fd) {
    void *map = mmap(NULL, w->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return FAIL(ERR_MEMORY, "%zu MiB of shared memory cannot be mapped: %s", w->map_bytes >> 20,
                    strerror(errno));
    w->map = map;
    (void)madvise(map, w->map_bytes, MADV_HUGEPAGE); // where the system has them for shared memory
    return ERR_OK;
}

/* A file beyond the process's limit would be answered by a signal. */
static err check_limit(const struct window *w) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur >= w->map_bytes) return ERR_OK;
    return FAIL(ERR_MEMORY, "%zu MiB of shared memory are more than 'ulimit -f' allows",
                w->map_bytes >> 20);
}

err window_make(struct window **out, uint32_t n, size_t bytes, struct window_name *name) {
    err e = ERR_OK;
    struct window *w = new_window(0, n, bytes);
    TRY_GOTO(e, check_limit(w), fail);
    w->fd = memfd_create("lockstep", MFD_CLOEXEC);
    if (w->fd < 0 || ftruncate(w->fd, (off_t)w->map_bytes) != 0) {
        e = FAIL(ERR_MEMORY, "%zu MiB of shared memory cannot be had: %s", w->map_bytes >> 20,
                 strerror(errno));
        goto fail;
    }
    TRY_GOTO(e, map_file(w, w->fd), fail);
    *name = (struct window_name){.pid = getpid(), .fd = w->fd};
    *out = w;
    return ERR_OK;
fail:
    window_close(w);
    return e;
}

err window_join(struct window **out, uint32_t me, uint32_t n, size_t bytes,
                const struct window_name *name) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%lld/fd/%d", (long long)name->pid, (int)name->fd);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return FAIL(ERR_MEMORY, "the shared memory %s cannot be opened: %s", path, strerror(errno));
    struct window *w = new_window(me, n, bytes);
    err e = map_file(w, fd);
    close(fd);
    if (e != ERR_OK) {
        window_close(w);
        return e;
    }
    *out = w;
    return ERR_OK;
}

void window_close(struct window *w) {
    if (!w) return;
    if (w->map) munmap(w->map, w->map_bytes);
    if (w->fd >= 0) close(w->fd);
    mem_free(w);
}

void *window_memory(const struct window *w, uint32_t rank) {
    return w->map + w->head_bytes + rank * w->stride;
}

/* ---- meeting ---- */

static uint64_t host_clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void wait_for(struct flag *f, uint32_t round, const struct waiting_limits *limits) {
    uint32_t seen = atomic_load_explicit(&f->round.value, memory_order_acquire);
    struct waiting w;
    waiting_begin(&w, limits);
    while ((int32_t)(seen - round) < 0) seen = waiting_word_next(&f->round, seen, &w);
}

void window_arrive(struct window *w) {
    struct flag *mine = flag_of(w, w->me);
    w->round++;
    atomic_store_explicit(&mine->arrived_ns[w->round & 1], host_clock_ns(), memory_order_relaxed);
    atomic_store(&mine->round.value, w->round);
    waiting_word_wake(&mine->round);
}

void window_wait_next(struct window *w, uint32_t rank, const struct waiting_limits *limits) {
    wait_for(flag_of(w, rank), w->round + 1, limits);
}

void window_wait_all(struct window *w, const struct waiting_limits *limits) {
    for (uint32_t r = 0; r < w->n; r++) wait_for(flag_of(w, r), w->round, limits);
}

uint64_t window_meet(struct window *w, const struct waiting_limits *limits) {
    window_arrive(w);
    window_wait_all(w, limits);
    /* Nobody can be two rounds ahead before this rank arrives again: the times are of this round.
     */
    uint32_t odd = w->round & 1;
    uint64_t mine = atomic_load_explicit(&flag_of(w, w->me)->arrived_ns[odd], memory_order_relaxed);
    uint64_t last = mine;
    for (uint32_t r = 0; r < w->n; r++) {
        uint64_t ns = atomic_load_explicit(&flag_of(w, r)->arrived_ns[odd], memory_order_relaxed);
        if (ns > last) last = ns;
    }
    return last - mine;
}
