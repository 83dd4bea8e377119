// SPDX-License-Identifier: MIT
/* test_sampler.c: random numbers against published vectors, sampling against exact probabilities.
 *
 * A row of logits is sampled twice: from its whole, and from its best few with the right to say
 * "undecided".  Whatever the few decide must be what the whole decides. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "worker/compute/sampler.h"

#define N     400
#define DRAWS 20000

static const struct kernels *kernels;

static void expect_close(double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance)) fail_msg("%.12g, wanted %.12g", got, want);
}

/* Known answers of Random123 1.09 (kat_vectors). */
static void test_philox_known_answers(void **unused) {
    (void)unused;
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } known[] = {
        {{0}, {0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];
        sampler_philox(known[i].counter, known[i].key, out);
        for (int j = 0; j < 4; j++) assert_int_equal(out[j], known[i].want[j]);
    }
}

static void test_uniform_depends_on_all_of_its_key(void **unused) {
    (void)unused;
    double u = sampler_uniform(1, 2, 3);
    assert_true(u >= 0 && u < 1);
    assert_true(u == sampler_uniform(1, 2, 3));
    assert_true(u != sampler_uniform(2, 2, 3));
    assert_true(u != sampler_uniform(1ull << 40 | 1, 2, 3));
    assert_true(u != sampler_uniform(1, 3, 3));
    assert_true(u != sampler_uniform(1, 2, 4));
    double mean = 0;
    for (uint64_t i = 0; i < DRAWS; i++) mean += sampler_uniform(7, 0, i) / DRAWS;
    expect_close(mean, 0.5, 0.01); // five standard deviations
}

static void test_log_sum_merges(void **unused) {
    (void)unused;
    float logits[N];
    for (size_t i = 0; i < N; i++) logits[i] = sinf((float)i) * 30;
    struct log_sum whole = log_sum_of(kernels, logits, N, 1),
                   parts = log_sum_of(kernels, logits, 0, 1);
    assert_true(parts.sum == 0 && parts.max == -INFINITY);
    for (size_t begin = 0; begin < N; begin += 80) {
        struct log_sum part = log_sum_of(kernels, logits + begin, 80, 1);
        log_sum_merge(&parts, &part);
        struct log_sum nothing = log_sum_of(kernels, NULL, 0, 1);
        log_sum_merge(&parts, &nothing);
    }
    expect_close(parts.max + log(parts.sum), whole.max + log(whole.sum), 1e-6);
    double all = 0;
    for (size_t i = 0; i < N; i++) all += exp(log_sum_logprob(&whole, logits[i]));
    expect_close(all, 1, 1e-6);
    assert_true(log_sum_logprob(&whole, -INFINITY) == -INFINITY);

    struct log_sum warm = log_sum_of(kernels, logits, N, 2.5);
    double want = 0;
    for (size_t i = 0; i < N; i++) want += exp((double)logits[i] / 2.5);
    expect_close(warm.max + log(warm.sum), log(want), 1e-6);
}

static void test_edits_and_back(void **unused) {
    (void)unused;
    float logits[6] = {2, -2, NAN, INFINITY, 4, 5}, before[6], saved[6];
    sampler_clean(logits, 6);
    assert_true(logits[2] == -INFINITY && isfinite(logits[3]));
    memcpy(before, logits, sizeof before);
    const struct logit_edit edits[] = {
        {.token = 100, .repeat = 2, .bias = 1},         {.token = 101, .repeat = 2, .bias = 0},
        {.token = 104, .repeat = 1, .bias = -1},        {.token = 104, .repeat = 1, .bias = -1},
        {.token = 105, .repeat = 1, .bias = -INFINITY}, {.token = 99, .repeat = 9, .bias = 9},
    };
    sampler_edit(logits, 6, 100, edits, 6, saved);
    const float want[6] = {2, -4, -INFINITY, before[3], 2, -INFINITY};
    for (int i = 0; i < 6; i++) assert_true(logits[i] == want[i]);
    sampler_unedit(logits, 6, 100, edits, 6, saved);
    assert_memory_equal(logits, before, sizeof before);
}

/* --- the choice --- */

static float row[N];

static void make_row(float spread) {
    uint32_t state = 99;
    for (size_t i = 0; i < N; i++) {
        state = state * 1664525u + 1013904223u;
        row[i] = (float)(state >> 16) / 65536.0f * spread;
    }
    row[17] = row[18]; // a tie
}

/* Chooses from the whole row, or from its best `few`; -1: undecided. */
static int32_t choose(const struct sampling *s, size_t few, double u) {
    struct candidate c[N];
    struct topk_reader reader;
    struct log_sum total =
        log_sum_of(kernels, row, N, s->temperature > 0 ? (double)s->temperature : 1);
    size_t n = topk_select(c, few ? few : N, row, N, 0);
    topk_reader_init(&reader, c, n);
    const struct candidate *x = sampler_choose(s, &reader, n, few == 0, &total, u);
    return x ? x->token : -1;
}

/* The probabilities that the cut-offs should leave, straight from their definitions. */
static void exact_probabilities(const struct sampling *s, double *p) {
    struct candidate c[N];
    struct topk_reader reader;
    topk_reader_init(&reader, c, topk_select(c, N, row, N, 0));
    size_t n = s->top_k && s->top_k < N ? s->top_k : N, kept = 0;
    double mass = 0, sum = 0, all = 0;
    double first = exp((double)topk_reader_at(&reader, 0)->logit / (double)s->temperature);
    for (size_t i = 0; i < n; i++)
        mass += exp((double)topk_reader_at(&reader, i)->logit / (double)s->temperature);
    while (kept < n && (kept == 0 || s->top_p >= 1 || sum < mass * (double)s->top_p))
        sum += exp((double)topk_reader_at(&reader, kept++)->logit / (double)s->temperature);
    for (size_t i = 0; i < N; i++) p[i] = 0;
    for (size_t i = 0; i < kept; i++) {
        const struct candidate *x = topk_reader_at(&reader, i);
        double w = exp((double)x->logit / (double)s->temperature);
        if (w < (double)s->min_p * first) break;
        p[x->token] = w;
        all += w;
    }
    for (size_t i = 0; i < N; i++) p[i] /= all;
}

static void expect_distribution(const struct sampling *s) {
    static double p[N];
    static int count[N];
    exact_probabilities(s, p);
    memset(count, 0, sizeof count);
    for (uint64_t i = 0; i < DRAWS; i++) {
        double u = sampler_uniform(s->seed, 0, i);
        int32_t token = choose(s, 0, u), few = choose(s, 40, u);
        assert_in_range(token, 0, N - 1);
        if (few >= 0) assert_int_equal(few, token);
        count[token]++;
    }
    double chi_square = 0, rest_p = 0, rest_count = 0;
    int degrees = 0;
    for (int i = 0; i < N; i++) {
        if (p[i] == 0) assert_int_equal(count[i], 0);
        if (p[i] * DRAWS < 10) { // rare ones are judged together
            rest_p += p[i];
            rest_count += count[i];
            continue;
        }
        chi_square += pow(count[i] - p[i] * DRAWS, 2) / (p[i] * DRAWS);
        degrees++;
    }
    if (rest_p * DRAWS >= 10) {
        chi_square += pow(rest_count - rest_p * DRAWS, 2) / (rest_p * DRAWS);
        degrees++;
    }
    if (degrees < 2) return;
    double limit = degrees - 1 + 5 * sqrt(2.0 * (degrees - 1)); // five standard deviations
    if (chi_square > limit)
        fail_msg("chi-square %g of %d values, limit %g", chi_square, degrees, limit);
}

static void test_distributions(void **unused) {
    (void)unused;
    static const struct sampling cases[] = {
        {.temperature = 1, .top_p = 1, .seed = 1},
        {.temperature = 0.5f, .top_p = 1, .seed = 2},
        {.temperature = 1, .top_p = 0.9f, .seed = 3},
        {.temperature = 1, .top_p = 1, .top_k = 20, .seed = 4},
        {.temperature = 1, .top_p = 0.5f, .top_k = 30, .seed = 5},
        {.temperature = 1.5f, .top_p = 1, .min_p = 0.2f, .seed = 6},
        {.temperature = 1, .top_p = 0.8f, .top_k = 100, .min_p = 0.05f, .seed = 7},
        {.temperature = 1, .top_p = 0, .seed = 8},
    };
    make_row(8);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect_distribution(&cases[i]);
}

static void test_greedy_takes_the_smaller_id(void **unused) {
    (void)unused;
    make_row(1);
    row[200] = row[100] = 9;
    struct sampling s = {.temperature = 0, .top_p = 1};
    assert_int_equal(choose(&s, 0, 0.99), 100);
    assert_int_equal(choose(&s, 1, 0.99), 100);
}

/* A flat row: the best few hold little of the mass. */
static void test_few_candidates_say_so(void **unused) {
    (void)unused;
    make_row(0.01f);
    struct sampling s = {.temperature = 1, .top_p = 1};
    assert_int_equal(choose(&s, 40, 0.5), -1);
    assert_in_range(choose(&s, 40, 0.01), 0, N - 1);
    s.top_p = 0.95f;
    assert_int_equal(choose(&s, 40, 0.01), -1); // the nucleus is not known
    s.top_p = 0.05f;
    assert_in_range(choose(&s, 40, 0.99), 0, N - 1);
    s = (struct sampling){.temperature = 1, .top_p = 1, .min_p = 0.9f};
    assert_int_equal(choose(&s, 40, 0.5), -1);
    s = (struct sampling){.temperature = 1, .top_p = 1, .top_k = 40};
    assert_in_range(choose(&s, 40, 0.99), 0, N - 1);
    s.top_k = 41;
    assert_int_equal(choose(&s, 40, 0.0), -1);
}

static void test_extremes(void **unused) {
    (void)unused;
    make_row(1);
    for (size_t i = 0; i < N; i++)
        if (i != 33) row[i] = -INFINITY;
    struct sampling s = {.temperature = 1, .top_p = 1};
    assert_int_equal(choose(&s, 0, 0.0), 33);
    assert_int_equal(choose(&s, 0, nextafter(1, 0)), 33);
    make_row(1);
    row[5] = 1.001f;
    s.temperature = 1e-30f;
    assert_int_equal(choose(&s, 0, nextafter(1, 0)), 5);
    row[9] = row[5]; // min_p = 1 leaves all that are as good as the best one
    s = (struct sampling){.temperature = 1, .top_p = 1, .min_p = 1};
    assert_int_equal(choose(&s, 0, 0.49), 5);
    assert_int_equal(choose(&s, 0, 0.51), 9);

    assert_true(sampler_valid(&s));
    s.temperature = NAN;
    assert_false(sampler_valid(&s));
    s.temperature = -1;
    assert_false(sampler_valid(&s));
    s = (struct sampling){.temperature = 1, .top_p = NAN};
    assert_false(sampler_valid(&s));
    s = (struct sampling){.temperature = 1, .top_p = 1, .min_p = 1.5f};
    assert_false(sampler_valid(&s));
}

/* A sum of f32 terms may be greater than that of its terms in f64: then the last token that can be
 * is taken, and not one behind it that cannot. */
static void test_rounding_takes_no_banned_token(void **unused) {
    (void)unused;
    struct candidate c[] = {
        {.logit = 1, .token = 0}, {.logit = 0.5f, .token = 1}, {.logit = -INFINITY, .token = 2}};
    const struct log_sum total = {.max = 1, .sum = (1 + exp(-0.5)) * (1 + 1e-6)};
    const struct sampling s = {.temperature = 1, .top_p = 1};
    struct topk_reader reader;
    topk_reader_init(&reader, c, 3);
    const struct candidate *x = sampler_choose(&s, &reader, 3, true, &total, nextafter(1, 0));
    assert_non_null(x);
    assert_int_equal(x->token, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox_known_answers),
        cmocka_unit_test(test_uniform_depends_on_all_of_its_key),
        cmocka_unit_test(test_log_sum_merges),
        cmocka_unit_test(test_edits_and_back),
        cmocka_unit_test(test_distributions),
        cmocka_unit_test(test_greedy_takes_the_smaller_id),
        cmocka_unit_test(test_few_candidates_say_so),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_rounding_takes_no_banned_token),
    };
    kernels = kernels_by_name("reference");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
