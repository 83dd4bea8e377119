// SPDX-License-Identifier: MIT
/* tok_merge.c: joins neighbouring symbols, best pair first, until nothing can be joined.
 *
 *   symbols   [H][e][l][l][o]      a doubly linked list laid over an array
 *   heap      (priority, left)     every pair that may be joined, smallest first
 *
 * Taking a pair joins its right symbol into the left one and offers the two new pairs.  Pairs that
 * have become impossible stay in the heap and are known by their length when they come up: a
 * symbol only ever grows to the right, so the same left symbol with the same total length is still
 * the same pair.  Every join removes a symbol, hence n log n for any word. */

#include "common/tokenizer_internal.h"

#include "common/mem.h"

void tok_merge_deinit(struct tok_merge *m) {
    mem_free(m->symbols);
    tok_heap_deinit(&m->heap);
}

void tok_merge_clear(struct tok_merge *m) {
    m->count = m->heap.count = 0;
}

void tok_merge_add(struct tok_merge *m, size_t begin, size_t length, int32_t id) {
    if (m->count == m->capacity) {
        m->capacity = m->capacity ? 2 * m->capacity : 64;
        m->symbols = mem_realloc(m->symbols, m->capacity * sizeof *m->symbols);
    }
    uint32_t index = (uint32_t)m->count++;
    m->symbols[index] = (struct tok_symbol){.begin = (uint32_t)begin,
                                            .length = (uint32_t)length,
                                            .previous = index > 0 ? index - 1 : TOK_MERGE_NONE,
                                            .next = TOK_MERGE_NONE,
                                            .id = id};
    if (index > 0) m->symbols[index - 1].next = index;
}

struct merge_context {
    tok_merge_rule *rule;
    const struct tokenizer *t;
    const char *text;
};

/* Offers `left` and its right neighbour. */
static void offer(struct tok_merge *m, const struct merge_context *c, uint32_t left) {
    if (left == TOK_MERGE_NONE || m->symbols[left].next == TOK_MERGE_NONE) return;
    const struct tok_symbol *l = &m->symbols[left], *r = &m->symbols[l->next];
    uint32_t priority;
    int32_t joined;
    if (!c->rule(c->t, c->text, l, r, &priority, &joined)) return;
    tok_heap_push(&m->heap, (struct tok_heap_item){.key = (uint64_t)priority << 32 | left,
                                                   .length = l->length + r->length,
                                                   .id = joined});
}

void tok_merge_run(struct tok_merge *m, tok_merge_rule *rule, const struct tokenizer *t,
                   const char *text) {
    const struct merge_context context = {.rule = rule, .t = t, .text = text};
    for (uint32_t i = 0; i + 1 < m->count; i++) offer(m, &context, i);

    while (m->heap.count > 0) {
        struct tok_heap_item best = tok_heap_pop(&m->heap);
        uint32_t left = (uint32_t)best.key;
        struct tok_symbol *l = &m->symbols[left];
        if (l->length == 0 || l->next == TOK_MERGE_NONE) continue;
        struct tok_symbol *r = &m->symbols[l->next];
        if (l->length + r->length != best.length) continue;

        l->length = best.length;
        l->id = best.id;
        l->next = r->next;
        r->length = 0;
        if (l->next != TOK_MERGE_NONE) m->symbols[l->next].previous = left;
        offer(m, &context, l->previous);
        offer(m, &context, left);
    }
}
