// SPDX-License-Identifier: MIT
/* test_comm.c: every collective of comm.h, on as many ranks as mpirun starts.
 *
 * Data is a function of (sender, receiver, index), so a byte that arrives at the wrong place or
 * from the wrong rank is seen. */

#include <string.h>

#include "common/mem.h"
#include "tests/mpi/mpi_expect.h"
#include "worker/job/comm.h"

static uint8_t pattern(int from, int to, size_t i) {
    return (uint8_t)(31 * from + 17 * to + (int)(i % 251) + 1);
}

static void fill(uint8_t *data, size_t n, int from, int to) {
    for (size_t i = 0; i < n; i++) data[i] = pattern(from, to, i);
}

static void expect_pattern(int rank, const uint8_t *data, size_t n, int from, int to) {
    for (size_t i = 0; i < n; i++)
        EXPECT(rank, data[i] == pattern(from, to, i), "byte %zu of %zu from %d: %d, wanted %d", i,
               n, from, data[i], pattern(from, to, i));
}

static void test_places(struct comm *c) {
    int rank = comm_rank(c), size = comm_size(c);
    EXPECT(rank, comm_local_size(c) == size, "%d of %d", comm_local_size(c), size);
    EXPECT(rank, comm_local_rank(c) == rank, "%d", comm_local_rank(c));
    for (int r = 0; r < size; r++) {
        EXPECT(rank, comm_host_leader(c, r) == 0, "rank %d: %d", r, comm_host_leader(c, r));
        EXPECT(rank, strcmp(comm_host(c, r), comm_host(c, 0)) == 0, "%s", comm_host(c, r));
    }
    EXPECT(rank, strncmp(comm_library(c), "Open MPI v", 10) == 0, "%s", comm_library(c));
    EXPECT(rank, comm_transport(c)[0], "no transport is named");
}

static void test_bcast(struct comm *c) {
    int rank = comm_rank(c);
    size_t n = 300000;
    uint8_t *data = mem_alloc(n);
    for (int root = 0; root < comm_size(c); root++) {
        memset(data, 0, n);
        if (rank == root) fill(data, n, root, 0);
        comm_bcast(c, data, n, root);
        expect_pattern(rank, data, n, root, 0);
    }
    mem_free(data);
}

/* Lengths around the borders between one piece and two, through MPI and through the window. */
static void test_bcast_buf(struct comm *c) {
    static const size_t lengths[] = {0, 1, 100, 4087, 4088, 4089, 4096, 262136, 262137, 1000003, 5};
    int rank = comm_rank(c), root = comm_size(c) - 1;
    struct buf message;
    buf_init(&message, 0);
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        buf_clear(&message);
        if (rank == root) {
            void *place = buf_extend(&message, lengths[l]);
            fill(place, lengths[l], root, 1);
        } else {
            buf_puts(&message, "what was here before");
        }
        comm_bcast_buf(c, &message, root);
        EXPECT(rank, message.length == lengths[l], "%zu, wanted %zu", message.length, lengths[l]);
        expect_pattern(rank, (uint8_t *)message.data, message.length, root, 1);
    }
    buf_deinit(&message);
}

static void test_allgather(struct comm *c) {
    int rank = comm_rank(c), size = comm_size(c);
    enum { N = 1000 };
    uint8_t mine[N], *all = mem_zalloc_array((size_t)size, N);
    fill(mine, N, rank, 2);
    comm_allgather(c, mine, all, N);
    for (int r = 0; r < size; r++) expect_pattern(rank, all + (size_t)r * N, N, r, 2);
    mem_free(all);
}

/* Rank r sends r * unit bytes (rank 0 none), with gaps between the places at the root.  Of the
 * longer ones some are too long for the window. */
static void test_gatherv(struct comm *c, size_t unit) {
    int rank = comm_rank(c), size = comm_size(c);
    uint8_t *mine = mem_alloc((size_t)rank * unit);
    fill(mine, (size_t)rank * unit, rank, 3);
    for (int root = 0; root < size; root++) {
        size_t bytes[16], offset[16];
        for (int r = 0; r < size; r++) {
            bytes[r] = (size_t)r * unit;
            offset[r] = (size_t)r * 6 * unit + 5;
        }
        uint8_t *all = rank == root ? mem_zalloc((size_t)size * 6 * unit) : NULL;
        comm_gatherv(c, mine, bytes[rank], all, bytes, offset, root);
        if (rank == root) {
            EXPECT(rank, all[0] == 0, "%d before the first piece", all[0]);
            for (int r = 0; r < size; r++) expect_pattern(rank, all + offset[r], bytes[r], r, 3);
        }
        mem_free(all);
    }
    mem_free(mine);
}

/* Two pieces from everybody to everybody else; some are empty. */
static size_t piece_bytes(int from, int to, int which) {
    return which == 0 ? (size_t)(from * to) * 5000 : 70000 + (size_t)(from + 3 * to);
}

static void test_exchange(struct comm *c) {
    int rank = comm_rank(c), size = comm_size(c);
    struct comm_piece sends[32], recvs[32];
    size_t n = 0;
    for (int peer = 0; peer < size; peer++) {
        if (peer == rank) continue;
        for (int which = 0; which < 2; which++, n++) {
            size_t out = piece_bytes(rank, peer, which), in = piece_bytes(peer, rank, which);
            sends[n] = (struct comm_piece){.peer = peer, .data = mem_alloc(out), .bytes = out};
            recvs[n] = (struct comm_piece){.peer = peer, .data = mem_zalloc(in), .bytes = in};
            fill(sends[n].data, out, rank + 7 * which, peer);
        }
    }
    comm_exchange_start(c, sends, n, recvs, n);
    comm_exchange_finish(c);
    for (size_t i = 0; i < n; i++) {
        int which = (int)(i % 2);
        expect_pattern(rank, recvs[i].data, recvs[i].bytes, recvs[i].peer + 7 * which, rank);
        mem_free(sends[i].data);
        mem_free(recvs[i].data);
    }
}

static void test_agree(struct comm *c) {
    int rank = comm_rank(c), size = comm_size(c), who = -1;
    err e = comm_agree(c, ERR_OK, &who);
    EXPECT(rank, e == ERR_OK && who == -1, "%s, rank %d", error_name(e), who);

    for (int first = 0; first < size; first++) { // `first` and all above fail, each in its own way
        err mine = ERR_OK;
        if (rank == first) mine = FAIL(ERR_MODEL, "tensor %d is missing", first);
        if (rank > first) mine = FAIL(ERR_MEMORY, "not this one");
        e = comm_agree(c, mine, &who);
        char wanted[256];
        snprintf(wanted, sizeof wanted, "rank %d on %s: tensor %d is missing", first,
                 comm_host(c, first), first);
        EXPECT(rank, e == ERR_MODEL, "%s", error_name(e));
        EXPECT(rank, who == first, "%d, wanted %d", who, first);
        EXPECT(rank, strcmp(error_message(), wanted) == 0, "'%s', wanted '%s'", error_message(),
               wanted);
    }
}

int main(int argc, char **argv) {
    struct comm *c;
    bool refused = refuse_window(argc, argv);
    if (comm_init(&c, &argc, &argv) != ERR_OK) return 1;
    bool window = strstr(comm_transport(c), "window") != NULL;
    EXPECT(comm_rank(c), window == (comm_size(c) > 1 && !refused), "%s", comm_transport(c));
    test_places(c);
    test_bcast(c);
    test_bcast_buf(c);
    test_allgather(c);
    test_gatherv(c, 1000);
    test_gatherv(c, 100000);
    test_exchange(c);
    test_agree(c);
    comm_finalize(c);
    return 0;
}
