// SPDX-License-Identifier: MIT
/* cmd_eval.c: `lockstep eval`: what the model expects after every position of a text.
 *
 * Prints a JSON line per position, {"position", "token", "top": [[id, log-probability]…]}, and a
 * last line {"perplexity", "tokens"}: the exponential of the mean negative log-probability of every
 * token but the first, null when there is none or it is beyond all numbers. */

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/session.h"

struct eval {
    struct buf lines; // for --json-out
    bool keep_lines;
    double log_sum;
    uint32_t scored, positions;
    struct session session;
};

static void print_line(struct eval *eval, const struct buf *line) {
    fwrite(line->data, 1, line->length, stdout);
    if (eval->keep_lines) buf_append(&eval->lines, line->data, line->length);
}

static void on_prompt(void *ctx, uint32_t first, const struct token_entry *entries, size_t n) {
    struct eval *eval = ctx;
    struct buf line;
    buf_init(&line, 0);
    for (size_t i = 0; i < n; i++) {
        buf_clear(&line);
        buf_printf(&line, "{\"position\":%u,\"token\":%d,\"top\":[", first + (uint32_t)i,
                   entries[i].token);
        for (uint32_t k = 0; k < entries[i].n_top; k++) {
            buf_printf(&line, "%s[%d,%.5f]", k ? "," : "", entries[i].top[k].token,
                       session_json_logprob(entries[i].top[k].logprob));
        }
        buf_puts(&line, "]}\n");
        print_line(eval, &line);
        eval->positions++;
        if (isnan(entries[i].logprob)) continue; // nothing stands before the first token
        eval->log_sum += (double)entries[i].logprob;
        eval->scored++;
    }
    buf_deinit(&line);
}

static void print_total(struct eval *eval) {
    struct buf line;
    buf_init(&line, 0);
    double perplexity = exp(-eval->log_sum / eval->scored);
    if (isfinite(perplexity)) {
        buf_printf(&line, "{\"perplexity\":%.6g,\"tokens\":%u}\n", perplexity, eval->positions);
    } else {
        buf_printf(&line, "{\"perplexity\":null,\"tokens\":%u}\n", eval->positions);
    }
    print_line(eval, &line);
    buf_deinit(&line);
}

static err on_ready(struct session *s) {
    struct eval *eval = s->ctx;
    static const struct request_sink sink = {.prompt = on_prompt};
    struct request_params params;
    request_params_init(&params);
    params.max_tokens = 0;
    params.want_prompt = true;
    params.prompt_top_n = s->options->logprobs;
    struct token_list prompt = {0};
    err e;
    TRY_GOTO(e, session_encode_prompt(s, &prompt), done);
    e = session_submit(s, &prompt, &params, &sink, eval);
done:
    token_list_deinit(&prompt);
    return e;
}

err cmd_eval(const struct options *o) {
    if (!o->prompt && !o->prompt_file)
        return FAIL(ERR_USAGE, "there is no text: give --prompt TEXT or --file FILE");
    struct eval eval = {.keep_lines = o->json_out != NULL};
    buf_init(&eval.lines, 0);
    err e = session_run(&eval.session, o, on_ready, &eval);
    if (e == ERR_OK) print_total(&eval);
    if (e == ERR_OK && fflush(stdout) != 0)
        e = FAIL(ERR_IO, "the result could not be written to standard output");
    if (e == ERR_OK && o->json_out)
        e = session_write_file(o->json_out, eval.lines.data, eval.lines.length);
    session_close(&eval.session);
    buf_deinit(&eval.lines);
    return e;
}
