// SPDX-License-Identifier: MIT
/* test_kvpool.c: how large the KV cache becomes, and the two numbers of a refusal. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/batch.h"
#include "coordinator/cluster/kvpool.h"
#include "coordinator/cluster/planner.h"
#include "tests/unit/common/fake_model.h"

#define MIB ((uint64_t)1 << 20)

static struct model *model;
static struct plan plan;
static struct roster roster;

/* Two ranks on host a, two on host b.  K and V of a token: 2 * 4 layers * 4 heads * 64 * 2 bytes =
 * 4096 bytes, over four ranks. */
static int setup(void **state) {
    (void)state;
    static const struct fake_shape shape = {.n_layers = 4,
                                            .dim = 512,
                                            .n_heads = 8,
                                            .n_kv_heads = 4,
                                            .head_dim = 64,
                                            .n_ff = 1024,
                                            .n_vocab = 1000,
                                            .type = DTYPE_F16,
                                            .down_type = DTYPE_F16};
    model = fake_model_create(&shape);
    model->shape.n_ctx = 4096;
    const struct planner_options o = {.size = 4, .ctx_planned = 4096, .kv_elem_bytes = 2};
    if (planner_make(&plan, model, &o) != ERR_OK) return -1;
    roster_init(&roster, 4, "s", "b", 1);
    for (uint32_t r = 0; r < 4; r++) {
        struct wire_hello h = {.rank = r,
                               .host = r < 2 ? "a" : "b",
                               .isa = "",
                               .mpi = "",
                               .transport = "",
                               .cpus = "",
                               .memory_available_bytes = 4096 * MIB};
        roster_add(&roster, &h);
    }
    return 0;
}

static int teardown(void **state) {
    (void)state;
    roster_deinit(&roster);
    plan_deinit(&plan);
    fake_model_free(model);
    return 0;
}

static void available(uint32_t first, uint64_t bytes) {
    for (uint32_t r = first; r < first + 2; r++) roster.ranks[r].memory_available_bytes = bytes;
}

static err decide(struct kvpool *k, const struct options *o) {
    return kvpool_decide(k, o, model, &plan, &roster);
}

static void test_default(void **state) {
    (void)state;
    struct kvpool k;
    struct options o = {.max_batch = 16};
    assert_int_equal(decide(&k, &o), ERR_OK);
    assert_int_equal(k.ctx, 4096);
    assert_int_equal(k.blocks, 16 * 4096 / KV_BLOCK_TOKENS); // all of them fit
    assert_int_equal(k.kv_bytes, 16 * 4096 * (uint64_t)4096);
    assert_int_equal(k.max_step_tokens, 512);
    o.ctx = 100; // rounded up to blocks
    o.kv_type = KV_F32;
    o.chunk_tokens = 1024;
    assert_int_equal(decide(&k, &o), ERR_OK);
    assert_int_equal(k.blocks, 16 * 4);
    assert_int_equal(k.kv_bytes, 16 * 4 * KV_BLOCK_TOKENS * (uint64_t)8192);
    assert_int_equal(k.max_step_tokens, 1024);
}

static void test_tight_host(void **state) {
    (void)state;
    struct kvpool roomy, tight;
    struct options o = {.max_batch = 256};
    assert_int_equal(decide(&roomy, &o), ERR_OK);
    available(2, 400 * MIB); // only host b has less
    assert_int_equal(decide(&tight, &o), ERR_OK);
    assert_true(tight.blocks < roomy.blocks);
    assert_true(tight.blocks >= 4096 / KV_BLOCK_TOKENS);
    // b's two ranks hold half of the KV cache
    assert_true(tight.kv_bytes / 2 < 400 * MIB / 100 * 80);
}

static void refused(const struct options *o, const char *one, const char *other) {
    struct kvpool k;
    assert_int_equal(decide(&k, o), ERR_MEMORY);
    if (!strstr(error_message(), one) || !strstr(error_message(), other))
        fail_msg("'%s' does not say '%s' and '%s'", error_message(), one, other);
}

static void test_refusals(void **state) {
    (void)state;
    struct options o = {.max_batch = 16, .ctx = 1 << 20};
    available(2, 1024 * MIB); // one request of 2^20 tokens: 4 GiB, half of it on b
    refused(&o, "host b: its 2 ranks need 2.", "1.0 GiB are available");
    available(2, 64 * MIB); // not even weights
    refused(&o, "for the weights", "64.0 MiB are available");
    available(2, 4096 * MIB);
    o = (struct options){.max_batch = 16, .kv_memory = 100 * 1024 * MIB};
    refused(&o, "host a: its 2 ranks need 50.", "4.0 GiB are available");
    o = (struct options){.max_batch = 16, .kv_tokens = 64, .ctx = 128};
    refused(&o, "64 tokens", "--ctx 128");
}

static void test_wanted(void **state) {
    (void)state;
    struct kvpool k;
    struct options o = {.max_batch = 16, .kv_memory = 64 * MIB};
    assert_int_equal(decide(&k, &o), ERR_OK);
    assert_int_equal(k.blocks, 64 * MIB / (4096 * KV_BLOCK_TOKENS));
    o = (struct options){.max_batch = 16, .kv_tokens = 5000};
    assert_int_equal(decide(&k, &o), ERR_OK);
    assert_int_equal(k.blocks, 157);
    assert_int_equal(k.ctx, 4096);
    o.kv_tokens = 1000; // less than the model's context, and --ctx was not given
    assert_int_equal(decide(&k, &o), ERR_OK);
    assert_int_equal(k.ctx, 1024);
    assert_int_equal(k.blocks, 32);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_default), TEST(test_tight_host),
                                       TEST(test_refusals), TEST(test_wanted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
