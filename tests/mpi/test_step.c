// SPDX-License-Identifier: MIT
/* test_step.c: what a step promises, on as many ranks as mpirun starts.
 *
 * Models of every kind give the same bits however a prompt is cut, whatever else is in the batch
 * and with any number of threads; sampled tokens follow the model's distribution exactly, from
 * candidates or from whole rows; edits, targets and alternatives agree with each other; a batch
 * from outside that does not fit is refused; ranks that drift apart are found. */

#include <math.h>
#include <omp.h>
#include <string.h>

#include "common/mem.h"
#include "tests/mpi/mpi_expect.h"
#include "tests/mpi/step_rig.h"
#include "worker/job/team.h"

#define PROMPT 70
#define BLOCKS 3 // of one sequence
#define TOP    16

static const struct step_limits limits = {.kv_blocks = 40, .max_step_tokens = 160, .max_batch = 64};

static int32_t prompt[PROMPT];
static const uint32_t blocks[BLOCKS] = {7, 1, 30};
static const uint32_t other_blocks[BLOCKS] = {8, 2, 31};

static void make_prompt(const struct rig *r) {
    for (uint32_t i = 0; i < PROMPT; i++)
        prompt[i] = (int32_t)((i * 7919u + i * i * 31u) % r->model->shape.n_vocab);
}

static struct step_runner *make_runner_with(const struct rig *r, const struct step_limits *l) {
    struct step_runner *runner;
    rig_must(r,
             step_create(&runner, r->comm, &r->model->shape, &r->plan, r->weights, r->kernels, l),
             "step_create");
    return runner;
}

/* More threads than CPUs, so they give way soon. */
static struct step_runner *make_runner(const struct rig *r, int threads) {
    const struct waiting_limits crowded = waiting_limits_for(false);
    omp_set_num_threads(threads);
    team_set_waiting(&crowded);
    return make_runner_with(r, &limits);
}

static struct batch_result run(const struct rig *r, struct step_runner *runner,
                               const struct batch_seq *seqs, uint32_t n) {
    struct batch b = {.epoch = 3, .step = 4, .n_seqs = n, .seqs = seqs};
    struct batch_result result = {0};
    for (uint32_t i = 0; i < n; i++) b.n_tokens += seqs[i].n_tokens;
    rig_must(r, step_check(runner, &b), "step_check");
    rig_must(r, step_run(runner, &b, &result), "step_run");
    return result;
}

/* A chunk of the prompt with an output for each of its tokens. */
static struct batch_seq chunk(uint32_t start, uint32_t n, const uint32_t *table) {
    return (struct batch_seq){.seq_id = 11 + start,
                              .start = start,
                              .n_tokens = n,
                              .tokens = prompt + start,
                              .n_blocks = BLOCKS,
                              .blocks = table,
                              .n_outputs = n,
                              .top_n = TOP};
}

/* --- the same bits --- */

static struct top_entry first_seen[PROMPT][TOP];
static bool have_first;

static void compare(const struct batch_seq_result *s, uint32_t start, uint32_t n, const char *how) {
    for (uint32_t i = 0; i < n; i++) {
        EXPECT(0, s->outputs[i].n_top == TOP, "%u", s->outputs[i].n_top);
        if (!have_first) memcpy(first_seen[start + i], s->outputs[i].top, sizeof first_seen[0]);
        EXPECT(0, memcmp(first_seen[start + i], s->outputs[i].top, sizeof first_seen[0]) == 0,
               "%s: other bits at position %u: best is %d %.9g, was %d %.9g", how, start + i,
               s->outputs[i].top[0].token, (double)s->outputs[i].top[0].logprob,
               first_seen[start + i][0].token, (double)first_seen[start + i][0].logprob);
    }
}

/* The prompt in chunks; `beside`: another sequence's tokens stand before it in every step. */
static void run_chunks(const struct rig *r, int threads, uint32_t step, bool beside,
                       const char *how) {
    struct step_runner *runner = make_runner(r, threads);
    for (uint32_t start = 0; start < PROMPT; start += step) {
        uint32_t n = PROMPT - start < step ? PROMPT - start : step;
        struct batch_seq seqs[2] = {chunk(start, n, other_blocks), chunk(start, n, blocks)};
        int32_t reversed[PROMPT];
        for (uint32_t i = 0; i < n; i++) reversed[i] = prompt[PROMPT - 1 - start - i];
        seqs[0].tokens = reversed;
        struct batch_result result = beside ? run(r, runner, seqs, 2) : run(r, runner, seqs + 1, 1);
        if (r->rank == 0) compare(&result.seqs[beside ? 1 : 0], start, n, how);
    }
    have_first = true;
    step_free(runner);
}

static void test_same_bits(const struct rig *r) {
    have_first = false;
    run_chunks(r, 1, PROMPT, false, "at once");
    run_chunks(r, 1, 1, false, "token by token");
    run_chunks(r, 2, 7, false, "chunks of 7, two threads");
    run_chunks(r, 2, 64, true, "chunks of 64 beside another sequence, two threads");
    run_chunks(r, 1, 1, true, "token by token beside another sequence");
}

/* --- outputs agree with each other --- */

static double probability_above(const struct batch_output *o) {
    double sum = 0;
    for (uint32_t i = 0; i < o->n_top; i++) sum += exp((double)o->top[i].logprob);
    return sum;
}

static void test_outputs(const struct rig *r) {
    struct step_runner *runner = make_runner(r, 1);
    struct batch_seq s = chunk(0, PROMPT, blocks);
    s.n_outputs = 1;
    s.sample = true;
    s.top_n = BATCH_MAX_TOP;
    s.sampling = (struct sampling){.top_p = 1};
    struct batch_result result = run(r, runner, &s, 1);
    static struct top_entry top[BATCH_MAX_TOP];
    if (r->rank == 0) {
        const struct batch_output *o = &result.seqs[0].outputs[0];
        EXPECT(0, result.epoch == 3 && result.step == 4 && result.n_seqs == 1, "wrong labels");
        EXPECT(0, result.seqs[0].seq_id == 11 && result.seqs[0].n_outputs == 1, "wrong labels");
        EXPECT(0, o->n_top == BATCH_MAX_TOP, "%u", o->n_top);
        EXPECT(0, isnan(o->target_logprob), "%g", (double)o->target_logprob);
        EXPECT(0, result.seqs[0].token == o->top[0].token, "%d", result.seqs[0].token);
        EXPECT(0, result.seqs[0].token_logprob == o->top[0].logprob, "another log-probability");
        memcpy(top, o->top, sizeof top);
        for (int i = 1; i < BATCH_MAX_TOP; i++)
            EXPECT(0, top[i - 1].logprob >= top[i].logprob, "not sorted at %d", i);
        double p = probability_above(o), vocab = r->model->shape.n_vocab;
        EXPECT(0, p > BATCH_MAX_TOP / vocab && p < 1, "the best hold %g", p);
    }
    comm_bcast(r->comm, top, sizeof top, 0);

    /* The best token banned: the second, with its own unedited probability; alternatives as ever.
     */
    const struct logit_edit edits[2] = {{.token = top[0].token, .repeat = 1, .bias = -INFINITY},
                                        {.token = top[2].token, .repeat = 1, .bias = -0.5f}};
    int32_t target = top[5].token;
    struct batch_seq last = chunk(0, PROMPT, blocks);
    last.n_outputs = 1;
    last.top_n = 3;
    last.targets = &target;
    last.sample = true;
    last.sampling = s.sampling;
    last.n_edits = 2;
    last.edits = edits;
    result = run(r, runner, &last, 1);
    if (r->rank == 0) {
        const struct batch_output *o = &result.seqs[0].outputs[0];
        EXPECT(0, result.seqs[0].token == top[1].token, "%d", result.seqs[0].token);
        EXPECT(0, result.seqs[0].token_logprob == top[1].logprob, "another log-probability");
        EXPECT(0, memcmp(o->top, top, 3 * sizeof *top) == 0, "edits reached the alternatives");
        EXPECT(0, o->target_logprob == top[5].logprob, "%g, wanted %g", (double)o->target_logprob,
               (double)top[5].logprob);
    }

    /* A token that its edit made the best: its log-probability is still the model's own. */
    const struct logit_edit lift = {.token = top[4].token, .repeat = 1, .bias = 100};
    last.n_edits = 1;
    last.edits = &lift;
    result = run(r, runner, &last, 1);
    if (r->rank == 0) {
        EXPECT(0, result.seqs[0].token == top[4].token, "%d", result.seqs[0].token);
        EXPECT(0, result.seqs[0].token_logprob == top[4].logprob, "%g, wanted %g",
               (double)result.seqs[0].token_logprob, (double)top[4].logprob);
    }
    step_free(runner);
}

static void test_everything_banned(const struct rig *r) {
    struct step_runner *runner = make_runner(r, 1);
    uint32_t n_vocab = r->model->shape.n_vocab;
    struct logit_edit *edits = mem_zalloc_array(n_vocab, sizeof *edits);
    for (uint32_t i = 0; i < n_vocab; i++)
        edits[i] = (struct logit_edit){.token = (int32_t)i, .repeat = 1, .bias = -INFINITY};
    struct batch_seq s = chunk(0, 4, blocks);
    s.sample = true;
    s.n_edits = n_vocab;
    s.edits = edits;
    for (int warm = 0; warm < 2; warm++) {
        s.sampling = (struct sampling){.temperature = (float)warm, .top_p = 1};
        struct batch_result result = run(r, runner, &s, 1);
        if (r->rank == 0)
            EXPECT(0, result.seqs[0].token == result.seqs[0].outputs[3].top[0].token, "%d",
                   result.seqs[0].token);
    }
    mem_free(edits);
    step_free(runner);
}

/* --- sampling --- */

#define DRAWS     (16 * 64)
#define HOT_DRAWS (3 * 64)

/* n samples of the token after the prompt: 64 choices of one sequence in each step. */
static void draw(const struct rig *r, struct step_runner *runner, const struct sampling *sampling,
                 int32_t *tokens, uint32_t n) {
    struct batch_seq seqs[64];
    for (uint32_t i = 0; i < n; i += 64) {
        for (uint32_t j = 0; j < 64; j++) {
            seqs[j] = chunk(PROMPT - 1, 1, blocks);
            seqs[j].top_n = 0;
            seqs[j].sample = true;
            seqs[j].sampling = *sampling;
            seqs[j].sampling.choice = i + j;
        }
        struct batch_result result = run(r, runner, seqs, 64);
        for (uint32_t j = 0; r->rank == 0 && j < 64; j++) tokens[i + j] = result.seqs[j].token;
    }
}

/* Chi-square of draws at temperature 1 over the best tokens and all others together. */
static void expect_distribution(const struct batch_output *o, double top_p,
                                const int32_t tokens[DRAWS]) {
    double p[TOP + 1] = {0}, count[TOP + 1] = {0}, mass = 0, others = 1;
    uint32_t kept = TOP;
    for (uint32_t i = 0; i < TOP; i++) {
        p[i] = exp((double)o->top[i].logprob);
        mass += p[i];
        if (top_p < 1 && mass >= top_p && kept == TOP) kept = i + 1;
    }
    if (top_p < 1) {
        EXPECT(0, kept < TOP, "a nucleus of %u tokens", kept);
        mass = 0;
        for (uint32_t i = 0; i < kept; i++) mass += p[i];
        for (uint32_t i = 0; i < TOP; i++) p[i] = i < kept ? p[i] / mass : 0;
    }
    for (uint32_t i = 0; i < TOP; i++) others -= p[i];
    p[TOP] = others > 1e-6 ? others : 0;
    for (uint32_t d = 0; d < DRAWS; d++) {
        uint32_t i = 0;
        while (i < TOP && o->top[i].token != tokens[d]) i++;
        count[i]++;
    }
    double chi_square = 0;
    for (uint32_t i = 0; i <= TOP; i++) {
        if (p[i] == 0) EXPECT(0, count[i] == 0, "%g draws of a token that is cut off", count[i]);
        if (p[i] > 0) chi_square += pow(count[i] - p[i] * DRAWS, 2) / (p[i] * DRAWS);
    }
    EXPECT(0, chi_square < TOP + 5 * sqrt(2.0 * TOP), "chi-square %g with %d degrees of freedom",
           chi_square, TOP);
}

static void test_sampling(const struct rig *r) {
    static int32_t tokens[DRAWS], again[DRAWS];
    static struct top_entry top[TOP];
    struct step_runner *runner = make_runner(r, 1);
    struct batch_seq s = chunk(0, PROMPT, blocks);
    struct batch_result result = run(r, runner, &s, 1);
    if (r->rank == 0) memcpy(top, result.seqs[0].outputs[PROMPT - 1].top, sizeof top);
    const struct batch_output best = {.n_top = TOP, .top = top};

    /* No cut-off: now and then the random number falls behind the candidates. */
    struct sampling sampling = {.temperature = 1, .top_p = 1, .seed = 5};
    draw(r, runner, &sampling, tokens, DRAWS);
    if (r->rank == 0) expect_distribution(&best, 1, tokens);
    draw(r, runner, &sampling, again, DRAWS);
    EXPECT(r->rank, memcmp(tokens, again, sizeof tokens) == 0, "other tokens of the same seed");
    sampling.top_p = 0.3f;
    draw(r, runner, &sampling, tokens, DRAWS);
    if (r->rank == 0) expect_distribution(&best, (double)sampling.top_p, tokens);

    /* A choice alone in its step gets the token that it gets among 64. */
    for (uint32_t i = 0; i < 20; i++) {
        s = chunk(PROMPT - 1, 1, blocks);
        s.sample = true;
        s.sampling = (struct sampling){.temperature = 1, .top_p = 1, .seed = 5, .choice = i};
        result = run(r, runner, &s, 1);
        if (r->rank == 0)
            EXPECT(0, result.seqs[0].token == again[i], "choice %u: %d alone, %d among others", i,
                   result.seqs[0].token, again[i]);
    }

    /* A hot, flat distribution: hardly ever do candidates decide, and every token can come. */
    sampling = (struct sampling){.temperature = 50, .top_p = 1, .seed = 6};
    draw(r, runner, &sampling, tokens, HOT_DRAWS);
    if (r->rank == 0) {
        uint32_t n_vocab = r->model->shape.n_vocab, different = 0;
        uint8_t *seen = mem_zalloc(n_vocab);
        for (uint32_t i = 0; i < HOT_DRAWS; i++) {
            EXPECT(0, tokens[i] >= 0 && (uint32_t)tokens[i] < n_vocab, "%d", tokens[i]);
            different += !seen[tokens[i]];
            seen[tokens[i]] = 1;
        }
        double want = n_vocab * (1 - exp(-(double)HOT_DRAWS / n_vocab));
        EXPECT(0, different > 0.9 * want && different < 1.1 * want, "%u tokens, wanted about %g",
               different, want);
        mem_free(seen);
    }
    step_free(runner);
}

/* --- refusals --- */

static void refuse(const struct rig *r, const struct step_runner *runner, const struct batch *b,
                   const char *what) {
    EXPECT(r->rank, step_check(runner, b) == ERR_PROTOCOL, "accepted: %s", what);
}

static void refuse_seq(const struct rig *r, const struct step_runner *runner, struct batch_seq s,
                       const char *what) {
    const struct batch b = {.n_seqs = 1, .n_tokens = s.n_tokens, .seqs = &s};
    refuse(r, runner, &b, what);
}

static void test_refusals(const struct rig *r) {
    struct step_runner *runner = make_runner(r, 1);
    const struct batch_seq good = chunk(0, PROMPT, blocks);
    struct batch b = {.n_seqs = 1, .n_tokens = PROMPT, .seqs = &good};
    struct batch_seq s;
    rig_must(r, step_check(runner, &b), "a good batch");
    b.n_tokens = PROMPT - 1;
    refuse(r, runner, &b, "a wrong sum of tokens");
    b = (struct batch){.n_seqs = 65, .n_tokens = PROMPT, .seqs = &good};
    refuse(r, runner, &b, "too many sequences");
    b.n_seqs = 0;
    refuse(r, runner, &b, "no sequence");
    s = good, s.n_tokens = 161;
    refuse_seq(r, runner, s, "too many tokens");
    s = good, s.n_tokens = 0, s.n_outputs = 0;
    refuse_seq(r, runner, s, "no token");
    s = good, s.start = 96 - PROMPT + 1;
    refuse_seq(r, runner, s, "more positions than blocks");
    s = good, s.start = UINT32_MAX;
    refuse_seq(r, runner, s, "positions that wrap");
    s = good, s.blocks = (const uint32_t[]){1, 2, 40};
    refuse_seq(r, runner, s, "a block outside the pool");
    s = good, s.tokens = (const int32_t[]){0, (int32_t)r->model->shape.n_vocab}, s.n_tokens = 2,
    s.n_outputs = 1;
    refuse_seq(r, runner, s, "a token outside the vocabulary");
    s.tokens = (const int32_t[]){-1, 0};
    refuse_seq(r, runner, s, "a negative token");
    s = good, s.n_outputs = PROMPT + 1;
    refuse_seq(r, runner, s, "more outputs than tokens");
    s = good, s.n_outputs = 0, s.sample = true;
    refuse_seq(r, runner, s, "sampling without an output");
    s = good, s.top_n = BATCH_MAX_TOP + 1;
    refuse_seq(r, runner, s, "too many alternatives");
    s = good, s.n_outputs = 1, s.targets = (const int32_t[]){(int32_t)r->model->shape.n_vocab};
    refuse_seq(r, runner, s, "a target outside the vocabulary");
    s = good, s.n_edits = 1, s.edits = &(struct logit_edit){.token = -1, .repeat = 1};
    refuse_seq(r, runner, s, "an edit outside the vocabulary");
    s.edits = &(struct logit_edit){.token = 1, .repeat = 0};
    refuse_seq(r, runner, s, "a repeat penalty of 0");
    s.edits = &(struct logit_edit){.token = 1, .repeat = 1, .bias = NAN};
    refuse_seq(r, runner, s, "a bias that is no number");
    s = good, s.sample = true, s.sampling.temperature = -1;
    refuse_seq(r, runner, s, "a negative temperature");
    step_free(runner);
}

/* --- ranks that drift apart --- */

static const struct kernels *sound;

/* Writes where it should only read: into the residual stream. */
static void drifting_norm(float *y, const float *x, const float *weight, size_t n, float eps) {
    sound->rms_norm(y, x, weight, n, eps);
    ((float *)x)[0] = nextafterf(x[0], INFINITY);
}

static void test_check_ranks(struct rig *r) {
    if (r->size == 1) return;
    sound = r->kernels;
    struct kernels drifting = *sound;
    drifting.rms_norm = drifting_norm;
    if (r->rank == r->size - 1) r->kernels = &drifting;
    struct step_limits checking = limits;
    checking.check_ranks = true;
    struct step_runner *runner = make_runner_with(r, &checking);
    struct batch_seq s = chunk(0, 4, blocks);
    struct batch b = {.n_seqs = 1, .n_tokens = 4, .seqs = &s};
    struct batch_result result;
    char wanted[64];
    snprintf(wanted, sizeof wanted, "after layer 0 the residual stream of rank %d differs",
             r->size - 1);
    err e = step_run(runner, &b, &result);
    EXPECT(r->rank, e == ERR_INTERNAL, "%s", error_name(e));
    EXPECT(r->rank, strstr(error_message(), wanted), "%s", error_message());
    step_free(runner);
    r->kernels = sound;
}

/* --- tokens that are not known when a step is sent --- */

#define N_PENDING 6 // tokens after each prompt

/* Two sequences that go on for a few tokens, in turns before and behind each other.  `ahead`: with
 * pending tokens, which rank 0 puts in and the others get from it. */
static void go_on(const struct rig *r, bool ahead, int32_t texts[2][N_PENDING]) {
    struct step_runner *runner = make_runner(r, 1);
    const int32_t marks[2] = {BATCH_TOKEN_PENDING, BATCH_TOKEN_PENDING};
    for (uint32_t n = 0; n <= N_PENDING; n++) {
        struct batch_seq seqs[2];
        for (uint32_t i = 0; i < 2; i++) {
            uint32_t which = (i + n) % 2;
            struct batch_seq *s = &seqs[i];
            *s = chunk(0, PROMPT - which, which ? other_blocks : blocks);
            if (n > 0) {
                s->start = s->n_tokens + n - 1;
                s->n_tokens = 1;
                s->tokens = ahead ? marks : &texts[which][n - 1];
            }
            s->seq_id = which;
            s->n_outputs = 1;
            s->sample = true;
            s->sampling = (struct sampling){.temperature = 1, .top_p = 1, .seed = 7 + which};
        }
        struct batch b = {.n_seqs = 2, .seqs = seqs};
        int32_t tokens[2] = {0};
        if (r->rank == 0) rig_must(r, step_put_pending(runner, &b, &b), "step_put_pending");
        for (uint32_t i = 0; i < 2; i++) tokens[i] = b.seqs[i].tokens[0];
        comm_bcast(r->comm, tokens, sizeof tokens, 0);
        for (uint32_t i = 0; n > 0 && i < 2; i++) seqs[i].tokens = &tokens[i];
        struct batch_result result = run(r, runner, seqs, 2);
        for (uint32_t i = 0; r->rank == 0 && n < N_PENDING && i < 2; i++)
            texts[(i + n) % 2][n] = result.seqs[i].token;
        comm_bcast(r->comm, texts, 2 * sizeof texts[0], 0);
    }
    step_free(runner);
}

static void test_pending(const struct rig *r) {
    int32_t plain[2][N_PENDING], ahead[2][N_PENDING];
    go_on(r, false, plain);
    go_on(r, true, ahead);
    EXPECT(r->rank, memcmp(plain, ahead, sizeof plain) == 0, "other tokens with pending ones");
    if (r->rank > 0 || r->size > 1) return; // what follows runs a step on rank 0 alone
    struct step_runner *runner = make_runner(r, 1);
    const int32_t mark = BATCH_TOKEN_PENDING;
    struct batch_seq s = chunk(0, PROMPT, blocks), next = s;
    struct batch b = {.n_seqs = 1, .n_tokens = 1, .seqs = &next};
    next.start = PROMPT;
    next.n_tokens = 1;
    next.n_outputs = 1;
    next.tokens = &mark;
    EXPECT(0, step_put_pending(runner, &b, &b) == ERR_PROTOCOL, "no step was before");
    run(r, runner, &s, 1);
    EXPECT(0, step_put_pending(runner, &b, &b) == ERR_PROTOCOL, "that one sampled nothing");
    s.sample = true;
    s.sampling.top_p = 1;
    run(r, runner, &s, 1);
    next.start--;
    EXPECT(0, step_put_pending(runner, &b, &b) == ERR_PROTOCOL, "at another position");
    next.start++, next.seq_id++;
    EXPECT(0, step_put_pending(runner, &b, &b) == ERR_PROTOCOL, "of another sequence");
    next.seq_id--;
    EXPECT(0, step_put_pending(runner, &b, &b) == ERR_OK, "%s", error_message());
    EXPECT(0, step_check(runner, &b) == ERR_OK, "%s", error_message());
    step_free(runner);
}

static void check_model(struct comm *c, const struct fixture_options *fixture) {
    struct fixture_file f;
    struct rig r;
    char path[512];
    rig_make_file(c, &f, fixture, path);
    rig_open(&r, c, path, &(struct rig_options){.ffn_unit = 4, .skewed = true});
    rig_load(&r);
    make_prompt(&r);
    test_same_bits(&r);
    test_outputs(&r);
    test_pending(&r);
    test_everything_banned(&r);
    test_sampling(&r);
    test_refusals(&r);
    test_check_ranks(&r);
    rig_close(&r);
    fixture_remove(&f);
}

int main(int argc, char **argv) {
    struct comm *c;
    if (comm_init(&c, &argc, &argv) != ERR_OK) return 1;
    check_model(c, &(struct fixture_options){
                       .heads = 8, .kv_heads = 2, .vocab = 1000, .type = "Q4_K_M", .seed = 7});
    check_model(c, &(struct fixture_options){.arch = "qwen2",
                                             .heads = 8,
                                             .kv_heads = 8,
                                             .vocab = 1500,
                                             .type = "Q8_0",
                                             .tied = true,
                                             .seed = 8});
    check_model(c, &(struct fixture_options){
                       .heads = 8, .kv_heads = 4, .vocab = 800, .type = "BF16", .seed = 9});
    comm_finalize(c);
    return 0;
}
