/* treesum.h: the one association tree in which vectors of all ranks are added.
 *
 * Floating-point addition is not associative, so the order is part of the result.  It is a balanced
 * binary tree over ranks (half-open ranges, the left half takes the odd one), whatever way the
 * numbers have come:
 *
 *      N = 5      sum(a, b) = sum(a, mid) + sum(mid, b),  mid = a + (b - a + 1) / 2
 *             ( + )
 *            /     \
 *         ( + )   ( + )       A rank that has some of the pieces may add those that make up whole
 *         /   \   /   \       nodes: ranks 0, 1, 2 give one fragment [0, 3), ranks 2, 3 give two,
 *      ( + )   2 3     4      [2, 3) and [3, 4), because no node holds just these two.
 *      /   \
 *     0     1                 Any thread, but for sums that the team shares.  Local. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_TREESUM_H
#define WORKER_TREESUM_H

#include <stdbool.h>
#include <stddef.h>

/* A node of the tree: the ranks [begin, end). */
struct treesum_node {
    size_t begin, end;
};

static inline size_t treesum_middle(size_t begin, size_t end) {
    return begin + (end - begin + 1) / 2;
}

/* The fewest nodes that make up the ranks with has[rank], in order, into nodes[]: at most `size` of
 * them.  Returns how many. */
size_t treesum_fragments(struct treesum_node *nodes, const bool *has, size_t size);

/* Vectors by the first rank of their node: data[begin] is the sum of the ranks [begin,
 * ends[begin]).  ends[r] is 0 where no node of the set begins. */
struct treesum {
    size_t size; // ranks of the whole tree
    const float **data;
    size_t *ends;
};

/* dst[n] = the sum of `node`, whose fragments are all there; or, with `add`, dst += it.  The
 * vectors are read from element `at` on.  dst may be one of them (at the same elements). */
void treesum_of(float *dst, const struct treesum *t, struct treesum_node node, size_t at, size_t n,
                bool add);
/* The same of all ranks; the team shares long vectors.  Main thread. */
void treesum_all(float *dst, const struct treesum *t, size_t at, size_t n, bool add);
/* dst[n] = src or, with `add`, dst += src, which is dst itself or does not overlap it; the team
 * shares long vectors.  Main thread. */
void treesum_take(float *dst, const float *src, size_t n, bool add);

#endif
