// SPDX-License-Identifier: MIT
/* rope.c: see rope.h.
 *
 * Owns the table of cosines and sines of a step's tokens.  Which elements form a pair (neighbours,
 * or one of each half) is chosen once, as a kernel. */

#include "worker/compute/rope.h"

#include <math.h>

#include "common/mem.h"
#include "worker/job/team.h"

struct rope {
    size_t head_dim, rope_dim, pairs;
    void (*rotate)(float *head, const float *cos, const float *sin, size_t rope_dim);
    double *frequency; // [pairs] radians per position
    float *cos, *sin;  // [max_tokens, pairs]
};

uint64_t rope_bytes(const struct model_shape *s, size_t max_tokens) {
    return s->rope_dim / 2 * (sizeof(double) + 2 * sizeof(float) * max_tokens);
}

err rope_create(struct rope **out, const struct kernels *k, const struct model_shape *s,
                const float *factors, size_t max_tokens) {
    struct rope *r = mem_zalloc(sizeof *r);
    r->head_dim = s->head_dim;
    r->rope_dim = s->rope_dim;
    r->pairs = s->rope_dim / 2;
    r->rotate = s->rope_style == ROPE_NEOX ? k->rope_neox : k->rope_interleaved;
    r->frequency = mem_zalloc_array(r->pairs, sizeof *r->frequency);
    r->cos = mem_try_zalloc(max_tokens * r->pairs, sizeof *r->cos);
    r->sin = mem_try_zalloc(max_tokens * r->pairs, sizeof *r->sin);
    if (!r->cos || !r->sin) {
        rope_free(r);
        return FAIL(ERR_MEMORY, "no memory for the rope angles of %zu tokens", max_tokens);
    }
    for (size_t i = 0; i < r->pairs; i++) {
        double exponent = -2.0 * (double)i / (double)s->rope_dim;
        r->frequency[i] = pow((double)s->rope_theta, exponent) * (double)s->rope_linear_scale;
        if (factors) r->frequency[i] /= (double)factors[i];
    }
    *out = r;
    return ERR_OK;
}

void rope_free(struct rope *r) {
    if (!r) return;
    mem_free(r->frequency);
    mem_free(r->cos);
    mem_free(r->sin);
    mem_free(r);
}

struct angles {
    const struct rope *r;
    const struct kv_row *rows;
};

static void set_angles(const void *arg, size_t t) {
    const struct angles *a = arg;
    const struct rope *r = a->r;
    for (size_t i = 0; i < r->pairs; i++) {
        double angle = a->rows[t].position * r->frequency[i];
        r->cos[t * r->pairs + i] = (float)cos(angle);
        r->sin[t * r->pairs + i] = (float)sin(angle);
    }
}

void rope_set_rows(struct rope *r, const struct kv_row *rows, size_t tokens) {
    const struct angles angles = {r, rows};
    team_for(tokens, set_angles, &angles);
}

struct rotated_heads {
    const struct rope *r;
    float *heads; // [tokens, n_heads, head_dim]
    size_t n_heads;
};

static void rotate_token(const void *arg, size_t t) {
    const struct rotated_heads *h = arg;
    const struct rope *r = h->r;
    for (size_t i = 0; i < h->n_heads; i++)
        r->rotate(h->heads + (t * h->n_heads + i) * r->head_dim, r->cos + t * r->pairs,
                  r->sin + t * r->pairs, r->rope_dim);
}

void rope_apply(const struct rope *r, float *heads, size_t tokens, size_t n_heads) {
    const struct rotated_heads rotated = {r, heads, n_heads};
    if (r->pairs > 0) team_for(tokens, rotate_token, &rotated);
}
