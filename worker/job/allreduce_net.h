/* allreduce_net.h: sums over a group of ranks between which MPI carries the numbers.
 *
 * Every member of the group brings the pieces of some ranks (its own, or all of its host), added up
 * to fragments of the association tree, and gets the sum of all.  Main thread. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_ALLREDUCE_NET_H
#define WORKER_ALLREDUCE_NET_H

#include <stdbool.h>
#include <stddef.h>

#include "worker/job/comm.h"
#include "worker/job/treesum.h"

struct allreduce_net;

/* A group of n members: ranks[m] is member m's, this rank is member `me`, and rank r's piece is
 * brought by member bringer[r].  Local. */
void allreduce_net_create(struct allreduce_net **out, struct comm *c, size_t n, size_t me,
                          const int *ranks, const size_t *bringer);
void allreduce_net_free(struct allreduce_net *net); // NULL is accepted
/* The nodes that member `me` brings.  Local. */
size_t allreduce_net_fragments(const struct allreduce_net *net, const struct treesum_node **nodes);
/* Does every member bring just one fragment?  Then they can be added two by two.  Local. */
bool allreduce_net_is_even(const struct allreduce_net *net);
/* Floats of `space` for vectors of up to n.  Local. */
size_t allreduce_net_space(const struct allreduce_net *net, size_t n);

/* One sum of vectors of n floats: dst becomes the sum or, with `add`, dst += it.  This member's
 * fragment f is at mine + f * stride; a single one may be dst itself.  `space` is for the pieces of
 * others. */
struct allreduce_net_call {
    float *dst;
    const float *mine;
    size_t stride, n;
    bool add;
    float *space;
};
/* Everybody gets all fragments and adds them: one trip, the most data.  Collective on the group. */
void allreduce_net_gather(struct allreduce_net *net, const struct allreduce_net_call *call);
/* Up the tree, at each node one half gives the other its sum: log2 n trips of one vector.  Even
 * groups only.  Collective on the group. */
void allreduce_net_double(struct allreduce_net *net, const struct allreduce_net_call *call);
/* Member m gets all fragments of part m and adds them, and the sums are gathered: two trips, the
 * least data.  Collective on the group. */
void allreduce_net_scatter(struct allreduce_net *net, const struct allreduce_net_call *call);

#endif
