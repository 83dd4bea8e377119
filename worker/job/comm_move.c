// SPDX-License-Identifier: MIT
/* comm_move.c: bytes from rank to rank: broadcasts, gathers and exchanges.
 *
 * Main thread of every rank.  Between ranks of one host what belongs to a step (its message, the
 * records of its outputs) goes through the window, piece by piece:
 *
 *      broadcast   root:   waits until all have read what was there before, writes, arrives
 *                  others: wait until the root has arrived, read, arrive
 *      gather      others: write, arrive                root: waits for each, reads, arrives
 *
 * Broadcasts between hosts go from first rank to first rank, and on through the windows. */

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "worker/job/comm_internal.h"

#define CHUNK_BYTES   ((size_t)1 << 30) // MPI counts are int; longer pieces travel in several
#define TAG_EXCHANGE  1
#define TAG_GATHER    2
#define MESSAGE_BYTES 1024 // a sentence that travels in comm_agree

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* ---- through the window ---- */

static uint8_t *message_slot(const struct comm *c, int local_rank) {
    uint8_t *memory = window_memory(c->window, (uint32_t)local_rank);
    return memory + (c->messages & 1) * COMM_MESSAGE_BYTES;
}

/* Where this rank may write its next piece: nobody reads there any more. */
static uint8_t *begin_piece(struct comm *c) {
    window_wait_all(c->window, &c->limits);
    return message_slot(c, c->local_rank);
}

static const uint8_t *wait_piece(struct comm *c, int local_rank) {
    window_wait_next(c->window, (uint32_t)local_rank, &c->limits);
    return message_slot(c, local_rank);
}

static void end_piece(struct comm *c) {
    window_arrive(c->window);
    c->messages++;
}

static int local_rank_of(const struct comm *c, int rank) {
    int i = 0;
    while (c->locals[i] != rank) i++;
    return i;
}

static void window_bcast(struct comm *c, uint8_t *data, size_t bytes, int from) {
    for (size_t at = 0; at < bytes; at += COMM_MESSAGE_BYTES) {
        size_t n = smaller(bytes - at, COMM_MESSAGE_BYTES);
        if (c->local_rank == from)
            memcpy(begin_piece(c), data + at, n);
        else
            memcpy(data + at, wait_piece(c, from), n);
        end_piece(c);
    }
}

/* The first piece begins with the length. */
static void window_bcast_buf(struct comm *c, struct buf *message, int from) {
    uint64_t length = message->length;
    const size_t room = COMM_MESSAGE_BYTES - sizeof length;
    if (c->local_rank == from) {
        uint8_t *slot = begin_piece(c);
        memcpy(slot, &length, sizeof length);
        if (length) memcpy(slot + sizeof length, message->data, smaller(length, room));
    } else {
        const uint8_t *slot = wait_piece(c, from);
        memcpy(&length, slot, sizeof length);
        buf_clear(message);
        void *place = buf_extend(message, length);
        CHECK(place);
        memcpy(place, slot + sizeof length, smaller(length, room));
    }
    end_piece(c);
    if (length > room) window_bcast(c, (uint8_t *)message->data + room, length - room, from);
}

/* ---- broadcasts ---- */

static void mpi_bcast(struct comm *c, MPI_Comm ranks, void *data, size_t bytes, int root) {
    for (size_t at = 0; at < bytes; at += CHUNK_BYTES) {
        MPI_Request request;
        MPI_Ibcast((uint8_t *)data + at, (int)smaller(bytes - at, CHUNK_BYTES), MPI_BYTE, root,
                   ranks, &request);
        comm__wait(c, &request, 1);
    }
}

static void mpi_bcast_buf(struct comm *c, MPI_Comm ranks, struct buf *message, int root) {
    int me = 0;
    MPI_Comm_rank(ranks, &me);
    uint64_t length = message->length;
    const size_t room = COMM_HEAD_BYTES - sizeof length;
    if (me == root) {
        memcpy(c->head, &length, sizeof length);
        if (length) memcpy(c->head + sizeof length, message->data, smaller(length, room));
    }
    mpi_bcast(c, ranks, c->head, COMM_HEAD_BYTES, root);
    memcpy(&length, c->head, sizeof length);
    if (me != root) {
        buf_clear(message);
        void *place = buf_extend(message, length);
        CHECK(place);
        memcpy(place, c->head + sizeof length, smaller(length, room));
    }
    if (length > room) mpi_bcast(c, ranks, message->data + room, length - room, root);
}

/* The steps of a broadcast from `root`: between which ranks MPI carries it, and who has it first on
 * this host (-1: nothing goes through the window). */
struct route {
    MPI_Comm ranks; // MPI_COMM_NULL: this rank takes no part
    int mpi_root, local_root;
};

static struct route route_from(const struct comm *c, int root) {
    struct route flat = {.ranks = c->world, .mpi_root = root, .local_root = -1};
    struct route r = {.ranks = MPI_COMM_NULL, .local_root = -1};
    if (!c->window) return flat;
    if (c->local_size == c->size) {
        r.local_root = local_rank_of(c, root);
        return r;
    }
    if (c->leaders[root] != root) return flat;
    if (c->local_size > 1) r.local_root = 0;
    r.ranks = c->hosts_world;
    for (int i = 0; i < root; i++) r.mpi_root += c->leaders[i] == i;
    return r;
}

void comm_bcast(struct comm *c, void *data, size_t bytes, int root) {
    uint64_t begin_ns = clock_ns();
    struct route r = route_from(c, root);
    if (c->size == 1) return;
    if (r.ranks != MPI_COMM_NULL) mpi_bcast(c, r.ranks, data, bytes, r.mpi_root);
    if (r.local_root >= 0) window_bcast(c, data, bytes, r.local_root);
    c->wait_ns += clock_ns() - begin_ns;
}

void comm_bcast_buf(struct comm *c, struct buf *message, int root) {
    uint64_t begin_ns = clock_ns();
    struct route r = route_from(c, root);
    if (c->size == 1) return;
    if (r.ranks != MPI_COMM_NULL) mpi_bcast_buf(c, r.ranks, message, r.mpi_root);
    if (r.local_root >= 0) window_bcast_buf(c, message, r.local_root);
    c->wait_ns += clock_ns() - begin_ns;
}

void comm_allgather(struct comm *c, const void *send, void *recv, size_t bytes) {
    CHECK(bytes <= INT_MAX);
    uint64_t begin_ns = clock_ns();
    MPI_Request request;
    MPI_Iallgather(send, (int)bytes, MPI_BYTE, recv, (int)bytes, MPI_BYTE, c->world, &request);
    comm__wait(c, &request, 1);
    c->wait_ns += clock_ns() - begin_ns;
}

/* ---- pieces between pairs of ranks ---- */

static MPI_Request *next_request(struct comm *c) {
    if (c->n_requests == c->request_capacity) {
        c->request_capacity = c->request_capacity ? 2 * c->request_capacity : 64;
        c->requests = mem_realloc(c->requests, (size_t)c->request_capacity * sizeof *c->requests);
    }
    return &c->requests[c->n_requests++];
}

/* Both ends cut a piece in the same way and MPI keeps the order between two ranks, so chunks need
 * no numbers. */
static void post_send(struct comm *c, const void *data, size_t bytes, int peer, int tag) {
    for (size_t at = 0; at < bytes; at += CHUNK_BYTES) {
        size_t n = bytes - at < CHUNK_BYTES ? bytes - at : CHUNK_BYTES;
        MPI_Isend((const uint8_t *)data + at, (int)n, MPI_BYTE, peer, tag, c->world,
                  next_request(c));
    }
}

static void post_recv(struct comm *c, void *data, size_t bytes, int peer, int tag) {
    for (size_t at = 0; at < bytes; at += CHUNK_BYTES) {
        size_t n = bytes - at < CHUNK_BYTES ? bytes - at : CHUNK_BYTES;
        MPI_Irecv((uint8_t *)data + at, (int)n, MPI_BYTE, peer, tag, c->world, next_request(c));
    }
}

static void wait_posted(struct comm *c) {
    if (c->n_requests) comm__wait(c, c->requests, c->n_requests);
    c->n_requests = 0;
}

/* Does the piece of `rank` for `root` go through the window?  The two of them agree. */
static bool through_window(const struct comm *c, int rank, int root, size_t bytes) {
    return c->window && c->leaders[rank] == c->leaders[root] && bytes <= COMM_MESSAGE_BYTES;
}

static void gather_at_root(struct comm *c, uint8_t *recv, const size_t *bytes,
                           const size_t *offset) {
    for (int r = 0; r < c->size; r++) {
        if (r != c->rank && !through_window(c, r, c->rank, bytes[r]))
            post_recv(c, recv + offset[r], bytes[r], r, TAG_GATHER);
    }
    for (int i = 0; c->window && i < c->local_size; i++) {
        int r = c->locals[i];
        if (r == c->rank || !through_window(c, r, c->rank, bytes[r])) continue;
        memcpy(recv + offset[r], wait_piece(c, i), bytes[r]);
    }
    if (c->window) end_piece(c);
}

void comm_gatherv(struct comm *c, const void *send, size_t send_bytes, void *recv,
                  const size_t *bytes, const size_t *offset, int root) {
    uint64_t begin_ns = clock_ns();
    if (c->rank == root) {
        CHECK(bytes[root] == send_bytes);
        if (send_bytes) memcpy((uint8_t *)recv + offset[root], send, send_bytes);
        gather_at_root(c, recv, bytes, offset);
    } else {
        if (through_window(c, c->rank, root, send_bytes)) {
            uint8_t *slot = begin_piece(c);
            if (send_bytes) memcpy(slot, send, send_bytes);
        } else {
            post_send(c, send, send_bytes, root, TAG_GATHER);
        }
        if (c->window && c->leaders[root] == c->leaders[c->rank]) end_piece(c);
    }
    wait_posted(c);
    c->wait_ns += clock_ns() - begin_ns;
}

void comm_exchange_start(struct comm *c, const struct comm_piece *sends, size_t n_sends,
                         const struct comm_piece *recvs, size_t n_recvs) {
    CHECK(c->n_requests == 0);
    for (size_t i = 0; i < n_recvs; i++)
        post_recv(c, recvs[i].data, recvs[i].bytes, recvs[i].peer, TAG_EXCHANGE);
    for (size_t i = 0; i < n_sends; i++)
        post_send(c, sends[i].data, sends[i].bytes, sends[i].peer, TAG_EXCHANGE);
}

void comm_exchange_finish(struct comm *c) {
    uint64_t begin_ns = clock_ns();
    wait_posted(c);
    c->wait_ns += clock_ns() - begin_ns;
}

/* ---- agreeing ---- */

err comm_agree(struct comm *c, err mine, int *rank) {
    int32_t code = (int32_t)mine;
    comm_allgather(c, &code, c->codes, sizeof code);
    int first = 0;
    while (first < c->size && c->codes[first] == ERR_OK) first++;
    if (first == c->size) return ERR_OK;

    char message[MESSAGE_BYTES] = "";
    if (c->rank == first) snprintf(message, sizeof message, "%s", error_message());
    comm_bcast(c, message, sizeof message, first);
    message[sizeof message - 1] = '\0';
    if (rank) *rank = first;
    return FAIL((err)c->codes[first], "rank %d on %s: %s", first, c->hosts[first], message);
}
