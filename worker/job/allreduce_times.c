// SPDX-License-Identifier: MIT
/* allreduce_times.c: see allreduce_times.h.  Zeros are summed: they stay zeros, however often. */

#include "worker/job/allreduce_times.h"

#include "common/clock.h"
#include "common/mem.h"
#include "worker/job/allreduce.h"

#define SIZES       20 // 8 bytes, 16, … 4 MiB
#define FIRST_BYTES ((size_t)8)
#define WARM_UP     10
#define MOST_NS     100000000.0 // for one repetition

uint32_t allreduce_times_count(void) {
    return ALLREDUCE_N_WAYS * SIZES;
}

/* Mean time of so many sums, on this rank. */
static double mean_ns(struct allreduce *a, float *x, size_t floats, uint32_t times) {
    uint64_t begin_ns = clock_ns();
    for (uint32_t i = 0; i < times; i++) allreduce_sum(a, x, floats);
    return (double)(clock_ns() - begin_ns) / times;
}

/* Mean, least and greatest of the ranks' means.  Collective. */
static void gather(struct comm *c, double mine, struct measure_time *out) {
    int size = comm_size(c);
    double *all = mem_zalloc_array((size_t)size, sizeof *all), sum = 0;
    comm_allgather(c, &mine, all, sizeof mine);
    out->min_ns = out->max_ns = all[0];
    for (int r = 0; r < size; r++) {
        sum += all[r];
        if (all[r] < out->min_ns) out->min_ns = all[r];
        if (all[r] > out->max_ns) out->max_ns = all[r];
    }
    out->median_ns = sum / size;
    mem_free(all);
}

/* Sums in one repetition: fewer where each takes long, the same number on all ranks. */
static uint32_t iterations(size_t bytes, double longest_ns) {
    double most = MOST_NS / longest_ns;
    uint32_t n = bytes <= (size_t)8 << 10 ? 200 : bytes <= (size_t)256 << 10 ? 50 : 10;
    if (most < n) n = (uint32_t)most;
    return n ? n : 1;
}

err allreduce_times_run(struct comm *c, uint32_t index, uint32_t reps, struct measure_time *out,
                        uint32_t *n) {
    *n = 0;
    if (index >= allreduce_times_count() || comm_size(c) == 1) return ERR_OK;
    enum allreduce_way way = (enum allreduce_way)(index / SIZES);
    size_t bytes = FIRST_BYTES << index % SIZES, floats = bytes / sizeof(float);
    struct allreduce *a = NULL;
    TRY(comm_agree(c, allreduce_create(&a, c, floats, false), NULL));
    if (allreduce_way_possible(a, way)) {
        float *x = mem_zalloc_array(floats, sizeof *x);
        allreduce_set_way(a, way);
        *out = (struct measure_time){.name = allreduce_way_name(way), .type = "", .bytes = bytes};
        gather(c, mean_ns(a, x, floats, WARM_UP), out);
        out->reps = iterations(bytes, out->max_ns) * reps;
        gather(c, mean_ns(a, x, floats, out->reps), out);
        mem_free(x);
        *n = 1;
    }
    allreduce_free(a);
    return ERR_OK;
}
