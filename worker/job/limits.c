// SPDX-License-Identifier: MIT
/* limits.c: see limits.h.
 *
 * A pass begins when all ranks are there and ends when all are done; its time is that of the rank
 * that saw the longest one, so ranks that take turns on too few CPUs do not look like ranks that
 * run at once.
 *
 *      rank 0   meet ║ begin … my part …  ░░░░░ meet ║ end        pass = the longest begin … end
 *      rank 1   meet ║   begin …… my part …………… meet ║ end         sum of parts / pass */

#include "worker/job/limits.h"

#include <omp.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "worker/job/hostinfo.h"
#include "worker/job/team.h"

#define PART_ALIGN  ((size_t)4096)    // of a thread's memory
#define PEAK_ROUNDS ((size_t)4000000) // several milliseconds

/* What is measured, one after the other. */
enum limit {
    LIMIT_READ, // + enum read_way
    LIMIT_INT8 = LIMIT_READ + READ_N_WAYS,
    LIMIT_F32,
    LIMIT_COUNT
};

struct limits {
    struct comm *comm;
    const struct kernels *kernels;
    uint8_t *memory;
    size_t bytes, part_bytes; // of this rank, of a thread
    uint64_t huge_bytes;
    uint8_t *places; // [size] scratch of meet
};

/* First touch by the thread that will read. */
static void touch(struct limits *l) {
#pragma omp parallel
    memset(l->memory + (size_t)omp_get_thread_num() * l->part_bytes, 1, l->part_bytes);
    l->huge_bytes = hostinfo_huge_bytes(l->memory, l->bytes);
}

err limits_create(struct limits **out, struct comm *c, const struct kernels *k,
                  uint64_t memory_bytes) {
    struct limits *l = mem_zalloc(sizeof *l);
    struct hostinfo_memory memory = hostinfo_memory("");
    uint64_t half = hostinfo_memory_available(&memory) / 2;
    uint64_t share = (memory_bytes < half ? memory_bytes : half) / (uint64_t)comm_local_size(c);
    void *mapped = NULL;
    l->comm = c;
    l->kernels = k;
    l->part_bytes = (size_t)share / team_size() / PART_ALIGN * PART_ALIGN;
    if (l->part_bytes == 0) l->part_bytes = PART_ALIGN;
    l->bytes = l->part_bytes * team_size();
    l->places = mem_zalloc((size_t)comm_size(c));
    // The agreement also keeps ranks from taking memory before their neighbours have looked.
    err e = comm_agree(c, mem_map(&mapped, l->bytes), NULL);
    l->memory = mapped;
    if (e != ERR_OK) {
        limits_free(l);
        return e;
    }
    touch(l);
    *out = l;
    return ERR_OK;
}

void limits_free(struct limits *l) {
    if (!l) return;
    mem_unmap(l->memory, l->bytes);
    mem_free(l->places);
    mem_free(l);
}

uint64_t limits_memory_bytes(const struct limits *l) {
    return l->bytes;
}

static void meet(struct limits *l) {
    const uint8_t here = 1;
    comm_allgather(l->comm, &here, l->places, sizeof here);
}

/* One thread's part; returns the bytes read or the operations done. */
static double run_part(const struct limits *l, enum limit what) {
    if (what == LIMIT_INT8) return l->kernels->peak_int8(PEAK_ROUNDS);
    if (what == LIMIT_F32) return l->kernels->peak_f32(PEAK_ROUNDS);
    const uint8_t *part = l->memory + (size_t)omp_get_thread_num() * l->part_bytes;
    enum read_way way = (enum read_way)(what - LIMIT_READ);
    volatile uint64_t seen = l->kernels->read_memory(part, l->part_bytes, way);
    (void)seen;
    return (double)l->part_bytes;
}

/* What a rank found. */
struct finding {
    double done[LIMIT_COUNT]; // of all its threads, in each pass
    uint64_t memory_bytes, huge_bytes;
};

static uint64_t run_pass(struct limits *l, enum limit what, struct finding *mine) {
    double done = 0;
    meet(l);
    uint64_t begin_ns = clock_ns();
#pragma omp parallel reduction(+ : done)
    done += run_part(l, what);
    meet(l);
    mine->done[what] = done;
    return clock_ns() - begin_ns;
}

/* The shortest of the passes, each as long as it was for the rank that saw the longest one. */
static double best_seconds(const uint64_t *ns, size_t size, size_t stride, size_t reps) {
    uint64_t best = UINT64_MAX;
    for (size_t i = 0; i < reps; i++) {
        uint64_t longest = 1;
        for (size_t r = 0; r < size; r++)
            if (ns[r * stride + i] > longest) longest = ns[r * stride + i];
        if (longest < best) best = longest;
    }
    return (double)best / 1e9;
}

static void conclude(struct measure_limits *out, const struct finding *all, const uint64_t *ns,
                     size_t size, size_t reps) {
    static const char *const names[READ_N_WAYS] = {[READ_ONE_STREAM] = "one stream",
                                                   [READ_ONE_STREAM_AHEAD] = "one stream, prefetch",
                                                   [READ_FOUR_STREAMS] = "four streams",
                                                   [READ_FOUR_STREAMS_AHEAD] =
                                                       "four streams, prefetch"};
    *out = (struct measure_limits){.read_way = ""};
    for (size_t r = 0; r < size; r++) {
        out->memory_bytes += all[r].memory_bytes;
        out->huge_bytes += all[r].huge_bytes;
    }
    for (size_t what = 0; what < LIMIT_COUNT; what++) {
        double done = 0;
        for (size_t r = 0; r < size; r++) done += all[r].done[what];
        double rate = done / best_seconds(ns + what * reps, size, LIMIT_COUNT * reps, reps);
        if (what == LIMIT_INT8) {
            out->int8_ops_per_s = rate;
        } else if (what == LIMIT_F32) {
            out->f32_ops_per_s = rate;
        } else if (rate > out->read_bytes_per_s) {
            out->read_bytes_per_s = rate;
            out->read_way = names[what - LIMIT_READ];
        }
    }
}

void limits_measure(struct limits *l, uint32_t reps, struct measure_limits *out) {
    size_t size = (size_t)comm_size(l->comm), passes = (size_t)LIMIT_COUNT * reps;
    struct finding mine = {.memory_bytes = l->bytes, .huge_bytes = l->huge_bytes};
    struct finding *all = mem_zalloc_array(size, sizeof *all);
    uint64_t *ns = mem_zalloc_array(passes, sizeof *ns);
    uint64_t *all_ns = mem_zalloc_array(size * passes, sizeof *all_ns);
    for (size_t i = 0; i < reps; i++)
        for (size_t what = 0; what < LIMIT_COUNT; what++)
            ns[what * reps + i] = run_pass(l, (enum limit)what, &mine);
    comm_allgather(l->comm, ns, all_ns, passes * sizeof *ns);
    comm_allgather(l->comm, &mine, all, sizeof mine);
    conclude(out, all, all_ns, size, reps);
    mem_free(all_ns);
    mem_free(ns);
    mem_free(all);
}
