// SPDX-License-Identifier: MIT
/* shard.c: see shard.h.
 *
 * A layer's tensors are rows of a table that says where struct model_layer names the tensor, where
 * struct layer_weights wants it and how the plan cuts it; a new kind of layer is more rows. */

#include "worker/weights/shard.h"

#include <stdlib.h>

#include "common/mem.h"

struct layer_part {
    size_t source; // offset of the tensor pointer in struct model_layer
    size_t place;  // offset in struct layer_weights
    enum tensor_role role;
    bool is_vector;
};

#define LAYER_PART(member, role_, vector)                                                          \
    {                                                                                              \
        .source = offsetof(struct model_layer, member),                                            \
        .place = offsetof(struct layer_weights, member), .role = (role_), .is_vector = (vector)    \
    }

static const struct layer_part layer_parts[] = {
    LAYER_PART(attn_norm, ROLE_REPLICATED, true), LAYER_PART(q, ROLE_ATTN_Q, false),
    LAYER_PART(k, ROLE_ATTN_KV, false),           LAYER_PART(v, ROLE_ATTN_KV, false),
    LAYER_PART(q_bias, ROLE_ATTN_Q, true),        LAYER_PART(k_bias, ROLE_ATTN_KV, true),
    LAYER_PART(v_bias, ROLE_ATTN_KV, true),       LAYER_PART(attn_out, ROLE_ATTN_OUT, false),
    LAYER_PART(ffn_norm, ROLE_REPLICATED, true),  LAYER_PART(gate, ROLE_FFN_UP, false),
    LAYER_PART(up, ROLE_FFN_UP, false),           LAYER_PART(down, ROLE_FFN_DOWN, false),
};

#define LAYER_PARTS (sizeof layer_parts / sizeof layer_parts[0])
#define OTHER_PARTS 4

static int by_file_order(const void *left, const void *right) {
    const struct gguf_tensor *a = ((const struct shard_part *)left)->tensor;
    const struct gguf_tensor *b = ((const struct shard_part *)right)->tensor;
    if (a->part != b->part) return a->part < b->part ? -1 : 1;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

size_t shard_list_parts(const struct model *m, struct shard_part **out) {
    size_t n = 0;
    struct shard_part *parts =
        mem_zalloc_array(m->shape.n_layers * LAYER_PARTS + OTHER_PARTS, sizeof *parts);

    const struct shard_part others[OTHER_PARTS] = {
        {.tensor = m->token_embd,
         .role = ROLE_VOCAB,
         .place = offsetof(struct weights, token_embd)},
        {.tensor = m->output == m->token_embd ? NULL : m->output,
         .role = ROLE_VOCAB,
         .place = offsetof(struct weights, output)},
        {.tensor = m->output_norm,
         .role = ROLE_REPLICATED,
         .is_vector = true,
         .place = offsetof(struct weights, output_norm)},
        {.tensor = m->rope_freqs,
         .role = ROLE_REPLICATED,
         .is_vector = true,
         .place = offsetof(struct weights, rope_freqs)},
    };
    for (size_t i = 0; i < OTHER_PARTS; i++)
        if (others[i].tensor) parts[n++] = others[i];

    for (uint32_t layer = 0; layer < m->shape.n_layers; layer++) {
        for (size_t i = 0; i < LAYER_PARTS; i++) {
            const struct layer_part *lp = &layer_parts[i];
            const char *source = (const char *)&m->layers[layer] + lp->source;
            const struct gguf_tensor *t = *(const struct gguf_tensor *const *)source;
            if (!t) continue;
            parts[n++] = (struct shard_part){.tensor = t,
                                             .role = lp->role,
                                             .is_vector = lp->is_vector,
                                             .in_layer = true,
                                             .layer = layer,
                                             .place = lp->place};
        }
    }
    qsort(parts, n, sizeof *parts, by_file_order);
    *out = parts;
    return n;
}

struct tensor_slice shard_slice(const struct shard_part *part, const struct model_shape *s,
                                const struct plan *p, uint32_t r) {
    if (part->is_vector && part->role == ROLE_REPLICATED)
        return (struct tensor_slice){.kind = CUT_REPLICATED, .row_end = part->tensor->dims[0]};
    return plan_slice(p, r, s, part->role, part->tensor);
}

size_t shard_held_bytes(const struct shard_part *part, const struct tensor_slice *slice,
                        const struct kernels *k) {
    size_t rows = slice->row_end - slice->row_begin;
    if (part->is_vector) return rows * sizeof(float);
    size_t cols = slice->col_end - slice->col_begin;
    return rows && cols ? k->matmul[part->tensor->type].packed_bytes(rows, cols) : 0;
}
