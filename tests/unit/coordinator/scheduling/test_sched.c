// SPDX-License-Identifier: MIT
/* test_sched.c: the scheduler against a pretended cluster.
 *
 * The pretended model answers token (sum of the last two tokens) mod 1000 + 300, a function of the
 * token log only, so a sequence must get the same tokens however it was chunked, batched or
 * preempted; and the pretended ranks check that every position was computed with the right block
 * before it is needed. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "common/mem.h"
#include "coordinator/scheduling/block.h"
#include "coordinator/scheduling/sched.h"
#include "demo_tokenizer.h"

#define MAX_BLOCKS 64

struct world {
    struct tokenizer *tokenizer;
    struct sched *sched;
    int32_t cache[MAX_BLOCKS][KV_BLOCK_TOKENS]; // the token whose K and V each place holds
    uint64_t now, steps, token_ns;   // token_ns: what a token adds to the millisecond of a step
    uint32_t most_seqs, step_tokens; // step_tokens: of the last step
};

struct client {
    struct buf text;
    uint32_t n_text_tokens, n_prompt, n_finished;
    double prompt_logprob;
    enum finish_reason reason;
    bool ended;
    err error;
    struct request_usage usage;
};

static void on_prompt(void *ctx, uint32_t first, const struct token_entry *e, size_t n) {
    struct client *c = ctx;
    assert_int_equal(first, c->n_prompt);
    if (first == 0)
        assert_true(isnan(e[0].logprob));
    else
        c->prompt_logprob += (double)e[0].logprob;
    c->n_prompt += (uint32_t)n;
}

static void on_text(void *ctx, uint32_t choice, const char *text, size_t n,
                    const struct token_entry *tokens, size_t n_tokens) {
    struct client *c = ctx;
    (void)choice, (void)tokens;
    assert_false(c->ended);
    buf_append(&c->text, text, n);
    c->n_text_tokens += (uint32_t)n_tokens;
}

static void on_finish(void *ctx, uint32_t choice, enum finish_reason reason) {
    struct client *c = ctx;
    (void)choice;
    c->reason = reason;
    c->n_finished++;
}

static void on_end(void *ctx, const struct request_usage *usage, err error, const char *message) {
    struct client *c = ctx;
    assert_non_null(message);
    assert_false(c->ended);
    c->ended = true;
    c->error = error;
    c->usage = *usage;
}

static const struct request_sink sink = {
    .prompt = on_prompt, .text = on_text, .finish = on_finish, .end = on_end};

static void open_world(struct world *w, struct tokenizer *t, uint32_t blocks, uint32_t max_batch,
                       uint32_t chunk) {
    *w = (struct world){.tokenizer = t};
    const struct sched_limits limits = {.n_vocab = (uint32_t)tokenizer_vocab_size(t) + 8,
                                        .kv_blocks = blocks,
                                        .ctx = 256,
                                        .max_batch = max_batch,
                                        .max_step_tokens = 64,
                                        .chunk_tokens = chunk,
                                        .max_queue_requests = 64,
                                        .max_queue_tokens = 10000,
                                        .epoch = 7};
    w->sched = sched_create(&limits, t);
}

/* What the ranks would do with one sequence: write the chunk, check all of the past, answer. */
static void compute(struct world *w, const struct batch_seq *b, struct batch_seq_result *out,
                    struct batch_output *outputs) {
    for (uint32_t i = 0; i < b->n_tokens; i++) {
        uint32_t p = b->start + i;
        assert_in_range(p / KV_BLOCK_TOKENS, 0, b->n_blocks - 1);
        w->cache[b->blocks[p / KV_BLOCK_TOKENS]][p % KV_BLOCK_TOKENS] = b->tokens[i];
    }
    // tokens points into the whole log: everything before the chunk must be in the cache
    for (uint32_t p = 0; p < b->start; p++) {
        assert_int_equal(w->cache[b->blocks[p / KV_BLOCK_TOKENS]][p % KV_BLOCK_TOKENS],
                         b->tokens[(int64_t)p - (int64_t)b->start]);
    }
    for (uint32_t i = 0; i < b->n_outputs; i++)
        outputs[i] = (struct batch_output){.target_logprob = -0.5f};
    int32_t token = -1;
    if (b->sample) {
        uint32_t last = b->n_tokens - 1;
        token =
            (b->tokens[last] + (b->start + last > 0 ? b->tokens[(int64_t)last - 1] : 0)) % 1000 +
            300;
    }
    *out = (struct batch_seq_result){.seq_id = b->seq_id,
                                     .n_outputs = b->n_outputs,
                                     .outputs = outputs,
                                     .token = token,
                                     .token_logprob = -1};
}

static bool step(struct world *w) {
    static struct batch_output outputs[BATCH_MAX_SEQS][64];
    static struct batch_seq_result results[BATCH_MAX_SEQS];
    struct batch batch;
    sched_flush(w->sched);
    if (!sched_next(w->sched, w->now, &batch)) return false;
    uint32_t tokens = 0;
    for (uint32_t i = 0; i < batch.n_seqs; i++) {
        compute(w, &batch.seqs[i], &results[i], outputs[i]);
        tokens += batch.seqs[i].n_tokens;
    }
    assert_int_equal(tokens, batch.n_tokens);
    assert_in_range(tokens, 1, 64);
    if (batch.n_seqs > w->most_seqs) w->most_seqs = batch.n_seqs;
    w->now += 1000000 + tokens * w->token_ns;
    w->step_tokens = tokens;
    w->steps++;
    const struct batch_result r = {
        .epoch = batch.epoch, .step = batch.step, .n_seqs = batch.n_seqs, .seqs = results};
    assert_int_equal(sched_apply(w->sched, &r, w->now), ERR_OK);
    return true;
}

static void close_world(struct world *w) {
    sched_flush(w->sched);
    struct sched_counts c = sched_get_counts(w->sched);
    assert_int_equal(c.kv_blocks_used, 0);
    assert_int_equal(c.requests, 0);
    sched_free(w->sched);
}

static uint64_t submit(struct world *w, uint32_t n_prompt, int32_t seed,
                       const struct request_params *p, struct client *c) {
    int32_t prompt[256];
    for (uint32_t i = 0; i < n_prompt; i++) prompt[i] = 300 + (seed * 31 + (int32_t)i * 7) % 1000;
    *c = (struct client){0};
    buf_init(&c->text, 0);
    uint64_t id = 0;
    assert_int_equal(sched_submit(w->sched, prompt, n_prompt, p, &sink, c, w->now, &id), ERR_OK);
    assert_int_not_equal(id, 0);
    return id;
}

/* The text of request `seed` when it has the cluster for itself. */
static void reference(struct tokenizer *t, uint32_t n_prompt, int32_t seed,
                      const struct request_params *p, struct client *c) {
    struct world w;
    open_world(&w, t, MAX_BLOCKS, 1, 64);
    submit(&w, n_prompt, seed, p, c);
    while (step(&w)) {
    }
    close_world(&w);
    assert_true(c->ended);
}

static void chunks_batches_and_preemption_change_nothing(void **state) {
    struct request_params p;
    request_params_init(&p);
    p.max_tokens = 60;
    p.ignore_eos = true;
    static struct client alone[12], together[12];
    for (int32_t i = 0; i < 12; i++) reference(*state, 20 + 9 * (uint32_t)i, i, &p, &alone[i]);
    const uint32_t chunks[] = {1, 7, 64};
    for (size_t k = 0; k < 3; k++) {
        struct world w;
        open_world(&w, *state, 10, 8, chunks[k]); // 320 positions for 12 * about 130
        for (int32_t i = 0; i < 12; i++) submit(&w, 20 + 9 * (uint32_t)i, i, &p, &together[i]);
        while (step(&w)) {
        }
        assert_in_range(w.most_seqs, 2, 8);
        // Prompts that trickle in by single tokens leave room; larger chunks fill the pool.
        if (chunks[k] > 1) assert_true(sched_get_counts(w.sched).preempted > 0);
        for (size_t i = 0; i < 12; i++) {
            assert_true(together[i].ended);
            assert_int_equal(together[i].reason, FINISH_LENGTH);
            assert_int_equal(together[i].usage.completion_tokens, 60);
            assert_int_equal(together[i].n_text_tokens, 60);
            assert_string_equal(together[i].text.data, alone[i].text.data);
            buf_deinit(&together[i].text);
        }
        close_world(&w);
    }
    for (size_t i = 0; i < 12; i++) buf_deinit(&alone[i].text);
}

static void prompt_logprobs_come_once_and_in_order(void **state) {
    struct request_params p;
    request_params_init(&p);
    p.max_tokens = 0;
    p.want_prompt = true;
    struct world w;
    struct client c;
    open_world(&w, *state, 16, 2, 7);
    submit(&w, 100, 3, &p, &c);
    while (step(&w)) {
    }
    assert_int_equal(c.n_prompt, 100);
    assert_float_equal(c.prompt_logprob, -0.5 * 99, 1e-9);
    assert_int_equal(c.reason, FINISH_LENGTH);
    assert_int_equal(c.usage.completion_tokens, 0);
    close_world(&w);
}

/* Requests that pause, wherever, say the same as those that do not, and let others pass. */
static void pausing_changes_nothing(void **state) {
    static const uint32_t pauses[] = {0, 1, 30, 63, 100, 107};
    struct request_params p;
    request_params_init(&p);
    p.max_tokens = 20;
    p.ignore_eos = true;
    struct client alone, other;
    reference(*state, 100, 1, &p, &alone);
    for (size_t i = 0; i < sizeof pauses / sizeof *pauses; i++) {
        struct world w;
        struct client c;
        open_world(&w, *state, 16, 4, 16);
        p.pause_at = pauses[i];
        uint64_t id = submit(&w, 100, 1, &p, &c);
        while (step(&w)) {
        }
        assert_false(c.ended);
        assert_int_equal(sched_get_counts(w.sched).running, 1);
        assert_int_equal(sched_get_counts(w.sched).kv_blocks_used, block_count_for(pauses[i]));
        p.pause_at = REQUEST_NO_PAUSE;
        submit(&w, 20, 2, &p, &other);
        while (step(&w)) {
        }
        assert_true(other.ended);
        assert_false(c.ended);
        sched_resume(w.sched, id);
        while (step(&w)) {
        }
        assert_true(c.ended);
        assert_string_equal(c.text.data, alone.text.data);
        buf_deinit(&c.text);
        buf_deinit(&other.text);
        close_world(&w);
    }
    buf_deinit(&alone.text);
}

static void cancel_in_every_state(void **state) {
    struct request_params p;
    request_params_init(&p);
    p.max_tokens = 50;
    p.n = 2;
    struct world w;
    struct client c[3];
    open_world(&w, *state, 16, 2, 8);
    uint64_t decoding = submit(&w, 8, 1, &p, &c[0]);
    for (int i = 0; i < 6; i++) step(&w);
    uint64_t waiting = submit(&w, 40, 2, &p, &c[1]);
    step(&w);
    sched_cancel(w.sched, waiting);
    sched_cancel(w.sched, 12345); // unknown: ignored
    sched_cancel(w.sched, decoding);
    uint64_t prefilling = submit(&w, 40, 3, &p, &c[2]);
    step(&w);
    assert_true(c[0].ended && c[1].ended);
    assert_int_equal(c[0].error, ERR_CANCELLED);
    sched_abandon(w.sched, prefilling);
    assert_false(step(&w));
    assert_false(c[2].ended); // an abandoned sink is never called again
    for (size_t i = 0; i < 3; i++) buf_deinit(&c[i].text);
    close_world(&w);
}

static void limits_are_refused(void **state) {
    struct world w;
    struct client c;
    open_world(&w, *state, 16, 2, 8);
    struct request_params p;
    request_params_init(&p);
    int32_t prompt[300] = {0};
    uint64_t id;
    assert_int_equal(sched_submit(w.sched, prompt, 256, &p, &sink, &c, 0, &id), ERR_CONTEXT);
    assert_non_null(strstr(error_message(), "256"));
    assert_int_equal(sched_submit(w.sched, prompt, 0, &p, &sink, &c, 0, &id), ERR_REQUEST);
    prompt[1] = 1 << 30;
    assert_int_equal(sched_submit(w.sched, prompt, 2, &p, &sink, &c, 0, &id), ERR_REQUEST);
    prompt[1] = 0;
    p.sampling.temperature = NAN;
    assert_int_equal(sched_submit(w.sched, prompt, 2, &p, &sink, &c, 0, &id), ERR_REQUEST);
    p.sampling.temperature = 0;
    p.n = 16;
    struct client many[5];
    for (size_t i = 0; i < 4; i++) submit(&w, 2, 1, &p, &many[i]);
    assert_int_equal(sched_submit(w.sched, prompt, 2, &p, &sink, &c, 0, &id), ERR_BUSY);
    sched_fail_all(w.sched, ERR_RANK_LOST, "rank 1 was lost");
    sched_flush(w.sched);
    for (size_t i = 0; i < 4; i++) assert_int_equal(many[i].error, ERR_RANK_LOST);
    close_world(&w);
}

/* 64 choices and 10,000 tokens may wait; whoever finds nobody waiting is always taken. */
static void the_queue_is_bounded(void **state) {
    struct request_params p;
    request_params_init(&p);
    struct client c[50];
    int32_t prompt[255] = {0};
    uint64_t id, n_taken;
    struct world w;
    open_world(&w, *state, 16, 2, 8);
    p.n = 16;
    for (size_t i = 0; i < 4; i++) submit(&w, 2, 1, &p, &c[i]);
    p.n = 1;
    assert_int_equal(sched_submit(w.sched, prompt, 2, &p, &sink, &c[4], 0, &id), ERR_BUSY);
    assert_non_null(strstr(error_message(), "64 requests with 128 tokens"));
    assert_true(step(&w)); // two have begun
    submit(&w, 2, 1, &p, &c[4]);
    submit(&w, 2, 1, &p, &c[5]);
    assert_int_equal(sched_submit(w.sched, prompt, 2, &p, &sink, &c[6], 0, &id), ERR_BUSY);
    sched_fail_all(w.sched, ERR_CANCELLED, "");
    close_world(&w);
    for (size_t i = 0; i < 6; i++) buf_deinit(&c[i].text);

    open_world(&w, *state, 16, 2, 8);
    memset(c, 0, sizeof c);
    err e = ERR_OK;
    for (n_taken = 0; e == ERR_OK; n_taken += e == ERR_OK)
        e = sched_submit(w.sched, prompt, 255, &p, &sink, &c[n_taken], 0, &id);
    assert_int_equal(e, ERR_BUSY);
    assert_int_equal(n_taken, 10000 / 255);
    sched_fail_all(w.sched, ERR_CANCELLED, "");
    close_world(&w);

    const struct sched_limits narrow = {.n_vocab = (uint32_t)tokenizer_vocab_size(*state),
                                        .kv_blocks = 16,
                                        .ctx = 256,
                                        .max_batch = 2,
                                        .max_step_tokens = 64,
                                        .max_queue_requests = 1,
                                        .max_queue_tokens = 1};
    w = (struct world){.tokenizer = *state, .sched = sched_create(&narrow, *state)};
    submit(&w, 255, 1, &p, &c[0]); // nobody waits
    assert_int_equal(sched_submit(w.sched, prompt, 1, &p, &sink, &c[1], 0, &id), ERR_BUSY);
    sched_fail_all(w.sched, ERR_CANCELLED, "");
    close_world(&w);
}

/* A prompt begins when all of it fits beside those that run, with a block to spare for each. */
static void nobody_begins_without_room(void **state) {
    struct request_params p;
    request_params_init(&p);
    p.max_tokens = 100;
    p.ignore_eos = true;
    struct world w;
    struct client first, second;
    open_world(&w, *state, 8, 4, 64);
    submit(&w, 100, 1, &p, &first); // 4 blocks, 7 in the end
    submit(&w, 96, 2, &p, &second); // 4 blocks
    for (int i = 0; i < 3; i++) step(&w);
    assert_int_equal(sched_get_counts(w.sched).running, 1);
    assert_int_equal(sched_get_counts(w.sched).waiting, 1);
    while (!first.ended) step(&w);
    step(&w);
    assert_int_equal(sched_get_counts(w.sched).running, 1);
    while (step(&w)) {
    }
    assert_int_equal(sched_get_counts(w.sched).preempted, 0);
    assert_true(second.ended);
    buf_deinit(&first.text);
    buf_deinit(&second.text);
    close_world(&w);
}

static void the_edge_of_the_context_is_length(void **state) {
    struct request_params p;
    request_params_init(&p);
    p.max_tokens = 100;
    p.ignore_eos = true;
    struct world w;
    struct client c;
    open_world(&w, *state, 16, 2, 64);
    submit(&w, 250, 1, &p, &c);
    while (step(&w)) {
    }
    assert_int_equal(c.usage.completion_tokens, 6);
    assert_int_equal(c.reason, FINISH_LENGTH);
    buf_deinit(&c.text);
    close_world(&w);
}

/* Half a second for a part of a prompt that is alone; less for what other streams wait for. */
static void a_prompt_alone_takes_longer_steps(void **state) {
    struct request_params p;
    request_params_init(&p);
    p.max_tokens = 50;
    p.ignore_eos = true;
    struct world w;
    struct client first, second, third, fourth;
    open_world(&w, *state, MAX_BLOCKS, 4, 0);
    w.token_ns = 10 * 1000 * 1000;
    submit(&w, 200, 1, &p, &first);
    const uint32_t parts[] = {32, 48, 48, 48, 24}; // 50 tokens fit
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        assert_true(step(&w));
        assert_int_equal(w.step_tokens, parts[i]);
    }
    for (int i = 0; i < 5; i++) assert_true(step(&w) && w.step_tokens == 1);
    submit(&w, 200, 2, &p, &second);
    for (int i = 0; i < 5; i++) assert_true(step(&w) && w.step_tokens <= 3);
    while (step(&w)) {
    }
    submit(&w, 10, 3, &p, &third); // short ones share a step of 200 ms
    submit(&w, 200, 4, &p, &fourth);
    assert_true(step(&w));
    assert_in_range(w.step_tokens, 18, 21);
    while (step(&w)) {
    }
    buf_deinit(&first.text);
    buf_deinit(&second.text);
    buf_deinit(&third.text);
    buf_deinit(&fourth.text);
    close_world(&w);
}

/* A vocabulary may be padded to a round number: such a token has no spelling, and is one. */
static void tokens_beyond_the_tokenizer(void **state) {
    const int32_t n_known = (int32_t)tokenizer_vocab_size(*state), n_vocab = n_known + 8;
    struct request_params p;
    request_params_init(&p);
    p.max_tokens = 2;
    struct world w;
    struct client c;
    open_world(&w, *state, 16, 2, 64);
    submit(&w, 4, 1, &p, &c);
    const int32_t answers[] = {n_vocab, n_vocab - 1, n_known};
    const err expected[] = {ERR_PROTOCOL, ERR_OK, ERR_OK};
    struct batch batch;
    for (size_t i = 0; i < 3; i++) {
        const struct batch_output output = {.target_logprob = -0.5f};
        if (i != 1) assert_true(sched_next(w.sched, w.now, &batch));
        const struct batch_seq_result seq = {
            .seq_id = 1, .n_outputs = 1, .outputs = &output, .token = answers[i]};
        const struct batch_result r = {
            .epoch = batch.epoch, .step = batch.step, .n_seqs = 1, .seqs = &seq};
        assert_int_equal(sched_apply(w.sched, &r, w.now), expected[i]);
    }
    sched_flush(w.sched);
    assert_true(c.ended && c.error == ERR_OK);
    assert_int_equal(c.usage.completion_tokens, 2);
    assert_int_equal(c.n_text_tokens, 2);
    assert_int_equal(c.text.length, 0);
    buf_deinit(&c.text);
    close_world(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_batches_and_preemption_change_nothing),
        cmocka_unit_test(prompt_logprobs_come_once_and_in_order),
        cmocka_unit_test(pausing_changes_nothing),
        cmocka_unit_test(cancel_in_every_state),
        cmocka_unit_test(limits_are_refused),
        cmocka_unit_test(the_queue_is_bounded),
        cmocka_unit_test(nobody_begins_without_room),
        cmocka_unit_test(the_edge_of_the_context_is_length),
        cmocka_unit_test(a_prompt_alone_takes_longer_steps),
        cmocka_unit_test(tokens_beyond_the_tokenizer),
    };
    return cmocka_run_group_tests(tests, demo_tokenizer_open, demo_tokenizer_close);
}
