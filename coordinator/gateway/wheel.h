/* wheel.h: when to look at a connection again: a timer wheel with coarse ticks.
 *
 *   soon ─┐                  ┌── tick ── the slots, 50 ms each ─────────────┐
 *         ├─ advance ─► due  ▼                                              │
 *   slots ┘             │   [ ][e e][ ][e][ ] … [e: or later than the last ]│
 *                       ▼ take
 *
 * Setting, moving and taking cost the same whatever is on it.  An entry comes not before its time
 * and at most a tick later, except that one beyond the last slot comes early: its owner looks at
 * the time and sets it again.  Time is an argument.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_WHEEL_H
#define COORDINATOR_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#define WHEEL_SLOTS   1024
#define WHEEL_TICK_NS ((uint64_t)50 * 1000 * 1000)

struct wheel_entry {
    struct wheel_entry *prev, *next; // NULL: not on the wheel
    uint64_t at_ns;
};

struct wheel {
    struct wheel_entry slots[WHEEL_SLOTS], soon, due; // heads of rings
    uint64_t tick;                                    // the first that has not passed
};

void wheel_init(struct wheel *w, uint64_t now_ns);
/* An entry is zeroed before its first use; one that is on the wheel moves. */
void wheel_set(struct wheel *w, struct wheel_entry *e, uint64_t at_ns);
void wheel_remove(struct wheel_entry *e);
bool wheel_holds(const struct wheel_entry *e);
/* Everything whose time has come can be taken then; what is set meanwhile waits for the next call.
 */
void wheel_advance(struct wheel *w, uint64_t now_ns);
/* Takes one of them off; NULL: there are no more. */
struct wheel_entry *wheel_take(struct wheel *w);
/* When to advance again; UINT64_MAX when the wheel is empty. */
uint64_t wheel_next_ns(const struct wheel *w);

#endif
