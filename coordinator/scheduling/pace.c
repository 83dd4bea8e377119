// SPDX-License-Identifier: MIT
/* pace.c: see pace.h.
 *
 * D comes from steps that only decode and p from steps with prompts only: what both cost together
 * would blur either.  While prompts keep coming beside streams every PROBE_STEPS-th step therefore
 * has none.  For another number of sequences D is extended by what a token costs. */

#include "coordinator/scheduling/pace.h"

#define FIRST_PROMPT_TOKENS 32u // before any speed is known
#define MIN_PROMPT_TOKENS   8u  // when nobody decodes; smaller steps tell little of p
#define MIN_PART_TOKENS     32u // on a slow machine too: weights are then read for some work
#define PART_GRAIN          16u // parts are multiples of it: quantised kernels take tokens by fours
#define PROBE_STEPS         32u
#define BALANCE             0.75 // of D / p; a bit below 0.8, since pauses vary and must not
#define SMOOTHING           0.2  // weight of a new measurement of D
#define FORGETTING          0.95 // of the sums behind p, with every step
#define MAX_SURPRISE        2.0  // a measurement counts for at most so many times the estimate

static double at_least(double x, double least) {
    return x > least ? x : least;
}

static double at_most(double x, double most) {
    return x < most ? x : most;
}

/* One step that was disturbed must not spoil an estimate. */
static double unsurprising(double measured, double estimate) {
    if (estimate <= 0) return measured;
    return at_least(at_most(measured, estimate * MAX_SURPRISE), estimate / MAX_SURPRISE);
}

/* p at a position.  Beyond what was seen it is not extended: a slope over few steps is vague. */
static double token_ns(const struct pace *p, double depth) {
    return p->token_ns + p->depth_ns * at_most(depth, p->deepest);
}

static double prompt_ns(const struct pace *p, const struct pace_step *s) {
    return s->n_prompt ? s->n_prompt * token_ns(p, (double)s->depth / s->n_prompt) : 0;
}

/* D for another number of sequences than the last one measured. */
static double decode_ns(const struct pace *p, uint32_t n_decoding) {
    if (p->decode_ns <= 0 || n_decoding == 0) return 0;
    double linear = p->decode_ns + p->token_ns * ((double)n_decoding - p->decode_seqs);
    return at_least(linear, p->decode_ns * at_most(1, n_decoding / p->decode_seqs));
}

static void observe_decode(struct pace *p, uint32_t n_decoding, double elapsed) {
    double estimate = decode_ns(p, n_decoding);
    double weight = estimate > 0 ? SMOOTHING : 1;
    p->decode_ns = estimate + weight * (unsurprising(elapsed, estimate) - estimate);
    p->decode_seqs = n_decoding;
    p->n_mixed = 0;
}

static void observe_prompt(struct pace *p, const struct pace_step *s, double elapsed) {
    double n = s->n_prompt, d = (double)s->depth, t = unsurprising(elapsed, prompt_ns(p, s));
    p->nn = p->nn * FORGETTING + n * n;
    p->nd = p->nd * FORGETTING + n * d;
    p->dd = p->dd * FORGETTING + d * d;
    p->nt = p->nt * FORGETTING + n * t;
    p->dt = p->dt * FORGETTING + d * t;
    p->deepest = at_least(d / n, p->deepest * FORGETTING);
    // The normal equations.  Steps at one depth only say nothing of the slope.
    double determinant = p->nn * p->dd - p->nd * p->nd;
    p->depth_ns =
        determinant > 1e-3 * p->nn * p->dd ? (p->dt * p->nn - p->nt * p->nd) / determinant : 0;
    p->depth_ns = at_least(at_most(p->depth_ns, 0.9 * p->nt / at_least(p->nd, 1)), 0);
    p->token_ns = (p->nt - p->depth_ns * p->nd) / p->nn;
}

void pace_observe(struct pace *p, const struct pace_step *s, uint64_t elapsed_ns) {
    double elapsed = at_least((double)elapsed_ns, 1);
    if (s->n_prompt == 0)
        observe_decode(p, s->n_decoding, elapsed);
    else if (s->n_decoding > 0)
        p->n_mixed++;
    else if (s->n_prompt >= MIN_PROMPT_TOKENS)
        observe_prompt(p, s, elapsed);
}

uint32_t pace_prompt_tokens(const struct pace *p, uint32_t n_decoding, uint32_t n_prompts,
                            uint32_t depth) {
    double each = token_ns(p, depth), alone = decode_ns(p, n_decoding);
    if (n_decoding > 0 && (alone <= 0 || p->n_mixed >= PROBE_STEPS)) return 0;
    if (each <= 0) return n_decoding > 0 ? MIN_PROMPT_TOKENS : FIRST_PROMPT_TOKENS;
    double spare = (double)PACE_STEP_NS;
    if (n_decoding > 0) // every prompt may take as much from the streams, within reason
        spare = at_most(BALANCE * alone * n_prompts, at_least(spare - alone, BALANCE * alone));
    double least = n_decoding > 0 ? 1 : MIN_PROMPT_TOKENS;
    return (uint32_t)at_least(at_most(spare / each + 0.5, UINT32_MAX / 2), least);
}

uint32_t pace_part_tokens(const struct pace *p, uint32_t n_left, uint32_t depth, uint32_t most) {
    double each = token_ns(p, depth), time = (double)PACE_PART_NS;
    double fit =
        each > 0 ? at_least(at_most(time / each, most), MIN_PART_TOKENS) : FIRST_PROMPT_TOKENS;
    uint32_t n = (uint32_t)at_most(fit, most);
    if (n_left <= n) return n_left;
    if (n > PART_GRAIN) n -= n % PART_GRAIN;
    uint32_t parts = (n_left - 1) / n + 1, part = (n_left - 1) / parts + 1;
    part += PART_GRAIN - 1 - (part - 1) % PART_GRAIN;
    return part < n ? part : n;
}

uint64_t pace_expect_ns(const struct pace *p, const struct pace_step *s) {
    double alone = decode_ns(p, s->n_decoding), prompt = prompt_ns(p, s);
    if ((s->n_decoding && alone <= 0) || (s->n_prompt && prompt <= 0)) return 0;
    return (uint64_t)(alone + prompt);
}
