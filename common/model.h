/* model.h: what a model is: its shape and which tensor plays which part.
 *
 * Architectures are rows of a table in model.c (`llama`, `qwen2`): names of metadata keys, rope
 * style, which biases exist.  A new architecture of the same family is a row, not an if.
 * Reads metadata only, never tensor data.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COMMON_MODEL_H
#define COMMON_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/gguf.h"

enum rope_style {
    ROPE_INTERLEAVED, // pairs (2i, 2i+1): llama's GGUF files
    ROPE_NEOX         // pairs (i, i + rope_dim/2): qwen2
};

struct model_shape {
    char arch[32];
    char name[96]; // general.name or "", cut
    uint32_t n_layers;
    uint32_t dim;        // width of the residual stream
    uint32_t n_heads;    // query heads
    uint32_t n_kv_heads; // divides n_heads (GQA group = n_heads / n_kv_heads)
    uint32_t head_dim;   // need not be dim / n_heads; K and V have the same
    uint32_t n_ff;
    uint32_t n_vocab;
    uint32_t n_ctx;    // context the model was trained for
    uint32_t rope_dim; // leading elements of a head that rotate (even, <= head_dim)
    enum rope_style rope_style;
    float rope_theta;
    float rope_linear_scale; // positions are multiplied by this (1 unless rope.scaling.type is
                             // linear)
    float norm_eps;          // RMSNorm
    bool qkv_bias;
    bool tied; // the output head is the token embedding
};

struct model_layer {
    const struct gguf_tensor *attn_norm; // [dim] F32
    const struct gguf_tensor *q, *k, *v; // [n_heads*head_dim, dim], [n_kv_heads*head_dim, dim] x2
    const struct gguf_tensor *q_bias, *k_bias, *v_bias; // F32 vectors, NULL without qkv_bias
    const struct gguf_tensor *attn_out;                 // [dim, n_heads*head_dim]
    const struct gguf_tensor *ffn_norm;                 // [dim] F32
    const struct gguf_tensor *gate, *up;                // [n_ff, dim]
    const struct gguf_tensor *down;                     // [dim, n_ff]
};

struct model {
    struct model_shape shape;
    struct model_layer *layers;            // [n_layers], owned
    const struct gguf_tensor *token_embd;  // [n_vocab, dim]
    const struct gguf_tensor *output_norm; // [dim] F32
    const struct gguf_tensor *output;      // [n_vocab, dim]; == token_embd when tied
    const struct gguf_tensor *rope_freqs;  // [rope_dim/2] F32 divisors of the frequencies, or NULL
    uint64_t identity;                     // gguf_identity of the file
};

/* Reads the shape and finds every tensor, checking each tensor's dims against the shape.  ERR_MODEL
 * names what is missing, unknown or of the wrong size: architecture, key, tensor, type.  Limits
 * that keep later arithmetic safe: n_layers <= 4096, head_dim <= 1024, dims <= 2^24, n_ctx <= 2^24.
 * `g` must outlive the model.  Release with model_free (NULL is accepted). */
MUST_USE err model_create(struct model **out, const struct gguf *g);
void model_free(struct model *m);

/* A file that holds a vocabulary only has no tensors. */
bool model_is_vocab_only(const struct gguf *g);

/* Bytes of all tensors that the model uses, and parameters in them. */
uint64_t model_weight_bytes(const struct model *m);
uint64_t model_parameters(const struct model *m);

#endif
