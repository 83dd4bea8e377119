// SPDX-License-Identifier: MIT
/* measuring.c: see measuring.h.
 *
 * Every answer carries the ranks' totals, so that what a stretch of steps cost is the difference of
 * two answers and no step pays for it. */

#include "worker/job/measuring.h"

#include <sys/resource.h>

#include "worker/compute/kernel_times.h"
#include "worker/job/allreduce_times.h"
#include "worker/job/hostinfo.h"

#define CPU_BYTES 64

/* What a rank tells rank 0. */
struct report {
    struct measure_rank totals; // without the string
    char cpu[CPU_BYTES];
};

/* The highest that this process would have come to without the memory for measuring: what there was
 * before it, or what there is now besides it. */
static uint64_t peak_rss_bytes(struct job *job) {
    if (!job->limits) {
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        job->peak_rss_bytes = (uint64_t)usage.ru_maxrss * 1024;
    } else {
        // What is resident may be less than was mapped: memory can be swapped out.
        uint64_t now = hostinfo_resident_bytes(), measuring = limits_memory_bytes(job->limits);
        if (now > measuring && now - measuring > job->peak_rss_bytes)
            job->peak_rss_bytes = now - measuring;
    }
    return job->peak_rss_bytes;
}

static struct report describe(struct job *job) {
    struct step_totals t = step_get_totals(job->runner);
    struct report r = {.totals = {.steps = t.steps,
                                  .compute_ns = t.compute_ns,
                                  .wait_ns = t.wait_ns,
                                  .wire_ns = t.wire_ns,
                                  .allreduce_calls = t.allreduce_calls,
                                  .allreduce_bytes = t.allreduce_bytes,
                                  .peak_rss_bytes = peak_rss_bytes(job)}};
    char name[CPU_BYTES];
    hostinfo_cpu_name("", name, sizeof name);
    uplink_clean_text(r.cpu, sizeof r.cpu, name);
    return r;
}

/* Rank 0 hears from everybody and tells the coordinator.  Collective. */
static err answer(struct job *job, struct measure_answer *a) {
    size_t size = (size_t)comm_size(job->comm);
    struct report mine = describe(job);
    struct report *all = mem_zalloc_array(size, sizeof *all);
    struct measure_rank *ranks = mem_zalloc_array(size, sizeof *ranks);
    comm_allgather(job->comm, &mine, all, sizeof mine);
    for (size_t r = 0; r < size; r++) {
        ranks[r] = all[r].totals;
        ranks[r].cpu = all[r].cpu;
    }
    a->size = (uint32_t)size;
    a->ranks = ranks;
    err e = ERR_OK;
    if (job->link) {
        struct wire_message m = {.kind = WIRE_MEASURED, .measured = *a};
        e = uplink_send(job->link, &m, &job->scratch);
        if (e == ERR_RANK_LOST) lifeline_end_process(job->lifeline, error_message());
    }
    mem_free(ranks);
    mem_free(all);
    return comm_agree(job->comm, e, NULL);
}

static err measure_limits(struct job *job, const struct measure_ask *ask,
                          struct measure_limits *out) {
    if (!job->limits) {
        (void)peak_rss_bytes(job); // before there is memory for measuring
        TRY(limits_create(&job->limits, job->comm, job->kernels, ask->memory_bytes));
    }
    limits_measure(job->limits, ask->reps, out);
    return ERR_OK;
}

/* All ranks work on their own parts of the same question at the same time. */
static err measure_kernels(struct job *job, const struct measure_ask *ask,
                           struct measure_time *times, struct measure_answer *a) {
    const struct kernel_times_subject subject = {.kernels = job->kernels,
                                                 .weights = job->weights,
                                                 .shape = &job->model->shape,
                                                 .host_ranks =
                                                     (uint32_t)comm_local_size(job->comm)};
    a->n_indexes = kernel_times_count(&subject);
    err e = kernel_times_run(&subject, ask->index, ask->reps, times, &a->n_times);
    return comm_agree(job->comm, e, NULL);
}

err measuring_run(struct job *job, const struct measure_ask *ask) {
    struct measure_time times[KERNEL_TIMES_MAX];
    struct measure_answer a = {.times = times};
    switch (ask->what) {
    case MEASURE_LIMITS: TRY(measure_limits(job, ask, &a.limits)); break;
    case MEASURE_KERNELS: TRY(measure_kernels(job, ask, times, &a)); break;
    case MEASURE_COLLECTIVES:
        a.n_indexes = allreduce_times_count();
        TRY(allreduce_times_run(job->comm, ask->index, ask->reps, times, &a.n_times));
        break;
    case MEASURE_COUNTERS:
    case MEASURE_N_WHATS: break;
    }
    return answer(job, &a);
}
