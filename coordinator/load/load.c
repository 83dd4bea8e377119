// SPDX-License-Identifier: MIT
/* load.c: see load.h.  Each part (a request before the first level, a level) runs the loop until
 * all its handles are closed; the signal handles are unreferenced and last as long as the loop. */

#include "coordinator/load/load.h"

#include <signal.h>
#include <stdio.h>

#include "common/mem.h"
#include "coordinator/load/load_internal.h"

void load__close(struct load *l, uint32_t index) {
    load_client_close(l->clients[index]);
    l->clients[index] = NULL;
}

/* Everything is dropped where it stands; the loop that runs comes to its end. */
static void on_signal(uv_signal_t *signal, int number) {
    struct load *l = signal->data;
    (void)number;
    l->interrupted = true;
    for (uint32_t i = 0; i < l->n_clients; i++)
        if (l->clients[i]) load__close(l, i);
}

static void watch_signal(struct load *l, uv_signal_t *signal, int number) {
    CHECK(uv_signal_init(&l->loop, signal) == 0);
    signal->data = l;
    uv_signal_start(signal, on_signal, number);
    uv_unref((uv_handle_t *)signal);
}

static void open_loop(struct load *l) {
    CHECK(uv_loop_init(&l->loop) == 0);
    watch_signal(l, &l->interrupt, SIGINT);
    watch_signal(l, &l->terminate, SIGTERM);
}

static void close_loop(struct load *l) {
    uv_close((uv_handle_t *)&l->interrupt, NULL);
    uv_close((uv_handle_t *)&l->terminate, NULL);
    uv_run(&l->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&l->loop) == 0);
}

static err run_levels(struct load *l, const struct load_events *events, void *ctx) {
    events->begin(ctx, &l->facts);
    for (size_t i = 0; i < l->plan->n_levels && !l->interrupted; i++) {
        struct tally t;
        load__level(l, l->plan->clients[i], &t);
        events->level(ctx, &t);
        tally_deinit(&t);
    }
    return l->interrupted ? FAIL(ERR_CANCELLED, "stopped by a signal") : ERR_OK;
}

err load_run(const struct load_plan *p, const struct load_events *events, void *ctx) {
    struct load *l = mem_zalloc(sizeof *l);
    err e = ERR_OK;
    l->plan = p;
    l->form = (struct ask_form){.target = &l->target,
                                .api_key = p->api_key,
                                .chat = p->chat,
                                .may_stop = p->may_stop,
                                .temperature = p->temperature,
                                .seed = p->seed};
    open_loop(l);
    TRY_GOTO(e, target_parse(&l->target, p->url), done);
    TRY_GOTO(e, target_resolve(&l->target), done);
    TRY_GOTO(e, load__probe(l), done);
    e = run_levels(l, events, ctx);
done:
    close_loop(l);
    mem_free(l);
    return e;
}
