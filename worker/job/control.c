// SPDX-License-Identifier: MIT
/* control.c: see control.h.
 *
 * Main thread of every rank.  Messages from the coordinator are numbered from 1 as they arrive on
 * rank 0's link.  While there is work, the ranks meet in a broadcast, message after message.  When
 * the link stays silent, rank 0 broadcasts IDLE and all leave MPI: it waits in poll() on its link,
 * the others for the lifeline to announce a number above the last one they have handled.
 *
 *      coordinator      rank 0                              rank 1 …
 *        STEP (m)  ───► check, broadcast ═════════════════► broadcast, decode
 *                       step_run ◄═══════════════════════►  step_run
 *                  ◄─── RESULT
 *                       silence: broadcast IDLE ══════════► wait_wake(seen = m)
 *                  ◄─── IDLE (m), poll(link)                        :
 *        STEP (m+1) ──► broadcast (waits) ═════════════════►        :
 *        WAKE (m+1) ──────────────── lifelines ────────────► awake: broadcast
 *
 * Rank 0 validates before it broadcasts; what it refuses goes out as ERROR in place of the message,
 * so all ranks end in the same way. */

#include "worker/job/control.h"

#include <inttypes.h>
#include <stdbool.h>

#include "common/frame.h"
#include "common/log.h"
#include "worker/job/loading.h"
#include "worker/job/measuring.h"

#define MESSAGE_BYTES 1024
#define SILENCE_MS    3 // on the link, after which the ranks rest

struct loop {
    struct job *job;
    struct buf message; // the payload being worked on
    uint64_t number;    // of the last message from the coordinator (elsewhere: when last idle)
    bool resting;       // outside MPI, waiting for the next message
    bool refused;       // rank 0 alone has failed: `message` is the ERROR for all
};

/* ---- rank 0: from the link to the broadcast ---- */

/* Makes `m`, a short one of our own, the message to broadcast. */
static void put_message(struct loop *loop, const struct wire_message *m) {
    arena_reset(&loop->job->scratch);
    buf_clear(&loop->message);
    CHECK(wire_encode(&loop->message, m, &loop->job->scratch) == ERR_OK);
    buf_consume(&loop->message, FRAME_HEADER_BYTES);
}

/* What only rank 0 has found wrong becomes everybody's next message. */
static void put_refusal(struct loop *loop, err e) {
    char text[MESSAGE_BYTES];
    uplink_clean_text(text, sizeof text, error_message());
    struct wire_message m = {.kind = WIRE_ERROR, .error = {.code = e, .message = text}};
    put_message(loop, &m);
    loop->refused = true;
}

/* Is this a message that the coordinator may send now?  Pending tokens of a step are put in. */
static err check_message(const struct job *job, struct wire_message *m) {
    switch (m->kind) {
    case WIRE_OPEN:
        if (job->gguf) return FAIL(ERR_PROTOCOL, "the coordinator opened a model twice");
        return ERR_OK;
    case WIRE_LOAD:
        if (!job->gguf) return FAIL(ERR_PROTOCOL, "the coordinator loads a model it did not open");
        if (job->model) return FAIL(ERR_PROTOCOL, "the coordinator loaded a model twice");
        return ERR_OK;
    case WIRE_STEP:
        if (!job->runner) return FAIL(ERR_PROTOCOL, "the coordinator sent a step before a model");
        if (m->batch.epoch != job->epoch)
            return FAIL(ERR_MISMATCH, "a step of epoch %" PRIu64 " came to ranks of epoch %" PRIu64,
                        m->batch.epoch, job->epoch);
        TRY(step_put_pending(job->runner, &m->batch, &m->batch));
        return step_check(job->runner, &m->batch);
    case WIRE_MEASURE:
        if (!job->runner) return FAIL(ERR_PROTOCOL, "the coordinator measures before a model");
        return ERR_OK;
    case WIRE_ERROR: // the coordinator gives up
    case WIRE_SHUTDOWN: return ERR_OK;
    default:
        return FAIL(ERR_PROTOCOL, "the coordinator sent %s to the ranks", wire_kind_name(m->kind));
    }
}

static err take_message(struct loop *loop, const uint8_t *payload, size_t n) {
    struct wire_message m;
    buf_clear(&loop->message);
    buf_append(&loop->message, payload, n);
    arena_reset(&loop->job->arena);
    TRY(wire_decode(&m, loop->message.data, loop->message.length, &loop->job->arena));
    const struct batch_seq *sent = m.kind == WIRE_STEP ? m.batch.seqs : NULL;
    TRY(check_message(loop->job, &m));
    if (sent && m.batch.seqs != sent) put_message(loop, &m); // its pending tokens are known now
    return ERR_OK;
}

/* What the ranks do next is in loop->message afterwards: the coordinator's message, IDLE when it is
 * silent, or ERROR. */
static void fetch(struct loop *loop) {
    struct job *job = loop->job;
    const uint8_t *payload = NULL;
    size_t n = 0;
    if (loop->refused) return;
    err e = uplink_receive(job->link, loop->resting ? -1 : SILENCE_MS, &payload, &n);
    if (e == ERR_RANK_LOST) lifeline_end_process(job->lifeline, error_message());
    if (e == ERR_OK && !payload) {
        struct wire_message idle = {.kind = WIRE_IDLE, .step = loop->number};
        put_message(loop, &idle);
        return;
    }
    loop->number++;
    if (e == ERR_OK) e = take_message(loop, payload, n);
    if (e != ERR_OK) put_refusal(loop, e);
}

/* ---- every rank ---- */

/* For the heartbeats. */
static void tell_totals(const struct job *job) {
    struct step_totals t = step_get_totals(job->runner);
    lifeline_set_totals(job->lifeline, &(struct wire_totals){.steps = t.steps,
                                                             .compute_ns = t.compute_ns,
                                                             .wait_ns = t.wait_ns,
                                                             .wire_ns = t.wire_ns,
                                                             .allreduce_bytes = t.allreduce_bytes});
}

static err run_step(struct loop *loop, const struct batch *batch) {
    struct job *job = loop->job;
    struct wire_message m = {.kind = WIRE_RESULT};
    lifeline_set_in_step(job->lifeline, true);
    err e = step_run(job->runner, batch, &m.result);
    lifeline_set_in_step(job->lifeline, false);
    tell_totals(job);
    if (e != ERR_OK || !job->link) return e;
    e = uplink_send(job->link, &m, &job->scratch);
    if (e == ERR_RANK_LOST) lifeline_end_process(job->lifeline, error_message());
    if (e != ERR_OK) put_refusal(loop, e);
    return ERR_OK;
}

/* The ranks leave MPI; rank 0 tells the coordinator so. */
static void rest(struct loop *loop, const struct wire_message *idle) {
    struct job *job = loop->job;
    loop->number = idle->step;
    loop->resting = true;
    if (job->link && uplink_send(job->link, idle, &job->scratch) != ERR_OK)
        lifeline_end_process(job->lifeline, error_message());
}

static uint64_t ask_progress(const void *ctx) {
    return step_progress(ctx);
}

static err load(struct job *job, const struct wire_load *message) {
    TRY(loading_load(job, message));
    lifeline_set_progress(job->lifeline, ask_progress, job->runner);
    log_debug("loaded: %.1f MiB of weights, team of %u", (double)job->weights->bytes / 1048576.0,
              job->team.threads);
    return ERR_OK;
}

/* *done after SHUTDOWN. */
static err handle(struct loop *loop, bool *done) {
    struct job *job = loop->job;
    struct wire_message m;
    arena_reset(&job->arena);
    TRY(wire_decode(&m, loop->message.data, loop->message.length, &job->arena));
    switch (m.kind) {
    case WIRE_IDLE: rest(loop, &m); return ERR_OK;
    case WIRE_OPEN: return loading_open(job, &m.open);
    case WIRE_LOAD: return load(job, &m.load);
    case WIRE_STEP: return run_step(loop, &m.batch);
    case WIRE_MEASURE: return measuring_run(job, &m.measure);
    case WIRE_SHUTDOWN: *done = true; return ERR_OK;
    case WIRE_ERROR: return FAIL(m.error.code, "%s", m.error.message);
    default: return FAIL(ERR_INTERNAL, "rank 0 broadcast %s", wire_kind_name(m.kind));
    }
}

/* The next message is in loop->message on every rank.  Collective. */
static void meet(struct loop *loop) {
    if (loop->job->link)
        fetch(loop);
    else if (loop->resting)
        lifeline_wait_wake(loop->job->lifeline, loop->number);
    loop->resting = false;
    comm_bcast_buf(loop->job->comm, &loop->message, 0);
}

err control_run(struct job *job) {
    struct loop loop = {.job = job, .resting = true};
    buf_init(&loop.message, FRAME_MAX_BYTES + FRAME_HEADER_BYTES);
    bool done = false;
    err e = ERR_OK;
    while (e == ERR_OK && !done) {
        meet(&loop);
        e = handle(&loop, &done);
    }
    buf_deinit(&loop.message);
    return e;
}
