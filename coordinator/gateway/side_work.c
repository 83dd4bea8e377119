// SPDX-License-Identifier: MIT
/* side_work.c: see side_work.h. */

#include "coordinator/gateway/side_work.h"

bool side_line_wants(const struct side_line *l, size_t n) {
    return l->run && n > SIDE_WORK_MIN_BYTES;
}

static void run(struct side_line *l, struct side_work *w) {
    l->running = w;
    l->run(l, w);
}

err side_line_add(struct side_line *l, struct side_work *w) {
    w->next = NULL;
    if (!l->running) {
        run(l, w);
        return ERR_OK;
    }
    if (l->n_waiting == SIDE_WORK_MAX_WAITING)
        return FAIL(ERR_BUSY, "%u long requests wait to be read already: try again later",
                    l->n_waiting);
    struct side_work **end = &l->first;
    while (*end) end = &(*end)->next;
    *end = w;
    l->n_waiting++;
    return ERR_OK;
}

bool side_line_remove(struct side_line *l, struct side_work *w) {
    for (struct side_work **at = &l->first; *at; at = &(*at)->next) {
        if (*at != w) continue;
        *at = w->next;
        l->n_waiting--;
        return true;
    }
    return false;
}

void side_line_finished(struct side_line *l) {
    struct side_work *ended = l->running, *next = l->first;
    l->running = NULL;
    if (next) { // before `done`, which may add more: those who wait come first
        side_line_remove(l, next);
        run(l, next);
    }
    ended->done(ended);
}
