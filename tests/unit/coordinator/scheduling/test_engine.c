// SPDX-License-Identifier: MIT
/* test_engine.c: the pump, over a pretended cluster that says what the test says. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>
#include <time.h>

#include "common/mem.h"
#include "coordinator/scheduling/engine.h"
#include "demo_tokenizer.h"

static struct tokenizer *tokenizer;
static struct model model; // its shape

/* ---- the pretended cluster ---- */

struct cluster {
    struct cluster_events events;
    void *ctx;
    struct cluster_info info;
    uint64_t steps[2], seq_id; // steps under way, all for one sequence
    uint32_t n_under_way, n_steps, n_stops, n_asked;
    err refusal; // of steps
    enum measure_what asked;
};

static struct cluster *the_cluster;

err cluster_start(struct cluster **out, uv_loop_t *loop, const struct options *o, int bootstrap_fd,
                  const struct cluster_events *events, void *ctx) {
    (void)loop, (void)o, (void)bootstrap_fd;
    struct cluster *c = mem_zalloc(sizeof *c);
    c->events = *events;
    c->ctx = ctx;
    c->info = (struct cluster_info){.model = &model,
                                    .tokenizer = tokenizer,
                                    .size = 2,
                                    .ctx = 64,
                                    .kv_blocks = 4,
                                    .max_batch = 2,
                                    .max_step_tokens = 64,
                                    .epoch = 9};
    *out = the_cluster = c;
    return ERR_OK;
}

const struct cluster_info *cluster_info(const struct cluster *c) {
    return &c->info;
}

err cluster_send_step(struct cluster *c, const struct batch *b) {
    assert_in_range(c->n_under_way, 0, 1); // at most two
    assert_int_equal(b->n_seqs, 1);
    if (c->refusal != ERR_OK) return FAIL(c->refusal, "no step today");
    c->steps[c->n_under_way++] = b->step;
    c->seq_id = b->seqs[0].seq_id;
    c->n_steps++;
    return ERR_OK;
}

err cluster_measure(struct cluster *c, const struct measure_ask *ask) {
    assert_int_equal(c->n_under_way, 0);
    c->asked = ask->what;
    c->n_asked++;
    return ERR_OK;
}

void cluster_stop(struct cluster *c) {
    c->n_stops++;
}

void cluster_free(struct cluster *c) {
    mem_free(c);
}

/* ---- who uses the engine ---- */

struct owner {
    uv_loop_t loop;
    struct options options;
    struct engine *engine;
    int n_ready, n_failed, n_stopped, n_ended, n_texts, n_steps, n_idle, n_measured;
    err failure, end_error;
};

static void on_ready(void *ctx) {
    ((struct owner *)ctx)->n_ready++;
}

static void on_failed(void *ctx, err code, const char *message) {
    struct owner *o = ctx;
    assert_true(strlen(message) > 0);
    o->failure = code;
    o->n_failed++;
}

static void on_stopped(void *ctx) {
    ((struct owner *)ctx)->n_stopped++;
}

static void on_step(void *ctx, const struct engine_step *step) {
    assert_true(step->sent_ns > 0 && step->received_ns >= step->sent_ns);
    assert_int_equal(step->n_seqs, 1);
    ((struct owner *)ctx)->n_steps++;
}

static void on_idle(void *ctx) {
    ((struct owner *)ctx)->n_idle++;
}

static void on_measured(void *ctx, const struct measure_answer *answer) {
    assert_int_equal(answer->size, 2);
    ((struct owner *)ctx)->n_measured++;
}

static const struct engine_events events = {.ready = on_ready,
                                            .failed = on_failed,
                                            .stopped = on_stopped,
                                            .step = on_step,
                                            .idle = on_idle,
                                            .measured = on_measured};

static void on_text(void *ctx, uint32_t choice, const char *text, size_t n,
                    const struct token_entry *tokens, size_t n_tokens) {
    (void)choice, (void)text, (void)n, (void)tokens, (void)n_tokens;
    ((struct owner *)ctx)->n_texts++;
}

static void on_finish(void *ctx, uint32_t choice, enum finish_reason reason) {
    (void)ctx, (void)choice;
    assert_int_equal(reason, FINISH_LENGTH);
}

static void on_end(void *ctx, const struct request_usage *usage, err error, const char *message) {
    struct owner *o = ctx;
    (void)usage, (void)message;
    assert_int_equal(o->n_failed + o->n_stopped, 0); // requests end before the engine
    o->end_error = error;
    o->n_ended++;
}

static const struct request_sink sink = {.text = on_text, .finish = on_finish, .end = on_end};

static void open_owner(struct owner *o) {
    *o = (struct owner){0};
    assert_int_equal(uv_loop_init(&o->loop), 0);
    assert_int_equal(engine_start(&o->engine, &o->loop, &o->options, -1, &events, o), ERR_OK);
}

static void close_owner(struct owner *o) {
    assert_int_equal(o->n_failed + o->n_stopped, 1); // one or the other, once
    engine_free(o->engine);
    uv_run(&o->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&o->loop), 0);
}

static err submit(struct owner *o, uint64_t *id) {
    const int32_t prompt[] = {300, 301};
    struct request_params p;
    request_params_init(&p);
    p.max_tokens = 2;
    return engine_submit(o->engine, prompt, 2, &p, &sink, o, id);
}

static void make_ready(struct owner *o) {
    the_cluster->events.ready(the_cluster->ctx);
    assert_int_equal(o->n_ready, 1);
    assert_int_equal(engine_get_state(o->engine), ENGINE_READY);
}

/* Rank 0's answer to the oldest step under way. */
static void answer(int32_t token) {
    struct cluster *c = the_cluster;
    const struct batch_output output = {0};
    const struct batch_seq_result seq = {
        .seq_id = c->seq_id, .n_outputs = 1, .outputs = &output, .token = token};
    const struct batch_result r = {.epoch = 9, .step = c->steps[0], .n_seqs = 1, .seqs = &seq};
    assert_in_range(c->n_under_way, 1, 2);
    c->steps[0] = c->steps[1];
    c->n_under_way--;
    c->events.result(c->ctx, &r);
}

static void a_request_runs_to_its_end(void **state) {
    (void)state;
    struct owner o;
    uint64_t id;
    open_owner(&o);
    assert_int_equal(submit(&o, &id), ERR_LAUNCH); // not yet
    assert_null(engine_info(o.engine));
    make_ready(&o);
    assert_int_equal(submit(&o, &id), ERR_OK);
    assert_int_equal(the_cluster->n_steps, 0); // nothing happens inside submit
    uv_run(&o.loop, UV_RUN_NOWAIT);
    assert_int_equal(the_cluster->n_steps, 2); // the second waits for what the first one samples
    answer(400);
    answer(401);
    assert_true(o.n_ended == 1 && o.end_error == ERR_OK && o.n_texts >= 1);
    assert_int_equal(the_cluster->n_steps, 2);
    assert_int_equal(engine_get_counts(o.engine).kv_blocks_used, 0);
    engine_stop(o.engine);
    the_cluster->events.stopped(the_cluster->ctx);
    close_owner(&o);
}

/* When steps take long the next one is sent shortly before the present one ends. */
static void a_step_is_sent_when_it_is_due(void **state) {
    (void)state;
    struct owner o;
    uint64_t id;
    const int32_t prompt[] = {300, 301};
    struct request_params p;
    open_owner(&o);
    make_ready(&o);
    request_params_init(&p);
    p.max_tokens = 50;
    p.ignore_eos = true;
    assert_int_equal(engine_submit(o.engine, prompt, 2, &p, &sink, &o, &id), ERR_OK);
    uv_run(&o.loop, UV_RUN_NOWAIT);
    for (int i = 0; i < 8; i++) { // steps of 30 ms
        nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
        answer(400);
        uv_update_time(&o.loop);
        if (i == 0) continue; // a prompt, of which little is learned
        assert_int_equal(the_cluster->n_under_way, 1);
        while (the_cluster->n_under_way == 1) uv_run(&o.loop, UV_RUN_ONCE);
    }
    engine_cancel(o.engine, id);
    uv_run(&o.loop, UV_RUN_NOWAIT);
    engine_stop(o.engine);
    the_cluster->events.stopped(the_cluster->ctx);
    close_owner(&o);
}

static void lost_ranks_end_requests_first(void **state) {
    (void)state;
    struct owner o;
    uint64_t id;
    open_owner(&o);
    make_ready(&o);
    assert_int_equal(submit(&o, &id), ERR_OK);
    uv_run(&o.loop, UV_RUN_NOWAIT);
    the_cluster->events.failed(the_cluster->ctx, ERR_RANK_LOST, "rank 1 on b was lost");
    assert_true(o.n_ended == 1 && o.end_error == ERR_RANK_LOST && o.failure == ERR_RANK_LOST);
    assert_int_equal(engine_get_state(o.engine), ENGINE_FAILED);
    assert_int_equal(submit(&o, &id), ERR_RANK_LOST);
    assert_non_null(strstr(error_message(), "rank 1 on b"));
    close_owner(&o);
}

/* An answer that does not fit ends the ranks; the owner hears of it when they are gone. */
static void nonsense_from_rank_0_ends_the_ranks(void **state) {
    (void)state;
    for (int also_lost = 0; also_lost < 2; also_lost++) {
        struct owner o;
        uint64_t id;
        open_owner(&o);
        make_ready(&o);
        assert_int_equal(submit(&o, &id), ERR_OK);
        uv_run(&o.loop, UV_RUN_NOWAIT);
        answer(1 << 30); // no such token
        assert_true(o.n_ended == 1 && o.end_error == ERR_PROTOCOL);
        assert_int_equal(o.n_failed, 0);
        assert_int_equal(the_cluster->n_stops, 1);
        if (also_lost)
            the_cluster->events.failed(the_cluster->ctx, ERR_RANK_LOST, "rank 0 ended");
        else
            the_cluster->events.stopped(the_cluster->ctx);
        assert_int_equal(o.failure, ERR_PROTOCOL); // the first reason counts
        close_owner(&o);
    }
}

/* A step that fits no frame can be answered by nobody; while ranks are being lost that is said. */
static void a_step_that_cannot_be_sent(void **state) {
    (void)state;
    static const err refusals[] = {ERR_PROTOCOL, ERR_RANK_LOST};
    for (size_t i = 0; i < 2; i++) {
        struct owner o;
        uint64_t id;
        open_owner(&o);
        make_ready(&o);
        the_cluster->refusal = refusals[i];
        assert_int_equal(submit(&o, &id), ERR_OK);
        uv_run(&o.loop, UV_RUN_NOWAIT);
        bool gave_up = refusals[i] == ERR_PROTOCOL;
        assert_int_equal(the_cluster->n_stops, gave_up);
        assert_int_equal(o.n_ended, gave_up);
        assert_int_equal(o.n_failed, 0);
        the_cluster->events.failed(the_cluster->ctx, ERR_RANK_LOST, "rank 0 ended");
        assert_true(o.n_ended == 1 && o.end_error == refusals[i] && o.failure == refusals[i]);
        close_owner(&o);
    }
}

static void stopping_cancels(void **state) {
    (void)state;
    struct owner o;
    uint64_t id;
    open_owner(&o);
    make_ready(&o);
    assert_int_equal(submit(&o, &id), ERR_OK);
    uv_run(&o.loop, UV_RUN_NOWAIT);
    engine_stop(o.engine);
    assert_int_equal(o.n_ended, 0); // not inside the call
    uv_run(&o.loop, UV_RUN_NOWAIT);
    assert_true(o.n_ended == 1 && o.end_error == ERR_CANCELLED);
    answer(400); // the step under way ends as it may
    the_cluster->events.stopped(the_cluster->ctx);
    assert_int_equal(engine_get_state(o.engine), ENGINE_STOPPED);
    close_owner(&o);
}

static void draining_finishes_what_runs(void **state) {
    (void)state;
    struct owner o;
    uint64_t id, other;
    open_owner(&o);
    make_ready(&o);
    assert_int_equal(submit(&o, &id), ERR_OK);
    uv_run(&o.loop, UV_RUN_NOWAIT);
    engine_drain(o.engine);
    assert_int_not_equal(submit(&o, &other), ERR_OK);
    answer(400);
    answer(401);
    assert_true(o.n_ended == 1 && o.end_error == ERR_OK);
    engine_stop(o.engine);
    the_cluster->events.stopped(the_cluster->ctx);
    close_owner(&o);
}

static void cancelled_and_abandoned(void **state) {
    (void)state;
    struct owner o;
    uint64_t cancelled, abandoned;
    open_owner(&o);
    make_ready(&o);
    assert_int_equal(submit(&o, &cancelled), ERR_OK);
    uv_run(&o.loop, UV_RUN_NOWAIT);
    engine_cancel(o.engine, cancelled);
    engine_cancel(o.engine, 12345); // unknown: ignored
    assert_int_equal(engine_get_counts(o.engine).kv_blocks_used, 0);
    assert_int_equal(o.n_ended, 0);
    uv_run(&o.loop, UV_RUN_NOWAIT);
    assert_true(o.n_ended == 1 && o.end_error == ERR_CANCELLED);
    answer(400); // to a sequence that is gone
    assert_int_equal(submit(&o, &abandoned), ERR_OK);
    engine_abandon(o.engine, abandoned);
    uv_run(&o.loop, UV_RUN_NOWAIT);
    assert_int_equal(o.n_ended, 1); // its sink is never called again
    assert_int_equal(engine_get_counts(o.engine).cancelled, 2);
    engine_stop(o.engine);
    the_cluster->events.stopped(the_cluster->ctx);
    close_owner(&o);
}

/* A request that pauses lets the ranks be asked what they have done, and goes on. */
static void pausing_and_measuring(void **state) {
    (void)state;
    const int32_t prompt[] = {300, 301};
    const struct measure_ask ask = {.what = MEASURE_COUNTERS, .reps = 1};
    const struct measure_answer done = {.size = 2};
    struct request_params p;
    struct owner o;
    uint64_t id;
    open_owner(&o);
    assert_int_equal(engine_measure(o.engine, &ask), ERR_RANK_LOST);
    make_ready(&o);
    request_params_init(&p);
    p.max_tokens = 2;
    p.pause_at = 2;
    assert_int_equal(engine_submit(o.engine, prompt, 2, &p, &sink, &o, &id), ERR_OK);
    uv_run(&o.loop, UV_RUN_NOWAIT);
    assert_int_equal(engine_measure(o.engine, &ask), ERR_BUSY); // a step is under way
    assert_int_equal(o.n_idle, 0);
    answer(400);
    assert_int_equal(o.n_steps, 1);
    assert_int_equal(o.n_idle, 1);
    assert_int_equal(the_cluster->n_steps, 1); // the second token waits
    assert_int_equal(engine_measure(o.engine, &ask), ERR_OK);
    assert_int_equal(the_cluster->asked, MEASURE_COUNTERS);
    assert_int_equal(engine_measure(o.engine, &ask), ERR_BUSY);
    engine_resume(o.engine, id);
    uv_run(&o.loop, UV_RUN_NOWAIT);
    assert_int_equal(the_cluster->n_steps, 1); // and for the measurement
    the_cluster->events.measured(the_cluster->ctx, &done);
    assert_int_equal(o.n_measured, 1);
    uv_run(&o.loop, UV_RUN_NOWAIT);
    assert_int_equal(the_cluster->n_steps, 2);
    answer(401);
    assert_true(o.n_ended == 1 && o.end_error == ERR_OK);
    assert_int_equal(o.n_idle, 2);
    engine_resume(o.engine, 12345); // unknown: ignored
    engine_stop(o.engine);
    the_cluster->events.stopped(the_cluster->ctx);
    close_owner(&o);
}

static int setup(void **state) {
    (void)state;
    tokenizer = demo_tokenizer();
    model.shape.n_vocab = (uint32_t)tokenizer_vocab_size(tokenizer);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    tokenizer_free(tokenizer);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_runs_to_its_end),
        cmocka_unit_test(a_step_is_sent_when_it_is_due),
        cmocka_unit_test(lost_ranks_end_requests_first),
        cmocka_unit_test(nonsense_from_rank_0_ends_the_ranks),
        cmocka_unit_test(a_step_that_cannot_be_sent),
        cmocka_unit_test(stopping_cancels),
        cmocka_unit_test(draining_finishes_what_runs),
        cmocka_unit_test(cancelled_and_abandoned),
        cmocka_unit_test(pausing_and_measuring),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
