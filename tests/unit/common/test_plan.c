// SPDX-License-Identifier: MIT
/* test_plan.c: what a plan means for tensors and bytes, with numbers worked out by hand. */

#include "common/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/dtype.h"
#include "tests/unit/common/fake_model.h"

/* 4 query heads over 2 KV heads of 64, FFN 512: a head is a quarter of a K-quant block. */
static const struct fake_shape small = {
    .n_layers = 2,
    .dim = 256,
    .n_heads = 4,
    .n_kv_heads = 2,
    .head_dim = 64,
    .n_ff = 512,
    .n_vocab = 100,
    .type = DTYPE_Q4_K,
    .down_type = DTYPE_Q6_K,
};

static void three_ranks(struct plan *p) {
    plan_init(p, 3);
    p->ranks[0] = (struct plan_rank){{0, 1}, {0, 1}, {0, 256}, {0, 50}};
    p->ranks[1] = (struct plan_rank){{1, 3}, {0, 2}, {256, 512}, {50, 50}};
    p->ranks[2] = (struct plan_rank){{3, 4}, {1, 2}, {512, 512}, {50, 100}};
}

#define CHECK_FAILS(change)                                                                        \
    do {                                                                                           \
        struct plan p;                                                                             \
        three_ranks(&p);                                                                           \
        change;                                                                                    \
        assert_int_equal(plan_check(&p, &m->shape), ERR_PLAN);                                     \
        plan_deinit(&p);                                                                           \
    } while (0)

static void test_check(void **state) {
    (void)state;
    struct model *m = fake_model_create(&small);
    struct plan good;
    three_ranks(&good);
    assert_int_equal(plan_check(&good, &m->shape), ERR_OK);
    plan_deinit(&good);
    CHECK_FAILS(p.size = 0);
    CHECK_FAILS(p.size = 2); // heads end early
    CHECK_FAILS(p.ranks[1].heads.begin = 2);
    CHECK_FAILS(p.ranks[1].heads.end = 2);
    CHECK_FAILS(p.ranks[2].heads.end = 5);
    CHECK_FAILS((p.ranks[0].heads.end = 0, p.ranks[1].heads.begin = 0)); // no head
    CHECK_FAILS(p.ranks[1].kv_heads.begin = 1);
    CHECK_FAILS(p.ranks[0].kv_heads.end = 2);
    CHECK_FAILS(p.ranks[0].ffn.end = 255);
    CHECK_FAILS(p.ranks[2].ffn = ((struct range){512, 511}));
    CHECK_FAILS(p.ranks[2].vocab.end = 99);
    CHECK_FAILS(m->shape.n_vocab = 101);
    fake_model_free(m);
}

static void test_hash(void **state) {
    (void)state;
    struct plan a, b;
    three_ranks(&a);
    three_ranks(&b);
    assert_true(plan_hash(&a) == plan_hash(&b));
    uint32_t *numbers = (uint32_t *)b.ranks;
    for (size_t i = 0; i < 3 * sizeof(struct plan_rank) / sizeof(uint32_t); i++) {
        numbers[i]++;
        assert_true(plan_hash(&a) != plan_hash(&b));
        numbers[i]--;
    }
    b.size = 2;
    assert_true(plan_hash(&a) != plan_hash(&b));
    plan_deinit(&a);
    plan_deinit(&b);
}

static void check_slice(struct tensor_slice s, enum cut_kind kind, uint64_t row_begin,
                        uint64_t row_end, uint64_t col_begin, uint64_t col_end, uint64_t own_begin,
                        uint64_t own_end) {
    assert_int_equal(s.kind, kind);
    assert_int_equal(s.row_begin, row_begin);
    assert_int_equal(s.row_end, row_end);
    assert_int_equal(s.col_begin, col_begin);
    assert_int_equal(s.col_end, col_end);
    assert_int_equal(s.own_col_begin, own_begin);
    assert_int_equal(s.own_col_end, own_end);
}

static void test_slices(void **state) {
    (void)state;
    struct fake_shape shape = small;
    shape.qkv_bias = true;
    struct model *m = fake_model_create(&shape);
    const struct model_layer *l = &m->layers[0];
    struct plan p;
    three_ranks(&p);
#define SLICE(r, role, tensor) plan_slice(&p, (r), &m->shape, (role), (tensor))
    check_slice(SLICE(1, ROLE_ATTN_Q, l->q), CUT_ROWS, 64, 192, 0, 256, 0, 256);
    check_slice(SLICE(1, ROLE_ATTN_Q, l->q_bias), CUT_ROWS, 64, 192, 0, 1, 0, 1);
    check_slice(SLICE(2, ROLE_ATTN_KV, l->k), CUT_ROWS, 64, 128, 0, 256, 0, 256);
    // All heads lie in one block of 256 columns: each rank holds it whole and masks the rest.
    check_slice(SLICE(1, ROLE_ATTN_OUT, l->attn_out), CUT_COLUMNS, 0, 256, 0, 256, 64, 192);
    check_slice(SLICE(0, ROLE_FFN_UP, l->up), CUT_ROWS, 0, 256, 0, 256, 0, 256);
    check_slice(SLICE(1, ROLE_FFN_DOWN, l->down), CUT_COLUMNS, 0, 256, 256, 512, 256, 512);
    check_slice(SLICE(2, ROLE_FFN_DOWN, l->down), CUT_COLUMNS, 0, 256, 512, 512, 512, 512);
    check_slice(SLICE(2, ROLE_VOCAB, m->output), CUT_ROWS, 50, 100, 0, 256, 0, 256);
    check_slice(SLICE(1, ROLE_REPLICATED, m->output_norm), CUT_REPLICATED, 0, 256, 0, 1, 0, 1);
    p.ranks[2].ffn = (struct range){500, 500}; // empty, inside a block
    check_slice(SLICE(2, ROLE_FFN_DOWN, l->down), CUT_COLUMNS, 0, 256, 256, 256, 256, 256);

    struct tensor_slice s = SLICE(1, ROLE_ATTN_Q, l->q);
    assert_int_equal(plan_slice_bytes(&s, l->q), 128 * 144); // a Q4_K block: 144 bytes
    s = SLICE(1, ROLE_ATTN_Q, l->q_bias);
    assert_int_equal(plan_slice_bytes(&s, l->q_bias), 128 * 4);
    s = SLICE(1, ROLE_ATTN_OUT, l->attn_out);
    assert_int_equal(plan_slice_bytes(&s, l->attn_out), 256 * 144);
    s = SLICE(2, ROLE_FFN_DOWN, l->down);
    assert_int_equal(plan_slice_bytes(&s, l->down), 0);
    s = SLICE(1, ROLE_REPLICATED, m->output_norm);
    assert_int_equal(plan_slice_bytes(&s, m->output_norm), 1024);
#undef SLICE
    plan_deinit(&p);
    fake_model_free(m);
}

static void test_totals(void **state) {
    (void)state;
    struct fake_shape shape = small;
    struct model *m = fake_model_create(&shape);
    struct plan p;
    three_ranks(&p);
    // Rank 0: q 64 rows, k and v 64 rows each, out 256 rows, gate and up 256 rows each, in Q4_K;
    // down 256 blocks in Q4_K (layer 0) and Q6_K (layer 1: 210 bytes); five norms; 50 rows of head.
    uint64_t layers = 2 * (64 + 2 * 64 + 256 + 2 * 256) * 144 + 256 * (144 + 210);
    uint64_t read = layers + 5 * 1024 + 50 * 144;
    assert_int_equal(plan_read_bytes_per_token(&p, 0, m), read);
    assert_int_equal(plan_weight_bytes(&p, 0, m), read + 50 * 144);
    assert_int_equal(plan_kv_bytes_per_token(&p, 0, &m->shape, 2), 2 * 2 * 1 * 64 * 2);
    assert_int_equal(plan_kv_bytes_per_token(&p, 1, &m->shape, 4), 2 * 2 * 2 * 64 * 4);
    plan_deinit(&p);
    fake_model_free(m);

    shape.tied = true; // the matrix counts once, as the head
    m = fake_model_create(&shape);
    three_ranks(&p);
    assert_int_equal(plan_read_bytes_per_token(&p, 0, m), read);
    assert_int_equal(plan_weight_bytes(&p, 0, m), read);
    plan_deinit(&p);
    fake_model_free(m);
}

/* One rank holds the file's every byte exactly once. */
static void test_whole(void **state) {
    (void)state;
    struct fake_shape shape = small;
    shape.qkv_bias = true;
    struct model *m = fake_model_create(&shape);
    struct plan p;
    plan_init(&p, 1);
    p.ranks[0] = (struct plan_rank){{0, 4}, {0, 2}, {0, 512}, {0, 100}};
    uint64_t bytes = m->token_embd->bytes + m->output->bytes + m->output_norm->bytes;
    for (uint32_t i = 0; i < 2; i++) {
        const struct model_layer *l = &m->layers[i];
        bytes += l->attn_norm->bytes + l->q->bytes + l->k->bytes + l->v->bytes + l->q_bias->bytes +
                 l->k_bias->bytes + l->v_bias->bytes + l->attn_out->bytes + l->ffn_norm->bytes +
                 l->gate->bytes + l->up->bytes + l->down->bytes;
    }
    assert_int_equal(plan_weight_bytes(&p, 0, m), bytes);
    plan_deinit(&p);
    fake_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),  cmocka_unit_test(test_hash),  cmocka_unit_test(test_slices),
        cmocka_unit_test(test_totals), cmocka_unit_test(test_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
