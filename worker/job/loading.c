// SPDX-License-Identifier: MIT
/* loading.c: see loading.h.
 *
 * Main thread of every rank, from the first message to the answer LOADED.  Whatever can go wrong on
 * one rank only (its file, its memory) is agreed on before the next collective, so no rank waits
 * for one that gave up. */

#include "worker/job/loading.h"

#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "worker/job/hostinfo.h"

#define PROGRESS_NS      UINT64_C(100000000) // between two PROGRESS messages
#define MAX_HEADER_BYTES ((size_t)1 << 30)
#define MIB              (1024.0 * 1024.0)

static bool is_rank0(const struct job *job) {
    return comm_rank(job->comm) == 0;
}

/* ---- OPEN ---- */

/* What each rank found when it tried to open the file. */
struct finding {
    uint64_t identity;
    int32_t opened;
};

static err check_same_file(const struct job *job, const struct finding *all, int source) {
    for (int r = source + 1; r < comm_size(job->comm); r++) {
        if (all[r].opened && all[r].identity != all[source].identity)
            return FAIL(ERR_MISMATCH,
                        "the model file differs between hosts: identity %016" PRIx64
                        " for rank %d on %s, %016" PRIx64 " for rank %d on %s",
                        all[source].identity, source, comm_host(job->comm, source), all[r].identity,
                        r, comm_host(job->comm, r));
    }
    return ERR_OK;
}

/* The headers of `source` reach the ranks without the file.  Collective. */
static err share_headers(struct job *job, int source) {
    struct buf headers;
    buf_init(&headers, MAX_HEADER_BYTES);
    err e = ERR_OK;
    if (comm_rank(job->comm) == source) {
        gguf_put_headers(job->gguf, &headers);
        if (headers.failed) {
            buf_clear(&headers);
            e = FAIL(ERR_MODEL, "the model's headers are larger than %zu MiB",
                     MAX_HEADER_BYTES >> 20);
        }
    }
    comm_bcast_buf(job->comm, &headers, source);
    if (!job->gguf && headers.length)
        e = gguf_from_headers(&job->gguf, headers.data, headers.length);
    buf_deinit(&headers);
    return comm_agree(job->comm, e, NULL);
}

/* Finds out who has the file.  *n_readers of them.  Collective. */
static err open_everywhere(struct job *job, const char *path, uint32_t *n_readers) {
    int size = comm_size(job->comm), source = -1;
    err mine = gguf_open(&job->gguf, path);
    if (mine != ERR_OK && access(path, F_OK) == 0)
        log_warn("this rank cannot use its model file and relies on others: %s", error_message());
    struct finding found = {.opened = mine == ERR_OK};
    if (found.opened) found.identity = gguf_identity(job->gguf);

    struct finding *all = mem_zalloc_array((size_t)size, sizeof *all);
    comm_allgather(job->comm, &found, all, sizeof found);
    for (int r = size - 1; r >= 0; r--) {
        if (!all[r].opened) continue;
        source = r;
        ++*n_readers;
    }
    err e = source < 0 ? comm_agree(job->comm, mine, NULL) : check_same_file(job, all, source);
    mem_free(all);
    if (e == ERR_OK && *n_readers < (uint32_t)size) e = share_headers(job, source);
    return e;
}

static err send_headers(struct job *job, const struct buf *headers) {
    for (size_t at = 0; at < headers->length; at += WIRE_HEADERS_CHUNK) {
        size_t left = headers->length - at;
        size_t n = left < WIRE_HEADERS_CHUNK ? left : WIRE_HEADERS_CHUNK;
        struct wire_message m = {
            .kind = WIRE_HEADERS,
            .headers = {.bytes = headers->data + at, .n = n, .last = n == left}};
        TRY(uplink_send(job->link, &m, &job->scratch));
    }
    return ERR_OK;
}

static err answer_opened(struct job *job, uint32_t n_readers, bool want_headers) {
    struct buf headers;
    buf_init(&headers, MAX_HEADER_BYTES);
    if (want_headers) gguf_put_headers(job->gguf, &headers);
    struct wire_message m = {.kind = WIRE_OPENED,
                             .opened = {.identity = gguf_identity(job->gguf),
                                        .n_readers = n_readers,
                                        .headers_bytes = headers.length}};
    err e = uplink_send(job->link, &m, &job->scratch);
    if (e == ERR_OK) e = send_headers(job, &headers);
    buf_deinit(&headers);
    return e;
}

err loading_open(struct job *job, const struct wire_open *open) {
    uint32_t n_readers = 0;
    TRY(open_everywhere(job, open->path, &n_readers));
    err e = is_rank0(job) ? answer_opened(job, n_readers, open->want_headers) : ERR_OK;
    return comm_agree(job->comm, e, NULL);
}

/* ---- LOAD ---- */

static err check_limits(const struct wire_load *load) {
    const struct {
        const char *name;
        uint32_t value, min, max;
    } limits[] = {
        {"kv_blocks", load->kv_blocks, 1, UINT32_MAX / KV_BLOCK_TOKENS},
        {"max_step_tokens", load->max_step_tokens, 1, BATCH_MAX_TOKENS},
        {"max_batch", load->max_batch, 1, BATCH_MAX_SEQS},
        {"threads", load->threads, 0, CPU_SETSIZE},
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        if (limits[i].value < limits[i].min || limits[i].value > limits[i].max)
            return FAIL(ERR_PROTOCOL, "%s is %u in the load message; it must be %u to %u",
                        limits[i].name, limits[i].value, limits[i].min, limits[i].max);
    }
    return ERR_OK;
}

/* Is this the model, and the plan, that the coordinator thinks of? */
static err check_meaning(struct job *job, const struct wire_load *load) {
    uint64_t identity = gguf_identity(job->gguf), hash = plan_hash(&load->plan);
    if (identity != load->identity)
        return FAIL(ERR_MISMATCH,
                    "the ranks opened the model %016" PRIx64 ", the coordinator %016" PRIx64
                    ": is the same file everywhere?",
                    identity, load->identity);
    if (load->plan.size != (uint32_t)comm_size(job->comm))
        return FAIL(ERR_MISMATCH, "the plan is for %u ranks, the job has %d", load->plan.size,
                    comm_size(job->comm));
    if (hash != load->plan_hash)
        return FAIL(ERR_MISMATCH,
                    "the plan's hash is %016" PRIx64 " here, %016" PRIx64 " for the coordinator",
                    hash, load->plan_hash);
    TRY(check_limits(load));
    TRY(model_create(&job->model, job->gguf));
    return plan_check(&load->plan, &job->model->shape);
}

/* What a rank needs and what there is, told to all. */
struct need {
    uint64_t weights, kv, scratch;
    struct hostinfo_memory memory;
    int32_t host_leader;
};

static uint64_t need_bytes(const struct need *n) {
    return n->weights + n->kv + n->scratch;
}

/* The ranks of one host draw on one memory, those of one control group on one limit. */
static err check_memory(const struct job *job, const struct need *all) {
    int me = comm_rank(job->comm), on_host = 0, in_group = 0;
    uint64_t host_bytes = 0, group_bytes = 0;
    for (int r = 0; r < comm_size(job->comm); r++) {
        if (all[r].host_leader != all[me].host_leader) continue;
        on_host++;
        host_bytes += need_bytes(&all[r]);
        if (all[r].memory.cgroup_id != all[me].memory.cgroup_id) continue;
        in_group++;
        group_bytes += need_bytes(&all[r]);
    }
    bool group_fails = group_bytes > all[me].memory.cgroup_bytes;
    if (!group_fails && host_bytes <= all[me].memory.host_bytes) return ERR_OK;
    const struct need *n = &all[me];
    int sharing = group_fails ? in_group : on_host;
    return FAIL(ERR_MEMORY,
                "%d rank%s on this host need%s %.0f MiB together (this one: weights %.0f, KV cache "
                "%.0f, buffers %.0f) and %.0f MiB %s: use more hosts or ranks, a smaller --ctx, "
                "--kv-memory or --max-batch, or --kv-type f16",
                sharing, sharing == 1 ? "" : "s", sharing == 1 ? "s" : "",
                (double)(group_fails ? group_bytes : host_bytes) / MIB, (double)n->weights / MIB,
                (double)n->kv / MIB, (double)n->scratch / MIB,
                (double)(group_fails ? n->memory.cgroup_bytes : n->memory.host_bytes) / MIB,
                group_fails ? "are left under its control group's limit" : "are available");
}

/* Collective: `e` is this rank's error so far. */
static err agree_on_memory(struct job *job, const struct step_limits *limits, err e) {
    TRY(comm_agree(job->comm, e, NULL));
    uint32_t r = (uint32_t)comm_rank(job->comm);
    const struct model_shape *shape = &job->model->shape;
    struct need mine = {.weights = weights_packed_bytes(job->model, &job->plan, r, job->kernels),
                        .kv = step_kv_bytes(shape, &job->plan, r, limits),
                        .scratch = step_scratch_bytes(shape, &job->plan, r, limits),
                        .memory = hostinfo_memory(""),
                        .host_leader = comm_host_leader(job->comm, (int)r)};
    struct need *all = mem_zalloc_array((size_t)comm_size(job->comm), sizeof *all);
    comm_allgather(job->comm, &mine, all, sizeof mine);
    e = check_memory(job, all);
    mem_free(all);
    return comm_agree(job->comm, e, NULL);
}

struct progress {
    struct job *job;
    uint64_t last_ns, last_bytes;
    bool link_failed;
};

static void tell_progress(void *ctx, uint64_t bytes_done, uint64_t bytes_total) {
    struct progress *p = ctx;
    uint64_t now = clock_ns();
    lifeline_add_progress(p->job->lifeline, bytes_done - p->last_bytes);
    p->last_bytes = bytes_done;
    if (p->link_failed || (bytes_done < bytes_total && now - p->last_ns < PROGRESS_NS)) return;
    p->last_ns = now;
    struct wire_message m = {.kind = WIRE_PROGRESS,
                             .progress = {.bytes_done = bytes_done, .bytes_total = bytes_total}};
    p->link_failed = uplink_send(p->job->link, &m, &p->job->scratch) != ERR_OK;
}

static void copy_plan(struct plan *dst, const struct plan *src) {
    plan_init(dst, src->size);
    memcpy(dst->ranks, src->ranks, src->size * sizeof *src->ranks);
}

/* Rank 0 hears from everybody what the loading came to, and tells the coordinator. */
static err answer_loaded(struct job *job, const struct step_limits *limits, uint64_t load_ns) {
    int size = comm_size(job->comm), me = comm_rank(job->comm);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    struct wire_rank_stats mine = {
        .weight_bytes = job->weights->bytes,
        .kv_bytes = step_kv_bytes(&job->model->shape, &job->plan, (uint32_t)me, limits),
        .file_bytes_read = job->weights->file_bytes_read,
        .peak_rss_bytes = (uint64_t)usage.ru_maxrss * 1024,
        .threads = job->team.threads};
    struct wire_rank_stats *all = mem_zalloc_array((size_t)size, sizeof *all);
    comm_allgather(job->comm, &mine, all, sizeof mine);
    err e = ERR_OK;
    if (me == 0) {
        struct wire_message m = {
            .kind = WIRE_LOADED,
            .loaded = {.size = (uint32_t)size, .ranks = all, .load_ns = load_ns}};
        e = uplink_send(job->link, &m, &job->scratch);
    }
    mem_free(all);
    return comm_agree(job->comm, e, NULL);
}

err loading_load(struct job *job, const struct wire_load *load) {
    uint64_t begin_ns = clock_ns();
    struct step_limits limits = {.kv_blocks = load->kv_blocks,
                                 .kv_f32 = load->kv_f32,
                                 .max_step_tokens = load->max_step_tokens,
                                 .max_batch = load->max_batch,
                                 .mpi_allreduce = load->mpi_allreduce,
                                 .check_ranks = load->check_ranks};
    err e = check_meaning(job, load);
    if (e == ERR_OK) copy_plan(&job->plan, &load->plan);
    TRY(agree_on_memory(job, &limits, e));

    threads_decide(&job->team, &job->host, load->threads);
    threads_apply(&job->team);
    comm_set_spinning(job->comm, !job->team.crowded);
    struct progress progress = {.job = job};
    TRY(weights_load(&job->weights, job->comm, job->gguf, job->model, &job->plan, job->kernels,
                     tell_progress, &progress));
    e = step_create(&job->runner, job->comm, &job->model->shape, &job->plan, job->weights,
                    job->kernels, &limits);
    TRY(comm_agree(job->comm, e, NULL));
    return answer_loaded(job, &limits, clock_ns() - begin_ns);
}

void loading_release(struct job *job) {
    limits_free(job->limits);
    step_free(job->runner);
    weights_free(job->weights);
    model_free(job->model);
    gguf_close(job->gguf);
    plan_deinit(&job->plan);
    job->limits = NULL;
    job->runner = NULL;
    job->weights = NULL;
    job->model = NULL;
    job->gguf = NULL;
}
