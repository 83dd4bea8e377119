// SPDX-License-Identifier: MIT
/* cmd_run.c: `lockstep run`: one prompt, its continuation streamed to the terminal.
 *
 * Text goes to standard output as it is made and nothing else does; the summary goes to standard
 * error.  With --json, standard output holds one JSON object instead. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/mem.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/session.h"

struct run {
    const struct options *options;
    struct buf text; // all of it, for --json
    json_t *tokens;  // array, NULL without --json
    enum finish_reason reason;
    uint64_t submitted_ns, first_ns;
    bool output_lost; // standard output is closed: stop
    struct session session;
};

static json_t *number_array(const struct token_entry *t) {
    json_t *top = json_array();
    for (uint32_t i = 0; i < t->n_top; i++) {
        json_array_append_new(
            top, json_pack("[i, f]", t->top[i].token, session_json_logprob(t->top[i].logprob)));
    }
    return top;
}

/* A piece need not be whole UTF-8; JSON strings must be. */
static json_t *piece_json(const char *bytes, size_t n) {
    struct buf escaped;
    buf_init(&escaped, 0);
    buf_putc(&escaped, '"');
    buf_append_json(&escaped, bytes, n);
    buf_putc(&escaped, '"');
    json_t *s = json_loadb(escaped.data, escaped.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    buf_deinit(&escaped);
    return s ? s : json_string("");
}

static void on_text(void *ctx, uint32_t choice, const char *text, size_t bytes,
                    const struct token_entry *tokens, size_t n_tokens) {
    struct run *run = ctx;
    (void)choice;
    if (run->first_ns == 0) run->first_ns = clock_ns();
    for (size_t i = 0; run->tokens && i < n_tokens; i++) {
        json_t *entry = json_object();
        json_object_set_new(entry, "id", json_integer(tokens[i].token));
        json_object_set_new(entry, "piece", piece_json(tokens[i].piece, tokens[i].piece_bytes));
        json_object_set_new(entry, "logprob", json_real(session_json_logprob(tokens[i].logprob)));
        json_object_set_new(entry, "top", number_array(&tokens[i]));
        json_array_append_new(run->tokens, entry);
    }
    if (run->tokens) buf_append(&run->text, text, bytes);
    if (run->options->json || run->output_lost) return;
    if (fwrite(text, 1, bytes, stdout) != bytes || fflush(stdout) != 0) {
        run->output_lost = true;
        engine_cancel(run->session.engine, run->session.request_id);
    }
}

static void on_finish(void *ctx, uint32_t choice, enum finish_reason reason) {
    struct run *run = ctx;
    (void)choice;
    run->reason = reason;
}

static err make_params(struct request_params *p, const struct options *o) {
    request_params_init(p);
    p->max_tokens = o->max_tokens_given ? o->max_tokens : UINT32_MAX;
    p->sampling.temperature = (float)o->temperature;
    p->sampling.top_k = o->top_k;
    p->sampling.top_p = (float)o->top_p;
    p->sampling.min_p = (float)o->min_p;
    p->sampling.seed = o->seed;
    if (!o->seed_given && getrandom(&p->sampling.seed, sizeof p->sampling.seed, 0) < 0)
        return FAIL(ERR_IO, "the system gives no random numbers: %s", strerror(errno));
    for (size_t i = 0; i < o->n_stop; i++) p->stops[i] = o->stop[i];
    p->n_stops = o->n_stop;
    p->ignore_eos = o->ignore_eos;
    p->want_logprobs = true;
    p->top_n = o->logprobs;
    return ERR_OK;
}

static err on_ready(struct session *s) {
    struct run *run = s->ctx;
    struct request_params params;
    struct token_list prompt = {0};
    static const struct request_sink sink = {.text = on_text, .finish = on_finish};
    err e;
    TRY_GOTO(e, make_params(&params, s->options), done);
    TRY_GOTO(e, session_encode_prompt(s, &prompt), done);
    run->submitted_ns = clock_ns();
    e = session_submit(s, &prompt, &params, &sink, run);
done:
    token_list_deinit(&prompt);
    return e;
}

static double per_second(double n, uint64_t ns) {
    return ns ? n / ((double)ns / 1e9) : 0;
}

static json_t *timings_json(const struct run *run) {
    const struct request_usage *u = &run->session.usage;
    double decoded = u->completion_tokens > 1 ? u->completion_tokens - 1.0 : 0;
    return json_pack(
        "{s:f, s:f, s:f, s:f, s:f, s:f}", "load_ms",
        (double)(run->session.ready_ns - run->session.started_ns) / 1e6, "first_token_ms",
        run->first_ns ? (double)(run->first_ns - run->submitted_ns) / 1e6 : 0.0, "prompt_ms",
        (double)u->prefill_ns / 1e6, "prompt_per_second",
        per_second(u->prompt_tokens, u->prefill_ns), "predicted_ms", (double)u->decode_ns / 1e6,
        "predicted_per_second", per_second(decoded, u->decode_ns));
}

static err write_json(struct run *run) {
    const struct request_usage *u = &run->session.usage;
    json_t *root = json_object();
    json_object_set_new(root, "text",
                        json_stringn(run->text.length ? run->text.data : "", run->text.length));
    json_object_set(root, "tokens", run->tokens);
    const char *reason = finish_reason_name(run->reason);
    json_object_set_new(root, "finish_reason", reason ? json_string(reason) : json_null());
    json_object_set_new(root, "usage",
                        json_pack("{s:i, s:i, s:i}", "prompt_tokens", (int)u->prompt_tokens,
                                  "completion_tokens", (int)u->completion_tokens, "total_tokens",
                                  (int)(u->prompt_tokens + u->completion_tokens)));
    json_object_set_new(root, "ranks", session_ranks_json(&run->session));
    json_object_set_new(root, "timings", timings_json(run));
    char *text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    err e = ERR_OK;
    if (!text) return FAIL(ERR_INTERNAL, "the result could not be written as JSON");
    if (run->options->json) puts(text);
    if (run->options->json_out) e = session_write_file(run->options->json_out, text, strlen(text));
    free(text);
    return e;
}

static void print_summary(const struct run *run) {
    const struct request_usage *u = &run->session.usage;
    const struct cluster_info *info = engine_info(run->session.engine);
    double decoded = u->completion_tokens > 1 ? u->completion_tokens - 1.0 : 0;
    if (!run->options->json) {
        fflush(stdout);
        fputc('\n', stderr);
    }
    fprintf(stderr,
            "%u ranks | first token after %.1f ms | prefill %u tokens, %.1f tokens/s | decode %u "
            "tokens, %.1f tokens/s\n",
            info->size, run->first_ns ? (double)(run->first_ns - run->submitted_ns) / 1e6 : 0.0,
            u->prompt_tokens, per_second(u->prompt_tokens, u->prefill_ns), u->completion_tokens,
            per_second(decoded, u->decode_ns));
    for (uint32_t r = 0; r < info->size; r++) {
        const struct cluster_rank *k = &info->ranks[r];
        fprintf(stderr, "rank %u on %s: %.1f MiB of weights, %.1f MiB read from the file\n", r,
                k->host, (double)k->stats.weight_bytes / 1048576.0,
                (double)k->stats.file_bytes_read / 1048576.0);
    }
}

err cmd_run(const struct options *o) {
    if (!o->prompt && !o->prompt_file)
        return FAIL(ERR_USAGE, "there is no prompt: give --prompt TEXT or --prompt-file FILE");
    struct run run = {.options = o};
    buf_init(&run.text, 0);
    if (o->json || o->json_out) run.tokens = json_array();
    err e = session_run(&run.session, o, on_ready, &run);
    if (run.output_lost) e = FAIL(ERR_IO, "standard output was closed");
    if ((e == ERR_OK || e == ERR_CANCELLED) && run.session.usage.prompt_tokens) {
        print_summary(&run);
        if (e == ERR_OK && run.tokens) e = write_json(&run);
    }
    session_close(&run.session);
    json_decref(run.tokens);
    buf_deinit(&run.text);
    return e;
}
