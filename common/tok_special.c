// SPDX-License-Identifier: MIT
/* tok_special.c: finds the names of special tokens in a text.
 *
 * The rule is llama.cpp's: the longest name takes all its places first, from left to right, then
 * the next longest in what is left, and so on.  Done literally that is one pass over the text per
 * special token, of which a vocabulary may have thousands.  Instead every place of the text offers
 * its longest name to a heap ordered as the rule says; a place that lost to another name offers
 * its next shorter one.  Which names begin at a place is found by narrowing the range of the
 * alphabetical list byte by byte. */

#include "common/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

enum { PLACE_FREE = -1, PLACE_TAKEN = -2 }; // else: the id of the token that begins here

static int compare_names(const void *a, const void *b, void *vocab) {
    const struct tok_vocab *v = vocab;
    int32_t ia = *(const int32_t *)a, ib = *(const int32_t *)b;
    const struct tok_token *ta = &v->tokens[ia], *tb = &v->tokens[ib];
    size_t shorter = ta->length < tb->length ? ta->length : tb->length;
    int order = memcmp(ta->text, tb->text, shorter);
    if (order == 0) order = (ta->length > tb->length) - (ta->length < tb->length);
    return order ? order : (ia > ib) - (ia < ib);
}

static int compare_lengths(const void *a, const void *b, void *vocab) {
    const struct tok_vocab *v = vocab;
    int32_t ia = *(const int32_t *)a, ib = *(const int32_t *)b;
    uint32_t la = v->tokens[ia].length, lb = v->tokens[ib].length;
    return la != lb ? (la < lb) - (la > lb) : (ia > ib) - (ia < ib);
}

err tok_special_load(struct tok_special *s, const struct tok_vocab *v) {
    s->ids = mem_try_zalloc(v->count, sizeof *s->ids);
    s->order = mem_try_zalloc(v->count, sizeof *s->order);
    if (!s->ids || !s->order) {
        return FAIL(ERR_MEMORY, "no memory for a vocabulary of %zu tokens", v->count);
    }
    for (size_t i = 0; i < v->count; i++) {
        uint8_t attributes = v->tokens[i].attributes;
        if (!(attributes & (TOKEN_CONTROL | TOKEN_USER_DEFINED | TOKEN_UNKNOWN))) continue;
        s->ids[s->count++] = (int32_t)i;
        if (!(attributes & (TOKEN_CONTROL | TOKEN_UNKNOWN))) s->any_user_defined = true;
    }
    qsort_r(s->ids, s->count, sizeof *s->ids, compare_lengths, (void *)v);
    for (size_t i = 0; i < s->count; i++) s->order[s->ids[i]] = (uint32_t)i;
    qsort_r(s->ids, s->count, sizeof *s->ids, compare_names, (void *)v);
    for (size_t i = 0, c = 0; c < 256; c++) {
        while (i < s->count && (unsigned char)v->tokens[s->ids[i]].text[0] == c) i++;
        s->first_byte[c + 1] = i;
    }
    return ERR_OK;
}

void tok_special_deinit(struct tok_special *s) {
    mem_free(s->ids);
    mem_free(s->order);
}

struct search {
    const struct tok_special *s;
    const struct tok_vocab *v;
    const char *text;
    size_t n;
    bool parse_special;
    struct tok_heap heap; // (order of the name, place)
    int32_t *places;      // [n]
};

/* The first of ids[low..high) whose byte at `depth` is not below `c`. */
static size_t lower_bound(const struct search *f, size_t low, size_t high, size_t depth, int c) {
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct tok_token *token = &f->v->tokens[f->s->ids[middle]];
        if (depth >= token->length || (unsigned char)token->text[depth] < c) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The longest name shorter than `below` that stands at `place`, -1 for none. */
static int32_t longest_at(const struct search *f, size_t place, size_t below) {
    unsigned char first = (unsigned char)f->text[place];
    size_t low = f->s->first_byte[first], high = f->s->first_byte[first + 1];
    int32_t found = -1;
    for (size_t depth = 1; low < high && depth < below; depth++) {
        for (; low < high; low++) { // names that end here stand before the longer ones
            int32_t id = f->s->ids[low];
            if (f->v->tokens[id].length != depth) break;
            bool hidden = f->v->tokens[id].attributes & (TOKEN_CONTROL | TOKEN_UNKNOWN);
            bool repeated = found >= 0 && f->v->tokens[found].length == depth;
            if ((f->parse_special || !hidden) && !repeated) found = id;
        }
        if (place + depth == f->n) break;
        int c = (unsigned char)f->text[place + depth];
        low = lower_bound(f, low, high, depth, c);
        high = lower_bound(f, low, high, depth, c + 1);
    }
    return found;
}

static void offer(struct search *f, size_t place, size_t below) {
    int32_t id = longest_at(f, place, below);
    if (id < 0) return;
    tok_heap_push(&f->heap, (struct tok_heap_item){.key = (uint64_t)f->s->order[id] << 32 | place,
                                                   .length = f->v->tokens[id].length,
                                                   .id = id});
}

/* Gives the places of the text to names in the order of the rule. */
static void place_names(struct search *f) {
    while (f->heap.count > 0) {
        struct tok_heap_item name = tok_heap_pop(&f->heap);
        size_t place = (uint32_t)name.key, end = place + name.length;
        if (f->places[place] != PLACE_FREE) continue;
        if (f->places[end - 1] != PLACE_FREE) {
            offer(f, place, name.length);
            continue;
        }
        if (f->v->tokens[name.id].attributes & TOKEN_STRIPS_RIGHT) {
            while (end < f->n && f->places[end] == PLACE_FREE &&
                   strchr(" \t\n\v\f\r", f->text[end]) && f->text[end]) {
                end++;
            }
        }
        for (size_t i = place + 1; i < end; i++) f->places[i] = PLACE_TAKEN;
        f->places[place] = name.id;
    }
}

static void add_fragment(struct tok_fragments *out, size_t begin, size_t end, int32_t id) {
    if (begin == end) return;
    if (out->count == out->capacity) {
        out->capacity = out->capacity ? 2 * out->capacity : 16;
        out->items = mem_realloc(out->items, out->capacity * sizeof *out->items);
    }
    out->items[out->count++] = (struct tok_fragment){.begin = begin, .end = end, .id = id};
}

void tok_special_split(const struct tok_special *s, const struct tok_vocab *v, const char *text,
                       size_t n, bool parse_special, struct tok_fragments *out) {
    struct search f = {.s = s, .v = v, .text = text, .n = n, .parse_special = parse_special};
    if (parse_special || s->any_user_defined) {
        for (size_t i = 0; i < n; i++) offer(&f, i, SIZE_MAX);
    }
    if (f.heap.count == 0) {
        add_fragment(out, 0, n, -1);
        return;
    }
    f.places = mem_alloc(n * sizeof *f.places);
    for (size_t i = 0; i < n; i++) f.places[i] = PLACE_FREE;
    place_names(&f);

    for (size_t i = 0; i < n;) {
        size_t end = i + 1;
        int32_t id = f.places[i] == PLACE_FREE ? -1 : f.places[i];
        while (end < n && f.places[end] == (id < 0 ? PLACE_FREE : PLACE_TAKEN)) end++;
        add_fragment(out, i, end, id);
        i = end;
    }
    mem_free(f.places);
    tok_heap_deinit(&f.heap);
}
