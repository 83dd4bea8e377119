// SPDX-License-Identifier: MIT
/* test_treesum.c: fragments of a tree of ranks, and sums that do not depend on who added what. */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/job/treesum.h"

#define MAX_RANKS 20
#define N_FLOATS  1100 // more than two blocks of the implementation

/* Values of very different sizes and both signs, so that another order gives other bits. */
static float value(size_t rank, size_t i) {
    uint32_t h = (uint32_t)i * 2654435761u + (uint32_t)rank * 40503u + 12345u;
    h ^= h >> 15;
    h *= 2246822519u;
    h ^= h >> 13;
    return ldexpf((float)(h & 0xffffff) / 16777216.0f - 0.5f, (int)(h >> 28) - 8);
}

/* The tree as its definition says it, one element at a time. */
static float sum_by_definition(size_t begin, size_t end, size_t i) {
    if (end - begin == 1) return value(begin, i);
    size_t middle = begin + (end - begin + 1) / 2;
    return sum_by_definition(begin, middle, i) + sum_by_definition(middle, end, i);
}

static void expect_fragments(const char *who_has, const char *wanted) {
    bool has[MAX_RANKS];
    size_t size = strlen(who_has);
    struct treesum_node nodes[MAX_RANKS];
    char text[256] = "";
    for (size_t r = 0; r < size; r++) has[r] = who_has[r] == 'x';
    size_t n = treesum_fragments(nodes, has, size);
    for (size_t i = 0; i < n; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "[%zu,%zu)", nodes[i].begin,
                 nodes[i].end);
    assert_string_equal(text, wanted);
}

static void test_fragments(void **state) {
    (void)state;
    expect_fragments("x", "[0,1)");
    expect_fragments("xxxxx", "[0,5)");
    expect_fragments("xxx..", "[0,3)");
    expect_fragments("..xx.", "[2,3)[3,4)");
    expect_fragments("xx....", "[0,2)");
    expect_fragments("..xx..", "[2,3)[3,4)");
    expect_fragments("....xx", "[4,5)[5,6)"); // ((0 1) 2) ((3 4) 5)
    expect_fragments("x.x.x.x.", "[0,1)[2,3)[4,5)[6,7)");
    expect_fragments("..xxxx..", "[2,4)[4,6)");
    expect_fragments(".....", "");
}

/* Ranks are dealt to hosts at random; each host adds its fragments, and everybody adds them up. */
static void test_sums_of_fragments(void **state) {
    (void)state;
    static float pieces[MAX_RANKS][N_FLOATS], partial[MAX_RANKS][N_FLOATS], sum[N_FLOATS];
    srand(7);
    for (size_t trial = 0; trial < 200; trial++) {
        size_t size = 1 + trial % MAX_RANKS, n_hosts = 1 + (size_t)rand() % 4;
        size_t host[MAX_RANKS], one[MAX_RANKS], ends[MAX_RANKS] = {0};
        const float *data[MAX_RANKS], *parts[MAX_RANKS];
        for (size_t r = 0; r < size; r++) {
            for (size_t i = 0; i < N_FLOATS; i++) pieces[r][i] = value(r, i);
            host[r] = trial < 100 ? (size_t)rand() % n_hosts : r * n_hosts / size;
            data[r] = pieces[r];
            one[r] = r + 1;
        }
        const struct treesum all = {.size = size, .data = data, .ends = one};
        const struct treesum fragments = {.size = size, .data = parts, .ends = ends};
        for (size_t h = 0; h < n_hosts; h++) {
            bool has[MAX_RANKS];
            struct treesum_node nodes[MAX_RANKS];
            for (size_t r = 0; r < size; r++) has[r] = host[r] == h;
            size_t n = treesum_fragments(nodes, has, size);
            for (size_t f = 0; f < n; f++) {
                treesum_of(partial[nodes[f].begin], &all, nodes[f], 0, N_FLOATS, false);
                parts[nodes[f].begin] = partial[nodes[f].begin];
                ends[nodes[f].begin] = nodes[f].end;
            }
        }
        treesum_all(sum, &fragments, 0, N_FLOATS, false);
        for (size_t i = 0; i < N_FLOATS; i++) {
            float wanted = sum_by_definition(0, size, i);
            assert_memory_equal(&sum[i], &wanted, sizeof wanted);
        }
    }
}

/* Into one of the vectors, from the middle of them, and on top of what is there. */
static void test_places(void **state) {
    (void)state;
    static float pieces[3][N_FLOATS], x[N_FLOATS];
    const float *data[3] = {pieces[0], pieces[1], pieces[2]};
    size_t ends[3] = {1, 2, 3};
    const struct treesum all = {.size = 3, .data = data, .ends = ends};
    for (size_t i = 0; i < N_FLOATS; i++) {
        for (size_t r = 0; r < 3; r++) pieces[r][i] = value(r, i);
        x[i] = value(9, i);
    }
    treesum_all(x, &all, 7, N_FLOATS - 7, true);
    for (size_t i = 0; i < N_FLOATS - 7; i++) {
        float wanted = value(9, i) + ((value(0, i + 7) + value(1, i + 7)) + value(2, i + 7));
        assert_memory_equal(&x[i], &wanted, sizeof wanted);
    }
    treesum_all(pieces[1], &all, 0, N_FLOATS, false);
    for (size_t i = 0; i < N_FLOATS; i++) {
        float wanted = (value(0, i) + value(1, i)) + value(2, i);
        assert_memory_equal(&pieces[1][i], &wanted, sizeof wanted);
    }
}

static void test_take(void **state) {
    (void)state;
    static float x[N_FLOATS], y[N_FLOATS];
    for (size_t i = 0; i < N_FLOATS; i++) y[i] = value(1, i);
    treesum_take(x, y, N_FLOATS, false);
    assert_memory_equal(x, y, sizeof x);
    treesum_take(x, y, N_FLOATS - 1, true);
    for (size_t i = 0; i < N_FLOATS; i++) {
        float wanted = i < N_FLOATS - 1 ? y[i] + y[i] : y[i];
        assert_memory_equal(&x[i], &wanted, sizeof wanted);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_sums_of_fragments),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_take),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
