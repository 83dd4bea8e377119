// SPDX-License-Identifier: MIT
/* server_work.c: side work on a thread of libuv's pool: one request is enough, since one work runs
 * at a time.
 *
 * A long body becomes a million small pieces of memory.  Freed, the C library would keep them for
 * the thread that had them, and the pool has four: so they go back to the system at once. */

#include <malloc.h>
#include <stddef.h>

#include "coordinator/gateway/server.h"

static void on_work(uv_work_t *request) {
    struct side_work *w = request->data;
    w->work(w);
    malloc_trim(0);
}

static void on_done(uv_work_t *request, int status) {
    struct server *s = (struct server *)(void *)((char *)request - offsetof(struct server, work));
    (void)status; // it is never cancelled
    side_line_finished(&s->gateway->side);
}

static void run(struct side_line *l, struct side_work *w) {
    struct server *s = l->runner;
    s->work.data = w;
    CHECK(uv_queue_work(s->loop, &s->work, on_work, on_done) == 0);
}

void server_work_init(struct server *s) {
    s->gateway->side = (struct side_line){.run = run, .runner = s};
}
