// SPDX-License-Identifier: MIT
/* allreduce_net.c: see allreduce_net.h.
 *
 * Main thread of every rank of the group.  Plain sends and receives between pairs: MPI's own
 * nonblocking collectives make a schedule for every call, which takes longer than the decode sizes
 * themselves.  Between two ranks messages keep their order, so one tag does. */

#include "worker/job/allreduce_net.h"

#include "common/mem.h"
#include "worker/job/comm_internal.h"

#define TAG_SUM      3
#define CHUNK_FLOATS ((size_t)16384) // gathered or doubled at once
#define PART_ALIGN   ((size_t)16)    // parts begin on cache lines

struct allreduce_net {
    struct comm *comm;
    size_t n, me;
    int *ranks;                 // [n]
    size_t *first;              // [n + 1] member m brings nodes[first[m] … first[m + 1])
    struct treesum_node *nodes; // [size] at most
    struct treesum sum;         // of all nodes
    MPI_Request *requests;      // [request_capacity]
    int n_requests, request_capacity;
};

void allreduce_net_create(struct allreduce_net **out, struct comm *c, size_t n, size_t me,
                          const int *ranks, const size_t *bringer) {
    struct allreduce_net *net = mem_zalloc(sizeof *net);
    size_t size = (size_t)comm_size(c);
    *net = (struct allreduce_net){.comm = c, .n = n, .me = me};
    net->ranks = mem_zalloc_array(n, sizeof *net->ranks);
    net->first = mem_zalloc_array(n + 1, sizeof *net->first);
    net->nodes = mem_zalloc_array(size, sizeof *net->nodes);
    net->sum.size = size;
    net->sum.data = mem_zalloc_array(size, sizeof *net->sum.data);
    net->sum.ends = mem_zalloc_array(size, sizeof *net->sum.ends);
    bool *has = mem_zalloc_array(size, sizeof *has);
    for (size_t m = 0; m < n; m++) {
        net->ranks[m] = ranks[m];
        for (size_t r = 0; r < size; r++) has[r] = bringer[r] == m;
        net->first[m + 1] =
            net->first[m] + treesum_fragments(net->nodes + net->first[m], has, size);
    }
    mem_free(has);
    for (size_t f = 0; f < net->first[n]; f++)
        net->sum.ends[net->nodes[f].begin] = net->nodes[f].end;
    net->request_capacity = (int)(2 * (size + n) * (net->first[n] + 1));
    net->requests = mem_zalloc_array((size_t)net->request_capacity, sizeof *net->requests);
    *out = net;
}

void allreduce_net_free(struct allreduce_net *net) {
    if (!net) return;
    mem_free(net->ranks);
    mem_free(net->first);
    mem_free(net->nodes);
    mem_free(net->sum.data);
    mem_free(net->sum.ends);
    mem_free(net->requests);
    mem_free(net);
}

static size_t n_fragments(const struct allreduce_net *net, size_t member) {
    return net->first[member + 1] - net->first[member];
}

size_t allreduce_net_fragments(const struct allreduce_net *net, const struct treesum_node **nodes) {
    *nodes = net->nodes + net->first[net->me];
    return n_fragments(net, net->me);
}

bool allreduce_net_is_even(const struct allreduce_net *net) {
    return net->first[net->n] == net->n;
}

/* The largest part of n floats. */
static size_t part_floats(const struct allreduce_net *net, size_t n) {
    size_t part = (n + net->n - 1) / net->n;
    return (part + PART_ALIGN - 1) / PART_ALIGN * PART_ALIGN;
}

size_t allreduce_net_space(const struct allreduce_net *net, size_t n) {
    size_t all = net->first[net->n];
    size_t chunk = n < CHUNK_FLOATS ? n : CHUNK_FLOATS;
    size_t gathered = (all > 2 ? all : 2) * chunk;
    size_t scattered = all * part_floats(net, n) + n;
    return gathered > scattered ? gathered : scattered;
}

/* ---- messages ---- */

static void send_to(struct allreduce_net *net, size_t member, const float *data, size_t n) {
    CHECK(net->n_requests < net->request_capacity);
    if (n)
        MPI_Isend(data, (int)n, MPI_FLOAT, net->ranks[member], TAG_SUM, net->comm->world,
                  &net->requests[net->n_requests++]);
}

static void recv_from(struct allreduce_net *net, size_t member, float *data, size_t n) {
    CHECK(net->n_requests < net->request_capacity);
    if (n)
        MPI_Irecv(data, (int)n, MPI_FLOAT, net->ranks[member], TAG_SUM, net->comm->world,
                  &net->requests[net->n_requests++]);
}

static void finish_messages(struct allreduce_net *net) {
    if (net->n_requests) comm__wait(net->comm, net->requests, net->n_requests);
    net->n_requests = 0;
}

/* Asks for n floats of every fragment of the others, into space[fragments, n], and notes where all
 * fragments will be; one's own are at `mine`. */
static void recv_fragments(struct allreduce_net *net, float *space, const float *mine,
                           size_t stride, size_t n) {
    for (size_t m = 0; m < net->n; m++) {
        for (size_t f = net->first[m]; f < net->first[m + 1]; f++) {
            const float *at = mine + (f - net->first[m]) * stride;
            if (m != net->me) {
                recv_from(net, m, space + f * n, n);
                at = space + f * n;
            }
            net->sum.data[net->nodes[f].begin] = at;
        }
    }
}

/* ---- the ways ---- */

static void gather_chunk(struct allreduce_net *net, const struct allreduce_net_call *call,
                         size_t at, size_t n) {
    recv_fragments(net, call->space, call->mine + at, call->stride, n);
    for (size_t k = 1; k < net->n; k++) {
        size_t m = (net->me + k) % net->n;
        for (size_t f = 0; f < n_fragments(net, net->me); f++)
            send_to(net, m, call->mine + f * call->stride + at, n);
    }
    finish_messages(net);
    treesum_all(call->dst + at, &net->sum, 0, n, call->add);
}

void allreduce_net_gather(struct allreduce_net *net, const struct allreduce_net_call *call) {
    for (size_t at = 0; at < call->n; at += CHUNK_FLOATS)
        gather_chunk(net, call, at, call->n - at < CHUNK_FLOATS ? call->n - at : CHUNK_FLOATS);
}

/* This member's place at a node of the tree: `members` of them on its side from mine_begin on, and
 * those on the other side. */
struct level {
    bool left;
    size_t mine_begin, n_mine, other_begin, n_other;
};

/* The node at which the member's half, of members [*begin, *end), meets the other one; the search
 * goes down from [from, to) and all members to the one below which `*begin … *end` stands. */
static bool find_level(const struct allreduce_net *net, size_t depth, struct level *l) {
    size_t begin = 0, end = net->n, from = 0, to = net->sum.size;
    for (size_t d = 0; end - begin > 1; d++) {
        size_t middle = treesum_middle(from, to), split = begin;
        while (split < end && net->nodes[split].begin < middle) split++;
        bool left = net->me < split;
        *l = left ? (struct level){true, begin, split - begin, split, end - split}
                  : (struct level){false, split, end - split, begin, split - begin};
        if (d == depth) return true;
        begin = l->mine_begin;
        end = begin + l->n_mine;
        if (left)
            to = middle;
        else
            from = middle;
    }
    return false;
}

/* incoming[n] becomes the sum of both sides.  When one side has more members than the other, the
 * extra ones are sent to by members who have a partner already. */
static void meet_other_side(struct allreduce_net *net, const struct level *l, const float *have,
                            float *incoming, size_t n) {
    size_t i = net->me - l->mine_begin;
    recv_from(net, l->other_begin + i % l->n_other, incoming, n);
    for (size_t j = i; j < l->n_other; j += l->n_mine) send_to(net, l->other_begin + j, have, n);
    finish_messages(net);
    if (l->left)
        for (size_t k = 0; k < n; k++) incoming[k] = have[k] + incoming[k];
    else
        for (size_t k = 0; k < n; k++) incoming[k] = incoming[k] + have[k];
}

static void double_chunk(struct allreduce_net *net, const struct allreduce_net_call *call,
                         size_t at, size_t n) {
    const float *have = call->mine + at;
    struct level l;
    size_t depth = 0;
    while (find_level(net, depth, &l)) depth++;
    while (depth-- > 0) {
        float *incoming = call->space + (depth & 1) * n;
        CHECK(find_level(net, depth, &l));
        meet_other_side(net, &l, have, incoming, n);
        have = incoming;
    }
    treesum_take(call->dst + at, have, n, call->add);
}

void allreduce_net_double(struct allreduce_net *net, const struct allreduce_net_call *call) {
    CHECK(allreduce_net_is_even(net));
    for (size_t at = 0; at < call->n; at += CHUNK_FLOATS)
        double_chunk(net, call, at, call->n - at < CHUNK_FLOATS ? call->n - at : CHUNK_FLOATS);
}

/* Where part m of n floats begins. */
static size_t part_begin(const struct allreduce_net *net, size_t m, size_t n) {
    size_t begin = m * part_floats(net, n);
    return begin < n ? begin : n;
}

void allreduce_net_scatter(struct allreduce_net *net, const struct allreduce_net_call *call) {
    size_t n = call->n, me = net->me;
    size_t begin = part_begin(net, me, n), mine = part_begin(net, me + 1, n) - begin;
    float *sums = call->space + net->first[net->n] * mine; // [n] of which others send their parts
    recv_fragments(net, call->space, call->mine + begin, call->stride, mine);
    for (size_t k = 1; k < net->n; k++) {
        size_t m = (me + k) % net->n, at = part_begin(net, m, n);
        for (size_t f = 0; f < n_fragments(net, me); f++)
            send_to(net, m, call->mine + f * call->stride + at, part_begin(net, m + 1, n) - at);
    }
    finish_messages(net);
    if (!call->add) sums = call->dst;
    treesum_all(sums + begin, &net->sum, 0, mine, false);
    for (size_t k = 1; k < net->n; k++) {
        size_t m = (me + net->n - k) % net->n, at = part_begin(net, m, n);
        recv_from(net, m, sums + at, part_begin(net, m + 1, n) - at);
        send_to(net, (me + k) % net->n, sums + begin, mine);
    }
    finish_messages(net);
    if (call->add) treesum_take(call->dst, sums, n, true);
}
