// SPDX-License-Identifier: MIT
/* cmd_serve.c: `lockstep serve`: the HTTP gateway over the ranks until a signal or a lost rank.
 *
 *   listening ─► loading ─► ready ──SIGTERM, SIGINT, SIGUSR1──► draining ──► ranks end ──► exit 0
 *                   └────────┴── a rank is lost: streams get an error event ──► exit code of it
 *
 * The socket is open before the model is loaded, so that /health and /ready answer from the first
 * moment.  A second signal while draining stops at once; later ones change nothing, not the exit
 * code either. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/wire.h"
#include "coordinator/cli/commands.h"
#include "coordinator/gateway/server.h"

#define DRAIN_LOOK_MS  20
#define FILES_RESERVED 64 // descriptors for other things than clients and ranks
#define FILES_PER_RANK 2

struct serve {
    const struct options *options;
    uv_loop_t loop;
    uv_signal_t signals[3];
    uv_timer_t drain_timer;
    uint64_t draining_since_ns;
    bool ending; // the ranks are gone, or were never started
    struct gateway gateway;
    struct access_log access_log;
    struct server server;
    struct engine *engine;
    err result;
    char message[1024];
};

static void close_all(struct serve *s) {
    s->ending = true;
    if (!uv_is_closing((uv_handle_t *)&s->drain_timer))
        uv_close((uv_handle_t *)&s->drain_timer, NULL);
    server_close(&s->server, NULL, NULL);
}

static void name_model(struct gateway *g, const struct options *o) {
    if (o->alias) {
        snprintf(g->model_id, sizeof g->model_id, "%s", o->alias);
        return;
    }
    const char *name = strrchr(o->model, '/');
    name = name ? name + 1 : o->model;
    size_t n = strlen(name);
    if (n > 5 && strcmp(name + n - 5, ".gguf") == 0) n -= 5;
    snprintf(g->model_id, sizeof g->model_id, "%.*s", (int)n, name);
}

static void on_ready(void *ctx) {
    struct serve *s = ctx;
    const struct cluster_info *info = engine_info(s->engine);
    err e = chat_template_use_model(s->gateway.chat_template, info->gguf, info->tokenizer);
    if (e != ERR_OK) {
        s->result = e;
        snprintf(s->message, sizeof s->message, "%s", error_message());
        engine_stop(s->engine);
        return;
    }
    snprintf(s->gateway.fingerprint, sizeof s->gateway.fingerprint, "%.40s-%08llx", wire_build_id(),
             (unsigned long long)(plan_hash(info->plan) & 0xffffffffu));
    log_info("ready: %s on %u ranks, http://%s; chats: %s", s->gateway.model_id, info->size,
             s->server.listener.address,
             chat_template_is_plain(s->gateway.chat_template) ? "plain transcripts"
                                                              : "by their template");
}

static void on_failed(void *ctx, err code, const char *message) {
    struct serve *s = ctx;
    s->result = code;
    snprintf(s->message, sizeof s->message, "%s", message);
    close_all(s);
}

static void on_stopped(void *ctx) {
    close_all((struct serve *)ctx);
}

static const struct engine_events engine_callbacks = {
    .ready = on_ready, .failed = on_failed, .stopped = on_stopped};

static void on_drain_look(uv_timer_t *timer) {
    struct serve *s = timer->data;
    struct engine_counts c = engine_get_counts(s->engine);
    double waited_s = (double)(clock_ns() - s->draining_since_ns) / 1e9;
    bool late = waited_s > s->options->drain_timeout;
    if (c.running + c.waiting > 0 && !late) return;
    if (late)
        log_warn("the drain limit has passed: %u requests are cut off", c.running + c.waiting);
    uv_timer_stop(timer);
    engine_stop(s->engine);
}

static void on_signal(uv_signal_t *signal, int number) {
    struct serve *s = signal->data;
    if (s->ending) return;
    if (s->gateway.draining || !engine_info(s->engine)) {
        uv_timer_stop(&s->drain_timer);
        engine_stop(s->engine);
        return;
    }
    log_info("signal %d: no new requests, running ones may finish", number);
    s->gateway.draining = true;
    s->draining_since_ns = clock_ns();
    engine_drain(s->engine);
    uv_timer_start(&s->drain_timer, on_drain_look, 0, DRAIN_LOOK_MS);
}

static err write_port_file(const char *path, uint16_t port) {
    char draft[4096];
    if (snprintf(draft, sizeof draft, "%s.new", path) >= (int)sizeof draft)
        return FAIL(ERR_IO, "the name of the port file is too long");
    FILE *f = fopen(draft, "we");
    if (!f) return FAIL(ERR_IO, "the port file '%s' cannot be written: %s", path, strerror(errno));
    bool failed = fprintf(f, "%u\n", port) < 0;
    failed |= fclose(f) != 0;
    if (!failed && rename(draft, path) == 0) return ERR_OK;
    err e = FAIL(ERR_IO, "the port file '%s' cannot be written: %s", path, strerror(errno));
    unlink(draft);
    return e;
}

static err announce(struct serve *s) {
    printf("listening on http://%s\n", s->server.listener.address);
    if (fflush(stdout) != 0)
        return FAIL(ERR_IO, "standard output cannot be written: %s", strerror(errno));
    if (s->options->port_file) TRY(write_port_file(s->options->port_file, s->server.listener.port));
    return ERR_OK;
}

/* They are watched as long as the loop runs, but do not keep it running. */
static void watch_signals(struct serve *s) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGUSR1};
    for (size_t i = 0; i < 3; i++) {
        CHECK(uv_signal_init(&s->loop, &s->signals[i]) == 0);
        s->signals[i].data = s;
        uv_signal_start(&s->signals[i], on_signal, numbers[i]);
        uv_unref((uv_handle_t *)&s->signals[i]);
    }
    CHECK(uv_timer_init(&s->loop, &s->drain_timer) == 0);
    s->drain_timer.data = s;
}

static void forget_signals(struct serve *s) {
    for (size_t i = 0; i < 3; i++)
        if (s->signals[i].data) uv_close((uv_handle_t *)&s->signals[i], NULL);
}

static err open_access_log(struct serve *s) {
    const struct options *o = s->options;
    if (strcmp(o->access_log, "off") == 0) return ERR_OK;
    TRY(access_log_open(&s->access_log, o->access_log, o->access_format, o->log_prompts));
    s->gateway.access_log = &s->access_log;
    return ERR_OK;
}

/* The environment is read once: what we start does not get to see the key. */
static err add_keys(struct api_keys *keys, const struct options *o) {
    const char *variable = getenv("LOCKSTEP_API_KEY");
    if (variable) TRY(api_keys_add(keys, variable, "LOCKSTEP_API_KEY"));
    CHECK(unsetenv("LOCKSTEP_API_KEY") == 0);
    for (size_t i = 0; i < o->n_api_keys; i++) TRY(api_keys_add(keys, o->api_keys[i], "--api-key"));
    return o->api_key_file ? api_keys_read(keys, o->api_key_file) : ERR_OK;
}

/* Who may use the gateway. */
static err guard_gateway(struct gateway *g, const struct options *o) {
    g->cors = (struct cors){.origins = o->cors_origins, .n = o->n_cors_origins};
    TRY(cors_check(&g->cors));
    err e = add_keys(&g->keys, o);
    if (e != ERR_OK) api_keys_deinit(&g->keys);
    return e;
}

err cmd_serve(const struct options *o) {
    struct serve s = {.options = o};
    TRY(guard_gateway(&s.gateway, o));
    err e = open_access_log(&s);
    if (e != ERR_OK) {
        api_keys_deinit(&s.gateway.keys);
        return e;
    }
    request_metrics_init(&s.gateway.metrics);
    CHECK(uv_loop_init(&s.loop) == 0);
    s.gateway.limits = client_limits_from_options(o);
    s.gateway.limits.connections = client_limits_make_room(
        s.gateway.limits.connections, FILES_RESERVED + FILES_PER_RANK * o->ranks);
    s.gateway.created_s = clock_unix_s();
    CHECK(getrandom(&s.gateway.id_prefix, sizeof s.gateway.id_prefix, 0) ==
          (ssize_t)sizeof s.gateway.id_prefix);
    s.gateway.page = !o->no_page;
    name_model(&s.gateway, o);
    e = chat_template_create(&s.gateway.chat_template, o->chat_template);
    if (e == ERR_OK) e = server_listen(&s.server, &s.loop, &s.gateway, o->host, o->port);
    if (e == ERR_OK) {
        watch_signals(&s);
        e = announce(&s);
        if (e == ERR_OK)
            e = engine_start(&s.engine, &s.loop, o, o->bootstrap_fd, &engine_callbacks, &s);
        s.gateway.engine = s.engine;
        if (e != ERR_OK) {
            s.result = e;
            snprintf(s.message, sizeof s.message, "%s", error_message());
            close_all(&s);
        }
    } else {
        s.result = e;
        snprintf(s.message, sizeof s.message, "%s", error_message());
    }
    uv_run(&s.loop, UV_RUN_DEFAULT);
    forget_signals(&s);
    engine_free(s.engine);
    chat_template_free(s.gateway.chat_template);
    api_keys_deinit(&s.gateway.keys);
    uv_run(&s.loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&s.loop) == 0);
    if (s.gateway.access_log) access_log_close(s.gateway.access_log);
    return s.result == ERR_OK ? ERR_OK : FAIL(s.result, "%s", s.message);
}
