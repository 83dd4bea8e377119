// SPDX-License-Identifier: MIT
/* test_planner.c: cuts of known models, and properties that hold for any shape.
 *
 * The bytes of a cut are counted with common/plan, not with the planner's own costs. */

#include "coordinator/cluster/planner.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/dtype.h"
#include "common/mem.h"
#include "tests/unit/common/fake_model.h"

static const struct fake_shape demo = {
    .n_layers = 4,
    .dim = 256,
    .n_heads = 8,
    .n_kv_heads = 4,
    .head_dim = 32,
    .n_ff = 768,
    .n_vocab = 2048,
    .type = DTYPE_Q4_K,
    .down_type = DTYPE_Q6_K,
    .tied = true,
};

static double read_bytes(const struct plan *p, uint32_t r, const struct model *m,
                         const struct planner_options *o) {
    return (double)plan_read_bytes_per_token(p, r, m) +
           (double)plan_kv_bytes_per_token(p, r, &m->shape, o->kv_elem_bytes) * o->ctx_planned;
}

/* The largest rank's bytes over its weight. */
static double worst_of(const struct plan *p, const struct model *m,
                       const struct planner_options *o) {
    double worst = 0;
    for (uint32_t r = 0; r < p->size; r++)
        worst = fmax(worst, read_bytes(p, r, m, o) / (o->weights ? o->weights[r] : 1));
    return worst;
}

static uint32_t ffn_unit_of(const struct model *m) {
    uint32_t a = dtype_info(m->layers[0].down->type)->block_elems;
    uint32_t b = dtype_info(m->layers[m->shape.n_layers - 1].down->type)->block_elems;
    return a > b ? a : b;
}

/* What somebody would do by hand: everything divided by N as evenly as whole heads, blocks and
 * rows allow. */
static void naive_plan(struct plan *p, const struct model *m, uint32_t size) {
    const struct model_shape *s = &m->shape;
    uint32_t group = s->n_heads / s->n_kv_heads, unit = ffn_unit_of(m);
    if (unit == 1) unit = 8;
    uint32_t units = (s->n_ff + unit - 1) / unit;
    plan_init(p, size);
    for (uint32_t r = 0; r < size; r++) {
        struct plan_rank *rank = &p->ranks[r];
        rank->heads = (struct range){s->n_heads * r / size, s->n_heads * (r + 1) / size};
        rank->kv_heads =
            (struct range){rank->heads.begin / group, (rank->heads.end - 1) / group + 1};
        rank->ffn = (struct range){units * r / size * unit, units * (r + 1) / size * unit};
        if (r == size - 1) rank->ffn.end = s->n_ff;
        rank->vocab = (struct range){(uint32_t)((uint64_t)s->n_vocab * r / size),
                                     (uint32_t)((uint64_t)s->n_vocab * (r + 1) / size)};
    }
    assert_int_equal(plan_check(p, s), ERR_OK);
}

/* The shape of TinyLlama 1.1B.  From 9 ranks on, 32 FFN columns are some percent of a share. */
static void test_tinyllama(void **state) {
    (void)state;
    const struct fake_shape shape = {
        .n_layers = 22,
        .dim = 2048,
        .n_heads = 32,
        .n_kv_heads = 4,
        .head_dim = 64,
        .n_ff = 5632,
        .n_vocab = 32000,
        .type = DTYPE_Q8_0,
        .down_type = DTYPE_Q8_0,
    };
    struct model *m = fake_model_create(&shape);
    for (uint32_t size = 1; size <= 32; size++) {
        const struct planner_options o = {.size = size, .ctx_planned = 2048, .kv_elem_bytes = 2};
        struct plan p;
        struct planner_estimate e;
        assert_int_equal(planner_make(&p, m, &o), ERR_OK);
        assert_int_equal(plan_check(&p, &m->shape), ERR_OK);
        planner_estimate_init(&e, &p, m, &o);
        if (e.imbalance > (size <= 8 ? 1.01 : 1.05))
            fail_msg("N = %u: imbalance %.3f", size, e.imbalance);
        if (size == 4)
            for (uint32_t r = 0; r < 4; r++) { // one KV head each: nothing is copied
                assert_int_equal(p.ranks[r].heads.begin, 8 * r);
                assert_int_equal(range_len(p.ranks[r].kv_heads), 1);
                assert_int_equal(range_len(p.ranks[r].ffn), 1408);
            }
        planner_estimate_deinit(&e);
        plan_deinit(&p);
    }
    fake_model_free(m);
}

/* Three blocks of FFN columns cannot serve four ranks; the vocabulary makes up for it. */
static void test_demo(void **state) {
    (void)state;
    struct model *m = fake_model_create(&demo);
    const struct planner_options o = {.size = 4, .ctx_planned = 512, .kv_elem_bytes = 2};
    struct plan p;
    assert_int_equal(planner_make(&p, m, &o), ERR_OK);
    uint32_t without = 0;
    for (uint32_t r = 0; r < 4; r++) {
        assert_int_equal(range_len(p.ranks[r].heads), 2);
        assert_int_equal(range_len(p.ranks[r].kv_heads), 1);
        assert_int_equal(range_len(p.ranks[r].ffn) % 256, 0);
        if (range_len(p.ranks[r].ffn) == 0) {
            without++;
            assert_true(range_len(p.ranks[r].vocab) > 512);
        }
    }
    assert_int_equal(without, 1);
    plan_deinit(&p);
    fake_model_free(m);
}

/* Groups of 3 heads, 4 ranks, a long context: 2, 2, 1, 1 would give the second rank both KV heads;
 * 2, 1, 2, 1 copies as little as possible. */
static void test_copies_count(void **state) {
    (void)state;
    const struct fake_shape shape = {
        .n_layers = 2,
        .dim = 64,
        .n_heads = 6,
        .n_kv_heads = 2,
        .head_dim = 32,
        .n_ff = 4096,
        .n_vocab = 4096,
        .type = DTYPE_Q8_0,
        .down_type = DTYPE_Q8_0,
    };
    struct model *m = fake_model_create(&shape);
    const struct planner_options o = {.size = 4, .ctx_planned = 4096, .kv_elem_bytes = 2};
    struct plan p;
    assert_int_equal(planner_make(&p, m, &o), ERR_OK);
    for (uint32_t r = 0; r < 4; r++) assert_int_equal(range_len(p.ranks[r].kv_heads), 1);
    plan_deinit(&p);
    fake_model_free(m);
}

static void test_weights(void **state) {
    (void)state;
    const struct fake_shape shape = {
        .n_layers = 8,
        .dim = 1024,
        .n_heads = 16,
        .n_kv_heads = 16,
        .head_dim = 64,
        .n_ff = 4096,
        .n_vocab = 32000,
        .type = DTYPE_F16,
        .down_type = DTYPE_F16,
    };
    static const double weights[3] = {1, 2, 0.5};
    struct model *m = fake_model_create(&shape);
    const struct planner_options o = {
        .size = 3, .ctx_planned = 256, .kv_elem_bytes = 2, .weights = weights};
    struct plan p;
    assert_int_equal(planner_make(&p, m, &o), ERR_OK);
    double first = read_bytes(&p, 0, m, &o);
    assert_true(fabs(read_bytes(&p, 1, m, &o) / first - 2.0) < 0.02);
    assert_true(fabs(read_bytes(&p, 2, m, &o) / first - 0.5) < 0.02);
    plan_deinit(&p);

    static const double bad[3][3] = {{1, 0, 1}, {1, 1, -1}, {NAN, 1, 1}};
    for (size_t i = 0; i < 3; i++) {
        struct planner_options wrong = o;
        wrong.weights = bad[i];
        assert_int_equal(planner_make(&p, m, &wrong), ERR_PLAN);
    }
    fake_model_free(m);
}

static void test_limits(void **state) {
    (void)state;
    struct model *m = fake_model_create(&demo);
    struct planner_options o = {.size = 9, .ctx_planned = 512, .kv_elem_bytes = 2};
    struct plan p;
    assert_int_equal(planner_make(&p, m, &o), ERR_PLAN);
    assert_non_null(strstr(error_message(), "9 ranks")); // what was asked, the limit, what to do
    assert_non_null(strstr(error_message(), "8 query heads"));
    assert_non_null(strstr(error_message(), "-n 8"));
    assert_null(p.ranks);
    o.size = 0;
    assert_int_equal(planner_make(&p, m, &o), ERR_PLAN);
    o.size = UINT32_MAX;
    assert_int_equal(planner_make(&p, m, &o), ERR_PLAN);
    o.size = 8;
    assert_int_equal(planner_make(&p, m, &o), ERR_OK);
    plan_deinit(&p);
    m->shape.n_heads = m->shape.n_kv_heads = PLANNER_MAX_HEADS + 1;
    assert_int_equal(planner_make(&p, m, &o), ERR_PLAN);
    fake_model_free(m);
}

static void test_context(void **state) {
    (void)state;
    struct model_shape s = {.n_ctx = 131072};
    assert_int_equal(planner_context(&s, 0), PLANNER_CTX_TOKENS);
    assert_int_equal(planner_context(&s, 100000), 100000);
    s.n_ctx = 256;
    assert_int_equal(planner_context(&s, 0), 256);
}

static void test_estimate(void **state) {
    (void)state;
    struct model *m = fake_model_create(&demo);
    const struct planner_options o = {.size = 3, .ctx_planned = 100, .kv_elem_bytes = 4};
    struct plan p;
    struct planner_estimate e;
    double most = 0, sum = 0;
    assert_int_equal(planner_make(&p, m, &o), ERR_OK);
    planner_estimate_init(&e, &p, m, &o);
    for (uint32_t r = 0; r < 3; r++) {
        double read = read_bytes(&p, r, m, &o);
        uint64_t kv = plan_kv_bytes_per_token(&p, r, &m->shape, 4);
        assert_int_equal(e.ranks[r].read_bytes_per_token, (uint64_t)read);
        assert_int_equal(e.ranks[r].weight_bytes, plan_weight_bytes(&p, r, m));
        assert_int_equal(e.ranks[r].kv_bytes_per_token, kv);
        assert_int_equal(e.ranks[r].memory_bytes, plan_weight_bytes(&p, r, m) + 100 * kv);
        most = fmax(most, read);
        sum += read;
    }
    assert_true(fabs(e.imbalance - most / (sum / 3)) < 1e-12);
    assert_int_equal(e.allreduce_calls_per_token, 2 * 4 + 1);
    assert_int_equal(e.allreduce_bytes_per_token, (2 * 4 + 1) * 256 * 4);
    assert_true(fabs(e.predicted_tokens_per_s * most - PLANNER_GB_PER_S * 1e9) < 1);
    planner_estimate_deinit(&e);
    plan_deinit(&p);
    fake_model_free(m);
}

/* --- any shape --- */

static uint64_t random_state;

static uint32_t random_below(uint32_t n) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % n);
}

static struct fake_shape random_shape(void) {
    static const enum dtype types[] = {DTYPE_F32,  DTYPE_F16,  DTYPE_Q8_0,
                                       DTYPE_Q4_0, DTYPE_Q4_K, DTYPE_Q6_K};
    static const uint32_t head_dims[] = {32, 64, 80, 96, 128};
    struct fake_shape s = {.type = types[random_below(6)]};
    uint32_t block = dtype_info(s.type)->block_elems;
    s.down_type = block == 256 ? (random_below(2) ? DTYPE_Q6_K : DTYPE_Q8_0) : s.type;
    s.n_layers = 1 + random_below(5);
    s.n_kv_heads = 1 + random_below(8);
    s.n_heads = s.n_kv_heads * (1 + random_below(7));
    do s.head_dim = head_dims[random_below(5)];
    while (s.head_dim * s.n_heads % block != 0 && random_below(8));
    while (s.head_dim * s.n_heads % block != 0) s.head_dim = 256; // a last resort that always fits
    s.dim = 256 * (1 + random_below(8));
    s.n_ff = (block > 1 ? block : 1 + random_below(40)) * (1 + random_below(60));
    s.n_vocab = 1 + random_below(40000);
    s.tied = random_below(2);
    s.qkv_bias = random_below(2);
    return s;
}

/* How far whole heads, blocks and rows may be from the ideal. */
static double granularity(const struct model *m) {
    const struct model_layer *l = &m->layers[0];
    double column = 0;
    for (uint32_t i = 0; i < m->shape.n_layers; i++)
        column += (double)l->gate->row_bytes * 2 +
                  (double)m->layers[i].down->bytes / (double)m->shape.n_ff;
    uint32_t unit = ffn_unit_of(m);
    return column * (unit > 1 ? unit : 32) + (double)m->output->row_bytes * 16;
}

static void check_random(uint32_t i) {
    random_state = i;
    struct fake_shape shape = random_shape();
    struct model *m = fake_model_create(&shape);
    struct planner_options o = {
        .size = 1 + random_below(shape.n_heads),
        .ctx_planned = random_below(3) ? random_below(8192) : 0,
        .kv_elem_bytes = random_below(2) ? 2 : 4,
    };
    struct plan p, again, naive;
    double weights[64];
    for (uint32_t r = 0; r < 64; r++) weights[r] = 0.25 * (1 + random_below(8));
    if (random_below(4) == 0) o.weights = weights;

    assert_int_equal(planner_make(&p, m, &o), ERR_OK);
    assert_int_equal(plan_check(&p, &m->shape), ERR_OK);
    assert_int_equal(planner_make(&again, m, &o), ERR_OK);
    assert_true(plan_hash(&p) == plan_hash(&again));
    // Down matrices are cut between blocks.
    uint32_t unit = ffn_unit_of(m);
    for (uint32_t r = 0; r + 1 < p.size; r++)
        if (p.ranks[r].ffn.end != shape.n_ff) assert_int_equal(p.ranks[r].ffn.end % unit, 0);

    naive_plan(&naive, m, o.size);
    double ours = worst_of(&p, m, &o), theirs = worst_of(&naive, m, &o);
    double least = o.weights ? 0.25 : 1.0;
    if (ours > theirs + granularity(m) / least)
        fail_msg("shape %u, N = %u: %.0f bytes, a naive cut has %.0f", i, o.size, ours, theirs);
    plan_deinit(&p);
    plan_deinit(&again);
    plan_deinit(&naive);
    fake_model_free(m);
}

static void test_random_shapes(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 5000; i++) check_random(i);
}

/* All head partitions of small models by brute force: none has a lower maximum of attention, when
 * there is nothing else to level it with. */
static double attention_bytes(const struct model *m, const struct planner_options *o, uint32_t a,
                              uint32_t b) {
    uint32_t group = m->shape.n_heads / m->shape.n_kv_heads;
    struct plan_rank rank = {.heads = {a, b}, .kv_heads = {a / group, (b - 1) / group + 1}};
    struct plan p = {.size = 1, .ranks = &rank};
    return read_bytes(&p, 0, m, o);
}

static double best_by_force(const struct model *m, const struct planner_options *o, uint32_t a,
                            uint32_t ranks) {
    if (ranks == 1) return attention_bytes(m, o, a, m->shape.n_heads);
    double best = HUGE_VAL;
    for (uint32_t b = a + 1; b + ranks - 1 <= m->shape.n_heads; b++)
        best = fmin(best, fmax(attention_bytes(m, o, a, b), best_by_force(m, o, b, ranks - 1)));
    return best;
}

static void test_heads_by_force(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 300; i++) {
        random_state = i;
        uint32_t kv_heads = 1 + random_below(4);
        struct fake_shape shape = {
            .n_layers = 1,
            .dim = 256,
            .n_heads = kv_heads * (1 + random_below(4)),
            .n_kv_heads = kv_heads,
            .head_dim = 64,
            .n_ff = 1,
            .n_vocab = 1,
            .type = DTYPE_F16,
            .down_type = DTYPE_F16,
        };
        if (shape.n_heads > 10) continue;
        struct model *m = fake_model_create(&shape);
        // The output projection in blocks of 4 heads, so that masked blocks count.
        struct gguf_tensor out = *m->layers[0].attn_out;
        out.type = DTYPE_Q4_K;
        m->layers[0].attn_out = &out;
        const struct planner_options o = {
            .size = 1 + random_below(shape.n_heads), .ctx_planned = 4096, .kv_elem_bytes = 2};
        struct plan p;
        assert_int_equal(planner_make(&p, m, &o), ERR_OK);
        double ours = 0;
        for (uint32_t r = 0; r < p.size; r++)
            ours = fmax(ours, attention_bytes(m, &o, p.ranks[r].heads.begin, p.ranks[r].heads.end));
        double best = best_by_force(m, &o, 0, o.size);
        if (ours > best) fail_msg("shape %u, N = %u: %.0f bytes, best %.0f", i, o.size, ours, best);
        plan_deinit(&p);
        fake_model_free(m);
    }
}

static void check_time(uint32_t heads, uint32_t kv_heads, uint32_t size, uint64_t limit_ms) {
    const struct fake_shape shape = {
        .n_layers = 126,
        .dim = 16384,
        .n_heads = heads,
        .n_kv_heads = kv_heads,
        .head_dim = 128,
        .n_ff = 53248,
        .n_vocab = 128256,
        .type = DTYPE_Q4_K,
        .down_type = DTYPE_Q6_K,
    };
    struct model *m = fake_model_create(&shape);
    const struct planner_options o = {.size = size, .ctx_planned = 8192, .kv_elem_bytes = 2};
    struct plan p;
    uint64_t start = clock_ns();
    assert_int_equal(planner_make(&p, m, &o), ERR_OK);
    uint64_t took_ms = (clock_ns() - start) / 1000000;
    print_message("%u heads over %u ranks: %llu ms\n", heads, size, (unsigned long long)took_ms);
    assert_true(took_ms < limit_ms);
    plan_deinit(&p);
    fake_model_free(m);
}

/* Far above what it takes (the machine may be busy), far below what a worse algorithm would. */
static void test_time(void **state) {
    (void)state;
    static const uint32_t sizes[] = {1, 2, 7, 64, 128};
    for (size_t i = 0; i < 5; i++) check_time(128, 8, sizes[i], 500);
    check_time(1024, 8, 16, 5000);
    check_time(1024, 1024, 1024, 5000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tinyllama),      cmocka_unit_test(test_demo),
        cmocka_unit_test(test_copies_count),   cmocka_unit_test(test_weights),
        cmocka_unit_test(test_limits),         cmocka_unit_test(test_context),
        cmocka_unit_test(test_estimate),       cmocka_unit_test(test_random_shapes),
        cmocka_unit_test(test_heads_by_force), cmocka_unit_test(test_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
