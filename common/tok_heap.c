// SPDX-License-Identifier: MIT
/* tok_heap.c: a binary heap of candidates, the priority queue of tok_merge.c and tok_special.c.
 *
 * An array in which no item is smaller than its parent at half its index. */

#include "common/tokenizer_internal.h"

#include "common/mem.h"

void tok_heap_deinit(struct tok_heap *h) {
    mem_free(h->items);
}

void tok_heap_push(struct tok_heap *h, struct tok_heap_item item) {
    if (h->count == h->capacity) {
        h->capacity = h->capacity ? 2 * h->capacity : 64;
        h->items = mem_realloc(h->items, h->capacity * sizeof *h->items);
    }
    size_t i = h->count++;
    for (; i > 0 && h->items[(i - 1) / 2].key > item.key; i = (i - 1) / 2) {
        h->items[i] = h->items[(i - 1) / 2];
    }
    h->items[i] = item;
}

struct tok_heap_item tok_heap_pop(struct tok_heap *h) {
    struct tok_heap_item top = h->items[0], last = h->items[--h->count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->count) break;
        if (child + 1 < h->count && h->items[child + 1].key < h->items[child].key) child++;
        if (h->items[child].key >= last.key) break;
        h->items[i] = h->items[child];
        i = child;
    }
    h->items[i] = last;
    return top;
}
