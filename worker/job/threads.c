// SPDX-License-Identifier: MIT
/* threads.c: see threads.h.
 *
 * Main thread of every rank.  All ranks step in time, so the slowest decides: ranks that share CPUs
 * get equally many of them and a remainder stays free.  OpenMP's own binding is switched off: it
 * knows one process only, and every rank of a host would bind its first thread to the same CPU. */

#include "worker/job/threads.h"

#include <errno.h>
#include <hwloc.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "worker/job/hostinfo.h"
#include "worker/job/team.h"

/* While the main thread waits for other hosts the rest of its team sleeps: what it would burn may
 * be what a control group allows the coordinator. */
#define TEAM_YIELD_NS 200000u

/* ---- the host ---- */

/* The machine's own order: threads of a core, cores of a package, packages. */
static void read_cpu_order(struct threads_host *h) {
    size_t n = 0;
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) == 0) {
        if (hwloc_topology_load(topology) == 0) {
            hwloc_obj_t cpu = NULL;
            while ((cpu = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_PU, cpu)) != NULL) {
                if (cpu->os_index < CPU_SETSIZE && n < CPU_SETSIZE)
                    h->order[n++] = (uint16_t)cpu->os_index;
            }
        }
        hwloc_topology_destroy(topology);
    }
    h->n_online = n;
    cpu_set_t seen; // what hwloc did not see comes last, by number
    CPU_ZERO(&seen);
    for (size_t i = 0; i < n; i++) CPU_SET(h->order[i], &seen);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &seen)) h->order[n++] = (uint16_t)cpu;
    }
}

void threads_host_init(struct threads_host *h, struct comm *c) {
    size_t size = (size_t)comm_size(c);
    *h = (struct threads_host){.n = 0};
    struct hostinfo_memory memory = hostinfo_memory("");
    struct threads_view mine = {.quota_cpus = hostinfo_cpu_quota(""),
                                .cgroup_id = memory.cgroup_id,
                                .host_leader = comm_host_leader(c, comm_rank(c))};
    CPU_ZERO(&mine.mask);
    if (sched_getaffinity(0, sizeof mine.mask, &mine.mask) != 0) CPU_SET(0, &mine.mask);

    struct threads_view *all = mem_zalloc_array(size, sizeof *all);
    comm_allgather(c, &mine, all, sizeof mine);
    for (size_t r = 0; r < size; r++) {
        if (all[r].host_leader != mine.host_leader) continue;
        if (r == (size_t)comm_rank(c)) h->me = h->n;
        all[h->n++] = all[r];
    }
    h->ranks = all;
    snprintf(h->name, sizeof h->name, "%s", comm_host(c, comm_rank(c)));
    read_cpu_order(h);
}

void threads_host_deinit(struct threads_host *h) {
    mem_free(h->ranks);
    h->ranks = NULL;
    h->n = 0;
}

/* ---- the division ---- */

struct share {
    size_t cpus;     // per rank; 0 when there are fewer CPUs than ranks
    size_t place;    // of this rank among those with the same mask
    bool exact;      // all ranks that overlap have the very same mask
    size_t quota;    // whole CPUs' worth of time per rank, SIZE_MAX without limit
    size_t all_cpus; // of any rank of the host
};

static struct share share_of(const struct threads_host *h) {
    const struct threads_view *mine = &h->ranks[h->me];
    struct share s = {.exact = true, .quota = SIZE_MAX};
    size_t overlapping = 0, same_group = 0;
    cpu_set_t everybody;
    CPU_ZERO(&everybody);
    for (size_t r = 0; r < h->n; r++) {
        const struct threads_view *other = &h->ranks[r];
        cpu_set_t common;
        CPU_AND(&common, &mine->mask, &other->mask);
        CPU_OR(&everybody, &everybody, &other->mask);
        bool equal = CPU_EQUAL(&mine->mask, &other->mask);
        overlapping += CPU_COUNT(&common) > 0;
        s.exact = s.exact && (equal || CPU_COUNT(&common) == 0);
        s.place += equal && r < h->me;
        same_group += other->cgroup_id == mine->cgroup_id;
    }
    s.all_cpus = (size_t)CPU_COUNT(&everybody);
    s.cpus = (size_t)CPU_COUNT(&mine->mask) / overlapping;
    if (mine->quota_cpus > 0) {
        double each = mine->quota_cpus / (double)same_group;
        s.quota = each >= 1 ? (size_t)each : 1;
    }
    return s;
}

/* The CPUs of this rank: its own when pinned, all of its mask otherwise. */
static void choose_cpus(struct threads_team *t, const struct threads_host *h,
                        const struct share *s) {
    size_t skip = t->pinned ? s->place * s->cpus : 0;
    size_t most = t->pinned ? t->threads : CPU_SETSIZE;
    for (size_t i = 0; i < CPU_SETSIZE && t->n_cpus < most; i++) {
        if (!CPU_ISSET(h->order[i], &h->ranks[h->me].mask)) continue;
        if (skip > 0) {
            skip--;
            continue;
        }
        t->cpus[t->n_cpus++] = h->order[i];
    }
}

/* One voice per host: the first rank's. */
static void find_warnings(struct threads_team *t, const struct threads_host *h,
                          const struct share *s) {
    if (h->me != 0) return;
    if (CPU_COUNT(&h->ranks[0].mask) == 1 && h->n_online > 1)
        snprintf(t->warnings[t->n_warnings++], sizeof *t->warnings,
                 "rank bound to one of the %zu CPUs of %s (mpirun does so by itself for two ranks "
                 "or fewer): start it with --bind-to none to use them all",
                 h->n_online, h->name);
    if (t->crowded)
        snprintf(t->warnings[t->n_warnings++], sizeof *t->warnings,
                 "%zu rank%s with %u thread%s each share %zu CPU%s of %s: this will be slow; start "
                 "fewer ranks there or give -t",
                 h->n, h->n == 1 ? "" : "s", t->threads, t->threads == 1 ? "" : "s", s->all_cpus,
                 s->all_cpus == 1 ? "" : "s", h->name);
}

void threads_decide(struct threads_team *t, const struct threads_host *h, uint32_t wanted) {
    struct share s = share_of(h);
    size_t fair = s.cpus < s.quota ? s.cpus : s.quota;
    *t = (struct threads_team){.threads = wanted ? wanted : (uint32_t)fair};
    if (t->threads == 0) t->threads = 1;
    t->pinned = s.exact && t->threads <= s.cpus;
    t->crowded = t->threads > s.cpus || t->threads > s.quota;
    choose_cpus(t, h, &s);
    find_warnings(t, h, &s);
}

void threads_apply(const struct threads_team *t) {
    omp_set_dynamic(0);
    omp_set_num_threads((int)t->threads);
    struct waiting_limits limits = waiting_limits_for(!t->crowded);
    if (limits.yield_ns > TEAM_YIELD_NS) limits.yield_ns = TEAM_YIELD_NS;
    team_set_waiting(&limits);
    if (!t->pinned) return;
    int failed = 0;
#pragma omp parallel num_threads((int)t->threads) reduction(+ : failed)
    {
        cpu_set_t own;
        CPU_ZERO(&own);
        CPU_SET(t->cpus[omp_get_thread_num()], &own);
        failed += sched_setaffinity(0, sizeof own, &own) != 0;
    }
    if (failed) log_warn("%d of %u threads could not be bound to their CPUs", failed, t->threads);
}

void threads_describe(const struct threads_team *t, char *out, size_t n) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (uint32_t i = 0; i < t->n_cpus; i++) CPU_SET(t->cpus[i], &set);
    size_t used = 0;
    if (n) out[0] = '\0';
    for (size_t begin = 0; begin < CPU_SETSIZE && used < n; begin++) {
        if (!CPU_ISSET(begin, &set)) continue;
        size_t end = begin;
        while (end + 1 < CPU_SETSIZE && CPU_ISSET(end + 1, &set)) end++;
        const char *comma = used ? "," : "";
        int m = end > begin ? snprintf(out + used, n - used, "%s%zu-%zu", comma, begin, end)
                            : snprintf(out + used, n - used, "%s%zu", comma, begin);
        used += (size_t)m;
        begin = end;
    }
}

/* ---- before OpenMP is loaded ---- */

/* More ranks than CPUs here: a waiting thread takes the CPU from one that works. */
static bool host_is_crowded(void) {
    const char *local = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
    cpu_set_t mask;
    if (!local || sched_getaffinity(0, sizeof mask, &mask) != 0) return false;
    return strtol(local, NULL, 10) > CPU_COUNT(&mask);
}

err threads_settle_environment(char **argv) {
    static const char done[] = "LOCKSTEP_OMP";
    if (getenv(done)) return ERR_OK;
    unsetenv("GOMP_CPU_AFFINITY");
    setenv("OMP_PROC_BIND", "false", 1);
    setenv("OMP_DYNAMIC", "false", 1);
    /* Soon after a step threads should still be awake (about 50 µs), in an idle
     * one they should not. */
    setenv("GOMP_SPINCOUNT", host_is_crowded() ? "100" : "10000", 1);
    setenv(done, "1", 1);
    execv("/proc/self/exe", argv);
    return FAIL(ERR_LAUNCH, "the program could not start itself again: %s", strerror(errno));
}
