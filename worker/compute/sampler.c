// SPDX-License-Identifier: MIT
/* sampler.c: see sampler.h.
 *
 * The choice that shapes it: tokens are laid out best first, so the inverse of the cumulative
 * distribution mostly ends within the first few candidates even without any cut-off, and the whole
 * row is needed only when the random number falls into the tail. */

#include "worker/compute/sampler.h"

#include <float.h>
#include <math.h>
#include <string.h>

struct log_sum log_sum_of(const struct kernels *k, const float *logits, size_t n,
                          double temperature) {
    float max = k->greatest(logits, n);
    if (max == -INFINITY) return (struct log_sum){.max = -INFINITY};
    float scale = (float)fmin(1 / temperature, FLT_MAX);
    return (struct log_sum){.max = max / temperature, .sum = k->sum_exp(logits, n, max, scale)};
}

void log_sum_merge(struct log_sum *a, const struct log_sum *b) {
    if (b->sum == 0) return;
    if (a->max < b->max) {
        a->sum = a->sum * exp(a->max - b->max) + b->sum; // exp(-INFINITY) is 0
        a->max = b->max;
    } else {
        a->sum += b->sum * exp(b->max - a->max);
    }
}

double log_sum_logprob(const struct log_sum *s, float logit) {
    if (logit == -INFINITY || s->sum == 0) return -INFINITY;
    return (double)logit - s->max - log(s->sum);
}

/* In integers, which the compiler turns into vectors. */
void sampler_clean(float *logits, size_t n) {
    const uint32_t infinity = 0x7f800000, sign = 0x80000000, greatest = 0x7f7fffff;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        bits = (bits & ~sign) > infinity ? sign | infinity : bits;
        bits = bits == infinity ? greatest : bits;
        memcpy(&logits[i], &bits, sizeof bits);
    }
}

static bool is_mine(const struct logit_edit *e, size_t n, int32_t first_token) {
    return e->token >= first_token && (size_t)(e->token - first_token) < n;
}

void sampler_edit(float *logits, size_t n, int32_t first_token, const struct logit_edit *edits,
                  size_t n_edits, float *saved) {
    for (size_t i = 0; i < n_edits; i++) {
        const struct logit_edit *e = &edits[i];
        if (!is_mine(e, n, first_token)) continue;
        float *logit = &logits[e->token - first_token];
        if (saved) saved[i] = *logit;
        *logit = (*logit > 0 ? *logit / e->repeat : *logit * e->repeat) + e->bias;
        sampler_clean(logit, 1);
    }
}

void sampler_unedit(float *logits, size_t n, int32_t first_token, const struct logit_edit *edits,
                    size_t n_edits, const float *saved) {
    for (size_t i = n_edits; i-- > 0;) // backwards: a token may be named twice
        if (is_mine(&edits[i], n, first_token)) logits[edits[i].token - first_token] = saved[i];
}

struct sampler_keep sampler_keep_count(const struct sampling *s) {
    if (s->temperature == 0) return (struct sampler_keep){.count = 1, .decisive = true};
    if (s->top_k > 0 && s->top_k <= SAMPLER_KEEP_MAX)
        return (struct sampler_keep){.count = s->top_k, .decisive = true};
    return (struct sampler_keep){.count = SAMPLER_KEEP};
}

bool sampler_valid(const struct sampling *s) {
    return isfinite(s->temperature) && s->temperature >= 0 && s->top_p >= 0 && s->top_p <= 1 &&
           s->min_p >= 0 && s->min_p <= 1;
}

void sampler_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

double sampler_uniform(uint64_t seed, uint32_t choice, uint64_t position) {
    const uint32_t counter[4] = {(uint32_t)position, (uint32_t)(position >> 32), choice, 0};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t r[4];
    sampler_philox(counter, key, r);
    uint64_t bits = ((uint64_t)r[1] << 32 | r[0]) >> 11;
    return (double)bits * 0x1p-53;
}

/* --- the choice --- */

struct choice {
    struct topk_reader *candidates;
    size_t certain;
    bool complete;
    double max, temperature;
    bool undecided; // the candidates were not enough
};

/* The i-th best of the whole row, or NULL: past its end, or not known. */
static const struct candidate *best(struct choice *c, size_t i) {
    if (i < c->certain || c->complete) return topk_reader_at(c->candidates, i);
    c->undecided = true;
    return NULL;
}

/* Relative to the best one's. */
static double weight(const struct choice *c, const struct candidate *x) {
    return exp((double)x->logit / c->temperature - c->max);
}

/* How many of the best, up to limit, top_p and min_p leave, and their mass in *mass, which comes in
 * as the mass before. */
static size_t nucleus(struct choice *c, const struct sampling *s, size_t limit, double *mass) {
    double wanted = (double)s->top_p * *mass, kept = 0, first = 0;
    const struct candidate *x;
    size_t n = 0;
    for (; n < limit; n++) {
        if (n > 0 && s->top_p < 1 && kept >= wanted) break;
        if (!(x = best(c, n))) break;
        double w = weight(c, x);
        if (n == 0) first = w;
        if (n > 0 && w < (double)s->min_p * first) break;
        kept += w;
    }
    *mass = kept;
    return n;
}

const struct candidate *sampler_choose(const struct sampling *s, struct topk_reader *candidates,
                                       size_t certain, bool complete, const struct log_sum *total,
                                       double u) {
    struct choice c = {.candidates = candidates,
                       .certain = certain,
                       .complete = complete,
                       .max = total->max,
                       .temperature = (double)s->temperature};
    if (s->temperature == 0) return best(&c, 0);

    size_t limit = s->top_k > 0 ? s->top_k : SIZE_MAX;
    double mass = total->sum;
    const struct candidate *x, *chosen = NULL;
    if (limit != SIZE_MAX) {
        mass = 0;
        for (size_t i = 0; i < limit && (x = best(&c, i)); i++) mass += weight(&c, x);
    }
    if (!c.undecided && (s->top_p < 1 || s->min_p > 0)) limit = nucleus(&c, s, limit, &mass);
    if (c.undecided) return NULL;

    double target = u * mass, sum = 0;
    for (size_t i = 0; i < limit && sum <= target && (x = best(&c, i)); i++) {
        double w = weight(&c, x);
        if (w > 0 || !chosen) chosen = x; // rounding may leave sum short of target at the end
        sum += w;
    }
    return c.undecided ? NULL : chosen;
}
