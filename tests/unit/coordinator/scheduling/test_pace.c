// SPDX-License-Identifier: MIT
/* test_pace.c: what is learned of pretended machines, and the balance that follows from it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>

#include "coordinator/scheduling/pace.h"

#define MS 1e6

/* A machine: time = fixed + tokens * each + depth * deep, and at least `floor` (memory). */
struct machine {
    double fixed, each, deep, floor;
};

static uint64_t run(const struct machine *m, const struct pace_step *s) {
    double t = m->fixed + m->each * (s->n_decoding + s->n_prompt) + m->deep * (double)s->depth;
    return (uint64_t)(t > m->floor ? t : m->floor);
}

static void do_step(struct pace *p, const struct machine *m, struct pace_step s) {
    pace_observe(p, &s, run(m, &s));
}

/* Prefills `tokens` beside `n_decoding` streams; the time of it, and the longest step. */
static double prefill(struct pace *p, const struct machine *m, uint32_t n_decoding, uint32_t tokens,
                      double *longest) {
    double sum = 0;
    *longest = 0;
    for (uint32_t at = 0; at < tokens;) {
        uint32_t n = pace_prompt_tokens(p, n_decoding, 1, at);
        if (n > tokens - at) n = tokens - at;
        struct pace_step s = {n_decoding, n, n * (at + (uint64_t)n / 2)};
        double t = (double)run(m, &s);
        if (t > *longest) *longest = t;
        sum += t;
        at += n;
        pace_observe(p, &s, (uint64_t)t);
    }
    return sum;
}

static const struct machine machines[] = {
    {8 * MS, 3 * MS, 0, 0},              // bound by computing
    {8 * MS, 3 * MS, 1e3, 0},            // the same, with attention
    {0.5 * MS, 1 * MS, 200, 12 * MS},    // decoding is bound by memory
    {0.05 * MS, 0.02 * MS, 5, 0.2 * MS}, // a small model
    {30 * MS, 20 * MS, 10e3, 120 * MS},  // a large one
};

static void both_wishes_are_met(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
        const struct machine *m = &machines[i];
        for (uint32_t streams = 1; streams <= 32; streams *= 2) {
            struct pace p = {0};
            double longest;
            prefill(&p, m, 0, 500, &longest);
            double alone = prefill(&p, m, 0, 2000, &longest);
            for (int k = 0; k < 20; k++) do_step(&p, m, (struct pace_step){.n_decoding = streams});
            double usual = (double)run(m, &(struct pace_step){.n_decoding = streams});
            double beside = prefill(&p, m, streams, 2000, &longest);
            if (longest > 2 * usual || beside > 2.5 * alone)
                print_error(
                    "machine %zu, %u streams: %.2f times the pause, %.2f times the prompt\n", i,
                    streams, longest / usual, beside / alone);
            assert_true(longest <= 2 * usual);
            assert_true(beside <= 2.5 * alone);
        }
    }
}

static void prompts_alone_take_long_steps(void **state) {
    (void)state;
    const struct machine m = {1 * MS, 2 * MS, 100, 0};
    struct pace p = {0};
    double longest;
    prefill(&p, &m, 0, 4000, &longest);
    assert_in_range(longest, PACE_STEP_NS * 9 / 10, PACE_STEP_NS * 11 / 10);
}

/* A prompt that is computed in parts: none takes longer than it may, all but the last are alike,
 * and there are no more of them than must be. */
static void a_lone_prompt_is_cut_into_equal_parts(void **state) {
    (void)state;
    const struct machine m = {0, 4 * MS, 0, 0};
    struct pace p = {0};
    double longest;
    assert_int_equal(pace_part_tokens(&p, 500, 0, 512), 32); // nothing is known yet
    assert_int_equal(pace_part_tokens(&p, 20, 0, 512), 20);
    prefill(&p, &m, 0, 4000, &longest);
    const uint32_t fit = 112; // of the 125 that take 500 ms
    for (uint32_t n = 1; n < 3000; n += 7) {
        uint32_t first = 0, parts = 0;
        for (uint32_t left = n; left > 0; parts++) {
            uint32_t part = pace_part_tokens(&p, left, 0, 512);
            if (parts == 0) first = part;
            assert_in_range(part, 1, left);
            assert_true(part * m.each <= (double)PACE_PART_NS * 1.01);
            if (part < left) assert_int_equal(part % 16, 0);
            if (part < left) assert_in_range(part, first - 16, first);
            left -= part;
        }
        assert_in_range(parts, (n + 124) / 125, (n + fit - 1) / fit);
    }
    assert_int_equal(pace_part_tokens(&p, 3000, 0, 64), 64); // a step has no room for more
    assert_int_equal(pace_part_tokens(&p, 3000, 0, 5), 5);
}

/* However long a token takes, a part is worth reading the weights for. */
static void a_slow_machine_takes_no_tiny_parts(void **state) {
    (void)state;
    const struct machine m = {0, 100 * MS, 0, 0};
    struct pace p = {0};
    double longest;
    prefill(&p, &m, 0, 400, &longest);
    assert_int_equal(pace_part_tokens(&p, 400, 0, 512), 32);
    assert_in_range(pace_prompt_tokens(&p, 0, 2, 0), 8, 8);
}

static void several_prompts_share_longer_steps(void **state) {
    (void)state;
    const struct machine *m = &machines[0];
    struct pace p = {0};
    double longest;
    prefill(&p, m, 0, 2000, &longest);
    for (int k = 0; k < 20; k++) do_step(&p, m, (struct pace_step){.n_decoding = 8});
    uint32_t one = pace_prompt_tokens(&p, 8, 1, 0), three = pace_prompt_tokens(&p, 8, 3, 0);
    assert_in_range(three, 3 * one - 1, 3 * one + 2);
    uint64_t most = pace_expect_ns(&p, &(struct pace_step){8, pace_prompt_tokens(&p, 8, 99, 0), 0});
    assert_in_range(most, PACE_STEP_NS * 9 / 10, PACE_STEP_NS * 11 / 10);
}

static void a_disturbed_step_changes_little(void **state) {
    (void)state;
    const struct machine *m = &machines[0];
    struct pace p = {0};
    double longest;
    prefill(&p, m, 0, 2000, &longest);
    for (int k = 0; k < 20; k++) do_step(&p, m, (struct pace_step){.n_decoding = 8});
    uint32_t before = pace_prompt_tokens(&p, 8, 1, 0);
    pace_observe(&p, &(struct pace_step){.n_decoding = 8}, 2000 * (uint64_t)MS);
    pace_observe(&p, &(struct pace_step){.n_prompt = 64, .depth = 64 * 100}, 5000 * (uint64_t)MS);
    assert_in_range(pace_prompt_tokens(&p, 8, 1, 0), before * 7 / 10, before * 13 / 10);
}

/* The usual time is measured again while prompts keep coming, and follows the number of streams. */
static void the_usual_time_stays_known(void **state) {
    (void)state;
    const struct machine *m = &machines[0];
    struct pace p = {0};
    double longest;
    assert_int_equal(pace_prompt_tokens(&p, 4, 1, 0), 0); // first of all
    do_step(&p, m, (struct pace_step){.n_decoding = 4});
    assert_true(pace_prompt_tokens(&p, 4, 1, 0) > 0);
    prefill(&p, m, 0, 1000, &longest);
    uint32_t n_probes = 0;
    for (int k = 0; k < 330; k++) {
        struct pace_step s = {.n_decoding = 16, .n_prompt = pace_prompt_tokens(&p, 16, 1, 0)};
        n_probes += s.n_prompt == 0;
        do_step(&p, m, s);
    }
    assert_in_range(n_probes, 9, 11);
    double want = (double)run(m, &(struct pace_step){.n_decoding = 16});
    double known = (double)pace_expect_ns(&p, &(struct pace_step){.n_decoding = 16});
    assert_true(known > 0.95 * want && known < 1.05 * want);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_wishes_are_met),
        cmocka_unit_test(prompts_alone_take_long_steps),
        cmocka_unit_test(a_lone_prompt_is_cut_into_equal_parts),
        cmocka_unit_test(a_slow_machine_takes_no_tiny_parts),
        cmocka_unit_test(several_prompts_share_longer_steps),
        cmocka_unit_test(a_disturbed_step_changes_little),
        cmocka_unit_test(the_usual_time_stays_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
