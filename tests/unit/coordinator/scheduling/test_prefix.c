// SPDX-License-Identifier: MIT
/* test_prefix.c: blocks are found by all of their past, and by nothing less. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "common/batch.h"
#include "coordinator/scheduling/prefix.h"

#define N KV_BLOCK_TOKENS

static void fill(int32_t *tokens, uint32_t seed) {
    for (uint32_t i = 0; i < N; i++) tokens[i] = (int32_t)((seed * 31 + i * 7) % 1000);
}

static void found_by_all_of_the_past(void **state) {
    (void)state;
    struct prefix p;
    int32_t a[N], b[N];
    uint32_t block;
    uint64_t name;
    prefix_init(&p, 8);
    fill(a, 1), fill(b, 2);
    uint64_t first = prefix_add(&p, 3, PREFIX_ROOT, a);
    uint64_t second = prefix_add(&p, 5, first, b);
    assert_true(prefix_find(&p, PREFIX_ROOT, a, &block, &name));
    assert_true(block == 3 && name == first);
    assert_true(prefix_find(&p, first, b, &block, &name));
    assert_true(block == 5 && name == second);
    assert_false(prefix_find(&p, PREFIX_ROOT, b, &block, &name)); // the same tokens elsewhere
    assert_false(prefix_find(&p, second, b, &block, &name));
    // any other token anywhere, among them many that fall into the same bucket
    for (int32_t i = 0; i < N * 200; i++) {
        a[i % N] ^= 1 + i / N;
        assert_false(prefix_find(&p, PREFIX_ROOT, a, &block, &name));
        a[i % N] ^= 1 + i / N;
    }
    for (uint64_t i = 1; i < 200; i++)
        assert_false(i != first && prefix_find(&p, i, b, &block, &name));
    uint64_t other = prefix_new_root(&p);
    assert_false(prefix_find(&p, other, a, &block, &name));
    prefix_deinit(&p);
}

static void a_copy_has_no_name(void **state) {
    (void)state;
    struct prefix p;
    int32_t a[N];
    uint32_t block;
    uint64_t name;
    prefix_init(&p, 4);
    fill(a, 1);
    uint64_t first = prefix_add(&p, 0, PREFIX_ROOT, a);
    assert_int_equal(prefix_add(&p, 1, PREFIX_ROOT, a), first);
    assert_true(prefix_has_name(&p, 0));
    assert_false(prefix_has_name(&p, 1));
    prefix_forget(&p, 1); // nothing to forget
    assert_true(prefix_find(&p, PREFIX_ROOT, a, &block, &name));
    prefix_forget(&p, 0);
    assert_false(prefix_find(&p, PREFIX_ROOT, a, &block, &name));
    // its successors can no longer be found either: the name does not come back
    assert_int_not_equal(prefix_add(&p, 1, PREFIX_ROOT, a), first);
    prefix_deinit(&p);
}

/* Every block holds something, in few buckets and with many changes. */
static void survives_a_long_life(void **state) {
    (void)state;
    enum { BLOCKS = 100 };
    struct prefix p;
    int32_t tokens[N];
    uint32_t seed_of[BLOCKS], block;
    uint64_t name;
    prefix_init(&p, BLOCKS);
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t id = i * 37 % BLOCKS;
        prefix_forget(&p, id);
        fill(tokens, i);
        tokens[N - 1] = (int32_t)i;
        prefix_add(&p, id, i % 3, tokens);
        seed_of[id] = i;
        if (i < BLOCKS || i % 50) continue;
        for (uint32_t k = 0; k < BLOCKS; k++) {
            fill(tokens, seed_of[k]);
            tokens[N - 1] = (int32_t)seed_of[k];
            assert_true(prefix_find(&p, seed_of[k] % 3, tokens, &block, &name));
            assert_int_equal(block, k);
        }
    }
    prefix_deinit(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found_by_all_of_the_past),
        cmocka_unit_test(a_copy_has_no_name),
        cmocka_unit_test(survives_a_long_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
