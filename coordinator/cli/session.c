// SPDX-License-Identifier: MIT
/* session.c: see session.h.  An interrupt stops the ranks at once, whatever they do; the request
 * ends with what it has. */

#include "coordinator/cli/session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/utf8.h"

#define PROMPT_MAX_BYTES ((size_t)64 << 20)

static void remember(struct session *s, err e, const char *message) {
    if (s->result != ERR_OK) return; // the first reason counts
    s->result = e;
    snprintf(s->message, sizeof s->message, "%s", message);
}

static void stop(struct session *s) {
    if (s->ending) return;
    s->ending = true;
    engine_stop(s->engine);
}

static void close_signals(struct session *s) {
    uv_signal_stop(&s->interrupt);
    uv_signal_stop(&s->terminate);
    uv_close((uv_handle_t *)&s->interrupt, NULL);
    uv_close((uv_handle_t *)&s->terminate, NULL);
}

static void on_ready(void *ctx) {
    struct session *s = ctx;
    s->ready_ns = clock_ns();
    err e = s->ready(s);
    if (e != ERR_OK) {
        remember(s, e, error_message());
        stop(s);
    }
}

static void on_failed(void *ctx, err code, const char *message) {
    struct session *s = ctx;
    s->ending = true;
    remember(s, code, message);
    close_signals(s);
}

static void on_stopped(void *ctx) {
    close_signals((struct session *)ctx);
}

static void on_signal(uv_signal_t *signal, int number) {
    struct session *s = signal->data;
    remember(s, ERR_CANCELLED, number == SIGINT ? "stopped by Ctrl-C" : "stopped by a signal");
    stop(s);
}

static void on_step(void *ctx, const struct engine_step *step) {
    struct session *s = ctx;
    if (s->watch && !s->ending) s->watch->step(s->ctx, step);
}

static void on_idle(void *ctx) {
    struct session *s = ctx;
    if (s->watch && !s->ending) s->watch->idle(s->ctx);
}

static void on_measured(void *ctx, const struct measure_answer *answer) {
    struct session *s = ctx;
    if (s->watch && !s->ending) s->watch->measured(s->ctx, answer);
}

static const struct engine_events engine_callbacks = {.ready = on_ready,
                                                      .failed = on_failed,
                                                      .stopped = on_stopped,
                                                      .step = on_step,
                                                      .idle = on_idle,
                                                      .measured = on_measured};

/* ---- the prompt ---- */

static err read_file(struct buf *out, const char *path) {
    bool standard_input = strcmp(path, "-") == 0;
    int fd = standard_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return FAIL(ERR_USAGE, "the prompt file '%s': %s", path, strerror(errno));
    err e = ERR_OK;
    char chunk[65536];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) e = FAIL(ERR_IO, "reading the prompt file '%s': %s", path, strerror(errno));
        if (n <= 0) break;
        buf_append(out, chunk, (size_t)n);
        if (out->failed) {
            e = FAIL(ERR_REQUEST, "the prompt file '%s' is larger than %zu bytes", path,
                     PROMPT_MAX_BYTES);
            break;
        }
    }
    if (!standard_input) close(fd);
    return e;
}

static err check_utf8(const char *text, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t width = utf8_sequence(text + i, n - i, NULL);
        if (width == 0) return FAIL(ERR_REQUEST, "the prompt is not valid UTF-8 at byte %zu", i);
        i += width;
    }
    return ERR_OK;
}

static err read_prompt(struct session *s) {
    const struct options *o = s->options;
    if (o->prompt_file)
        TRY(read_file(&s->prompt, o->prompt_file));
    else
        buf_puts(&s->prompt, o->prompt);
    return check_utf8(s->prompt.data, s->prompt.length);
}

/* ---- the run of it ---- */

err session_run(struct session *s, const struct options *o, err (*ready)(struct session *s),
                void *ctx) {
    *s = (struct session){.options = o, .ready = ready, .ctx = ctx, .started_ns = clock_ns()};
    buf_init(&s->prompt, PROMPT_MAX_BYTES);
    err e =
        ERR_OK; // the prompt: before a model is loaded for nothing, and while Ctrl-C just ends us
    if (o->prompt || o->prompt_file) e = read_prompt(s);
    CHECK(uv_loop_init(&s->loop) == 0);
    CHECK(uv_signal_init(&s->loop, &s->interrupt) == 0);
    CHECK(uv_signal_init(&s->loop, &s->terminate) == 0);
    s->interrupt.data = s->terminate.data = s;
    uv_signal_start(&s->interrupt, on_signal, SIGINT);
    uv_signal_start(&s->terminate, on_signal, SIGTERM);
    if (e == ERR_OK)
        e = engine_start(&s->engine, &s->loop, o, o->bootstrap_fd, &engine_callbacks, s);
    if (e != ERR_OK) {
        remember(s, e, error_message());
        close_signals(s);
    }
    uv_run(&s->loop, UV_RUN_DEFAULT);
    return s->result == ERR_OK ? ERR_OK : FAIL(s->result, "%s", s->message);
}

void session_close(struct session *s) {
    engine_free(s->engine);
    s->engine = NULL;
    uv_run(&s->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&s->loop) == 0);
    buf_deinit(&s->prompt);
}

/* ---- the request ---- */

static void sink_prompt(void *ctx, uint32_t first, const struct token_entry *entries, size_t n) {
    struct session *s = ctx;
    if (s->sink.prompt) s->sink.prompt(s->sink_ctx, first, entries, n);
}

static void sink_text(void *ctx, uint32_t choice, const char *text, size_t bytes,
                      const struct token_entry *tokens, size_t n_tokens) {
    struct session *s = ctx;
    if (s->sink.text) s->sink.text(s->sink_ctx, choice, text, bytes, tokens, n_tokens);
}

static void sink_finish(void *ctx, uint32_t choice, enum finish_reason reason) {
    struct session *s = ctx;
    if (s->sink.finish) s->sink.finish(s->sink_ctx, choice, reason);
}

static void sink_end(void *ctx, const struct request_usage *usage, err error, const char *message) {
    struct session *s = ctx;
    s->usage = *usage;
    if (error != ERR_OK) remember(s, error, message);
    if (engine_get_state(s->engine) == ENGINE_READY) stop(s);
}

err session_submit(struct session *s, const struct token_list *prompt,
                   const struct request_params *p, const struct request_sink *sink,
                   void *sink_ctx) {
    static const struct request_sink forward = {
        .prompt = sink_prompt, .text = sink_text, .finish = sink_finish, .end = sink_end};
    s->sink = *sink;
    s->sink_ctx = sink_ctx;
    return engine_submit(s->engine, prompt->ids, prompt->count, p, &forward, s, &s->request_id);
}

err session_encode_prompt(struct session *s, struct token_list *out) {
    const struct buf *text = &s->prompt;
    int flags = TOKENIZE_ADD_SPECIAL | (s->options->parse_special ? TOKENIZE_PARSE_SPECIAL : 0);
    return tokenizer_encode(engine_info(s->engine)->tokenizer, text->length ? text->data : "",
                            text->length, flags, out);
}

void session_watch(struct session *s, const struct engine_events *events) {
    s->watch = events;
}

void session_end(struct session *s, err code, const char *message) {
    if (code != ERR_OK) remember(s, code, message);
    stop(s);
}

double session_json_logprob(float logprob) {
    return logprob >= -9999.0f ? (double)logprob : -9999.0; // also for what is no number
}

json_t *session_ranks_json(const struct session *s) {
    const struct cluster_info *info = engine_info(s->engine);
    json_t *ranks = json_array();
    for (uint32_t r = 0; info && r < info->size; r++) {
        const struct cluster_rank *rank = &info->ranks[r];
        json_array_append_new(ranks,
                              json_pack("{s:i, s:s, s:i, s:I, s:I, s:I, s:I}", "rank", (int)r,
                                        "host", rank->host, "threads", (int)rank->threads,
                                        "weight_bytes", (json_int_t)rank->stats.weight_bytes,
                                        "kv_bytes", (json_int_t)rank->stats.kv_bytes,
                                        "file_bytes_read", (json_int_t)rank->stats.file_bytes_read,
                                        "peak_rss_bytes", (json_int_t)rank->stats.peak_rss_bytes));
    }
    return ranks;
}

err session_write_file(const char *path, const char *text, size_t n) {
    FILE *f = fopen(path, "we");
    if (!f) return FAIL(ERR_IO, "'%s' cannot be written: %s", path, strerror(errno));
    bool failed = fwrite(text, 1, n, f) != n;
    failed |= fclose(f) != 0;
    if (failed) return FAIL(ERR_IO, "writing '%s': %s", path, strerror(errno));
    return ERR_OK;
}
