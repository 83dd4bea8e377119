// SPDX-License-Identifier: MIT
/* model.c: from a file's metadata to a model's shape and the parts its tensors play.
 *
 * Three tables say everything: architectures, metadata keys, tensors of a layer.  A file that holds
 * a tensor which none of them names is refused: leaving out a norm or a bias would give wrong text
 * without any error.  Reads metadata only.  Both processes, any thread. */

#include "common/model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "common/utf8.h"

#define MAX_LAYERS   4096
#define MAX_HEAD_DIM 1024
#define MAX_WIDTH    (1u << 24)
#define NAME_BYTES   96 // of a tensor, with its layer

static const struct arch {
    const char *name;
    enum rope_style rope;
} archs[] = {
    {"llama", ROPE_INTERLEAVED},
    {"qwen2", ROPE_NEOX},
};
#define ARCH_COUNT (sizeof archs / sizeof archs[0])

struct builder {
    const struct gguf *g;
    struct model *m;
    bool *used; // [tensors of the file]
};

/* A sentence with the file's name in front. */
#define BAD(b, ...) error_prefix(FAIL(ERR_MODEL, __VA_ARGS__), "%s", gguf_name((b)->g))

/* ---- the shape --------------------------------------------------------------------------- */

/* Whole numbers under "ARCH."; optional ones stay 0 and get their default in fill_defaults. */
static const struct shape_key {
    const char *suffix;
    size_t field; // uint32_t in struct model_shape
    uint32_t limit;
    bool required;
} shape_keys[] = {
    {"block_count", offsetof(struct model_shape, n_layers), MAX_LAYERS, true},
    {"embedding_length", offsetof(struct model_shape, dim), MAX_WIDTH, true},
    {"feed_forward_length", offsetof(struct model_shape, n_ff), MAX_WIDTH, true},
    {"context_length", offsetof(struct model_shape, n_ctx), MAX_WIDTH, true},
    {"attention.head_count", offsetof(struct model_shape, n_heads), MAX_WIDTH, true},
    {"attention.head_count_kv", offsetof(struct model_shape, n_kv_heads), MAX_WIDTH, false},
    {"attention.key_length", offsetof(struct model_shape, head_dim), MAX_HEAD_DIM, false},
    {"rope.dimension_count", offsetof(struct model_shape, rope_dim), MAX_HEAD_DIM, false},
};

/* Keys under "ARCH." that change the mathematics in a way this engine does not do, unless they are
 * 0 (not set) or have the value that changes nothing. */
static const struct {
    const char *suffix;
    double harmless;
} foreign_keys[] = {
    {"expert_count", 0},
    {"attention.scale", 0},
    {"attention.clamp_kqv", 0},
    {"attention.max_alibi_bias", 0},
    {"attn_logit_softcapping", 0},
    {"final_logit_softcapping", 0},
    {"logit_scale", 1},
    {"embedding_scale", 1},
    {"residual_scale", 1},
};

static const char *full_key(char out[NAME_BYTES], const struct builder *b, const char *suffix) {
    snprintf(out, NAME_BYTES, "%s.%s", b->m->shape.arch, suffix);
    return out;
}

/* One whole number from 1 to `limit`; *out is left alone when the key is absent and not required.
 */
static err read_number(const struct builder *b, const char *suffix, bool required, uint32_t limit,
                       uint32_t *out) {
    char key[NAME_BYTES];
    const struct gguf_kv *kv = gguf_find(b->g, full_key(key, b, suffix));
    if (!kv) return required ? BAD(b, "the key %s is missing", key) : ERR_OK;
    if (kv->type == GGUF_ARRAY)
        return BAD(b,
                   "%s is an array: a model with a different value in each layer is not supported",
                   key);
    uint32_t value = 0;
    TRY(gguf_get_u32(b->g, key, &value));
    if (value < 1 || value > limit)
        return BAD(b, "%s is %" PRIu32 ", it must be from 1 to %" PRIu32, key, value, limit);
    *out = value;
    return ERR_OK;
}

/* One positive finite number. */
static err read_float(const struct builder *b, const char *suffix, bool required, float *out) {
    char key[NAME_BYTES];
    if (!gguf_find(b->g, full_key(key, b, suffix)))
        return required ? BAD(b, "the key %s is missing", key) : ERR_OK;
    float value = 0;
    TRY(gguf_get_f32(b->g, key, &value));
    if (!isfinite(value) || value <= 0)
        return BAD(b, "%s is %g, it must be a positive number", key, (double)value);
    *out = value;
    return ERR_OK;
}

static double number_of(const struct gguf_kv *kv) {
    switch (kv->type) {
    case GGUF_F32:
    case GGUF_F64: return kv->f;
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64: return (double)kv->i;
    case GGUF_STRING:
    case GGUF_ARRAY: return NAN; // equals nothing: refused
    default: return (double)kv->u;
    }
}

static err refuse_foreign(const struct builder *b) {
    char key[NAME_BYTES];
    for (size_t i = 0; i < sizeof foreign_keys / sizeof foreign_keys[0]; i++) {
        const struct gguf_kv *kv = gguf_find(b->g, full_key(key, b, foreign_keys[i].suffix));
        if (kv && number_of(kv) != 0 && number_of(kv) != foreign_keys[i].harmless)
            return BAD(b, "%s is set: this engine does not do what it asks for", key);
    }
    bool causal = true;
    TRY(gguf_get_bool(b->g, full_key(key, b, "attention.causal"), &causal));
    return causal ? ERR_OK : BAD(b, "%s is false: the model does not generate text", key);
}

static err read_arch(struct builder *b) {
    struct gguf_str arch = {0};
    struct model_shape *s = &b->m->shape;
    TRY(gguf_get_str(b->g, "general.architecture", &arch));
    if (!arch.data) return BAD(b, "the key general.architecture is missing");
    for (size_t i = 0; i < ARCH_COUNT; i++) {
        if (!gguf_str_is(arch, archs[i].name)) continue;
        snprintf(s->arch, sizeof s->arch, "%s", archs[i].name);
        s->rope_style = archs[i].rope;
        return ERR_OK;
    }
    char known[128] = "";
    for (size_t i = 0, n = 0; i < ARCH_COUNT && n < sizeof known; i++)
        n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", archs[i].name);
    return BAD(b, "the architecture \"%s\" is not supported (this build knows %s)",
               gguf_show(arch).text, known);
}

/* general.name, for people: whole UTF-8, no control bytes. */
static err read_name(struct builder *b) {
    struct gguf_str name = {0};
    char *out = b->m->shape.name;
    TRY(gguf_get_str(b->g, "general.name", &name));
    size_t n = name.length < sizeof b->m->shape.name ? name.length : sizeof b->m->shape.name - 1;
    if (n > 0) memcpy(out, name.data, n);
    n -= utf8_incomplete_tail(out, n);
    out[n] = '\0';
    bool utf8 = utf8_valid(out, n);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)out[i];
        if (c < 0x20 || c == 0x7F || (c > 0x7F && !utf8)) out[i] = '?';
    }
    return ERR_OK;
}

/* Only linear scaling: position / factor.  (Llama 3.1's scaling comes as rope_freqs.weight.) */
static err read_rope(struct builder *b) {
    struct model_shape *s = &b->m->shape;
    struct gguf_str type = {"linear", 6}; // what an absent type means when there is a factor
    char key[NAME_BYTES];
    s->rope_theta = 10000.0f;
    s->rope_linear_scale = 1.0f;
    TRY(read_float(b, "rope.freq_base", false, &s->rope_theta));
    TRY(gguf_get_str(b->g, full_key(key, b, "rope.scaling.type"), &type));
    if (gguf_str_is(type, "none")) return ERR_OK;
    if (!gguf_str_is(type, "linear"))
        return BAD(b, "%s is \"%s\": only none and linear are supported", key,
                   gguf_show(type).text);
    const struct gguf_kv *kv = gguf_find(b->g, full_key(key, b, "rope.scaling.factor"));
    const char *suffix = kv ? "rope.scaling.factor" : "rope.scale_linear"; // an older name
    if (!kv) kv = gguf_find(b->g, full_key(key, b, suffix));
    if (!kv || number_of(kv) == 0) return ERR_OK; // 0 stands for no scaling
    float factor = 1;
    TRY(read_float(b, suffix, true, &factor));
    s->rope_linear_scale = 1.0f / factor;
    return ERR_OK;
}

/* The keys a file may leave out, and what must fit together. */
static err complete_shape(struct builder *b) {
    struct model_shape *s = &b->m->shape;
    if (s->n_kv_heads == 0) s->n_kv_heads = s->n_heads;
    if (s->n_heads % s->n_kv_heads != 0)
        return BAD(b, "%" PRIu32 " query heads cannot be shared out over %" PRIu32 " KV heads",
                   s->n_heads, s->n_kv_heads);
    if (s->head_dim == 0) {
        if (s->dim % s->n_heads != 0 || s->dim / s->n_heads > MAX_HEAD_DIM)
            return BAD(b,
                       "a width of %" PRIu32 " does not give %" PRIu32 " heads of at most %d "
                       "elements, and %s.attention.key_length is missing",
                       s->dim, s->n_heads, MAX_HEAD_DIM, s->arch);
        s->head_dim = s->dim / s->n_heads;
    }
    uint32_t value_length = s->head_dim;
    TRY(read_number(b, "attention.value_length", false, MAX_HEAD_DIM, &value_length));
    if (value_length != s->head_dim)
        return BAD(b,
                   "keys of %" PRIu32 " and values of %" PRIu32 " elements: different lengths are "
                   "not supported",
                   s->head_dim, value_length);
    if ((uint64_t)s->n_heads * s->head_dim > MAX_WIDTH)
        return BAD(b, "%" PRIu32 " heads of %" PRIu32 " elements are wider than %u", s->n_heads,
                   s->head_dim, MAX_WIDTH);
    if (s->rope_dim == 0) s->rope_dim = s->head_dim;
    if (s->rope_dim > s->head_dim || s->rope_dim % 2 != 0)
        return BAD(b,
                   "%s.rope.dimension_count is %" PRIu32 ", it must be even and at most the head's "
                   "%" PRIu32 " elements",
                   s->arch, s->rope_dim, s->head_dim);
    return ERR_OK;
}

static err read_shape(struct builder *b) {
    struct model_shape *s = &b->m->shape;
    TRY(read_arch(b));
    TRY(read_name(b));
    TRY(refuse_foreign(b));
    for (size_t i = 0; i < sizeof shape_keys / sizeof shape_keys[0]; i++) {
        const struct shape_key *k = &shape_keys[i];
        TRY(read_number(b, k->suffix, k->required, k->limit, (uint32_t *)((char *)s + k->field)));
    }
    TRY(read_float(b, "attention.layer_norm_rms_epsilon", true, &s->norm_eps));
    TRY(read_rope(b));
    return complete_shape(b);
}

/* ---- the tensors ------------------------------------------------------------------------- */

enum extent { EXTENT_ONE, EXTENT_DIM, EXTENT_Q, EXTENT_KV, EXTENT_FF, EXTENT_VOCAB, EXTENT_ROPE };

static uint64_t extent_size(const struct model_shape *s, enum extent e) {
    switch (e) {
    case EXTENT_ONE: return 1;
    case EXTENT_DIM: return s->dim;
    case EXTENT_Q: return (uint64_t)s->n_heads * s->head_dim;
    case EXTENT_KV: return (uint64_t)s->n_kv_heads * s->head_dim;
    case EXTENT_FF: return s->n_ff;
    case EXTENT_VOCAB: return s->n_vocab;
    case EXTENT_ROPE: return s->rope_dim / 2;
    }
    return 0;
}

/* A matrix has `rows` rows of `cols` elements and any supported type; what has one row is a vector
 * and F32, as every converter writes norms and biases. */
struct part {
    const char *name;
    size_t slot; // of a const struct gguf_tensor * in struct model or model_layer
    enum extent rows, cols;
    bool required;
};

#define IN_LAYER(field) offsetof(struct model_layer, field)
static const struct part layer_parts[] = {
    {"attn_norm.weight", IN_LAYER(attn_norm), EXTENT_ONE, EXTENT_DIM, true},
    {"attn_q.weight", IN_LAYER(q), EXTENT_Q, EXTENT_DIM, true},
    {"attn_k.weight", IN_LAYER(k), EXTENT_KV, EXTENT_DIM, true},
    {"attn_v.weight", IN_LAYER(v), EXTENT_KV, EXTENT_DIM, true},
    {"attn_q.bias", IN_LAYER(q_bias), EXTENT_ONE, EXTENT_Q, false},
    {"attn_k.bias", IN_LAYER(k_bias), EXTENT_ONE, EXTENT_KV, false},
    {"attn_v.bias", IN_LAYER(v_bias), EXTENT_ONE, EXTENT_KV, false},
    {"attn_output.weight", IN_LAYER(attn_out), EXTENT_DIM, EXTENT_Q, true},
    {"ffn_norm.weight", IN_LAYER(ffn_norm), EXTENT_ONE, EXTENT_DIM, true},
    {"ffn_gate.weight", IN_LAYER(gate), EXTENT_FF, EXTENT_DIM, true},
    {"ffn_up.weight", IN_LAYER(up), EXTENT_FF, EXTENT_DIM, true},
    {"ffn_down.weight", IN_LAYER(down), EXTENT_DIM, EXTENT_FF, true},
};
#define LAYER_PARTS (sizeof layer_parts / sizeof layer_parts[0])

static const struct part model_parts[] = {
    {"token_embd.weight", offsetof(struct model, token_embd), EXTENT_VOCAB, EXTENT_DIM, true},
    {"output_norm.weight", offsetof(struct model, output_norm), EXTENT_ONE, EXTENT_DIM, true},
    {"output.weight", offsetof(struct model, output), EXTENT_VOCAB, EXTENT_DIM, false},
    {"rope_freqs.weight", offsetof(struct model, rope_freqs), EXTENT_ONE, EXTENT_ROPE, false},
};
#define MODEL_PARTS (sizeof model_parts / sizeof model_parts[0])

/* Tables of angles that old converters wrote and that are computed from rope.freq_base instead. */
static const char *const ignored_endings[] = {"rot_embd", "rot_embd.weight", "rotary_emb.inv_freq"};

static err check_part(const struct builder *b, const struct part *part, const char *name,
                      const struct gguf_tensor *t) {
    const struct model_shape *s = &b->m->shape;
    uint64_t rows = extent_size(s, part->rows), cols = extent_size(s, part->cols);
    if (t->dims[0] != cols || t->dims[1] != rows || t->rows != rows)
        return BAD(b,
                   "the tensor %s is %" PRIu64 " x %zu, where the metadata asks for %" PRIu64
                   " x %" PRIu64,
                   name, t->dims[0], t->rows, cols, rows);
    if (!dtype_find(t->type))
        return BAD(b,
                   "the tensor %s has type %s, which is not supported: use a file with F32, F16, "
                   "BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K",
                   name, dtype_ggml_name(t->type));
    if (part->rows == EXTENT_ONE && t->type != DTYPE_F32)
        return BAD(b, "the tensor %s has type %s, where F32 is expected", name,
                   dtype_ggml_name(t->type));
    return ERR_OK;
}

/* Finds the tensors of one table; `prefix` is "" or "blk.7.". */
static err find_parts(struct builder *b, const struct part *parts, size_t n, const char *prefix,
                      void *base) {
    for (size_t i = 0; i < n; i++) {
        char name[NAME_BYTES];
        snprintf(name, sizeof name, "%s%s", prefix, parts[i].name);
        const struct gguf_tensor *t = gguf_tensor_find(b->g, name);
        if (!t && parts[i].required) return BAD(b, "the tensor %s is missing", name);
        if (!t) continue;
        TRY(check_part(b, &parts[i], name, t));
        b->used[t - gguf_tensor_at(b->g, 0)] = true;
        *(const struct gguf_tensor **)((char *)base + parts[i].slot) = t;
    }
    return ERR_OK;
}

/* The vocabulary has as many entries as the embedding has rows. */
static err read_vocab(struct builder *b) {
    const struct gguf_tensor *t = gguf_tensor_find(b->g, "token_embd.weight");
    if (!t) return BAD(b, "the tensor token_embd.weight is missing");
    if (t->rows > MAX_WIDTH)
        return BAD(b, "the vocabulary has %zu entries, at most %u are allowed", t->rows, MAX_WIDTH);
    b->m->shape.n_vocab = (uint32_t)t->rows;
    const struct gguf_array *tokens = NULL;
    TRY(gguf_get_array(b->g, "tokenizer.ggml.tokens", GGUF_STRING, &tokens));
    if (tokens && tokens->count > t->rows)
        return BAD(b, "the tokenizer has %zu tokens, but token_embd.weight has %zu rows only",
                   tokens->count, t->rows);
    return ERR_OK;
}

static err find_layers(struct builder *b) {
    struct model *m = b->m;
    m->layers = mem_zalloc_array(m->shape.n_layers, sizeof *m->layers);
    for (uint32_t i = 0; i < m->shape.n_layers; i++) {
        struct model_layer *layer = &m->layers[i];
        char prefix[32];
        snprintf(prefix, sizeof prefix, "blk.%" PRIu32 ".", i);
        TRY(find_parts(b, layer_parts, LAYER_PARTS, prefix, layer));
        int biases = (layer->q_bias != NULL) + (layer->k_bias != NULL) + (layer->v_bias != NULL);
        if (i == 0) m->shape.qkv_bias = biases > 0;
        if (biases != (m->shape.qkv_bias ? 3 : 0))
            return BAD(b,
                       "layer %" PRIu32
                       " has %d of the biases of Q, K and V, while the first layer "
                       "has %s",
                       i, biases, m->shape.qkv_bias ? "some" : "none");
    }
    return ERR_OK;
}

static bool is_ignored(struct gguf_str name) {
    for (size_t i = 0; i < sizeof ignored_endings / sizeof ignored_endings[0]; i++) {
        size_t n = strlen(ignored_endings[i]);
        if (name.length >= n && memcmp(name.data + name.length - n, ignored_endings[i], n) == 0)
            return true;
    }
    return false;
}

static err check_all_used(const struct builder *b) {
    for (size_t i = 0; i < gguf_tensor_count(b->g); i++) {
        struct gguf_str name = gguf_tensor_at(b->g, i)->name;
        if (!b->used[i] && !is_ignored(name))
            return BAD(b,
                       "the tensor %s is no part of a %s model as this build knows it: the text "
                       "would be wrong without it",
                       gguf_show(name).text, b->m->shape.arch);
    }
    return ERR_OK;
}

/* ---- public ------------------------------------------------------------------------------ */

err model_create(struct model **out, const struct gguf *g) {
    struct builder b = {.g = g, .m = mem_zalloc(sizeof *b.m)};
    b.used = mem_zalloc_array(gguf_tensor_count(g), sizeof *b.used);
    err e = ERR_OK;

    if (model_is_vocab_only(g)) {
        e = BAD(&b, "the file holds a vocabulary only, no weights");
        goto fail;
    }
    TRY_GOTO(e, read_shape(&b), fail);
    TRY_GOTO(e, read_vocab(&b), fail);
    TRY_GOTO(e, find_parts(&b, model_parts, MODEL_PARTS, "", b.m), fail);
    TRY_GOTO(e, find_layers(&b), fail);
    TRY_GOTO(e, check_all_used(&b), fail);
    if (!b.m->output) {
        b.m->output = b.m->token_embd;
        b.m->shape.tied = true;
    }
    b.m->identity = gguf_identity(g);
    mem_free(b.used);
    *out = b.m;
    return ERR_OK;

fail:
    mem_free(b.used);
    model_free(b.m);
    return e;
}

void model_free(struct model *m) {
    if (!m) return;
    mem_free(m->layers);
    mem_free(m);
}

bool model_is_vocab_only(const struct gguf *g) {
    return gguf_tensor_count(g) == 0;
}

struct totals {
    uint64_t bytes, parameters;
};

static void add_parts(struct totals *sum, const struct part *parts, size_t n, const void *base) {
    for (size_t i = 0; i < n; i++) {
        const struct gguf_tensor *t =
            *(const struct gguf_tensor *const *)((const char *)base + parts[i].slot);
        if (!t) continue;
        sum->bytes += t->bytes;
        sum->parameters += t->dims[0] * t->rows;
    }
}

static struct totals add_up(const struct model *m) {
    struct totals sum = {0};
    struct model once = *m;
    if (m->shape.tied) once.output = NULL;
    add_parts(&sum, model_parts, MODEL_PARTS, &once);
    for (uint32_t i = 0; i < m->shape.n_layers; i++)
        add_parts(&sum, layer_parts, LAYER_PARTS, &m->layers[i]);
    return sum;
}

uint64_t model_weight_bytes(const struct model *m) {
    return add_up(m).bytes;
}

uint64_t model_parameters(const struct model *m) {
    return add_up(m).parameters;
}
