// SPDX-License-Identifier: MIT
/* test_allreduce.c: the all-reduce against a tree written down by hand, bit for bit.
 *
 * Every rank makes all ranks' vectors from a counter, so it knows the answer without talking.  The
 * trees stand here as text, one per number of ranks; allreduce.c does not share them. */

#include <math.h>
#include <string.h>
#include <time.h>

#include "common/mem.h"
#include "tests/mpi/mpi_expect.h"
#include "worker/job/allreduce.h"

#define MAX_FLOATS  ((size_t)100003)
#define LONG_FLOATS ((size_t)5000011) // more than twice what the window holds at once

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
    float v[8];
    for (int r = 0; r < size; r++) v[r] = value(r, i);
    switch (size) {
    case 1: return v[0];
    case 2: return v[0] + v[1];
    case 3: return (v[0] + v[1]) + v[2];
    case 4: return (v[0] + v[1]) + (v[2] + v[3]);
    case 5: return ((v[0] + v[1]) + v[2]) + (v[3] + v[4]);
    case 6: return ((v[0] + v[1]) + v[2]) + ((v[3] + v[4]) + v[5]);
    case 7: return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + v[6]);
    default: return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
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

/* What the sum is added to. */
static float base(size_t i) {
    return value(77, i);
}

static void add_and_check(struct comm *c, struct allreduce *a, size_t n, float *x) {
    int rank = comm_rank(c), size = comm_size(c);
    float *part = allreduce_part(a, n);
    for (size_t i = 0; i < n; i++) {
        part[i] = value(rank, i);
        x[i] = base(i);
    }
    allreduce_add(a, x, n);
    for (size_t i = 0; i < n; i++) {
        float wanted = base(i) + wanted_sum(size, i);
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
        add_and_check(c, a, lengths[l], x);
        bytes += 2 * lengths[l] * sizeof *x;
    }
    EXPECT(comm_rank(c), allreduce_calls(a) == 2 * sizeof lengths / sizeof *lengths, "%llu calls",
           (unsigned long long)allreduce_calls(a));
    EXPECT(comm_rank(c), allreduce_bytes(a) == bytes, "%llu bytes, wanted %llu",
           (unsigned long long)allreduce_bytes(a), (unsigned long long)bytes);
    mem_free(x);
    allreduce_free(a);
}

static void test_long(struct comm *c) {
    struct allreduce *a;
    EXPECT(comm_rank(c), allreduce_create(&a, c, LONG_FLOATS, false) == ERR_OK, "%s",
           error_message());
    float *x = mem_zalloc_array(LONG_FLOATS, sizeof *x);
    sum_and_check(c, a, LONG_FLOATS, x);
    add_and_check(c, a, LONG_FLOATS, x);
    mem_free(x);
    allreduce_free(a);
}

/* Which ways there are, and that one is chosen that there is. */
static void test_ways(struct comm *c, bool no_window) {
    int rank = comm_rank(c), size = comm_size(c), n_hosts = 0;
    for (int r = 0; r < size; r++) n_hosts += comm_host_leader(c, r) == r;
    bool many = size > 1, shared = many && !no_window;
    struct allreduce *a;
    EXPECT(rank, allreduce_create(&a, c, MAX_FLOATS, false) == ERR_OK, "%s", error_message());
    for (int way = 0; way < ALLREDUCE_N_WAYS; way++) {
        const char *name = allreduce_way_name((enum allreduce_way)way);
        bool possible = allreduce_way_possible(a, (enum allreduce_way)way), wanted = many;
        if (way == ALLREDUCE_WAY_AUTO) wanted = true;
        if (strncmp(name, "window", 6) == 0) wanted = shared && n_hosts == 1;
        if (strncmp(name, "hosts-", 6) == 0) wanted = shared && n_hosts > 1 && n_hosts < size;
        if (way == ALLREDUCE_WAY_HOSTS_DOUBLING && wanted) continue; // depends on the hosts' ranks
        EXPECT(rank, possible == wanted, "%s is %d", name, possible);
    }
    for (size_t n = 1; n < MAX_FLOATS; n *= 2) {
        enum allreduce_way way = allreduce_way_for(a, n);
        EXPECT(rank, allreduce_way_possible(a, way), "%s", allreduce_way_name(way));
        EXPECT(rank, (way == ALLREDUCE_WAY_AUTO) == !many, "%s", allreduce_way_name(way));
    }
    allreduce_free(a);
}

/* The last rank comes late: time spent waiting for it is waiting, and not its own. */
static bool times_are_told_apart(struct comm *c, struct allreduce *a) {
    const uint64_t late_ns = 20000000;
    int32_t right[16];
    float x[100] = {0};
    bool last = comm_rank(c) == comm_size(c) - 1;
    for (int i = 0; i < 10; i++) allreduce_sum(a, x, 100);
    uint64_t waited = comm_wait_ns(c), moved = comm_wire_ns(c);
    if (last) nanosleep(&(struct timespec){.tv_nsec = (long)late_ns}, NULL);
    allreduce_sum(a, x, 100);
    waited = comm_wait_ns(c) - waited;
    moved = comm_wire_ns(c) - moved;
    int32_t mine = moved < late_ns / 2 && (waited > late_ns / 2) == !last;
    comm_allgather(c, &mine, right, sizeof mine);
    for (int r = 0; r < comm_size(c); r++) mine = mine && right[r];
    return mine;
}

static void test_times(struct comm *c, enum allreduce_way way) {
    struct allreduce *a;
    EXPECT(comm_rank(c), allreduce_create(&a, c, 100, false) == ERR_OK, "%s", error_message());
    allreduce_set_way(a, way);
    bool right = comm_size(c) == 1;
    for (int attempt = 0; attempt < 10 && !right; attempt++) // others may be late by themselves
        right = times_are_told_apart(c, a);
    EXPECT(comm_rank(c), right, "no measurement by %s fits", allreduce_way_name(way));
    allreduce_free(a);
}

/* MPI's own all-reduce promises no order; it must be a sum all the same. */
static void test_mpi(struct comm *c) {
    int rank = comm_rank(c);
    enum { N = 5000 };
    struct allreduce *a;
    EXPECT(rank, allreduce_create(&a, c, N, true) == ERR_OK, "%s", error_message());
    EXPECT(rank,
           allreduce_way_for(a, N) == (comm_size(c) > 1 ? ALLREDUCE_WAY_MPI : ALLREDUCE_WAY_AUTO),
           "%s", allreduce_way_name(allreduce_way_for(a, N)));
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
    bool no_window = refuse_window(argc, argv);
    if (comm_init(&c, &argc, &argv) != ERR_OK) return 1;
    test_ways(c, no_window);
    for (int way = 0; way < ALLREDUCE_N_WAYS; way++)
        if (way != ALLREDUCE_WAY_MPI) test_tree(c, (enum allreduce_way)way);
    test_long(c);
    test_times(c, ALLREDUCE_WAY_AUTO);
    if (comm_size(c) > 1) test_times(c, ALLREDUCE_WAY_GATHER);
    test_mpi(c);
    comm_finalize(c);
    return 0;
}
