// SPDX-License-Identifier: MIT
/* test_allreduce.c: the all-reduce against a tree written down by hand, bit for bit.
 *
 * Every rank makes all ranks' vectors from a counter, so it knows the answer without talking.  The
 * trees stand here as text, one per number of ranks; allreduce.c does not share them. */

#include <math.h>
#include <string.h>

#include "common/mem.h"
#include "tests/mpi/mpi_expect.h"
#include "worker/job/allreduce.h"

#define MAX_FLOATS ((size_t)100003)

/* Values of very different sizes and both signs, so that another order gives other bits. */
static float value(int rank, size_t i) {
    uint32_t h = (uint32_t)i * 2654435761u + (uint32_t)rank * 40503u + 12345u;
    h ^= h >> 15;
    h *= 2246822519u;
    h ^= h >> 13;
    float unit = (float)(h & 0xffffff) / 16777216.0f - 0.5f;
    return ldexpf(unit, (int)(h >> 28) - 8);
}

static float wanted_sum(int size, size_t i) {
    float v[5];
    for (int r = 0; r < size; r++) v[r] = value(r, i);
    switch (size) {
    case 1: return v[0];
    case 2: return v[0] + v[1];
    case 3: return (v[0] + v[1]) + v[2];
    case 4: return (v[0] + v[1]) + (v[2] + v[3]);
    default: return ((v[0] + v[1]) + v[2]) + (v[3] + v[4]);
    }
}

static void sum_and_check(struct comm *c, struct allreduce *a, size_t n, float *x) {
    int rank = comm_rank(c), size = comm_size(c);
    for (size_t i = 0; i < n; i++) x[i] = value(rank, i);
    allreduce_sum(a, x, n);
    for (size_t i = 0; i < n; i++) {
        float wanted = wanted_sum(size, i);
        EXPECT(rank, memcmp(&x[i], &wanted, sizeof wanted) == 0,
               "element %zu of %zu: %.9g, wanted %.9g", i, n, (double)x[i], (double)wanted);
    }
}

static void test_tree(struct comm *c, enum allreduce_way way) {
    static const size_t lengths[] = {1, 7, 256, 4096, 4097, MAX_FLOATS};
    struct allreduce *a;
    EXPECT(comm_rank(c), allreduce_create(&a, c, MAX_FLOATS, false) == ERR_OK, "%s",
           error_message());
    if (!allreduce_way_possible(a, way)) {
        allreduce_free(a);
        return;
    }
    allreduce_set_way(a, way);
    float *x = mem_zalloc_array(MAX_FLOATS, sizeof *x);
    uint64_t bytes = 0;
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        sum_and_check(c, a, lengths[l], x);
        bytes += lengths[l] * sizeof *x;
    }
    EXPECT(comm_rank(c), allreduce_calls(a) == sizeof lengths / sizeof *lengths, "%llu calls",
           (unsigned long long)allreduce_calls(a));
    EXPECT(comm_rank(c), allreduce_bytes(a) == bytes, "%llu bytes, wanted %llu",
           (unsigned long long)allreduce_bytes(a), (unsigned long long)bytes);
    mem_free(x);
    allreduce_free(a);
}

/* MPI's own all-reduce promises no order; it must be a sum all the same. */
static void test_mpi(struct comm *c) {
    int rank = comm_rank(c);
    enum { N = 5000 };
    struct allreduce *a;
    EXPECT(rank, allreduce_create(&a, c, N, true) == ERR_OK, "%s", error_message());
    float *x = mem_zalloc_array(N, sizeof *x);
    for (size_t i = 0; i < N; i++) x[i] = value(rank, i);
    allreduce_sum(a, x, N);
    for (size_t i = 0; i < N; i++) {
        float wanted = wanted_sum(comm_size(c), i);
        EXPECT(rank, fabsf(x[i] - wanted) < 1e-3f, "element %zu: %.9g, wanted %.9g", i,
               (double)x[i], (double)wanted);
    }
    mem_free(x);
    allreduce_free(a);
}

int main(int argc, char **argv) {
    struct comm *c;
    if (comm_init(&c, &argc, &argv) != ERR_OK) return 1;
    for (int way = 0; way < ALLREDUCE_N_WAYS; way++)
        if (way != ALLREDUCE_WAY_MPI) test_tree(c, (enum allreduce_way)way);
    test_mpi(c);
    comm_finalize(c);
    return 0;
}
