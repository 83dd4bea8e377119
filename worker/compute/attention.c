// SPDX-License-Identifier: MIT
/* attention.c: see attention.h.
 *
 * Softmax with a running maximum (Milakov and Gimelshein, 2018) over the cache's own blocks in
 * ascending order: constant memory for any context, and the sums are formed at the same fixed
 * positions however the tokens came. */

#include "worker/compute/attention.h"

#include <math.h>
#include <string.h>

/* Hot: reads the whole past of a head.  out and q are [head_dim]. */
static void attend_head(const struct attention *a, float *out, const float *q, uint32_t layer,
                        uint32_t kv_head, const struct kv_row *row) {
    const struct kernels *k = a->kernels;
    const struct kv_shape *shape = kv_get_shape(a->kv);
    size_t dim = shape->head_dim, past = (size_t)row->position + 1;
    float scale = 1.0f / sqrtf((float)dim);
    float scores[KV_BLOCK_TOKENS];
    float max = -INFINITY, sum = 0;
    memset(out, 0, dim * sizeof *out);

    for (size_t begin = 0; begin < past; begin += KV_BLOCK_TOKENS) {
        size_t n = past - begin < KV_BLOCK_TOKENS ? past - begin : KV_BLOCK_TOKENS;
        uint32_t block = row->blocks[begin / KV_BLOCK_TOKENS];
        const void *keys = kv_keys(a->kv, layer, kv_head, block);
        const void *values = kv_values(a->kv, layer, kv_head, block);

        if (shape->f32)
            k->attn_scores_f32(scores, q, keys, n, dim, scale);
        else
            k->attn_scores_f16(scores, q, keys, n, dim, scale);

        float block_max = k->max(scores, n);
        if (block_max > max) { // what was summed so far was relative to a smaller maximum
            float shrink = expf(max - block_max);
            for (size_t i = 0; i < dim; i++) out[i] *= shrink;
            sum *= shrink;
            max = block_max;
        }
        sum += k->exp_sum(scores, n, max);

        if (shape->f32)
            k->attn_values_f32(out, scores, values, n, dim);
        else
            k->attn_values_f16(out, scores, values, n, dim);
    }
    float norm = 1.0f / sum;
    for (size_t i = 0; i < dim; i++) out[i] *= norm;
}

void attention_apply(const struct attention *a, float *out, const float *q, uint32_t layer,
                     const struct kv_row *rows, size_t tokens) {
    size_t dim = kv_get_shape(a->kv)->head_dim;
    size_t tasks = tokens * a->n_heads;
#pragma omp parallel for schedule(dynamic, 1)
    for (size_t i = 0; i < tasks; i++) {
        uint32_t head = (uint32_t)(i % a->n_heads);
        uint32_t kv_head = (a->first_head + head) / a->group - a->first_kv_head;
        attend_head(a, out + i * dim, q + i * dim, layer, kv_head, &rows[i / a->n_heads]);
    }
}
