// SPDX-License-Identifier: MIT
/* test_sim.c: whole days of traffic through the scheduler.
 *
 *      test_sim [RECORDING]
 *
 * What must hold for every request whatever the others do: the text it would get alone; a place in
 * the order it came; no work after it has left; and in the end no block is held. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "tests/sim/simulation.h"
#include "tests/unit/coordinator/scheduling/demo_tokenizer.h"

#define MS ((uint64_t)1000 * 1000)

static const char *recording;

/* A small model on a fast machine; plenty of everything. */
static const struct sim_options standard = {
    .limits = {.kv_blocks = 1024,
               .ctx = 512,
               .max_batch = 16,
               .max_step_tokens = 256,
               .max_queue_requests = 1 << 20,
               .max_queue_tokens = 1 << 30,
               .epoch = 1},
    .machine = {.fixed_ns = 4 * MS, .token_ns = MS / 4, .depth_ns = 50, .link_ns = MS / 10}};

/* ---- the text that a request gets alone ---- */

/* One request at a time, one step at a time, nothing shared: the plainest schedule there is. */
static void run_alone(const struct tokenizer *t, const struct traffic_request *list, uint32_t n,
                      uint64_t (*digests)[REQUEST_MAX_CHOICES + 1]) {
    struct sim_options o = standard;
    o.one_flight = true;
    o.limits.no_prefix_cache = true;
    o.limits.chunk_tokens = 64;
    struct traffic_request *apart = mem_zalloc_array(n, sizeof *apart);
    for (uint32_t i = 0; i < n; i++) {
        apart[i] = list[i];
        apart[i].at_ns = 1 + i * (uint64_t)1000 * 1000 * MS;
        apart[i].cancel_after_ns = apart[i].cancel_at_token = 0;
    }
    struct simulation s;
    sim_open(&s, &o, t);
    sim_run(&s, apart, n);
    for (uint32_t i = 0; i < n; i++) memcpy(digests[i], s.clients[i].digest, sizeof digests[i]);
    sim_close(&s);
    mem_free(apart);
}

static void check_texts(const struct simulation *s, uint64_t (*digests)[REQUEST_MAX_CHOICES + 1]) {
    for (uint32_t i = 0; i < s->n_clients; i++) {
        const struct sim_client *c = &s->clients[i];
        assert_false(c->refused);
        if (c->left) continue;
        assert_memory_equal(c->digest, digests[i], sizeof digests[i]);
    }
}

/* ---- random traffic ---- */

struct variant {
    const char *name;
    uint32_t kv_blocks, max_batch, chunk_tokens;
    bool no_prefix_cache, one_flight;
};

static void report(const struct simulation *s, const char *name, uint64_t took_ns) {
    struct sched_counts c = sched_get_counts(s->sched);
    print_message("%s: %.0f us a request; %llu steps, %.0f %% ahead; %llu preempted, %.0f %% of "
                  "%llu prompt tokens cached; ranks waited %.2f %%\n",
                  name, (double)took_ns / 1e3 / s->n_clients, (unsigned long long)s->n_steps,
                  100.0 * (double)s->n_ahead / (double)s->n_steps, (unsigned long long)c.preempted,
                  100.0 * (double)c.prefix_hits / (double)(c.prefix_queries + 1),
                  (unsigned long long)c.prefix_queries,
                  100.0 * (double)s->idle_ns / (double)s->busy_ns);
}

/* Each variant serves the same traffic; all texts are those that the requests get alone. */
static void run_variants(const struct tokenizer *t, const struct traffic_options *traffic,
                         const struct variant *v, size_t n_variants) {
    struct traffic_request *list = traffic_make(traffic);
    uint64_t(*digests)[REQUEST_MAX_CHOICES + 1] =
        mem_zalloc_array(traffic->n_requests, sizeof *digests);
    run_alone(t, list, traffic->n_requests, digests);
    for (size_t i = 0; i < n_variants; i++) {
        struct simulation s;
        struct sim_options o = standard;
        o.limits.kv_blocks = v[i].kv_blocks;
        o.limits.max_batch = v[i].max_batch;
        o.limits.chunk_tokens = v[i].chunk_tokens;
        o.limits.no_prefix_cache = v[i].no_prefix_cache;
        o.one_flight = v[i].one_flight;
        sim_open(&s, &o, t);
        uint64_t begin_ns = clock_ns();
        sim_run(&s, list, traffic->n_requests);
        report(&s, v[i].name, clock_ns() - begin_ns);
        check_texts(&s, digests);
        struct sched_counts c = sched_get_counts(s.sched);
        assert_true((c.prefix_hits > 0) == !v[i].no_prefix_cache);
        assert_true((c.preempted > 0) == (v[i].kv_blocks < 100));
        assert_int_equal(s.most_seqs, v[i].max_batch);
        sim_close(&s);
    }
    mem_free(digests);
    mem_free(list);
}

static void ten_thousand_requests(void **state) {
    static const struct traffic_options traffic = {.n_requests = 10000,
                                                   .seed = 1,
                                                   .mean_gap_ns = 20e6,
                                                   .longest_prompt = 300,
                                                   .longest_completion = 100,
                                                   .cancel_percent = 10,
                                                   .special_percent = 30};
    static const struct variant variants[] = {
        {.name = "as served", .kv_blocks = 1024, .max_batch = 16},
        {.name = "one step at a time", .kv_blocks = 1024, .max_batch = 16, .one_flight = true},
        {.name = "no prefix cache", .kv_blocks = 1024, .max_batch = 16, .no_prefix_cache = true},
        {.name = "chunks of 16", .kv_blocks = 1024, .max_batch = 7, .chunk_tokens = 16}};
    run_variants(*state, &traffic, variants, sizeof variants / sizeof *variants);
}

/* Long answers in a pool that hardly holds more than one context. */
static void few_blocks(void **state) {
    static const struct traffic_options traffic = {.n_requests = 1500,
                                                   .seed = 2,
                                                   .mean_gap_ns = 100e6,
                                                   .longest_prompt = 200,
                                                   .longest_completion = 500,
                                                   .cancel_percent = 10,
                                                   .special_percent = 50};
    static const struct variant variants[] = {
        {.name = "few blocks", .kv_blocks = 20, .max_batch = 4},
        {.name = "few blocks, one step at a time",
         .kv_blocks = 20,
         .max_batch = 4,
         .one_flight = true},
        {.name = "few blocks, no prefix cache",
         .kv_blocks = 20,
         .max_batch = 4,
         .no_prefix_cache = true},
        {.name = "one context of blocks", .kv_blocks = 16, .max_batch = 4, .chunk_tokens = 64}};
    run_variants(*state, &traffic, variants, sizeof variants / sizeof *variants);
}

static void the_same_traffic_gives_the_same_schedule(void **state) {
    static const struct traffic_options traffic = {.n_requests = 2000,
                                                   .seed = 3,
                                                   .mean_gap_ns = 20e6,
                                                   .longest_prompt = 300,
                                                   .longest_completion = 100,
                                                   .cancel_percent = 20,
                                                   .special_percent = 30};
    struct traffic_request *list = traffic_make(&traffic);
    uint64_t hashes[2];
    for (size_t i = 0; i < 2; i++) {
        struct simulation s;
        sim_open(&s, &standard, *state);
        sim_run(&s, list, traffic.n_requests);
        hashes[i] = fake_ranks_hash(s.ranks);
        sim_close(&s);
    }
    assert_true(hashes[0] == hashes[1]);
    mem_free(list);
}

static void recorded_traffic(void **state) {
    uint32_t n;
    struct traffic_request *list = traffic_read(recording, &n);
    if (!list) fail_msg("the recording '%s' cannot be read", recording);
    assert_true(n > 100);
    uint64_t(*digests)[REQUEST_MAX_CHOICES + 1] = mem_zalloc_array(n, sizeof *digests);
    run_alone(*state, list, n, digests);
    struct simulation s;
    sim_open(&s, &standard, *state);
    uint64_t begin_ns = clock_ns();
    sim_run(&s, list, n);
    report(&s, "recorded", clock_ns() - begin_ns);
    check_texts(&s, digests);
    sim_close(&s);
    mem_free(digests);
    mem_free(list);
}

/* ---- one long prompt ---- */

static struct traffic_request plain(double at_ms, uint32_t seed, uint32_t n_prompt,
                                    uint32_t max_tokens) {
    struct traffic_request r = {.at_ns = 1 + (uint64_t)(at_ms * 1e6), .seed = seed};
    request_params_init(&r.params);
    r.n_prompt = n_prompt;
    r.params.max_tokens = max_tokens;
    r.params.ignore_eos = true;
    return r;
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The gap between tokens of a client that p per cent of its gaps in (from, to] do not exceed. */
static uint64_t gap_ns(const struct sim_client *c, uint64_t from, uint64_t to, uint32_t p) {
    uint64_t gaps[4096];
    size_t n = 0;
    for (uint32_t i = 1; i < c->n_tokens && n < 4096; i++)
        if (c->token_ns[i] > from && c->token_ns[i] <= to)
            gaps[n++] = c->token_ns[i] - c->token_ns[i - 1];
    assert_true(n > 0);
    qsort(gaps, n, sizeof *gaps, by_size);
    return gaps[(n - 1) * p / 100];
}

/* Eight streams, then a prompt of 2,000 tokens: nobody waits more than twice as long as usual, and
 * the prompt's first token comes within 2.5 times of what it takes alone. */
static void a_long_prompt_beside_streams(void **state) {
    static const struct sim_machine machines[] = {
        {4 * MS, MS / 4, 50, MS / 10},      // bound by computing
        {20 * MS, MS, 300, MS / 10},        // the same, slower, with attention
        {12 * MS, MS / 8, 10, MS / 10},     // many tokens cost little more than one
        {MS / 4, MS / 20, 2, MS / 20},      // a very small model
        {300 * MS, 20 * MS, 2000, MS / 10}, // a very large one
    };
    for (size_t k = 0; k < sizeof machines / sizeof *machines; k++) {
        struct sim_options o = standard;
        o.machine = machines[k];
        o.limits.ctx = 4096;
        o.limits.max_step_tokens = 512;
        double unit_ms = (double)(o.machine.fixed_ns + o.machine.token_ns * 8) / 1e6;
        struct traffic_request list[10];
        list[0] = plain(0, 1, 2000, 1); // alone
        for (uint32_t i = 1; i < 9; i++) list[i] = plain(5000 * unit_ms, 1 + i, 16, 3500);
        list[9] = plain(5300 * unit_ms, 10, 2000, 1);
        struct simulation s;
        sim_open(&s, &o, *state);
        sim_run(&s, list, 10);
        const struct sim_client *prompt = &s.clients[9];
        double alone_ns = (double)s.clients[0].token_ns[0];
        double ratio = (double)(prompt->token_ns[0] - list[9].at_ns) / alone_ns, worst = 0;
        for (uint32_t i = 1; i < 9; i++) {
            const struct sim_client *c = &s.clients[i];
            uint64_t usual =
                gap_ns(c, list[9].at_ns - (uint64_t)(100 * unit_ms * 1e6), list[9].at_ns, 50);
            double pause =
                (double)gap_ns(c, list[9].at_ns, prompt->token_ns[0], 99) / (double)usual;
            if (pause > worst) worst = pause;
        }
        print_message("machine %zu: p99 of gaps %.2f times, first token %.2f times as usual\n", k,
                      worst, ratio);
        assert_true(worst <= 2);
        assert_true(ratio <= 2.5);
        sim_close(&s);
    }
}

/* ---- what is shared ---- */

static void run_list(struct simulation *s, const struct sim_options *o, const struct tokenizer *t,
                     const struct traffic_request *list, uint32_t n) {
    sim_open(s, o, t);
    sim_run(s, list, n);
}

/* The second of two prompts that begin alike computes what is new, and never less than a token. */
static void a_prefix_is_computed_once(void **state) {
    static const struct {
        uint32_t shared, n_prompt, cached;
        bool off, echo;
    } cases[] = {
        {320, 400, 320, false, false}, {319, 400, 288, false, false}, {0, 400, 0, false, false},
        {400, 400, 384, false, false}, {320, 320, 288, false, false}, {33, 33, 32, false, false},
        {32, 32, 0, false, false},     {320, 400, 0, true, false},    {320, 400, 0, false, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct simulation s;
        struct sim_options o = standard;
        o.limits.no_prefix_cache = cases[i].off;
        struct traffic_request list[2];
        for (uint32_t k = 0; k < 2; k++) {
            list[k] = plain(k * 10000, 1 + k, cases[i].n_prompt, 1);
            list[k].shared_tokens = cases[i].shared;
        }
        list[1].params.want_prompt = list[1].params.want_logprobs = cases[i].echo;
        run_list(&s, &o, *state, list, 2);
        assert_int_equal(s.clients[0].usage.cached_tokens, 0);
        assert_int_equal(s.clients[1].usage.cached_tokens, cases[i].cached);
        assert_int_equal(fake_ranks_n_computed(s.ranks), 2 * cases[i].n_prompt - cases[i].cached);
        struct sched_counts c = sched_get_counts(s.sched);
        assert_int_equal(c.prefix_hits, cases[i].cached);
        assert_int_equal(c.prefix_queries, cases[i].off    ? 0
                                           : cases[i].echo ? cases[i].n_prompt
                                                           : 2 * cases[i].n_prompt);
        sim_close(&s);
    }
}

/* Also when they come together, and when the answer is what the next prompt begins with. */
static void prompts_at_once_are_computed_once(void **state) {
    struct simulation s;
    struct traffic_request list[6];
    for (uint32_t i = 0; i < 6; i++) {
        list[i] = plain(0, 1 + i, 300, 1);
        list[i].shared_tokens = 256;
    }
    run_list(&s, &standard, *state, list, 6);
    assert_int_equal(fake_ranks_n_computed(s.ranks), 256 + 6 * 44);
    sim_close(&s);
}

/* Two prompts fill the pool.  The second leaves when a third needs room, its end before its
 * beginning, since the first one was asked again. */
static void the_least_recently_used_leaves(void **state) {
    struct simulation s;
    struct sim_options o = standard;
    o.limits.kv_blocks = 16;
    static const uint32_t groups[] = {1, 2, 1, 3, 1, 2}, cached[] = {0, 0, 224, 0, 224, 32};
    struct traffic_request list[6];
    for (uint32_t i = 0; i < 6; i++) {
        list[i] = plain(i * 10000, 1 + i, 250, 1);
        list[i].group = groups[i];
        list[i].shared_tokens = 230;
    }
    run_list(&s, &o, *state, list, 6);
    for (uint32_t i = 0; i < 6; i++) assert_int_equal(s.clients[i].usage.cached_tokens, cached[i]);
    sim_close(&s);
}

/* Choices compute for themselves only the end of the prompt that fills no block. */
static void choices_share_their_prompt(void **state) {
    for (uint32_t off = 0; off < 2; off++) {
        for (uint32_t max_batch = 2; max_batch <= 16; max_batch += 7) {
            struct simulation s;
            struct sim_options o = standard;
            o.limits.no_prefix_cache = off;
            o.limits.max_batch = max_batch;
            struct traffic_request r = plain(0, 1, 300, 20);
            r.params.n = 8;
            run_list(&s, &o, *state, &r, 1);
            // the last token of each answer needs no K and V
            assert_int_equal(fake_ranks_n_computed(s.ranks), 300 + 7 * (300 - 288) + 8 * 19);
            assert_int_equal(s.clients[0].usage.prompt_tokens, 300);
            assert_int_equal(s.clients[0].usage.completion_tokens, 8 * 20);
            assert_int_equal(s.clients[0].usage.cached_tokens, 0);
            sim_close(&s);
        }
    }
}

/* ---- steps sent ahead ---- */

/* Streams whose tokens depend on nothing but the tokens before keep the ranks busy all the time. */
static void ranks_do_not_wait(void **state) {
    static const uint64_t fixed_ns[] = {MS / 10, MS, 10 * MS, 100 * MS};
    for (size_t i = 0; i < sizeof fixed_ns / sizeof *fixed_ns; i++) {
        struct simulation s;
        struct sim_options o = standard;
        o.machine = (struct sim_machine){fixed_ns[i], fixed_ns[i] / 20, 0, MS / 20};
        struct traffic_request list[4];
        for (uint32_t k = 0; k < 4; k++) list[k] = plain(0, 1 + k, 30, 400);
        run_list(&s, &o, *state, list, 4);
        print_message("steps of %.1f ms: %.0f %% sent ahead, ranks waited %.3f %%\n",
                      (double)fixed_ns[i] / 1e6, 100.0 * (double)s.n_ahead / (double)s.n_steps,
                      100.0 * (double)s.idle_ns / (double)s.busy_ns);
        assert_true(s.idle_ns * 100 < s.busy_ns);
        sim_close(&s);
    }
}

/* Somebody leaves after every event there is: queued, in prefill, in decode, preempted, ending. */
static void leaving_in_every_state(void **state) {
    uint32_t n_left = 0, n_preempted = 0;
    for (uint32_t ms = 1; ms < 3000; ms += 29) {
        for (uint32_t who = 0; who < 6; who++) {
            struct simulation s;
            struct sim_options o = standard;
            o.limits.kv_blocks = 16;
            o.limits.max_batch = 4;
            struct traffic_request list[6];
            for (uint32_t i = 0; i < 6; i++) list[i] = plain(i * 40, 1 + i, 30 + 20 * i, 150);
            list[1].params.n = 2;
            list[2].params.frequency_penalty = 0.5f;
            list[who].cancel_after_ns = ms * MS;
            list[who].abandon = ms % 2;
            run_list(&s, &o, *state, list, 6);
            n_left += s.clients[who].left;
            n_preempted += sched_get_counts(s.sched).preempted > 0;
            sim_close(&s);
        }
    }
    assert_true(n_left > 200 && n_preempted > 200);
}

int main(int argc, char **argv) {
    recording = argc > 1 ? argv[1] : NULL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_thousand_requests),
        cmocka_unit_test(few_blocks),
        cmocka_unit_test(the_same_traffic_gives_the_same_schedule),
        cmocka_unit_test(recorded_traffic),
        cmocka_unit_test(a_long_prompt_beside_streams),
        cmocka_unit_test(a_prefix_is_computed_once),
        cmocka_unit_test(prompts_at_once_are_computed_once),
        cmocka_unit_test(the_least_recently_used_leaves),
        cmocka_unit_test(choices_share_their_prompt),
        cmocka_unit_test(ranks_do_not_wait),
        cmocka_unit_test(leaving_in_every_state),
    };
    return cmocka_run_group_tests(tests, demo_tokenizer_open, demo_tokenizer_close);
}
