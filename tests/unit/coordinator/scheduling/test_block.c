// SPDX-License-Identifier: MIT
/* test_block.c: blocks are handed out once, counted, and come back. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/batch.h"
#include "coordinator/scheduling/block.h"

static void every_block_once(void **state) {
    (void)state;
    struct block_pool p;
    block_pool_init(&p, 5);
    bool seen[5] = {false};
    uint32_t id;
    for (int i = 0; i < 5; i++) {
        assert_true(block_acquire(&p, &id));
        assert_in_range(id, 0, 4);
        assert_false(seen[id]);
        seen[id] = true;
    }
    assert_false(block_acquire(&p, &id));
    assert_int_equal(p.used, 5);
    block_release(&p, 3, false);
    assert_true(block_acquire(&p, &id));
    assert_int_equal(id, 3);
    block_pool_deinit(&p);
}

static void shared_blocks_stay(void **state) {
    (void)state;
    struct block_pool p;
    block_pool_init(&p, 1);
    uint32_t id, other;
    assert_true(block_acquire(&p, &id));
    block_share(&p, id);
    block_release(&p, id, false);
    assert_false(block_acquire(&p, &other));
    block_release(&p, id, false);
    assert_true(block_acquire(&p, &other));
    block_pool_deinit(&p);
}

/* What is worth keeping is lost last, and of that what was let go first. */
static void kept_blocks_are_taken_last(void **state) {
    (void)state;
    struct block_pool p;
    block_pool_init(&p, 5);
    uint32_t id;
    for (int i = 0; i < 4; i++) assert_true(block_acquire(&p, &id)); // 4 was never used
    block_release(&p, 1, true);
    block_release(&p, 0, true);
    block_release(&p, 2, false);
    block_release(&p, 3, true);
    block_share(&p, 1); // found again, with its contents
    assert_int_equal(p.used, 1);
    const uint32_t order[] = {2, 4, 0, 3};
    for (int i = 0; i < 4; i++) {
        assert_true(block_acquire(&p, &id));
        assert_int_equal(id, order[i]);
    }
    assert_false(block_acquire(&p, &id));
    block_pool_deinit(&p);
}

static void counts_round_up(void **state) {
    (void)state;
    assert_int_equal(block_count_for(0), 0);
    assert_int_equal(block_count_for(1), 1);
    assert_int_equal(block_count_for(KV_BLOCK_TOKENS), 1);
    assert_int_equal(block_count_for(KV_BLOCK_TOKENS + 1), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_once),
        cmocka_unit_test(shared_blocks_stay),
        cmocka_unit_test(kept_blocks_are_taken_last),
        cmocka_unit_test(counts_round_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
