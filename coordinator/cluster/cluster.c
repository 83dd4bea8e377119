// SPDX-License-Identifier: MIT
/* cluster.c: see cluster.h.
 *
 *   HELLO ──all here──► OPENING ──OPENED──► LOADING ──LOADED──► READY ──cluster_stop──► STOPPING
 *     └──────────┴─────────────┴──────────────────┴───── a loss ──► FAILING ──► CLOSING ◄────┘
 *
 * Messages to rank 0's link are numbered from 1.  When rank 0 says IDLE(m) the other ranks sleep
 * until a WAKE with a number above m arrives on their lifelines; so a WAKE goes out with the first
 * message after that, or at once if the message and IDLE have crossed on the way.
 *
 * A failure is first felt in one place and explained in another: STATE_FAILING waits a moment for
 * what mpirun has to say.  `failed` or `stopped` comes last, out of the last close callback. */

#include "coordinator/cluster/cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "coordinator/cluster/cluster_internal.h"

#define HELLO_LIMIT_MS 60000
#define TICK_MS        500
#define SILENT_TICKS   6   // without a frame: the rank is dead or hangs
#define COLLECT_MS     300 // for the launcher's explanation
#define STOP_LIMIT_MS  3000
#define OWN_END_MS     200  // for mpirun to end the other ranks itself
#define ORPHAN_END_MS  2000 // for ranks that are not ours to end, once their lifelines are cut

static void begin_failing(struct cluster *c);

static void on_handle_closed(struct cluster *c) {
    if (--c->n_open > 0) return;
    const struct cluster_events *events = c->events;
    void *ctx = c->ctx;
    // The owner may free the cluster from inside; nothing of it is touched afterwards.
    if (!events)
        cluster_free(c);
    else if (c->end_code == ERR_OK)
        events->stopped(ctx);
    else
        events->failed(ctx, c->end_code, c->end_message);
}

static void on_timer_closed(uv_handle_t *handle) {
    on_handle_closed(handle->data);
}

/* ---- messages to the ranks ---- */

static void wake_others(struct cluster *c) {
    struct wire_message wake = {.kind = WIRE_WAKE, .step = c->n_sent};
    c->idle = false;
    for (uint32_t r = 1; r < c->roster.size; r++)
        if (link_send(c->link, r, false, &wake) != ERR_OK) log_error("%s", error_message());
}

/* A numbered message to rank 0.  The others are woken first: they have the longer way. */
static err send_message(struct cluster *c, const struct wire_message *m) {
    c->n_sent++;
    if (c->idle) wake_others(c);
    return link_send(c->link, 0, true, m);
}

static void on_idle(struct cluster *c, uint64_t number) {
    if (number < c->n_sent)
        wake_others(c);
    else
        c->idle = true;
}

/* ---- failing and ending ---- */

static void close_all(struct cluster *c, unsigned grace_ms) {
    c->state = STATE_CLOSING;
    banner_progress_end(&c->progress);
    uv_close((uv_handle_t *)&c->tick, on_timer_closed);
    uv_close((uv_handle_t *)&c->deadline, on_timer_closed);
    if (c->link) link_close(c->link);
    supervisor_end(c->supervisor, grace_ms);
    if (c->bootstrap_fd >= 0) close(c->bootstrap_fd);
    c->bootstrap_fd = -1;
}

/* Ranks that we did not start learn why their job ends. */
static void tell_ranks(struct cluster *c) {
    struct wire_message m = {.kind = WIRE_ERROR,
                             .error = {.code = c->end_code, .message = c->end_message}};
    for (uint32_t r = 0; r < c->roster.size; r++)
        if (link_send(c->link, r, false, &m) != ERR_OK) log_debug("%s", error_message());
}

/* The evidence is in: say it, and end what is left. */
static void conclude(struct cluster *c) {
    const struct supervisor_launcher *l = supervisor_launcher(c->supervisor);
    const struct cause_launcher launcher = {.name = l->name,
                                            .ended = l->ended,
                                            .exit_code = l->exit_code,
                                            .signal = l->signal,
                                            .output = &l->output};
    bool started = roster_is_complete(&c->roster);
    c->end_code = cause_decide(&c->cause, &c->roster, &launcher, started, c->end_message,
                               sizeof c->end_message);
    // mpirun takes our standard error with it, perhaps before the command has come to its last
    // word.
    if (c->mode == MODE_MPIRUN) log_error("%s", c->end_message);
    if (c->mode != MODE_LAUNCH && c->link) tell_ranks(c);
    if (c->mode != MODE_LAUNCH && c->cause.lost_silent)
        supervisor_kill(c->supervisor, c->cause.lost_rank); // it cannot feel its lifeline end
    close_all(c, c->mode == MODE_LAUNCH ? OWN_END_MS : ORPHAN_END_MS);
}

static void on_collected(uv_timer_t *timer) {
    conclude(timer->data);
}

static void begin_failing(struct cluster *c) {
    if (c->state >= STATE_STOPPING) return;
    c->state = STATE_FAILING;
    bool explain = c->mode == MODE_LAUNCH && !c->cause.has_error && !c->cause.lost_silent &&
                   !supervisor_launcher(c->supervisor)->ended;
    uv_timer_start(&c->deadline, on_collected, explain ? COLLECT_MS : 0, 0);
}

void cluster_fail(struct cluster *c, err code, const char *message) {
    cause_error(&c->cause, code, message);
    begin_failing(c);
}

static void on_launcher_ended(void *ctx) {
    struct cluster *c = ctx;
    cause_launcher_end(&c->cause);
    if (c->state == STATE_FAILING)
        conclude(c);
    else if (c->state == STATE_STOPPING)
        close_all(c, 0);
    else
        begin_failing(c);
}

static void on_supervisor_ended(void *ctx) {
    on_handle_closed(ctx);
}

static const struct supervisor_events supervisor_events = {.launcher_ended = on_launcher_ended,
                                                           .ended = on_supervisor_ended};

/* ---- time ---- */

static void on_hello_limit(uv_timer_t *timer) {
    struct cluster *c = timer->data;
    struct buf missing;
    buf_init(&missing, 900);
    roster_describe_missing(&c->roster, &missing);
    buf_printf(&missing, " within %d s", HELLO_LIMIT_MS / 1000);
    cluster_fail(c, ERR_LAUNCH, missing.data);
    buf_deinit(&missing);
}

/* Ticks are counted, not time: after a pause of the whole machine one tick comes and then the
 * frames that were waiting, so nobody is taken for dead. */
static void on_tick(uv_timer_t *timer) {
    struct cluster *c = timer->data;
    if (c->state >= STATE_STOPPING) return;
    for (uint32_t r = 0; r < c->roster.size; r++) {
        if (!c->members[r].lifeline || ++c->members[r].silent_ticks <= SILENT_TICKS) continue;
        cause_loss(&c->cause, r, NULL, false);
        begin_failing(c);
        return;
    }
    bool rank0_here = c->members && c->members[0].lifeline; // then its lifeline tells
    if (c->parent && !rank0_here && getppid() != c->parent)
        cluster_fail(c, ERR_LAUNCH, "rank 0 ended before it had reported");
}

static void on_stop_limit(uv_timer_t *timer) {
    close_all(timer->data, 0);
}

/* ---- HELLO ---- */

void cluster_set_size(struct cluster *c) {
    c->members = mem_zalloc_array(c->roster.size, sizeof *c->members);
    c->ranks = mem_zalloc_array(c->roster.size, sizeof *c->ranks);
}

static void begin_opening(struct cluster *c) {
    struct wire_message m = {.kind = WIRE_OPEN,
                             .open = {.path = c->model.path, .want_headers = !c->model.gguf}};
    uv_timer_stop(&c->deadline);
    c->state = STATE_OPENING;
    if (send_message(c, &m) != ERR_OK) cluster_fail(c, ERR_PROTOCOL, error_message());
}

static void let_in(struct cluster *c, struct link_conn *conn, const struct wire_hello *h) {
    bool first = c->roster.n_here == 0 && !c->roster.has_link;
    roster_add(&c->roster, h);
    if (!c->members) cluster_set_size(c);
    if (h->is_link)
        c->members[h->rank].link = true;
    else
        c->members[h->rank].lifeline = true;
    c->n_connected++;
    struct cluster_rank *k = &c->ranks[h->rank];
    snprintf(k->host, sizeof k->host, "%s", h->host);
    k->pid = h->pid;
    k->threads = h->threads;
    k->up = true;
    if (!h->is_link && strcmp(h->host, c->host) == 0)
        supervisor_watch(c->supervisor, h->rank, (pid_t)h->pid, h->pid == c->parent, h->shm_files,
                         h->n_shm_files);
    if (first && c->mode == MODE_WAIT)
        uv_timer_start(&c->deadline, on_hello_limit, HELLO_LIMIT_MS, 0);
    link_accept(conn, h->rank, h->is_link);
    if (c->state == STATE_HELLO && roster_is_complete(&c->roster)) begin_opening(c);
}

static void on_hello(void *ctx, struct link_conn *conn, const struct wire_hello *h) {
    struct cluster *c = ctx;
    char why[512];
    enum hello_verdict verdict = roster_judge(&c->roster, h, why, sizeof why);
    if (verdict == HELLO_STRANGER || c->state >= STATE_STOPPING) {
        log_debug("a stranger without our secret was dropped from the control port");
        link_drop(conn);
    } else if (verdict == HELLO_ACCEPT) {
        let_in(c, conn, h);
    } else {
        link_refuse(conn, ERR_MISMATCH, why);
        if (verdict == HELLO_MISMATCH && c->state == STATE_HELLO)
            cluster_fail(c, ERR_MISMATCH, why);
        else
            log_warn("a worker was refused: %s", why);
    }
}

/* ---- messages from the ranks ---- */

static void begin_loading(struct cluster *c) {
    const struct options *o = c->options;
    err e = cluster_model_cut(&c->model, o, c->roster.size);
    if (e == ERR_OK) e = kvpool_decide(&c->pool, o, c->model.model, &c->model.plan, &c->roster);
    if (e != ERR_OK) {
        cluster_fail(c, e, error_message());
        return;
    }
    banner_print(&c->roster, &c->model, &c->pool, o);
    banner_progress_start(&c->progress);
    struct wire_message m = {.kind = WIRE_LOAD,
                             .load = {.identity = gguf_identity(c->model.gguf),
                                      .plan_hash = plan_hash(&c->model.plan),
                                      .plan = c->model.plan,
                                      .kv_blocks = c->pool.blocks,
                                      .kv_f32 = o->kv_type == KV_F32,
                                      .max_step_tokens = c->pool.max_step_tokens,
                                      .max_batch = o->max_batch,
                                      .threads = o->threads,
                                      .mpi_allreduce = o->allreduce == ALLREDUCE_MPI,
                                      .check_ranks = o->check_ranks}};
    c->state = STATE_LOADING;
    if (send_message(c, &m) != ERR_OK) cluster_fail(c, ERR_PROTOCOL, error_message());
}

static err on_opened(struct cluster *c, const struct wire_opened *m) {
    TRY(cluster_model_opened(&c->model, m));
    log_debug("the model is opened; %u of %u ranks can read it", m->n_readers, c->roster.size);
    if (c->model.gguf) begin_loading(c);
    return ERR_OK;
}

static err on_headers(struct cluster *c, const struct wire_headers *m) {
    bool complete;
    TRY(cluster_model_take_headers(&c->model, m, &complete));
    if (complete) begin_loading(c);
    return ERR_OK;
}

static err on_loaded(struct cluster *c, const struct wire_loaded *m) {
    if (m->size != c->roster.size)
        return FAIL(ERR_PROTOCOL, "rank 0 reports %u loaded ranks, there are %u", m->size,
                    c->roster.size);
    banner_progress_end(&c->progress);
    for (uint32_t r = 0; r < m->size; r++) {
        c->ranks[r].stats = m->ranks[r];
        c->ranks[r].threads = m->ranks[r].threads;
        c->ranks[r].isa = c->roster.ranks[r].isa;
        c->ranks[r].cpus = c->roster.ranks[r].cpus;
    }
    c->info = (struct cluster_info){.gguf = c->model.gguf,
                                    .model = c->model.model,
                                    .tokenizer = c->model.tokenizer,
                                    .plan = &c->model.plan,
                                    .size = c->roster.size,
                                    .ranks = c->ranks,
                                    .ctx = c->pool.ctx,
                                    .kv_blocks = c->pool.blocks,
                                    .max_batch = c->options->max_batch,
                                    .max_step_tokens = c->pool.max_step_tokens,
                                    .mpi = c->roster.ranks[0].mpi,
                                    .transport = c->roster.ranks[0].transport,
                                    .epoch = c->roster.epoch,
                                    .load_ns = m->load_ns};
    c->informed = true;
    c->state = STATE_READY;
    log_info("ready after loading for %.2f s", (double)m->load_ns / 1e9);
    c->events->ready(c->ctx);
    return ERR_OK;
}

static err on_result(struct cluster *c, const struct batch_result *result) {
    if (c->n_in_flight == 0 || result->step != c->in_flight[0])
        return FAIL(ERR_PROTOCOL, "rank 0 answered step %" PRIu64 ", which was not asked",
                    result->step);
    c->n_in_flight--;
    memmove(c->in_flight, c->in_flight + 1, c->n_in_flight * sizeof *c->in_flight);
    c->events->result(c->ctx, result);
    return ERR_OK;
}

static err on_measured(struct cluster *c, const struct measure_answer *answer) {
    if (!c->measuring || answer->size != c->roster.size)
        return FAIL(ERR_PROTOCOL, "rank 0 sent a measurement of %u ranks that was not asked for",
                    answer->size);
    c->measuring = false;
    c->events->measured(c->ctx, answer);
    return ERR_OK;
}

/* From rank 0's link: what it may say depends on how far we are. */
static err take_link_message(struct cluster *c, const struct wire_message *m) {
    enum cluster_state s = c->state;
    switch (m->kind) {
    case WIRE_IDLE: on_idle(c, m->step); return ERR_OK;
    case WIRE_OPENED:
        if (s == STATE_OPENING) return on_opened(c, &m->opened);
        break;
    case WIRE_HEADERS:
        if (s == STATE_OPENING) return on_headers(c, &m->headers);
        break;
    case WIRE_PROGRESS:
        if (s != STATE_LOADING) break;
        banner_progress_show(&c->progress, m->progress.bytes_done, m->progress.bytes_total);
        return ERR_OK;
    case WIRE_LOADED:
        if (s == STATE_LOADING) return on_loaded(c, &m->loaded);
        break;
    case WIRE_RESULT:
        if (s == STATE_READY) return on_result(c, &m->result);
        break;
    case WIRE_MEASURED:
        if (s == STATE_READY) return on_measured(c, &m->measured);
        break;
    default: break;
    }
    return FAIL(ERR_PROTOCOL, "rank 0 sent %s at the wrong time", wire_kind_name(m->kind));
}

static err take_lifeline_message(struct cluster *c, uint32_t rank, const struct wire_message *m) {
    if (m->kind != WIRE_HEARTBEAT)
        return FAIL(ERR_PROTOCOL, "rank %u sent %s on its lifeline", rank, wire_kind_name(m->kind));
    c->members[rank].silent_ticks = 0;
    c->members[rank].said_last |= m->heartbeat.last;
    c->ranks[rank].cpu_ns = m->heartbeat.cpu_ns;
    c->ranks[rank].totals = m->heartbeat.totals;
    c->ranks[rank].stats.peak_rss_bytes = m->heartbeat.peak_rss_bytes;
    return ERR_OK;
}

static void on_message(void *ctx, uint32_t rank, bool is_link, const struct wire_message *m) {
    struct cluster *c = ctx;
    if (m->kind == WIRE_ERROR) {
        cause_rank_error(&c->cause, &c->roster, &m->error);
        begin_failing(c);
        return;
    }
    // While stopping nobody waits for results, but ranks that fell asleep just before SHUTDOWN came
    // must be woken for it.
    bool asleep = c->state == STATE_STOPPING && m->kind == WIRE_IDLE;
    if (c->state >= STATE_STOPPING && is_link && !asleep) return;
    err e = is_link ? take_link_message(c, m) : take_lifeline_message(c, rank, m);
    if (e != ERR_OK) cluster_fail(c, e, error_message());
}

static void on_lost(void *ctx, uint32_t rank, bool is_link, err code, const char *why) {
    struct cluster *c = ctx;
    struct cluster_member *k = &c->members[rank];
    log_debug("rank %u: %s: %s", rank, is_link ? "link" : "lifeline", why);
    *(is_link ? &k->link : &k->lifeline) = false;
    c->n_connected--;
    c->ranks[rank].up = false;
    if (c->state == STATE_STOPPING) {
        if (c->n_connected == 0) close_all(c, STOP_LIMIT_MS);
        return;
    }
    if (code != ERR_OK)
        cause_error(&c->cause, code, why);
    else
        cause_loss(&c->cause, rank, why, k->said_last);
    begin_failing(c);
}

static void on_link_closed(void *ctx) {
    on_handle_closed(ctx);
}

const struct link_events cluster_link_events = {
    .hello = on_hello, .message = on_message, .lost = on_lost, .closed = on_link_closed};

/* ---- public ---- */

static void init_timer(struct cluster *c, uv_timer_t *timer) {
    CHECK(uv_timer_init(c->loop, timer) == 0);
    timer->data = c;
    c->n_open++;
}

err cluster_start(struct cluster **out, uv_loop_t *loop, const struct options *o, int bootstrap_fd,
                  const struct cluster_events *events, void *ctx) {
    struct cluster *c = mem_zalloc(sizeof *c);
    c->loop = loop;
    c->options = o;
    c->ctx = ctx;
    c->bootstrap_fd = bootstrap_fd;
    c->idle = true;
    init_timer(c, &c->tick);
    init_timer(c, &c->deadline);
    c->supervisor = supervisor_create(loop, &supervisor_events, c);
    c->n_open++;
    err e = cluster_begin(c);
    if (e != ERR_OK) {
        close_all(c, 0); // frees itself on the loop
        return e;
    }
    c->events = events;
    uv_timer_start(&c->tick, on_tick, TICK_MS, TICK_MS);
    if (c->state == STATE_HELLO && c->mode != MODE_WAIT)
        uv_timer_start(&c->deadline, on_hello_limit, HELLO_LIMIT_MS, 0);
    *out = c;
    return ERR_OK;
}

const struct cluster_info *cluster_info(const struct cluster *c) {
    return c->informed ? &c->info : NULL;
}

bool cluster_is_ready(const struct cluster *c) {
    return c->state == STATE_READY;
}

err cluster_send_step(struct cluster *c, const struct batch *b) {
    if (c->state != STATE_READY) return FAIL(ERR_RANK_LOST, "the ranks are not ready");
    CHECK(c->n_in_flight < CLUSTER_MAX_IN_FLIGHT);
    struct wire_message m = {.kind = WIRE_STEP, .batch = *b};
    TRY(send_message(c, &m));
    c->in_flight[c->n_in_flight++] = b->step;
    return ERR_OK;
}

err cluster_measure(struct cluster *c, const struct measure_ask *ask) {
    if (c->state != STATE_READY) return FAIL(ERR_RANK_LOST, "the ranks are not ready");
    CHECK(c->n_in_flight == 0 && !c->measuring);
    struct wire_message m = {.kind = WIRE_MEASURE, .measure = *ask};
    TRY(send_message(c, &m));
    c->measuring = true;
    return ERR_OK;
}

void cluster_stop(struct cluster *c) {
    struct wire_message m = {.kind = WIRE_SHUTDOWN};
    if (c->state >= STATE_STOPPING) return;
    if (c->state == STATE_READY && send_message(c, &m) == ERR_OK) {
        c->state = STATE_STOPPING;
        uv_timer_start(&c->deadline, on_stop_limit, STOP_LIMIT_MS, 0);
    } else {
        close_all(c, c->mode == MODE_LAUNCH ? 0 : ORPHAN_END_MS);
    }
}

void cluster_free(struct cluster *c) {
    if (!c) return;
    supervisor_free(c->supervisor);
    cluster_model_deinit(&c->model);
    roster_deinit(&c->roster);
    mem_free(c->members);
    mem_free(c->ranks);
    mem_free(c);
}
