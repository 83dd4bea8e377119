// SPDX-License-Identifier: MIT
/* test_model.c: shapes and tensors of models: defaults, variants, and everything that must be
 * refused with its name. */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/model.h"
#include "tests/unit/common/gguf_builder.h"

/* What the table of cases changes in a small llama of 2 layers, dim 64, 4 heads, 2 KV heads. */
struct recipe {
    const char *arch;
    const char *without; // a key or tensor to leave out
    const char *resized; // a tensor whose rows get longer
    const char *retyped; // a tensor that gets type `type`
    uint32_t type;
    uint32_t layers, heads, kv_heads;
    uint32_t head_dim; // of the matrices, 0: 16
    uint64_t tokens;
    bool biases, output;
    void (*more)(struct gguf_builder *b);
};

static const struct recipe plain = {.arch = "llama", .layers = 2, .heads = 4, .kv_heads = 2};

static bool left_out(const struct recipe *r, const char *name) {
    return r->without && strcmp(r->without, name) == 0;
}

static void put_number(struct gguf_builder *b, const struct recipe *r, const char *suffix,
                       uint32_t value) {
    char key[64];
    snprintf(key, sizeof key, "%s.%s", r->arch, suffix);
    if (!left_out(r, suffix)) gguf_builder_u32(b, key, value);
}

static void put_tensor(struct gguf_builder *b, const struct recipe *r, const char *name,
                       uint64_t rows, uint64_t cols) {
    uint32_t type = rows ? DTYPE_Q8_0 : DTYPE_F32;
    if (left_out(r, name)) return;
    if (r->resized && strcmp(r->resized, name) == 0) cols += 32;
    if (r->retyped && strcmp(r->retyped, name) == 0) type = r->type;
    gguf_builder_tensor(b, name, type, cols, rows);
}

static void put_layer(struct gguf_builder *b, const struct recipe *r, uint32_t i) {
    const uint64_t q = 4 * (r->head_dim ? r->head_dim : 16), kv = q / 2;
    const struct {
        const char *name;
        uint64_t rows, cols;
        bool bias;
    } tensors[] = {
        {"attn_norm.weight", 0, 64, false}, {"attn_q.weight", q, 64, false},
        {"attn_k.weight", kv, 64, false},   {"attn_v.weight", kv, 64, false},
        {"attn_q.bias", 0, q, true},        {"attn_k.bias", 0, kv, true},
        {"attn_v.bias", 0, kv, true},       {"attn_output.weight", 64, q, false},
        {"ffn_norm.weight", 0, 64, false},  {"ffn_gate.weight", 96, 64, false},
        {"ffn_up.weight", 96, 64, false},   {"ffn_down.weight", 64, 96, false},
    };
    for (size_t k = 0; k < sizeof tensors / sizeof tensors[0]; k++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%u.%s", i, tensors[k].name);
        if (!tensors[k].bias || r->biases) put_tensor(b, r, name, tensors[k].rows, tensors[k].cols);
    }
}

/* Opens the file that the recipe describes; *fd stays open until close_recipe. */
static struct gguf *open_recipe(const struct recipe *r, int *fd) {
    struct gguf_builder b;
    struct buf bytes;
    struct gguf *g = NULL;
    char path[64], key[64];
    gguf_builder_init(&b);
    if (!left_out(r, "general.architecture")) gguf_builder_str(&b, "general.architecture", r->arch);
    put_number(&b, r, "block_count", r->layers);
    put_number(&b, r, "embedding_length", 64);
    put_number(&b, r, "feed_forward_length", 96);
    put_number(&b, r, "context_length", 512);
    put_number(&b, r, "attention.head_count", r->heads);
    put_number(&b, r, "attention.head_count_kv", r->kv_heads);
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", r->arch);
    if (!left_out(r, "epsilon")) gguf_builder_f32(&b, key, 1e-5f);
    if (r->tokens) gguf_builder_array(&b, "tokenizer.ggml.tokens", GGUF_STRING, r->tokens);
    for (uint64_t i = 0; i < r->tokens; i++) gguf_builder_put_string(&b.kvs, "t");
    put_tensor(&b, r, "token_embd.weight", 100, 64);
    put_tensor(&b, r, "output_norm.weight", 0, 64);
    if (r->output) put_tensor(&b, r, "output.weight", 100, 64);
    for (uint32_t i = 0; i < 2; i++) put_layer(&b, r, i);
    if (r->more) r->more(&b);
    gguf_builder_finish(&b, &bytes);
    *fd = gguf_builder_memory_file(&bytes, path);
    if (gguf_open(&g, path) != ERR_OK) fail_msg("%s", error_message());
    buf_deinit(&bytes);
    gguf_builder_deinit(&b);
    return g;
}

static void test_llama(void **state) {
    (void)state;
    int fd;
    struct model *m;
    struct gguf *g = open_recipe(&plain, &fd);
    if (model_create(&m, g) != ERR_OK) fail_msg("%s", error_message());
    const struct model_shape *s = &m->shape;
    assert_string_equal(s->arch, "llama");
    assert_string_equal(s->name, "");
    assert_int_equal(s->n_layers, 2);
    assert_int_equal(s->dim, 64);
    assert_int_equal(s->n_heads, 4);
    assert_int_equal(s->n_kv_heads, 2);
    assert_int_equal(s->head_dim, 16);
    assert_int_equal(s->n_ff, 96);
    assert_int_equal(s->n_vocab, 100);
    assert_int_equal(s->n_ctx, 512);
    assert_int_equal(s->rope_dim, 16);
    assert_int_equal(s->rope_style, ROPE_INTERLEAVED);
    assert_true(s->rope_theta == 10000.0f && s->rope_linear_scale == 1.0f);
    assert_true(s->norm_eps == 1e-5f);
    assert_true(s->tied && !s->qkv_bias);
    assert_ptr_equal(m->output, m->token_embd);
    assert_null(m->rope_freqs);
    assert_ptr_equal(m->layers[1].down, gguf_tensor_find(g, "blk.1.ffn_down.weight"));
    assert_null(m->layers[1].q_bias);
    assert_true(m->identity == gguf_identity(g));
    uint64_t matrices = 100 * 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64);
    uint64_t vectors = 64 + 2 * 2 * 64;
    assert_int_equal(model_parameters(m), matrices + vectors);
    assert_int_equal(model_weight_bytes(m), matrices / 32 * 34 + vectors * 4);
    model_free(m);
    gguf_close(g);
    close(fd);
}

static void more_qwen2(struct gguf_builder *b) {
    gguf_builder_f32(b, "qwen2.rope.freq_base", 1e6f);
    gguf_builder_str(b, "qwen2.rope.scaling.type", "linear");
    gguf_builder_f32(b, "qwen2.rope.scaling.factor", 4.0f);
    gguf_builder_u32(b, "qwen2.expert_count", 0);
    gguf_builder_str(b, "general.name", "Qwen\xC3\xBC\n2");
}

static void test_qwen2(void **state) {
    (void)state;
    int fd;
    struct model *m;
    struct recipe r = plain;
    r.arch = "qwen2", r.biases = true, r.output = true, r.tokens = 100, r.more = more_qwen2;
    struct gguf *g = open_recipe(&r, &fd);
    if (model_create(&m, g) != ERR_OK) fail_msg("%s", error_message());
    assert_int_equal(m->shape.rope_style, ROPE_NEOX);
    assert_true(m->shape.rope_theta == 1e6f && m->shape.rope_linear_scale == 0.25f);
    assert_true(m->shape.qkv_bias && !m->shape.tied);
    assert_string_equal(m->shape.name, "Qwen\xC3\xBC?2");
    assert_ptr_equal(m->output, gguf_tensor_find(g, "output.weight"));
    assert_ptr_equal(m->layers[1].v_bias, gguf_tensor_find(g, "blk.1.attn_v.bias"));
    model_free(m);
    gguf_close(g);
    close(fd);
}

/* head_dim that is not dim / heads, rope over a part of the head, frequency factors, old tensors.
 */
static void more_odd_heads(struct gguf_builder *b) {
    gguf_builder_u32(b, "llama.attention.key_length", 8);
    gguf_builder_u32(b, "llama.attention.value_length", 8);
    gguf_builder_u32(b, "llama.rope.dimension_count", 6);
    gguf_builder_str(b, "llama.rope.scaling.type", "none");
    gguf_builder_f32(b, "llama.rope.scaling.factor", 8.0f); // means nothing with "none"
    gguf_builder_tensor(b, "rope_freqs.weight", DTYPE_F32, 3, 0);
    gguf_builder_tensor(b, "blk.0.attn_rot_embd.weight", DTYPE_F32, 3, 0);
}

static void test_odd_heads(void **state) {
    (void)state;
    int fd;
    struct model *m;
    struct recipe r = plain;
    r.head_dim = 8, r.more = more_odd_heads; // where dim / heads is 16
    struct gguf *g = open_recipe(&r, &fd);
    if (model_create(&m, g) != ERR_OK) fail_msg("%s", error_message());
    assert_int_equal(m->shape.head_dim, 8);
    assert_int_equal(m->shape.rope_dim, 6);
    assert_true(m->shape.rope_linear_scale == 1.0f);
    assert_ptr_equal(m->rope_freqs, gguf_tensor_find(g, "rope_freqs.weight"));
    model_free(m);
    gguf_close(g);
    close(fd);
}

static void more_scale_linear(struct gguf_builder *b) {
    gguf_builder_f32(b, "llama.rope.scale_linear", 2.0f);
}

static void test_old_scaling_and_default_kv_heads(void **state) {
    (void)state;
    int fd;
    struct model *m;
    struct recipe r = plain;
    r.heads = 2, r.without = "attention.head_count_kv", r.more = more_scale_linear;
    struct gguf *g = open_recipe(&r, &fd);
    assert_int_equal(model_create(&m, g), ERR_MODEL); // K would be as wide as Q
    assert_non_null(strstr(error_message(), "attn_k.weight is 64 x 32"));
    gguf_close(g);
    close(fd);
    r = plain;
    r.more = more_scale_linear;
    g = open_recipe(&r, &fd);
    assert_int_equal(model_create(&m, g), ERR_OK);
    assert_true(m->shape.rope_linear_scale == 0.5f);
    model_free(m);
    gguf_close(g);
    close(fd);
}

static void more_yarn(struct gguf_builder *b) {
    gguf_builder_str(b, "llama.rope.scaling.type", "yarn");
}
static void more_experts(struct gguf_builder *b) {
    gguf_builder_u32(b, "llama.expert_count", 8);
}
static void more_softcap(struct gguf_builder *b) {
    gguf_builder_f32(b, "llama.final_logit_softcapping", 30.0f);
}
static void more_value_length(struct gguf_builder *b) {
    gguf_builder_u32(b, "llama.attention.value_length", 32);
}
static void more_odd_rope(struct gguf_builder *b) {
    gguf_builder_u32(b, "llama.rope.dimension_count", 7);
}
static void more_bad_theta(struct gguf_builder *b) {
    gguf_builder_f32(b, "llama.rope.freq_base", (float)NAN);
}
static void more_q_norm(struct gguf_builder *b) {
    gguf_builder_tensor(b, "blk.0.attn_q_norm.weight", DTYPE_F32, 16, 0);
}
static void more_out_bias(struct gguf_builder *b) {
    gguf_builder_tensor(b, "blk.1.attn_output.bias", DTYPE_F32, 64, 0);
}
static void more_third_layer(struct gguf_builder *b) {
    gguf_builder_tensor(b, "blk.2.attn_norm.weight", DTYPE_F32, 64, 0);
}
static void more_head_array(struct gguf_builder *b) {
    gguf_builder_array(b, "llama.attention.head_count", GGUF_U32, 2);
    buf_append(&b->kvs, "\4\0\0\0\4\0\0\0", 8);
}

#define LLAMA .arch = "llama", .layers = 2, .heads = 4, .kv_heads = 2
static const struct {
    struct recipe recipe;
    const char *says;
} refused[] = {
    {{LLAMA, .without = "general.architecture"}, "the key general.architecture is missing"},
    {{.arch = "gemma3", .layers = 2, .heads = 4, .kv_heads = 2},
     "the architecture \"gemma3\" is not supported (this build knows llama, qwen2)"},
    {{LLAMA, .without = "block_count"}, "the key llama.block_count is missing"},
    {{LLAMA, .without = "context_length"}, "the key llama.context_length is missing"},
    {{LLAMA, .without = "epsilon"}, "the key llama.attention.layer_norm_rms_epsilon is missing"},
    {{LLAMA, .without = "output_norm.weight"}, "the tensor output_norm.weight is missing"},
    {{LLAMA, .without = "token_embd.weight"}, "the tensor token_embd.weight is missing"},
    {{LLAMA, .without = "blk.1.ffn_up.weight"}, "the tensor blk.1.ffn_up.weight is missing"},
    {{LLAMA, .resized = "blk.1.ffn_up.weight"},
     "blk.1.ffn_up.weight is 96 x 96, where the metadata asks for 64 x 96"},
    {{LLAMA, .resized = "blk.0.attn_norm.weight"}, "blk.0.attn_norm.weight is 96 x 1"},
    {{LLAMA, .retyped = "blk.1.ffn_up.weight", .type = 20},
     "the tensor blk.1.ffn_up.weight has type IQ4_NL, which is not supported"},
    {{LLAMA, .retyped = "blk.1.ffn_norm.weight", .type = DTYPE_F16},
     "the tensor blk.1.ffn_norm.weight has type F16, where F32 is expected"},
    {{LLAMA, .tokens = 101}, "the tokenizer has 101 tokens"},
    {{LLAMA, .more = more_yarn}, "llama.rope.scaling.type is \"yarn\""},
    {{LLAMA, .more = more_experts}, "llama.expert_count is set"},
    {{LLAMA, .more = more_softcap}, "llama.final_logit_softcapping is set"},
    {{LLAMA, .more = more_value_length}, "keys of 16 and values of 32 elements"},
    {{LLAMA, .more = more_odd_rope}, "llama.rope.dimension_count is 7"},
    {{LLAMA, .more = more_bad_theta}, "llama.rope.freq_base is nan"},
    {{LLAMA, .more = more_q_norm}, "the tensor blk.0.attn_q_norm.weight is no part of a llama"},
    {{LLAMA, .more = more_out_bias}, "the tensor blk.1.attn_output.bias is no part"},
    {{LLAMA, .more = more_third_layer}, "the tensor blk.2.attn_norm.weight is no part"},
    {{LLAMA, .without = "attention.head_count", .more = more_head_array},
     "llama.attention.head_count is an array"},
    {{LLAMA, .biases = true, .without = "blk.0.attn_k.bias"}, "layer 0 has 2 of the biases"},
    {{LLAMA, .biases = true, .without = "blk.1.attn_k.bias"}, "layer 1 has 2 of the biases"},
    {{.arch = "llama", .layers = 1000000, .heads = 4, .kv_heads = 2},
     "llama.block_count is 1000000, it must be from 1 to 4096"},
    {{.arch = "llama", .layers = 0, .heads = 4, .kv_heads = 2}, "llama.block_count is 0"},
    {{.arch = "llama", .layers = 3, .heads = 4, .kv_heads = 2},
     "blk.2.attn_norm.weight is missing"},
    {{.arch = "llama", .layers = 2, .heads = 4, .kv_heads = 3}, "4 query heads cannot be shared"},
    {{.arch = "llama", .layers = 2, .heads = 5, .kv_heads = 5}, "a width of 64 does not give 5"},
};

static void test_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        int fd;
        struct model *m = NULL;
        struct gguf *g = open_recipe(&refused[i].recipe, &fd);
        if (model_create(&m, g) != ERR_MODEL) fail_msg("\"%s\" was accepted", refused[i].says);
        if (!strstr(error_message(), refused[i].says))
            fail_msg("\"%s\" does not say \"%s\"", error_message(), refused[i].says);
        assert_int_equal(strncmp(error_message(), "/proc/self/fd/", 14), 0);
        assert_null(m);
        gguf_close(g);
        close(fd);
    }
}

static void test_real_files(void **state) {
    (void)state;
    const char *shared = getenv("LOCKSTEP_SHARED");
    char path[512];
    struct gguf *g;
    struct model *m;
    snprintf(path, sizeof path, "%s/models/demo-q4_k_m.gguf", shared ? shared : "");
    if (!shared || access(path, R_OK) != 0) skip();
    assert_int_equal(gguf_open(&g, path), ERR_OK);
    assert_false(model_is_vocab_only(g));
    assert_int_equal(model_create(&m, g), ERR_OK);
    assert_int_equal(m->shape.n_layers, 4); // all as in the README of the models
    assert_int_equal(m->shape.dim, 256);
    assert_int_equal(m->shape.n_heads, 8);
    assert_int_equal(m->shape.n_kv_heads, 4);
    assert_int_equal(m->shape.head_dim, 32);
    assert_int_equal(m->shape.n_ff, 768);
    assert_int_equal(m->shape.n_vocab, 2048);
    assert_int_equal(m->shape.n_ctx, 256);
    assert_true(m->shape.tied);
    assert_int_equal(m->token_embd->type, DTYPE_Q6_K);
    model_free(m);
    gguf_close(g);

    snprintf(path, sizeof path, "%s/data/vocab/qwen2.gguf", shared);
    assert_int_equal(gguf_open(&g, path), ERR_OK);
    assert_true(model_is_vocab_only(g));
    assert_int_equal(model_create(&m, g), ERR_MODEL);
    assert_non_null(strstr(error_message(), "vocabulary only"));
    gguf_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_llama),     cmocka_unit_test(test_qwen2),
        cmocka_unit_test(test_odd_heads), cmocka_unit_test(test_old_scaling_and_default_kv_heads),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_real_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
