/* queue.h: sequences that wait for their turn, first come first served, bounded.
 *
 * An intrusive list: a sequence is in at most one place.  A preempted sequence goes back to the
 * front, since it came before all that wait.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_QUEUE_H
#define COORDINATOR_QUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "coordinator/scheduling/sequence.h"

struct queue {
    struct sequence *first, *last;
    uint32_t count;
    uint64_t tokens; // of all sequences in it
};

void queue_push_back(struct queue *q, struct sequence *s);
void queue_push_front(struct queue *q, struct sequence *s);
void queue_remove(struct queue *q, struct sequence *s);

#endif
