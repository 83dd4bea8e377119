// SPDX-License-Identifier: MIT
/* allreduce.c: sums a vector over the ranks in one association tree.
 *
 * Main thread of every rank, twice per layer: this is the hot part of the job folder.  Here is what
 * happens inside a host, the choice of the way and the account of time; allreduce_net.c has what
 * happens between hosts.
 *
 *      one host     every rank's vector lies in the window ── meet ── everybody adds all of it, or
 *                   its own part and, after meeting again, takes the other parts
 *      many hosts   vectors lie in the windows ── meet ── rank i of a host adds the pieces of slice
 *                   i of as many ranks as the tree allows and exchanges them with rank i of the
 *                   other hosts; the sum of slice i replaces the slice ── meet ── everybody takes
 *                   all slices
 *
 * Time: a rank's wait is from its arrival to that of the last rank of its host, by the times they
 * leave in the window; the rest of the call is moving and adding.  Hosts have no common clock, so
 * there the shortest time that an exchange of such a length has lately taken counts as moving, and
 * what is above it as waiting.  That is right for a rank that comes last now and then; one that
 * never does takes some of its waiting for moving. */

#include "worker/job/allreduce.h"

#include <limits.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "worker/job/allreduce_net.h"
#include "worker/job/comm_internal.h"

#define SLOT_FLOATS (COMM_SUM_BYTES / sizeof(float))
#define PART_ALIGN  ((size_t)16) // parts and slices begin on cache lines
#define SLICE_FLOATS                                                                               \
    ((size_t)1024) // of a vector between hosts; shorter ones are not cut for more
                   // ranks of a host to share
#define SIZE_CLASSES 32
#define LATELY_SUMS  256u // of a size class

/* The shortest time that sums of one size class have taken lately. */
struct shortest {
    uint64_t now_ns, before_ns;
    uint32_t n;
};

struct allreduce {
    struct comm *comm;
    size_t max_floats;
    enum allreduce_way way;      // asked for
    size_t n_hosts, n_owners;    // n_owners: the fewest ranks of a host
    struct allreduce_net *flat;  // of all ranks; NULL when there is one
    struct allreduce_net *hosts; // of the ranks in this one's place on each host, or NULL
    struct treesum local;        // pieces in the window, of this host's ranks
    float *memory;               // all of the following
    size_t memory_bytes;
    float *own;       // [max_floats] a vector that does not go through the window
    float *fragments; // [ranks of this host, slice] on their way to other hosts
    float *space;     // what the nets need
    struct shortest shortest[SIZE_CLASSES];
    uint64_t calls, bytes;
};

/* ---- beginning and end ---- */

/* The group that slice i of a vector concerns: rank i of each host, in the order of the hosts.
 * Every rank makes it, to know what its host brings; the first n_owners of a host use it. */
static void make_hosts_net(struct allreduce *a) {
    const struct comm *c = a->comm;
    size_t size = (size_t)c->size, me = 0, host = 0;
    int *ranks = mem_zalloc_array(a->n_hosts, sizeof *ranks);
    size_t *bringer = mem_zalloc_array(size, sizeof *bringer);
    for (int leader = 0; leader < c->size; leader++) {
        if (c->leaders[leader] != leader) continue;
        int place = 0;
        for (int r = 0; r < c->size; r++) {
            if (c->leaders[r] != leader) continue;
            if (place++ == c->local_rank) ranks[host] = r;
            bringer[r] = host;
        }
        if (leader == c->leaders[c->rank]) me = host;
        host++;
    }
    allreduce_net_create(&a->hosts, a->comm, a->n_hosts, me, ranks, bringer);
    mem_free(ranks);
    mem_free(bringer);
}

static void make_flat_net(struct allreduce *a) {
    size_t size = (size_t)a->comm->size;
    int *ranks = mem_zalloc_array(size, sizeof *ranks);
    size_t *bringer = mem_zalloc_array(size, sizeof *bringer);
    for (size_t r = 0; r < size; r++) {
        ranks[r] = (int)r;
        bringer[r] = r;
    }
    allreduce_net_create(&a->flat, a->comm, size, (size_t)a->comm->rank, ranks, bringer);
    mem_free(ranks);
    mem_free(bringer);
}

static void count_hosts(struct allreduce *a) {
    const struct comm *c = a->comm;
    a->n_owners = (size_t)c->size;
    for (int leader = 0; leader < c->size; leader++) {
        if (c->leaders[leader] != leader) continue;
        size_t ranks = 0;
        for (int r = 0; r < c->size; r++) ranks += c->leaders[r] == leader;
        if (ranks < a->n_owners) a->n_owners = ranks;
        a->n_hosts++;
    }
}

/* Address space for the largest vectors, of which only what is used becomes memory. */
static err make_buffers(struct allreduce *a) {
    size_t slice = a->max_floats < SLOT_FLOATS ? a->max_floats : SLOT_FLOATS;
    size_t space = a->flat ? allreduce_net_space(a->flat, a->max_floats) : 0;
    size_t fragments = 0;
    if (a->hosts) {
        size_t more = allreduce_net_space(a->hosts, slice);
        if (more > space) space = more;
        fragments = (size_t)a->comm->local_size * slice;
    }
    if (space < a->max_floats) space = a->max_floats;
    a->memory_bytes = (a->max_floats + fragments + space + 2 * PART_ALIGN) * sizeof(float);
    void *memory;
    TRY(mem_map(&memory, a->memory_bytes));
    a->memory = a->own = memory;
    a->fragments = a->own + (a->max_floats + PART_ALIGN - 1) / PART_ALIGN * PART_ALIGN;
    a->space = a->fragments + (fragments + PART_ALIGN - 1) / PART_ALIGN * PART_ALIGN;
    return ERR_OK;
}

err allreduce_create(struct allreduce **out, struct comm *c, size_t max_floats, bool use_mpi) {
    if (max_floats > INT_MAX / 2)
        return FAIL(ERR_PLAN,
                    "a step would sum vectors of %zu numbers over the ranks; the most is %d: "
                    "use smaller steps",
                    max_floats, INT_MAX / 2);
    struct allreduce *a = mem_zalloc(sizeof *a);
    size_t size = (size_t)c->size;
    *a = (struct allreduce){.comm = c,
                            .max_floats = max_floats,
                            .way = use_mpi && size > 1 ? ALLREDUCE_WAY_MPI : ALLREDUCE_WAY_AUTO};
    a->local.size = size;
    a->local.data = mem_zalloc_array(size, sizeof *a->local.data);
    a->local.ends = mem_zalloc_array(size, sizeof *a->local.ends);
    for (int i = 0; i < c->local_size; i++) a->local.ends[c->locals[i]] = (size_t)c->locals[i] + 1;
    count_hosts(a);
    if (size > 1) make_flat_net(a);
    bool several = a->n_hosts > 1 && a->n_hosts < size;
    if (c->window && several) make_hosts_net(a);
    err e = make_buffers(a);
    if (e != ERR_OK) {
        allreduce_free(a);
        return e;
    }
    *out = a;
    return ERR_OK;
}

void allreduce_free(struct allreduce *a) {
    if (!a) return;
    if (a->memory) mem_unmap(a->memory, a->memory_bytes);
    allreduce_net_free(a->flat);
    allreduce_net_free(a->hosts);
    mem_free(a->local.data);
    mem_free(a->local.ends);
    mem_free(a);
}

/* ---- which way ---- */

const char *allreduce_way_name(enum allreduce_way way) {
    static const char *const names[ALLREDUCE_N_WAYS] = {
        [ALLREDUCE_WAY_AUTO] = "auto",
        [ALLREDUCE_WAY_WINDOW] = "window",
        [ALLREDUCE_WAY_WINDOW_PARTS] = "window-parts",
        [ALLREDUCE_WAY_GATHER] = "gather",
        [ALLREDUCE_WAY_DOUBLING] = "doubling",
        [ALLREDUCE_WAY_SCATTER] = "scatter",
        [ALLREDUCE_WAY_HOSTS_GATHER] = "hosts-gather",
        [ALLREDUCE_WAY_HOSTS_DOUBLING] = "hosts-doubling",
        [ALLREDUCE_WAY_HOSTS_SCATTER] = "hosts-scatter",
        [ALLREDUCE_WAY_MPI] = "mpi"};
    return names[way];
}

bool allreduce_way_possible(const struct allreduce *a, enum allreduce_way way) {
    switch (way) {
    case ALLREDUCE_WAY_AUTO: return true;
    case ALLREDUCE_WAY_WINDOW:
    case ALLREDUCE_WAY_WINDOW_PARTS: return a->n_hosts == 1 && a->comm->window;
    case ALLREDUCE_WAY_HOSTS_GATHER:
    case ALLREDUCE_WAY_HOSTS_SCATTER: return a->hosts;
    case ALLREDUCE_WAY_HOSTS_DOUBLING: return a->hosts && allreduce_net_is_even(a->hosts);
    default: return a->flat;
    }
}

void allreduce_set_way(struct allreduce *a, enum allreduce_way way) {
    CHECK(allreduce_way_possible(a, way));
    a->way = way;
}

/* The first row that fits and is possible.  Measured on one host, and over 1 Gbit/s between 2, 3
 * and 4 of them (README.md); for more hosts than that, by the number of trips and bytes. */
static const struct {
    size_t max_members; // ranks on one host, hosts otherwise
    size_t max_floats;
    enum allreduce_way way;
} table[] = {
    {3, SIZE_MAX, ALLREDUCE_WAY_WINDOW},
    {SIZE_MAX, 8192, ALLREDUCE_WAY_WINDOW},
    {SIZE_MAX, SIZE_MAX, ALLREDUCE_WAY_WINDOW_PARTS},
    {SIZE_MAX, 8192, ALLREDUCE_WAY_HOSTS_DOUBLING},
    {SIZE_MAX, 4096, ALLREDUCE_WAY_HOSTS_GATHER},
    {SIZE_MAX, SIZE_MAX, ALLREDUCE_WAY_HOSTS_SCATTER},
    {2, SIZE_MAX, ALLREDUCE_WAY_GATHER}, // as many bytes as scattering, in one trip instead of two
    {SIZE_MAX, 4096, ALLREDUCE_WAY_GATHER},
    {3, SIZE_MAX, ALLREDUCE_WAY_SCATTER},
    {4, 8192, ALLREDUCE_WAY_DOUBLING},
    {SIZE_MAX, SIZE_MAX, ALLREDUCE_WAY_SCATTER},
};

enum allreduce_way allreduce_way_for(const struct allreduce *a, size_t n) {
    if (a->way != ALLREDUCE_WAY_AUTO || a->comm->size == 1) return a->way;
    size_t members = a->n_hosts > 1 ? a->n_hosts : (size_t)a->comm->size, i = 0;
    while (members > table[i].max_members || n > table[i].max_floats ||
           !allreduce_way_possible(a, table[i].way))
        i++;
    return table[i].way;
}

/* ---- inside a host ---- */

/* One sum, or one piece of a sum that is longer than a slot. */
struct piece {
    float *dst;
    const float *src; // this rank's numbers, perhaps in its slot already
    size_t n;
    bool add; // dst += the sum
};

static float *slot_of(const struct allreduce *a, int local_rank) {
    return comm__sum_slot(a->comm, local_rank, a->comm->sums);
}

/* The pieces of this host's ranks are in `local` afterwards.  Returns how long this rank has waited
 * for the others. */
static uint64_t meet_with_piece(struct allreduce *a, const struct piece *p) {
    struct comm *c = a->comm;
    float *mine = slot_of(a, c->local_rank);
    if (p->src != mine) memcpy(mine, p->src, p->n * sizeof *mine);
    for (int i = 0; i < c->local_size; i++) a->local.data[c->locals[i]] = slot_of(a, i);
    return window_meet(c->window, &c->limits);
}

/* After meeting again: part i of the result is in the slot of rank i. */
static void take_parts(struct allreduce *a, const struct piece *p, size_t part) {
    int i = 0;
    for (size_t at = 0; at < p->n; at += part, i++) {
        const float *sums = slot_of(a, i);
        size_t end = at + part < p->n ? at + part : p->n;
        treesum_take(p->dst + at, sums + at, end - at, p->add);
    }
}

/* The length of each of `parts` parts of n floats: only the last one is shorter. */
static size_t part_floats(size_t n, size_t parts) {
    size_t part = (n + parts - 1) / parts;
    return (part + PART_ALIGN - 1) / PART_ALIGN * PART_ALIGN;
}

static uint64_t sum_window(struct allreduce *a, const struct piece *p) {
    uint64_t wait_ns = meet_with_piece(a, p);
    treesum_all(p->dst, &a->local, 0, p->n, p->add);
    a->comm->sums++;
    return wait_ns;
}

/* Part r of every slot is read by rank r alone, so the sum can take its place in slot r. */
static uint64_t sum_window_parts(struct allreduce *a, const struct piece *p) {
    struct comm *c = a->comm;
    uint64_t wait_ns = meet_with_piece(a, p);
    size_t part = part_floats(p->n, (size_t)c->local_size);
    size_t begin = (size_t)c->local_rank * part;
    if (begin < p->n) {
        size_t mine = p->n - begin < part ? p->n - begin : part;
        treesum_all(slot_of(a, c->local_rank) + begin, &a->local, begin, mine, false);
    }
    window_meet(c->window, &c->limits);
    take_parts(a, p, part);
    c->sums++;
    return wait_ns;
}

/* ---- between hosts ---- */

/* What of ns, the time that an exchange of n floats took, was waiting: all above the shortest. */
static uint64_t guess_wait(struct allreduce *a, size_t n, uint64_t ns) {
    size_t class = 0;
    while (n >>= 1) class ++;
    struct shortest *s = &a->shortest[class];
    if (s->n++ % LATELY_SUMS == 0) {
        s->before_ns = s->n == 1 ? ns : s->now_ns;
        s->now_ns = ns;
    }
    if (ns < s->now_ns) s->now_ns = ns;
    uint64_t moving_ns = s->now_ns < s->before_ns ? s->now_ns : s->before_ns;
    return ns > moving_ns ? ns - moving_ns : 0;
}

typedef void net_way(struct allreduce_net *net, const struct allreduce_net_call *call);

static uint64_t sum_flat(struct allreduce *a, const struct piece *p, net_way *way) {
    struct allreduce_net_call call = {
        .dst = p->dst, .mine = p->src, .n = p->n, .add = p->add, .space = a->space};
    uint64_t begin_ns = clock_ns();
    way(a->flat, &call);
    return guess_wait(a, p->n, clock_ns() - begin_ns);
}

/* Slice [begin, begin + n) of the window becomes the sum over all hosts, in this rank's slot. */
static void sum_slice(struct allreduce *a, size_t begin, size_t n, net_way *way) {
    const struct treesum_node *nodes;
    size_t n_nodes = allreduce_net_fragments(a->hosts, &nodes);
    for (size_t f = 0; f < n_nodes; f++)
        treesum_of(a->fragments + f * n, &a->local, nodes[f], begin, n, false);
    struct allreduce_net_call call = {.dst = slot_of(a, a->comm->local_rank) + begin,
                                      .mine = a->fragments,
                                      .stride = n,
                                      .n = n,
                                      .space = a->space};
    way(a->hosts, &call);
}

static uint64_t sum_hosts(struct allreduce *a, const struct piece *p, net_way *way) {
    struct comm *c = a->comm;
    size_t owners = p->n / SLICE_FLOATS;
    if (owners > a->n_owners) owners = a->n_owners;
    if (owners == 0) owners = 1;
    uint64_t wait_ns = meet_with_piece(a, p);
    size_t slice = part_floats(p->n, owners), begin = (size_t)c->local_rank * slice;
    uint64_t begin_ns = clock_ns();
    if (begin < p->n) sum_slice(a, begin, p->n - begin < slice ? p->n - begin : slice, way);
    window_meet(c->window, &c->limits);
    wait_ns += guess_wait(a, p->n, clock_ns() - begin_ns);
    take_parts(a, p, slice);
    c->sums++;
    return wait_ns;
}

/* ---- the whole sum ---- */

static uint64_t sum_mpi(struct allreduce *a, const struct piece *p) {
    struct comm *c = a->comm;
    MPI_Request request;
    uint64_t begin_ns = clock_ns();
    MPI_Iallreduce(p->src, a->space, (int)p->n, MPI_FLOAT, MPI_SUM, c->world, &request);
    comm__wait(c, &request, 1);
    treesum_take(p->dst, a->space, p->n, p->add);
    return guess_wait(a, p->n, clock_ns() - begin_ns);
}

static uint64_t sum_piece(struct allreduce *a, const struct piece *p, enum allreduce_way way) {
    static net_way *const net_ways[ALLREDUCE_N_WAYS] = {
        [ALLREDUCE_WAY_GATHER] = allreduce_net_gather,
        [ALLREDUCE_WAY_DOUBLING] = allreduce_net_double,
        [ALLREDUCE_WAY_SCATTER] = allreduce_net_scatter,
        [ALLREDUCE_WAY_HOSTS_GATHER] = allreduce_net_gather,
        [ALLREDUCE_WAY_HOSTS_DOUBLING] = allreduce_net_double,
        [ALLREDUCE_WAY_HOSTS_SCATTER] = allreduce_net_scatter};
    switch (way) {
    case ALLREDUCE_WAY_WINDOW: return sum_window(a, p);
    case ALLREDUCE_WAY_WINDOW_PARTS: return sum_window_parts(a, p);
    case ALLREDUCE_WAY_GATHER:
    case ALLREDUCE_WAY_DOUBLING:
    case ALLREDUCE_WAY_SCATTER: return sum_flat(a, p, net_ways[way]);
    case ALLREDUCE_WAY_MPI: return sum_mpi(a, p);
    default: return sum_hosts(a, p, net_ways[way]);
    }
}

static bool goes_through_slots(enum allreduce_way way) {
    return way == ALLREDUCE_WAY_WINDOW || way == ALLREDUCE_WAY_WINDOW_PARTS ||
           way == ALLREDUCE_WAY_HOSTS_GATHER || way == ALLREDUCE_WAY_HOSTS_DOUBLING ||
           way == ALLREDUCE_WAY_HOSTS_SCATTER;
}

static void sum_ranks(struct allreduce *a, float *dst, const float *src, size_t n, bool add) {
    CHECK(n <= a->max_floats);
    a->calls++;
    a->bytes += n * sizeof *dst;
    if (a->comm->size == 1 && add) treesum_take(dst, src, n, add);
    if (a->comm->size == 1) return;
    uint64_t begin_ns = clock_ns(), wait_ns = 0;
    enum allreduce_way way = allreduce_way_for(a, n);
    size_t step = goes_through_slots(way) ? SLOT_FLOATS : n;
    for (size_t at = 0; at < n; at += step) {
        struct piece p = {
            .dst = dst + at, .src = src + at, .n = n - at < step ? n - at : step, .add = add};
        wait_ns += sum_piece(a, &p, way);
    }
    uint64_t ns = clock_ns() - begin_ns;
    if (wait_ns > ns) wait_ns = ns;
    a->comm->wait_ns += wait_ns;
    a->comm->wire_ns += ns - wait_ns;
}

void allreduce_sum(struct allreduce *a, float *x, size_t n) {
    sum_ranks(a, x, x, n, false);
}

float *allreduce_part(struct allreduce *a, size_t n) {
    return a->comm->window && n <= SLOT_FLOATS ? slot_of(a, a->comm->local_rank) : a->own;
}

void allreduce_add(struct allreduce *a, float *x, size_t n) {
    sum_ranks(a, x, allreduce_part(a, n), n, true);
}

uint64_t allreduce_calls(const struct allreduce *a) {
    return a->calls;
}

uint64_t allreduce_bytes(const struct allreduce *a) {
    return a->bytes;
}
