// SPDX-License-Identifier: MIT
/* queue.c: see queue.h. */

#include "coordinator/scheduling/queue.h"

static void link_between(struct queue *q, struct sequence *prev, struct sequence *s,
                         struct sequence *next) {
    s->prev = prev;
    s->next = next;
    if (prev)
        prev->next = s;
    else
        q->first = s;
    if (next)
        next->prev = s;
    else
        q->last = s;
    s->place = SEQUENCE_WAITING;
    q->count++;
    q->tokens += s->n_tokens;
}

void queue_push_back(struct queue *q, struct sequence *s) {
    link_between(q, q->last, s, NULL);
}

void queue_push_front(struct queue *q, struct sequence *s) {
    link_between(q, NULL, s, q->first);
}

void queue_remove(struct queue *q, struct sequence *s) {
    if (s->prev)
        s->prev->next = s->next;
    else
        q->first = s->next;
    if (s->next)
        s->next->prev = s->prev;
    else
        q->last = s->prev;
    s->prev = s->next = NULL;
    q->count--;
    q->tokens -= s->n_tokens;
}
