// SPDX-License-Identifier: MIT
/* bench_run.c: see bench_run.h.
 *
 * One state machine, moved on by three events: the engine is idle, a measurement is answered, a
 * step is.  Prompts are made from a counter, so that they are the same in every run and never twice
 * the same within one. */

#include "coordinator/bench/bench_run.h"

#include <string.h>

#include "common/clock.h"
#include "common/mem.h"

#define LIMIT_REPS  10
#define WARM_TOKENS 2 // decoded before the first sample

enum run_state {
    RUN_WARM_PREFILL,
    RUN_WARM_DECODE,
    RUN_LIMITS, // before the next sample, after the last one
    RUN_FILL,   // prompts go to where they wait
    RUN_TOTALS, // of the ranks, before
    RUN_TIMED,
    RUN_OVER
};

struct bench_run {
    struct engine *engine;
    struct bench_run_options o;
    enum run_state state;
    size_t at;             // the case
    struct bench_case one; // what is being done: a case, or warming up
    struct bench_sample sample;
    bool timed;      // the clock runs, or has run and `sample` is to be filled in
    bool half;       // `sample` waits for the limits after it
    uint64_t *ids;   // [most sequences] of its requests
    int32_t *prompt; // [longest prompt]
    uint32_t n_ended;
    uint64_t begin_ns, end_ns;
    struct measure_rank *before; // [ranks] totals
    uint64_t random;
};

/* ---- the end ---- */

static void finish(struct bench_run *r, err code, const char *message) {
    if (r->state == RUN_OVER) return;
    r->state = RUN_OVER;
    r->o.done(r->o.ctx, code, message);
}

static void fail(struct bench_run *r, err code) {
    finish(r, code, error_message());
}

static void ask(struct bench_run *r, enum measure_what what, enum run_state state) {
    const struct measure_ask question = {
        .what = what, .reps = LIMIT_REPS, .memory_bytes = r->o.read_memory};
    r->state = state;
    err e = engine_measure(r->engine, &question);
    if (e != ERR_OK) fail(r, e);
}

/* ---- requests ---- */

static void on_text(void *ctx, uint32_t choice, const char *text, size_t bytes,
                    const struct token_entry *tokens, size_t n_tokens) {
    (void)ctx, (void)choice, (void)text, (void)bytes, (void)tokens, (void)n_tokens;
}

static void on_finish(void *ctx, uint32_t choice, enum finish_reason reason) {
    (void)ctx, (void)choice, (void)reason;
}

static void on_end(void *ctx, const struct request_usage *usage, err error, const char *message) {
    struct bench_run *r = ctx;
    (void)usage;
    r->n_ended++;
    r->end_ns = clock_ns();
    if (error != ERR_OK) finish(r, error, message);
}

static const struct request_sink sink = {.text = on_text, .finish = on_finish, .end = on_end};

/* Tokens without any meaning: what they are costs nothing. */
static void make_prompt(struct bench_run *r, uint32_t n) {
    uint32_t n_vocab = engine_info(r->engine)->model->shape.n_vocab;
    for (uint32_t i = 0; i < n; i++) {
        r->random = r->random * 6364136223846793005u + 1442695040888963407u;
        r->prompt[i] = (int32_t)((r->random >> 33) % n_vocab);
    }
}

/* Sends the requests of r->one. */
static void submit(struct bench_run *r, bool pause, enum run_state state) {
    struct request_params p;
    uint32_t n = bench_case_prompt(&r->one);
    request_params_init(&p);
    p.max_tokens = bench_case_generate(&r->one);
    p.ignore_eos = true;
    if (pause) p.pause_at = bench_case_pause(&r->one);
    r->state = state;
    r->n_ended = 0;
    r->begin_ns = 0;
    for (uint32_t i = 0; i < r->one.batch; i++) {
        make_prompt(r, n);
        err e = engine_submit(r->engine, r->prompt, n, &p, &sink, r, &r->ids[i]);
        if (e != ERR_OK) {
            fail(r, e);
            return;
        }
    }
}

/* ---- samples ---- */

/* The case that has had the fewest samples among those that want more; false when none does. */
static bool choose_case(struct bench_run *r) {
    const struct bench_cases *b = r->o.cases;
    bool found = false;
    for (size_t i = 0; i < b->n_cases; i++) {
        const struct bench_series *s = &r->o.series[i];
        bool wants = bench_series_steady(s, &b->cases[i], &r->o.costs) < r->o.wanted &&
                     s->n < 2 * r->o.wanted;
        if (!wants || (found && s->n >= r->o.series[r->at].n)) continue;
        r->at = i;
        found = true;
    }
    return found;
}

static void take_limits(struct bench_run *r, const struct measure_limits *l) {
    const struct bench_limits limits = bench_limits_of(l);
    if (r->half) {
        r->half = false;
        r->sample.after = limits;
        bench_series_add(&r->o.series[r->at], &r->sample);
        r->o.sampled(r->o.ctx, r->at);
    }
    if (!choose_case(r)) {
        finish(r, ERR_OK, "");
        return;
    }
    r->one = r->o.cases->cases[r->at];
    r->sample = (struct bench_sample){.before = limits};
    submit(r, true, RUN_FILL);
}

static void begin_timed(struct bench_run *r, const struct measure_answer *answer) {
    memcpy(r->before, answer->ranks, answer->size * sizeof *r->before);
    r->state = RUN_TIMED;
    r->timed = true;
    r->begin_ns = r->one.kind == BENCH_PREFILL ? clock_ns() : 0;
    for (uint32_t i = 0; i < r->one.batch; i++) engine_resume(r->engine, r->ids[i]);
}

/* The slowest rank is the one that computes longest: the others wait for it. */
static void take_totals(struct bench_run *r, const struct measure_answer *answer) {
    struct bench_sample *s = &r->sample;
    for (uint32_t i = 0; i < answer->size; i++) {
        const struct measure_rank *a = &r->before[i], *b = &answer->ranks[i];
        if (i > 0 && b->compute_ns - a->compute_ns <= s->compute_ns) continue;
        s->compute_ns = b->compute_ns - a->compute_ns;
        s->wait_ns = b->wait_ns - a->wait_ns;
        s->wire_ns = b->wire_ns - a->wire_ns;
        s->steps = b->steps - a->steps;
        s->allreduce_calls = b->allreduce_calls - a->allreduce_calls;
        s->allreduce_bytes = b->allreduce_bytes - a->allreduce_bytes;
    }
    s->wall_ns = r->end_ns - r->begin_ns;
    r->timed = false;
    r->half = true;
}

/* ---- events ---- */

void bench_run_step(struct bench_run *r, const struct engine_step *step) {
    if (r->state != RUN_TIMED) return;
    r->sample.chunks++;
    if (r->begin_ns == 0) r->begin_ns = step->received_ns; // the ranks are awake now
}

void bench_run_idle(struct bench_run *r) {
    bool ended = r->n_ended == r->one.batch;
    switch (r->state) {
    case RUN_WARM_PREFILL:
        if (!ended) return;
        r->one = (struct bench_case){BENCH_DECODE, bench_cases_batch(r->o.cases), 0, WARM_TOKENS};
        submit(r, false, RUN_WARM_DECODE);
        break;
    case RUN_WARM_DECODE:
        if (ended) ask(r, MEASURE_LIMITS, RUN_LIMITS);
        break;
    case RUN_FILL: ask(r, MEASURE_COUNTERS, RUN_TOTALS); break;
    case RUN_TIMED:
        if (ended) ask(r, MEASURE_LIMITS, RUN_LIMITS);
        break;
    case RUN_LIMITS:
    case RUN_TOTALS:
    case RUN_OVER: break;
    }
}

void bench_run_measured(struct bench_run *r, const struct measure_answer *answer) {
    if (r->state == RUN_OVER) return;
    if (r->state == RUN_TOTALS) {
        begin_timed(r, answer);
    } else {
        if (r->timed) take_totals(r, answer);
        take_limits(r, &answer->limits);
    }
}

/* ---- public ---- */

/* The longest prompt that there is, but no more than fits a step: memory is touched, and the
 * scheduler has seen how fast a chunk is. */
static struct bench_case warm_prefill(const struct bench_cases *b, uint32_t max_step_tokens) {
    struct bench_case c = {BENCH_PREFILL, 1, 0, 1};
    for (size_t i = 0; i < b->n_cases; i++)
        if (b->cases[i].kind == BENCH_PREFILL && b->cases[i].tokens > c.tokens)
            c.tokens = b->cases[i].tokens;
    if (c.tokens > max_step_tokens) c.tokens = max_step_tokens;
    return c;
}

struct bench_run *bench_run_start(struct engine *e, const struct bench_run_options *o) {
    struct bench_run *r = mem_zalloc(sizeof *r);
    r->engine = e;
    r->o = *o;
    r->random = 1;
    r->ids = mem_zalloc_array(bench_cases_batch(o->cases), sizeof *r->ids);
    r->prompt = mem_zalloc_array(bench_cases_context(o->cases), sizeof *r->prompt);
    r->before = mem_zalloc_array(engine_info(e)->size, sizeof *r->before);
    r->one = warm_prefill(o->cases, engine_info(e)->max_step_tokens);
    submit(r, false, RUN_WARM_PREFILL);
    return r;
}

void bench_run_free(struct bench_run *r) {
    if (!r) return;
    mem_free(r->ids);
    mem_free(r->prompt);
    mem_free(r->before);
    mem_free(r);
}
