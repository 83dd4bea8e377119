// SPDX-License-Identifier: MIT
/* allreduce.c: sums a vector over the ranks in one association tree.
 *
 * Main thread of every rank, twice per layer: this is the hot part of the job folder.  Whatever way
 * the numbers travel, an element's N pieces are added in this tree (half-open ranges of ranks, the
 * left half takes the odd one), so a sum has the same bits in a short vector and a long one:
 *
 *      N = 5                 sum(a, b) = sum(a, mid) + sum(mid, b),  mid = a + (b - a + 1) / 2
 *             ( + )
 *            /     \
 *         ( + )   ( + )      gather:  every rank gathers all N vectors and adds them itself;
 *         /   \   /   \               one trip, N times the data
 *      ( + )   2 3     4     scatter: rank r gathers all pieces of part r of the vector, adds them,
 *      /   \                          and the sums are gathered; two trips, twice the data
 *     0     1
 */

#include "worker/job/allreduce.h"

#include <limits.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "worker/job/comm_internal.h"

#define GATHER_FLOATS  ((size_t)4096)    // gathered at once; longer vectors are scattered
#define TREE_FLOATS    ((size_t)512)     // added at once; the pieces of so many stay in cache
#define PART_ALIGN     ((size_t)16)      // parts begin on cache lines
#define THREADS_FLOATS ((size_t)1 << 16) // shorter sums are not worth waking the team

struct allreduce {
    struct comm *comm;
    size_t max_floats;
    enum allreduce_way way;         // asked for
    float *gathered;                // [size, GATHER_FLOATS] or [size, part], whichever is larger
    int *counts, *begins;           // [size] the parts of a scattered vector
    int *recv_counts, *recv_begins; // [size] pieces of this rank's part in `gathered`
    uint64_t calls, bytes;
};

/* The largest part of a vector of n floats. */
static size_t part_floats(const struct allreduce *a, size_t n) {
    size_t size = (size_t)comm_size(a->comm);
    size_t part = (n + size - 1) / size;
    return (part + PART_ALIGN - 1) / PART_ALIGN * PART_ALIGN;
}

err allreduce_create(struct allreduce **out, struct comm *c, size_t max_floats, bool use_mpi) {
    if (max_floats > INT_MAX / 2)
        return FAIL(ERR_PLAN,
                    "a step would sum vectors of %zu numbers over the ranks; the most is %d: "
                    "use smaller steps",
                    max_floats, INT_MAX / 2);
    struct allreduce *a = mem_zalloc(sizeof *a);
    size_t size = (size_t)comm_size(c);
    *a = (struct allreduce){.comm = c,
                            .max_floats = max_floats,
                            .way = use_mpi ? ALLREDUCE_WAY_MPI : ALLREDUCE_WAY_AUTO};
    a->counts = mem_zalloc_array(size, sizeof *a->counts);
    a->begins = mem_zalloc_array(size, sizeof *a->begins);
    a->recv_counts = mem_zalloc_array(size, sizeof *a->recv_counts);
    a->recv_begins = mem_zalloc_array(size, sizeof *a->recv_begins);
    size_t part = part_floats(a, max_floats);
    size_t most = part > GATHER_FLOATS ? part : GATHER_FLOATS;
    if (size > 1) a->gathered = mem_zalloc_array(size * most, sizeof(float));
    *out = a;
    return ERR_OK;
}

void allreduce_free(struct allreduce *a) {
    if (!a) return;
    mem_free(a->gathered);
    mem_free(a->counts);
    mem_free(a->begins);
    mem_free(a->recv_counts);
    mem_free(a->recv_begins);
    mem_free(a);
}

/* ---- which way ---- */

const char *allreduce_way_name(enum allreduce_way way) {
    static const char *const names[ALLREDUCE_N_WAYS] = {[ALLREDUCE_WAY_AUTO] = "auto",
                                                        [ALLREDUCE_WAY_GATHER] = "gather",
                                                        [ALLREDUCE_WAY_SCATTER] = "scatter",
                                                        [ALLREDUCE_WAY_MPI] = "mpi"};
    return names[way];
}

bool allreduce_way_possible(const struct allreduce *a, enum allreduce_way way) {
    return way == ALLREDUCE_WAY_AUTO || comm_size(a->comm) > 1;
}

void allreduce_set_way(struct allreduce *a, enum allreduce_way way) {
    CHECK(allreduce_way_possible(a, way));
    a->way = way;
}

enum allreduce_way allreduce_way_for(const struct allreduce *a, size_t n) {
    if (a->way != ALLREDUCE_WAY_AUTO) return a->way;
    return n <= GATHER_FLOATS ? ALLREDUCE_WAY_GATHER : ALLREDUCE_WAY_SCATTER;
}

/* ---- adding ---- */

/* dst[n] = the sum of pieces [a, b); piece r begins at pieces + r * stride.  n <= TREE_FLOATS. */
static void add_tree(float *restrict dst, const float *pieces, size_t stride, size_t a, size_t b,
                     size_t n) {
    if (b - a == 1) {
        memcpy(dst, pieces + a * stride, n * sizeof *dst);
        return;
    }
    size_t mid = a + (b - a + 1) / 2;
    float right[TREE_FLOATS];
    add_tree(dst, pieces, stride, a, mid, n);
    const float *restrict other = pieces + mid * stride;
    if (b - mid > 1) {
        add_tree(right, pieces, stride, mid, b, n);
        other = right;
    }
    for (size_t i = 0; i < n; i++) dst[i] += other[i];
}

/* dst[n] = the sum of all ranks' pieces.  Elements are independent, so threads may share them. */
static void add_pieces(const struct allreduce *a, float *dst, size_t stride, size_t n) {
    size_t size = (size_t)comm_size(a->comm);
#pragma omp parallel for schedule(static) if (n >= THREADS_FLOATS)
    for (size_t at = 0; at < n; at += TREE_FLOATS) {
        size_t some = n - at < TREE_FLOATS ? n - at : TREE_FLOATS;
        add_tree(dst + at, a->gathered + at, stride, 0, size, some);
    }
}

/* ---- the ways ---- */

static void sum_gather(struct allreduce *a, float *x, size_t n) {
    for (size_t at = 0; at < n; at += GATHER_FLOATS) {
        size_t some = n - at < GATHER_FLOATS ? n - at : GATHER_FLOATS;
        MPI_Request request;
        MPI_Iallgather(x + at, (int)some, MPI_FLOAT, a->gathered, (int)some, MPI_FLOAT,
                       comm__world(a->comm), &request);
        comm__wait(a->comm, &request, 1);
        add_pieces(a, x + at, some, some);
    }
}

static void sum_scatter(struct allreduce *a, float *x, size_t n) {
    size_t size = (size_t)comm_size(a->comm), rank = (size_t)comm_rank(a->comm);
    size_t part = part_floats(a, n);
    for (size_t r = 0; r < size; r++) {
        size_t begin = r * part < n ? r * part : n;
        size_t end = begin + part < n ? begin + part : n;
        a->begins[r] = (int)begin;
        a->counts[r] = (int)(end - begin);
    }
    int mine = a->counts[rank];
    for (size_t r = 0; r < size; r++) {
        a->recv_counts[r] = mine;
        a->recv_begins[r] = (int)r * mine;
    }
    MPI_Request request;
    MPI_Ialltoallv(x, a->counts, a->begins, MPI_FLOAT, a->gathered, a->recv_counts, a->recv_begins,
                   MPI_FLOAT, comm__world(a->comm), &request);
    comm__wait(a->comm, &request, 1);
    add_pieces(a, x + a->begins[rank], (size_t)mine, (size_t)mine);
    MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, x, a->counts, a->begins, MPI_FLOAT,
                    comm__world(a->comm), &request);
    comm__wait(a->comm, &request, 1);
}

static void sum_mpi(struct allreduce *a, float *x, size_t n) {
    MPI_Request request;
    MPI_Iallreduce(MPI_IN_PLACE, x, (int)n, MPI_FLOAT, MPI_SUM, comm__world(a->comm), &request);
    comm__wait(a->comm, &request, 1);
}

void allreduce_sum(struct allreduce *a, float *x, size_t n) {
    static void (*const sum_by[ALLREDUCE_N_WAYS])(struct allreduce *, float *,
                                                  size_t) = {[ALLREDUCE_WAY_GATHER] = sum_gather,
                                                             [ALLREDUCE_WAY_SCATTER] = sum_scatter,
                                                             [ALLREDUCE_WAY_MPI] = sum_mpi};
    CHECK(n <= a->max_floats);
    a->calls++;
    a->bytes += n * sizeof *x;
    if (comm_size(a->comm) == 1 || n == 0) return;
    uint64_t begin_ns = clock_ns(), waited_ns = comm_wait_ns(a->comm);
    sum_by[allreduce_way_for(a, n)](a, x, n);
    comm__add_wire_ns(a->comm, clock_ns() - begin_ns - (comm_wait_ns(a->comm) - waited_ns));
}

uint64_t allreduce_calls(const struct allreduce *a) {
    return a->calls;
}

uint64_t allreduce_bytes(const struct allreduce *a) {
    return a->bytes;
}
