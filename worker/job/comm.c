// SPDX-License-Identifier: MIT
/* comm.c: the ranks of the job and how they talk; all MPI except the all-reduce.
 *
 * Main thread of every rank.  MPI's own blocking calls spin for ever, which is poison when there
 * are more ranks than CPUs: the rank that everybody waits for cannot run.  So every call here is a
 * nonblocking one followed by comm__wait:
 *
 *      post ──► spin and test ──► test, sched_yield ──► test, sleep 10 µs, 20 µs … 200 µs
 *               (spin_ns)          (YIELD_NS)            until everything has arrived
 *
 * MPI errors keep their default handler, which ends the job: a lost rank is not something that can
 * be handled in here, the lifelines see it. */

#include "worker/job/comm.h"

#include <limits.h>
#include <link.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "worker/job/comm_internal.h"

#define CHUNK_BYTES    ((size_t)1 << 30) // MPI counts are int; longer pieces travel in several
#define HEAD_BYTES     4096              // the first collective of comm_bcast_buf
#define SPIN_NS        200000u           // before yielding, when every rank has CPUs of its own
#define YIELD_NS       500000u           // before sleeping
#define SLEEP_MIN_NS   10000
#define SLEEP_MAX_NS   200000
#define TIMER_SLACK_NS 1000ul // a sleep of 10 µs must not become one of 60
#define TAG_EXCHANGE   1
#define TAG_GATHER     2
#define MESSAGE_BYTES  1024 // a sentence that travels in comm_agree

#ifdef LOCKSTEP_SANITIZED
/* Asked by AddressSanitizer in every program that talks MPI: Open MPI leaves hundreds of blocks to
 * the end of the process, so looking for leaks here would only find its own. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "detect_leaks=0";
}
#endif

struct comm {
    MPI_Comm world;
    int rank, size;
    int local_rank, local_size;
    uint64_t spin_ns, wait_ns, wire_ns;
    char (*hosts)[COMM_HOST_BYTES]; // [size]
    int *leaders;                   // [size] lowest rank on the same host
    int32_t *codes;                 // [size] scratch of comm_agree
    uint8_t head[HEAD_BYTES];
    MPI_Request *requests; // [request_capacity] scratch of comm_exchange and comm_gatherv
    int n_requests, request_capacity;
    char library[64];
    char transport[96];
};

MPI_Comm comm__world(const struct comm *c) {
    return c->world;
}

/* ---- waiting ---- */

static void sleep_ns(long ns) {
    struct timespec t = {.tv_nsec = ns};
    nanosleep(&t, NULL);
}

void comm__wait(struct comm *c, MPI_Request *requests, int n) {
    int done = 0;
    MPI_Testall(n, requests, &done, MPI_STATUSES_IGNORE);
    if (done) return;
    uint64_t begin = clock_ns(), now = begin;
    long pause_ns = SLEEP_MIN_NS;
    for (; !done; now = clock_ns()) {
        MPI_Testall(n, requests, &done, MPI_STATUSES_IGNORE);
        if (done || now - begin < c->spin_ns) continue;
        if (now - begin < c->spin_ns + YIELD_NS) {
            sched_yield();
            continue;
        }
        sleep_ns(pause_ns);
        pause_ns = pause_ns * 2 < SLEEP_MAX_NS ? pause_ns * 2 : SLEEP_MAX_NS;
    }
    c->wait_ns += now - begin;
}

static void wait_one(struct comm *c, MPI_Request request) {
    comm__wait(c, &request, 1);
}

/* ---- beginning and end ---- */

/* Open MPI closes the components it did not choose, so those still loaded are the ones in use. */
static int find_transports(struct dl_phdr_info *info, size_t info_bytes, void *ctx) {
    (void)info_bytes;
    struct comm *c = ctx;
    static const char *const prefixes[] = {"mca_pml_", "mca_mtl_", "mca_btl_"};
    const char *file = strrchr(info->dlpi_name, '/');
    file = file ? file + 1 : info->dlpi_name;
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t skip = strlen(prefixes[i]);
        const char *end = strstr(file, ".so");
        if (strncmp(file, prefixes[i], skip) != 0 || !end) continue;
        size_t used = strlen(c->transport);
        snprintf(c->transport + used, sizeof c->transport - used, "%s%.*s", used ? ", " : "",
                 (int)(end - file) - (int)skip, file + skip);
    }
    return 0;
}

static void describe_library(struct comm *c) {
    char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    MPI_Get_library_version(text, &length);
    snprintf(c->library, sizeof c->library, "%.*s", (int)strcspn(text, ",\n"), text);
    dl_iterate_phdr(find_transports, c);
    if (!c->transport[0]) snprintf(c->transport, sizeof c->transport, "not known");
}

/* Who shares a host with whom, and what the hosts are called. */
static void meet_neighbours(struct comm *c) {
    MPI_Comm local;
    MPI_Comm_split_type(c->world, MPI_COMM_TYPE_SHARED, c->rank, MPI_INFO_NULL, &local);
    MPI_Comm_rank(local, &c->local_rank);
    MPI_Comm_size(local, &c->local_size);
    int leader = c->rank;
    MPI_Request request;
    MPI_Ibcast(&leader, 1, MPI_INT, 0, local, &request);
    wait_one(c, request);
    MPI_Comm_free(&local);

    char mine[COMM_HOST_BYTES] = "";
    if (gethostname(mine, sizeof mine - 1) != 0) snprintf(mine, sizeof mine, "unknown");
    c->hosts = mem_zalloc_array((size_t)c->size, sizeof *c->hosts);
    c->leaders = mem_zalloc_array((size_t)c->size, sizeof *c->leaders);
    c->codes = mem_zalloc_array((size_t)c->size, sizeof *c->codes);
    comm_allgather(c, mine, c->hosts, sizeof mine);
    comm_allgather(c, &leader, c->leaders, sizeof leader);
}

err comm_init(struct comm **out, int *argc, char ***argv) {
    int provided = MPI_THREAD_SINGLE;
    MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided);
    if (provided < MPI_THREAD_FUNNELED) {
        MPI_Finalize();
        return FAIL(ERR_LAUNCH, "this MPI library does not support threads beside MPI "
                                "(MPI_THREAD_FUNNELED); use one that does");
    }
    (void)prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0ul, 0ul, 0ul);
    struct comm *c = mem_zalloc(sizeof *c);
    c->world = MPI_COMM_WORLD;
    c->spin_ns = 0; // until it is known how many CPUs there are
    MPI_Comm_rank(c->world, &c->rank);
    MPI_Comm_size(c->world, &c->size);
    meet_neighbours(c);
    describe_library(c);
    *out = c;
    return ERR_OK;
}

void comm_finalize(struct comm *c) {
    if (!c) return;
    MPI_Finalize();
    mem_free(c->hosts);
    mem_free(c->leaders);
    mem_free(c->codes);
    mem_free(c->requests);
    mem_free(c);
}

void comm_set_spinning(struct comm *c, bool enough_cpus) {
    c->spin_ns = enough_cpus ? SPIN_NS : 0;
}

/* ---- what is known ---- */

int comm_rank(const struct comm *c) {
    return c->rank;
}

int comm_size(const struct comm *c) {
    return c->size;
}

int comm_local_rank(const struct comm *c) {
    return c->local_rank;
}

int comm_local_size(const struct comm *c) {
    return c->local_size;
}

const char *comm_host(const struct comm *c, int rank) {
    return c->hosts[rank];
}

int comm_host_leader(const struct comm *c, int rank) {
    return c->leaders[rank];
}

uint64_t comm_wait_ns(const struct comm *c) {
    return c->wait_ns;
}

uint64_t comm_wire_ns(const struct comm *c) {
    return c->wire_ns;
}

void comm__add_wire_ns(struct comm *c, uint64_t ns) {
    c->wire_ns += ns;
}

const char *comm_library(const struct comm *c) {
    return c->library;
}

const char *comm_transport(const struct comm *c) {
    return c->transport;
}

/* ---- collectives ---- */

void comm_bcast(struct comm *c, void *data, size_t bytes, int root) {
    for (size_t at = 0; at < bytes; at += CHUNK_BYTES) {
        size_t n = bytes - at < CHUNK_BYTES ? bytes - at : CHUNK_BYTES;
        MPI_Request request;
        MPI_Ibcast((uint8_t *)data + at, (int)n, MPI_BYTE, root, c->world, &request);
        wait_one(c, request);
    }
}

void comm_bcast_buf(struct comm *c, struct buf *message, int root) {
    uint64_t length = message->length;
    const size_t room = sizeof c->head - sizeof length;
    if (c->rank == root) {
        memcpy(c->head, &length, sizeof length);
        if (length) memcpy(c->head + sizeof length, message->data, length < room ? length : room);
    }
    comm_bcast(c, c->head, sizeof c->head, root);
    memcpy(&length, c->head, sizeof length);
    if (c->rank != root) {
        buf_clear(message);
        void *place = buf_extend(message, length);
        CHECK(place);
        memcpy(place, c->head + sizeof length, length < room ? length : room);
    }
    if (length > room) comm_bcast(c, message->data + room, length - room, root);
}

void comm_allgather(struct comm *c, const void *send, void *recv, size_t bytes) {
    CHECK(bytes <= INT_MAX);
    MPI_Request request;
    MPI_Iallgather(send, (int)bytes, MPI_BYTE, recv, (int)bytes, MPI_BYTE, c->world, &request);
    wait_one(c, request);
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

void comm_gatherv(struct comm *c, const void *send, size_t send_bytes, void *recv,
                  const size_t *bytes, const size_t *offset, int root) {
    if (c->rank != root) {
        post_send(c, send, send_bytes, root, TAG_GATHER);
    } else {
        CHECK(bytes[root] == send_bytes);
        for (int r = 0; r < c->size; r++) {
            if (r != root) post_recv(c, (uint8_t *)recv + offset[r], bytes[r], r, TAG_GATHER);
        }
        if (send_bytes) memcpy((uint8_t *)recv + offset[root], send, send_bytes);
    }
    wait_posted(c);
}

/* The next piece from or to this rank itself that is not empty. */
static const struct comm_piece *next_own(const struct comm *c, const struct comm_piece *pieces,
                                         size_t n, size_t *at) {
    while (*at < n) {
        const struct comm_piece *p = &pieces[(*at)++];
        if (p->peer == c->rank && p->bytes) return p;
    }
    return NULL;
}

void comm_exchange(struct comm *c, const struct comm_piece *sends, size_t n_sends,
                   const struct comm_piece *recvs, size_t n_recvs) {
    for (size_t i = 0; i < n_recvs; i++) {
        const struct comm_piece *p = &recvs[i];
        if (p->peer != c->rank) post_recv(c, p->data, p->bytes, p->peer, TAG_EXCHANGE);
    }
    for (size_t i = 0; i < n_sends; i++) {
        const struct comm_piece *p = &sends[i];
        if (p->peer != c->rank) post_send(c, p->data, p->bytes, p->peer, TAG_EXCHANGE);
    }
    size_t s = 0, r = 0;
    const struct comm_piece *from;
    while ((from = next_own(c, sends, n_sends, &s)) != NULL) {
        const struct comm_piece *to = next_own(c, recvs, n_recvs, &r);
        CHECK(to && to->bytes == from->bytes);
        memcpy(to->data, from->data, from->bytes);
    }
    CHECK(next_own(c, recvs, n_recvs, &r) == NULL);
    wait_posted(c);
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
