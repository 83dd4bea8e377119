// SPDX-License-Identifier: MIT
/* treesum.c: see treesum.h.
 *
 * Hot: adds every activation that crosses ranks, twice per layer.  Vectors are added in blocks, so
 * that the partial sums of inner nodes stay in the nearest cache. */

#include "worker/job/treesum.h"

#include <string.h>

#include "worker/job/team.h"

#define BLOCK_FLOATS   ((size_t)512)
#define THREADS_FLOATS ((size_t)1 << 13) // shorter sums are not worth a part of the team's

static size_t find_fragments(struct treesum_node *nodes, const bool *has, size_t begin,
                             size_t end) {
    size_t mine = 0;
    for (size_t r = begin; r < end; r++) mine += has[r];
    if (mine == 0) return 0;
    if (mine == end - begin) {
        *nodes = (struct treesum_node){begin, end};
        return 1;
    }
    size_t middle = treesum_middle(begin, end);
    size_t left = find_fragments(nodes, has, begin, middle);
    return left + find_fragments(nodes + left, has, middle, end);
}

size_t treesum_fragments(struct treesum_node *nodes, const bool *has, size_t size) {
    return find_fragments(nodes, has, 0, size);
}

/* The sum of a node's n <= BLOCK_FLOATS elements: where it lies already, or in `space`. */
static const float *sum_block(float *space, const struct treesum *t, size_t begin, size_t end,
                              size_t at, size_t n) {
    if (t->ends[begin] == end) return t->data[begin] + at;
    float other[BLOCK_FLOATS];
    size_t middle = treesum_middle(begin, end);
    const float *left = sum_block(space, t, begin, middle, at, n);
    const float *right = sum_block(other, t, middle, end, at, n);
    for (size_t i = 0; i < n; i++) space[i] = left[i] + right[i];
    return space;
}

static void take_block(float *dst, const float *src, size_t n, bool add) {
    if (add)
        for (size_t i = 0; i < n; i++) dst[i] += src[i];
    else if (dst != src)
        memcpy(dst, src, n * sizeof *dst);
}

void treesum_of(float *dst, const struct treesum *t, struct treesum_node node, size_t at, size_t n,
                bool add) {
    float left_sum[BLOCK_FLOATS], right_sum[BLOCK_FLOATS];
    bool leaf = t->ends[node.begin] == node.end;
    size_t middle = leaf ? node.end : treesum_middle(node.begin, node.end);
    for (size_t done = 0; done < n; done += BLOCK_FLOATS, dst += BLOCK_FLOATS) {
        size_t some = n - done < BLOCK_FLOATS ? n - done : BLOCK_FLOATS;
        const float *left = sum_block(left_sum, t, node.begin, middle, at + done, some);
        if (leaf) {
            take_block(dst, left, some, add);
            continue;
        }
        const float *right = sum_block(right_sum, t, middle, node.end, at + done, some);
        if (add)
            for (size_t i = 0; i < some; i++) dst[i] += left[i] + right[i];
        else
            for (size_t i = 0; i < some; i++) dst[i] = left[i] + right[i];
    }
}

/* A sum, or the taking of one vector, that the team shares block by block. */
struct long_sum {
    float *dst;
    const struct treesum *tree; // NULL: dst takes src
    const float *src;
    size_t at, n;
    bool add;
};

static size_t blocks_of(size_t n) {
    return (n + BLOCK_FLOATS - 1) / BLOCK_FLOATS;
}

static void sum_long_block(const void *arg, size_t i) {
    const struct long_sum *s = arg;
    size_t begin = i * BLOCK_FLOATS;
    size_t some = s->n - begin < BLOCK_FLOATS ? s->n - begin : BLOCK_FLOATS;
    if (s->tree)
        treesum_of(s->dst + begin, s->tree, (struct treesum_node){0, s->tree->size}, s->at + begin,
                   some, s->add);
    else
        take_block(s->dst + begin, s->src + begin, some, s->add);
}

void treesum_all(float *dst, const struct treesum *t, size_t at, size_t n, bool add) {
    const struct long_sum s = {.dst = dst, .tree = t, .at = at, .n = n, .add = add};
    if (n < THREADS_FLOATS)
        treesum_of(dst, t, (struct treesum_node){0, t->size}, at, n, add);
    else
        team_for(blocks_of(n), sum_long_block, &s);
}

void treesum_take(float *dst, const float *src, size_t n, bool add) {
    const struct long_sum s = {.dst = dst, .src = src, .n = n, .add = add};
    if (n < THREADS_FLOATS)
        take_block(dst, src, n, add);
    else
        team_for(blocks_of(n), sum_long_block, &s);
}
