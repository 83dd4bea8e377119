// SPDX-License-Identifier: MIT
/* topk.c: see topk.h.
 *
 * Plain binary heaps over arrays.  Reading a row of V logits best first costs O(V + m log V) for
 * the m entries that are really asked for: a sampler seldom needs more than a few. */

#include "worker/compute/topk.h"

typedef bool before_fn(const struct candidate *a, const struct candidate *b);

static bool better(const struct candidate *a, const struct candidate *b) {
    if (a->logit != b->logit) return a->logit > b->logit;
    return a->token < b->token;
}

static bool worse(const struct candidate *a, const struct candidate *b) {
    return better(b, a);
}

/* Moves c[i] down until neither child comes before it. */
static inline void sift_down(struct candidate *c, size_t n, size_t i, before_fn *before) {
    struct candidate moving = c[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && before(&c[child + 1], &c[child])) child++;
        if (!before(&c[child], &moving)) break;
        c[i] = c[child];
        i = child;
    }
    c[i] = moving;
}

static inline void heapify(struct candidate *c, size_t n, before_fn *before) {
    for (size_t i = n / 2; i-- > 0;) sift_down(c, n, i, before);
}

size_t topk_select(struct candidate *out, size_t k, const float *logits, size_t n,
                   int32_t first_token) {
    size_t kept = k < n ? k : n;
    if (kept == 0) return 0;
    for (size_t i = 0; i < kept; i++)
        out[i] = (struct candidate){
            .logit = logits[i], .raw = logits[i], .token = first_token + (int32_t)i};
    heapify(out, kept, worse);
    for (size_t i = kept; i < n; i++) { // hot: ids ascend, so an equal logit is never better
        if (logits[i] <= out[0].logit) continue;
        out[0] = (struct candidate){
            .logit = logits[i], .raw = logits[i], .token = first_token + (int32_t)i};
        sift_down(out, kept, 0, worse);
    }
    return kept;
}

void topk_reader_init(struct topk_reader *r, struct candidate *c, size_t n) {
    *r = (struct topk_reader){.c = c, .n = n};
    heapify(c, n, better);
}

const struct candidate *topk_reader_at(struct topk_reader *r, size_t i) {
    if (i >= r->n) return NULL;
    while (r->read <= i) { // heap sort, one step: the best changes places with the last
        size_t last = r->n - 1 - r->read++;
        struct candidate best = r->c[0];
        r->c[0] = r->c[last];
        r->c[last] = best;
        sift_down(r->c, last, 0, better);
    }
    return &r->c[r->n - 1 - i];
}
