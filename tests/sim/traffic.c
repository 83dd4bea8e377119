// SPDX-License-Identifier: MIT
/* traffic.c: see traffic.h.  Integer arithmetic decides everything but the gaps, and these use
 * log() on numbers of 20 bits: the same traffic everywhere. */

#include "tests/sim/traffic.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"

#define FIRST_TOKEN 300
#define N_TOKENS    1000
#define N_GROUPS    40

struct dice {
    uint64_t state;
};

static uint64_t roll(struct dice *d) { // splitmix64
    uint64_t z = d->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint32_t below(struct dice *d, uint32_t n) {
    return (uint32_t)(roll(d) % n);
}

static bool percent(struct dice *d, uint32_t p) {
    return below(d, 100) < p;
}

/* Mostly short, sometimes as long as `most`. */
static uint32_t length(struct dice *d, uint32_t most) {
    uint32_t n = 1 + below(d, most);
    return percent(d, 70) ? 1 + n / 8 : n;
}

static void make_special(struct dice *d, struct traffic_request *r) {
    static const struct request_bias bias[] = {{400, -100}, {500, 2}};
    struct request_params *p = &r->params;
    if (percent(d, 30)) p->n = 2 + below(d, 3);
    if (percent(d, 5)) p->frequency_penalty = 0.5f;
    if (percent(d, 5)) p->repeat_penalty = 1.2f;
    if (percent(d, 20)) p->stops[p->n_stops++] = "e ";
    if (percent(d, 20)) {
        p->bias = bias;
        p->n_bias = 2;
    }
    if (percent(d, 20)) {
        p->want_prompt = p->want_logprobs = true;
        p->prompt_top_n = p->top_n = 2;
        if (percent(d, 30)) p->max_tokens = 0;
    }
}

struct traffic_request *traffic_make(const struct traffic_options *o) {
    struct traffic_request *list = mem_zalloc_array(o->n_requests, sizeof *list);
    struct dice d = {o->seed};
    uint64_t at_ns = 1;
    for (uint32_t i = 0; i < o->n_requests; i++) {
        struct traffic_request *r = &list[i];
        at_ns += (uint64_t)(-log((1 + below(&d, 1 << 20)) / 1048577.0) * o->mean_gap_ns);
        r->at_ns = at_ns;
        r->seed = i + 1;
        r->n_prompt = length(&d, o->longest_prompt);
        r->group = below(&d, N_GROUPS);
        if (percent(&d, 60)) r->shared_tokens = below(&d, r->n_prompt + 1);
        request_params_init(&r->params);
        r->params.sampling.seed = r->seed;
        r->params.max_tokens = length(&d, o->longest_completion);
        r->params.ignore_eos = percent(&d, 50);
        if (percent(&d, o->special_percent)) make_special(&d, r);
        if (percent(&d, o->cancel_percent)) {
            r->abandon = percent(&d, 50);
            if (percent(&d, 30))
                r->cancel_at_token = 1 + below(&d, 20);
            else
                r->cancel_after_ns = 1 + below(&d, 1000) * (uint64_t)1000 * 1000;
        }
    }
    return list;
}

struct traffic_request *traffic_read(const char *path, uint32_t *n_requests) {
    struct traffic_request *list = NULL;
    uint32_t n = 0;
    char line[200];
    FILE *f = fopen(path, "re");
    *n_requests = 0;
    if (!f) return NULL;
    while (fgets(line, sizeof line, f)) {
        double ms, cancel_ms;
        struct traffic_request r = {.seed = n + 1};
        request_params_init(&r.params);
        if (sscanf(line, "%lf %u %u %u %u %u %lf", &ms, &r.group, &r.shared_tokens, &r.n_prompt,
                   &r.params.max_tokens, &r.params.n, &cancel_ms) != 7)
            continue; // a comment
        r.at_ns = 1 + (uint64_t)(ms * 1e6);
        r.cancel_after_ns = (uint64_t)(cancel_ms * 1e6);
        r.params.sampling.seed = r.seed;
        list = mem_realloc(list, (n + 1) * sizeof *list);
        list[n++] = r;
    }
    fclose(f);
    *n_requests = n;
    return list;
}

void traffic_put_prompt(const struct traffic_request *r, int32_t *prompt) {
    struct dice shared = {r->group}, own = {((uint64_t)r->seed << 32) + 1};
    for (uint32_t i = 0; i < r->n_prompt; i++)
        prompt[i] = FIRST_TOKEN + (int32_t)below(i < r->shared_tokens ? &shared : &own, N_TOKENS);
}
