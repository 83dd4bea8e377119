// SPDX-License-Identifier: MIT
/* kernels_reference_attn.c: attention in portable C.
 *
 * The definition of the attention slots, and what a machine without AVX2 runs.  The softmax keeps a
 * running maximum (Milakov and Gimelshein, 2018).  Any thread. */

#include "worker/kernels/kernels_isa.h"

#include <math.h>
#include <stddef.h>

/* c[., j] of all rows takes in depth i, whose element of the block is b. */
static void add_column(const struct attn_product *p, size_t i, size_t j, float b) {
    for (size_t r = 0; r < p->rows; r++) {
        float *c = p->c + r * p->ldc + j;
        *c = (i > 0 || p->add ? *c : 0) + p->a[r * p->lda + i] * b;
    }
}

static void attn_product_f16(const struct attn_product *p) {
    const uint16_t *b = p->b;
    for (size_t i = 0; i < p->depth; i++)
        for (size_t j = 0; j < p->cols; j++)
            add_column(p, i, j, dtype_f16_to_f32(b[i * p->cols + j]));
}

static void attn_product_f32(const struct attn_product *p) {
    const float *b = p->b;
    for (size_t i = 0; i < p->depth; i++)
        for (size_t j = 0; j < p->cols; j++) add_column(p, i, j, b[i * p->cols + j]);
}

static void raise_max(struct attn_state *s, float max, size_t head_dim) {
    float shrink = expf(s->max - max);
    for (size_t i = 0; i < head_dim && s->max > -INFINITY; i++) s->out[i] *= shrink;
    s->sum *= shrink;
    s->max = max;
}

static void attn_softmax(struct attn_state *states, float *scores, size_t ld, size_t rows, size_t n,
                         float scale, size_t head_dim) {
    for (size_t r = 0; r < rows; r++) {
        float *x = scores + r * ld, max = -INFINITY, sum = 0;
        for (size_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
        if (scale * max > states[r].max + ATTN_SLACK) raise_max(&states[r], scale * max, head_dim);
        for (size_t i = 0; i < n; i++) {
            x[i] = expf(scale * x[i] - states[r].max);
            sum += x[i];
        }
        states[r].sum += sum;
    }
}

static void attn_merge(struct attn_state *s, const struct attn_state *other, size_t head_dim) {
    float max = other->max > s->max ? other->max : s->max;
    float shrink = expf(s->max - max), grow = expf(other->max - max);
    for (size_t i = 0; i < head_dim; i++) s->out[i] = s->out[i] * shrink + other->out[i] * grow;
    s->sum = s->sum * shrink + other->sum * grow;
    s->max = max;
}

void kernels_reference_fill_attn(struct kernels *k) {
    k->attn_product_f16 = attn_product_f16;
    k->attn_product_f32 = attn_product_f32;
    k->attn_softmax = attn_softmax;
    k->attn_merge = attn_merge;
}
