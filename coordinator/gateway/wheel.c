// SPDX-License-Identifier: MIT
/* wheel.c: see wheel.h.  Each list is a ring with a head, so that an entry leaves it without
 * knowing which one it is on. */

#include "coordinator/gateway/wheel.h"

#include <stddef.h>

static void ring_init(struct wheel_entry *head) {
    head->prev = head->next = head;
}

static bool ring_is_empty(const struct wheel_entry *head) {
    return head->next == head;
}

static void ring_append(struct wheel_entry *head, struct wheel_entry *e) {
    e->prev = head->prev;
    e->next = head;
    head->prev->next = e;
    head->prev = e;
}

/* All of `from` comes behind what `to` holds. */
static void ring_move(struct wheel_entry *to, struct wheel_entry *from) {
    if (ring_is_empty(from)) return;
    from->next->prev = to->prev;
    from->prev->next = to;
    to->prev->next = from->next;
    to->prev = from->prev;
    ring_init(from);
}

void wheel_init(struct wheel *w, uint64_t now_ns) {
    for (size_t i = 0; i < WHEEL_SLOTS; i++) ring_init(&w->slots[i]);
    ring_init(&w->soon);
    ring_init(&w->due);
    w->tick = now_ns / WHEEL_TICK_NS + 1;
}

void wheel_set(struct wheel *w, struct wheel_entry *e, uint64_t at_ns) {
    uint64_t tick = at_ns / WHEEL_TICK_NS + 1; // when it begins the time has come
    uint64_t last = w->tick + WHEEL_SLOTS - 1;
    wheel_remove(e);
    e->at_ns = at_ns;
    if (tick > last) tick = last;
    ring_append(tick < w->tick ? &w->soon : &w->slots[tick % WHEEL_SLOTS], e);
}

void wheel_remove(struct wheel_entry *e) {
    if (!e->next) return;
    e->prev->next = e->next;
    e->next->prev = e->prev;
    e->prev = e->next = NULL;
}

bool wheel_holds(const struct wheel_entry *e) {
    return e->next != NULL;
}

void wheel_advance(struct wheel *w, uint64_t now_ns) {
    uint64_t now = now_ns / WHEEL_TICK_NS;
    ring_move(&w->due, &w->soon);
    for (size_t i = 0; w->tick <= now && i < WHEEL_SLOTS; i++, w->tick++)
        ring_move(&w->due, &w->slots[w->tick % WHEEL_SLOTS]);
    if (w->tick <= now) w->tick = now + 1; // it has turned round: all slots are empty
}

struct wheel_entry *wheel_take(struct wheel *w) {
    if (ring_is_empty(&w->due)) return NULL;
    struct wheel_entry *e = w->due.next;
    wheel_remove(e);
    return e;
}

uint64_t wheel_next_ns(const struct wheel *w) {
    if (!ring_is_empty(&w->soon) || !ring_is_empty(&w->due)) return 0;
    for (uint64_t tick = w->tick; tick < w->tick + WHEEL_SLOTS; tick++)
        if (!ring_is_empty(&w->slots[tick % WHEEL_SLOTS])) return tick * WHEEL_TICK_NS;
    return UINT64_MAX;
}
