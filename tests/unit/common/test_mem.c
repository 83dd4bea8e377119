// SPDX-License-Identifier: MIT
/* test_mem.c: the arena, mapped memory, and products that wrap. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"

static void test_products(void **state) {
    (void)state;
    size_t out;
    assert_true(mem_mul(1u << 20, 1u << 20, &out));
    assert_true(out == (size_t)1 << 40);
    assert_false(mem_mul(SIZE_MAX / 2 + 1, 2, &out));
    assert_true(mem_add(SIZE_MAX - 1, 1, &out));
    assert_false(mem_add(SIZE_MAX, 1, &out));
    assert_null(mem_try_zalloc(SIZE_MAX / 2, 4)); // 4 * that wraps to a small number
    void *empty = mem_try_zalloc(0, 8);
    assert_non_null(empty);
    mem_free(empty);
}

static void test_strings(void **state) {
    (void)state;
    char *a = mem_strdup("word"), *b = mem_strndup("words", 4);
    assert_string_equal(a, b);
    a = mem_realloc(a, 100);
    assert_string_equal(a, "word");
    mem_free(a);
    mem_free(b);
    mem_free(NULL);
}

static void test_arena(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, 1000); // rounded up to 1024
    uint8_t *first = arena_alloc(&a, 1), *second = arena_alloc(&a, 64);
    assert_int_equal((uintptr_t)first % 64, 0);
    assert_int_equal(second - first, 64);
    assert_null(arena_alloc(&a, 1024 - 128 + 1));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_non_null(arena_alloc(&a, 1024 - 128));
    assert_null(arena_alloc(&a, 1));
    arena_reset(&a);
    assert_ptr_equal(arena_alloc(&a, 1024), first);
    arena_deinit(&a);
}

static void test_mapped(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 4097, 3 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *p = NULL;
        assert_int_equal(mem_map(&p, sizes[i]), ERR_OK);
        uint8_t *bytes = p;
        assert_int_equal((uintptr_t)p % (sizes[i] >= 2 << 20 ? 2 << 20 : 4096), 0);
        assert_int_equal(bytes[0] | bytes[sizes[i] - 1], 0);
        bytes[sizes[i] - 1] = 1;
        mem_unmap(p, sizes[i]);
    }
    void *p = NULL;
    assert_int_equal(mem_map(&p, SIZE_MAX - 10), ERR_MEMORY);
    assert_int_equal(mem_map(&p, SIZE_MAX / 4), ERR_MEMORY);
    assert_non_null(strstr(error_message(), "4611686018427387903"));
    mem_unmap(NULL, 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_mapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
