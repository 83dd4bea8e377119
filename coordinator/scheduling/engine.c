// SPDX-License-Identifier: MIT
/* engine.c: see engine.h.
 *
 *   submit ─► sched ─► batch ─► cluster ─► ranks
 *   sinks  ◄─ sched ◄─ result ◄─ cluster ◄─┘
 *
 * All work is done by `pump`, which runs from a zero timer or after a result, never inside a
 * caller's submit or cancel: sinks are not called while their owner is in the middle of something.
 * Two steps may be with the ranks; the timer also makes the second one when it is due. */

#include "coordinator/scheduling/engine.h"

#include <stdio.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "coordinator/scheduling/sched.h"

#define TIMER_NS ((uint64_t)1000 * 1000) // the loop's timers count milliseconds
#define NS_PER_S ((uint64_t)1000 * 1000 * 1000)

struct engine {
    uv_loop_t *loop;
    uv_timer_t pump_timer;
    const struct options *options;
    struct engine_events events;
    void *ctx;
    enum engine_state state;
    struct cluster *cluster;
    struct sched *sched; // from ready on
    bool measuring;
    struct engine_step under_way[SCHED_MAX_FLIGHTS]; // oldest first
    uint32_t n_under_way;
    err failure;
    char failure_message[1024];
};

/* ---- the pump ---- */

static void start_timer(struct engine *e, uint64_t ms);

/* Every open request ends with this error. */
static void end_requests(struct engine *e, err code, const char *message) {
    e->state = ENGINE_FAILED;
    e->failure = code;
    snprintf(e->failure_message, sizeof e->failure_message, "%s", message);
    if (!e->sched) return;
    sched_fail_all(e->sched, code, e->failure_message);
    sched_flush(e->sched);
}

/* Coordinator and ranks no longer agree on what is to be done.  `failed` is said when the ranks are
 * gone. */
static void give_up(struct engine *e) {
    end_requests(e, ERR_PROTOCOL, error_message());
    cluster_stop(e->cluster);
}

static void send_step(struct engine *e, const struct batch *batch) {
    e->under_way[e->n_under_way++] = (struct engine_step){
        .sent_ns = clock_ns(), .n_seqs = batch->n_seqs, .n_tokens = batch->n_tokens};
    err status = cluster_send_step(e->cluster, batch);
    if (status == ERR_OK || status == ERR_RANK_LOST) return; // lost: `failed` is on its way
    log_error("a step could not be sent: %s", error_message());
    give_up(e);
}

static bool is_running(const struct engine *e) {
    return e->state == ENGINE_READY || e->state == ENGINE_DRAINING;
}

static void pump(struct engine *e) {
    sched_flush(e->sched);
    while (is_running(e) && !e->measuring) {
        struct batch batch;
        uint64_t now_ns = clock_ns(), wait_ns = sched_wait_ns(e->sched, now_ns);
        if (wait_ns == SCHED_NEVER) return;
        if (wait_ns >= TIMER_NS) {
            start_timer(e, wait_ns / TIMER_NS);
            return;
        }
        if (!sched_next(e->sched, now_ns, &batch)) {
            if (e->n_under_way == 0 && e->events.idle) e->events.idle(e->ctx);
            return;
        }
        send_step(e, &batch);
    }
}

static void on_pump_timer(uv_timer_t *timer) {
    pump((struct engine *)timer->data);
}

static void start_timer(struct engine *e, uint64_t ms) {
    CHECK(uv_timer_start(&e->pump_timer, on_pump_timer, ms, 0) == 0);
}

/* Asks for a pump in the next turn of the loop. */
static void schedule_pump(struct engine *e) {
    start_timer(e, 0);
}

/* ---- what the cluster says ---- */

static void on_ready(void *ctx) {
    struct engine *e = ctx;
    const struct cluster_info *info = cluster_info(e->cluster);
    const struct options *o = e->options; // only `serve` bounds its queue
    const struct sched_limits limits = {
        .n_vocab = info->model->shape.n_vocab,
        .kv_blocks = info->kv_blocks,
        .ctx = info->ctx,
        .max_batch = info->max_batch,
        .max_step_tokens = info->max_step_tokens,
        .chunk_tokens = o->chunk_tokens,
        .max_queue_requests = o->queue_requests ? o->queue_requests : UINT32_MAX,
        .max_queue_tokens = o->queue_tokens ? o->queue_tokens : UINT64_MAX,
        .no_prefix_cache = o->prefix_cache == SWITCH_OFF,
        .epoch = info->epoch,
    };
    e->sched = sched_create(&limits, info->tokenizer);
    if (e->state == ENGINE_STARTING) e->state = ENGINE_READY;
    e->events.ready(e->ctx);
}

/* The oldest step is answered. */
static void take_answered(struct engine *e) {
    struct engine_step step = e->under_way[0];
    step.received_ns = clock_ns();
    e->n_under_way--;
    for (uint32_t i = 0; i < e->n_under_way; i++) e->under_way[i] = e->under_way[i + 1];
    if (e->events.step) e->events.step(e->ctx, &step);
}

static void on_result(void *ctx, const struct batch_result *result) {
    struct engine *e = ctx;
    if (e->state == ENGINE_FAILED) return;
    if (e->n_under_way > 0) take_answered(e);
    if (sched_apply(e->sched, result, clock_ns()) == ERR_OK) {
        pump(e);
        return;
    }
    give_up(e);
}

static void on_measured(void *ctx, const struct measure_answer *answer) {
    struct engine *e = ctx;
    e->measuring = false;
    if (e->events.measured) e->events.measured(e->ctx, answer);
    schedule_pump(e);
}

static void on_failed(void *ctx, err code, const char *message) {
    struct engine *e = ctx;
    if (e->state != ENGINE_FAILED) end_requests(e, code, message);
    e->events.failed(e->ctx, e->failure, e->failure_message);
}

static void on_stopped(void *ctx) {
    struct engine *e = ctx;
    if (e->state == ENGINE_FAILED) {
        e->events.failed(e->ctx, e->failure, e->failure_message);
        return;
    }
    e->state = ENGINE_STOPPED;
    if (e->sched) sched_flush(e->sched);
    e->events.stopped(e->ctx);
}

static const struct cluster_events cluster_callbacks = {.ready = on_ready,
                                                        .result = on_result,
                                                        .measured = on_measured,
                                                        .failed = on_failed,
                                                        .stopped = on_stopped};

/* ---- the owner's side ---- */

err engine_start(struct engine **out, uv_loop_t *loop, const struct options *o, int bootstrap_fd,
                 const struct engine_events *events, void *ctx) {
    struct engine *e = mem_zalloc(sizeof *e);
    e->loop = loop;
    e->options = o;
    e->events = *events;
    e->ctx = ctx;
    CHECK(uv_timer_init(loop, &e->pump_timer) == 0);
    e->pump_timer.data = e;
    err status = cluster_start(&e->cluster, loop, o, bootstrap_fd, &cluster_callbacks, e);
    if (status != ERR_OK) {
        e->cluster = NULL;
        engine_free(e);
        return status;
    }
    *out = e;
    return ERR_OK;
}

enum engine_state engine_get_state(const struct engine *e) {
    return e->state;
}

const struct cluster_info *engine_info(const struct engine *e) {
    return e->sched ? cluster_info(e->cluster) : NULL;
}

struct engine_counts engine_get_counts(const struct engine *e) {
    if (!e->sched) return (struct engine_counts){0};
    struct sched_counts c = sched_get_counts(e->sched);
    return (struct engine_counts){.running = c.running,
                                  .waiting = c.waiting,
                                  .kv_blocks = c.kv_blocks,
                                  .kv_blocks_used = c.kv_blocks_used,
                                  .cancelled = c.cancelled,
                                  .preempted = c.preempted,
                                  .prefix_cache_queries = c.prefix_queries,
                                  .prefix_cache_hits = c.prefix_hits};
}

uint32_t engine_retry_s(const struct engine *e) {
    if (!e->sched) return ENGINE_MIN_RETRY_S;
    uint64_t s = sched_expect_room_ns(e->sched, clock_ns()) / NS_PER_S + 1; // rounded up
    return s < ENGINE_MAX_RETRY_S ? (uint32_t)s : ENGINE_MAX_RETRY_S;
}

err engine_submit(struct engine *e, const int32_t *prompt, size_t n_prompt,
                  const struct request_params *p, const struct request_sink *sink, void *sink_ctx,
                  uint64_t *id) {
    switch (e->state) {
    case ENGINE_READY: break;
    case ENGINE_STARTING: return FAIL(ERR_LAUNCH, "the model is still loading: try again later");
    case ENGINE_DRAINING: return FAIL(ERR_BUSY, "the server is shutting down");
    case ENGINE_FAILED: return FAIL(ERR_RANK_LOST, "%s", e->failure_message);
    case ENGINE_STOPPED: return FAIL(ERR_RANK_LOST, "the ranks have ended");
    }
    TRY(sched_submit(e->sched, prompt, n_prompt, p, sink, sink_ctx, clock_ns(), id));
    schedule_pump(e);
    return ERR_OK;
}

void engine_cancel(struct engine *e, uint64_t id) {
    if (!e->sched) return;
    sched_cancel(e->sched, id);
    schedule_pump(e);
}

void engine_abandon(struct engine *e, uint64_t id) {
    if (!e->sched) return;
    sched_abandon(e->sched, id);
    schedule_pump(e);
}

void engine_resume(struct engine *e, uint64_t id) {
    if (!e->sched) return;
    sched_resume(e->sched, id);
    schedule_pump(e);
}

err engine_measure(struct engine *e, const struct measure_ask *ask) {
    if (e->state != ENGINE_READY) return FAIL(ERR_RANK_LOST, "the ranks are not ready to measure");
    if (e->n_under_way > 0 || e->measuring)
        return FAIL(ERR_BUSY, "the ranks work on something else: measure when they are idle");
    TRY(cluster_measure(e->cluster, ask));
    e->measuring = true;
    return ERR_OK;
}

void engine_drain(struct engine *e) {
    if (e->state == ENGINE_READY || e->state == ENGINE_STARTING) e->state = ENGINE_DRAINING;
}

void engine_stop(struct engine *e) {
    if (e->state == ENGINE_FAILED || e->state == ENGINE_STOPPED) return;
    e->state = ENGINE_DRAINING;
    if (e->sched) {
        sched_fail_all(e->sched, ERR_CANCELLED, "the server was stopped");
        schedule_pump(e);
    }
    cluster_stop(e->cluster);
}

static void on_timer_closed(uv_handle_t *handle) {
    struct engine *e = handle->data;
    mem_free(e);
}

void engine_free(struct engine *e) {
    if (!e) return;
    sched_free(e->sched);
    e->sched = NULL;
    cluster_free(e->cluster);
    e->cluster = NULL;
    uv_close((uv_handle_t *)&e->pump_timer, on_timer_closed);
}
