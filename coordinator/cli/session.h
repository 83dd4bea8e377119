/* session.h: what `run`, `eval` and `bench` have in common: an event loop, an engine, the end.
 *
 * The command gives a function that is called when the engine is ready; it submits what it wants
 * with `session_submit` and the session ends when the request has, or it watches the engine itself
 * and says when to end.  Ctrl-C and SIGTERM cancel in good order.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_SESSION_H
#define COORDINATOR_SESSION_H

#include <jansson.h>
#include <uv.h>

#include "common/buf.h"
#include "common/tokenizer.h"
#include "coordinator/scheduling/engine.h"

struct session {
    const struct options *options;
    uv_loop_t loop;
    uv_signal_t interrupt, terminate;
    struct engine *engine;
    struct buf prompt;        // the text
    struct request_sink sink; // the command's; `end` is the session's own
    void *sink_ctx;
    uint64_t request_id;
    err (*ready)(struct session *s);
    const struct engine_events *watch; // step, idle and measured of it, or NULL
    void *ctx;                         // the command's
    struct request_usage usage;
    uint64_t started_ns, ready_ns;
    err result;
    char message[1024];
    bool ending;
};

/* Reads the prompt of the options if there is one (text, or a file, "-" for standard input), starts
 * the engine,
 * calls `ready`, runs until the request ended and all ranks are gone.  ERR_USAGE for a missing
 * file, ERR_REQUEST for invalid UTF-8, else what became of the request.  The engine (and
 * engine_info) stays valid for the command's last words: call session_close after. */
MUST_USE err session_run(struct session *s, const struct options *o,
                         err (*ready)(struct session *s), void *ctx);
void session_close(struct session *s);

/* From `ready`: the session's one request.  sink->end is not used. */
MUST_USE err session_submit(struct session *s, const struct token_list *prompt,
                            const struct request_params *p, const struct request_sink *sink,
                            void *sink_ctx);
/* From `ready`, instead: `step`, `idle` and `measured` of the engine go to these functions, with
 * the command's ctx, until session_end.  The first error counts, ERR_OK is none. */
void session_watch(struct session *s, const struct engine_events *events);
void session_end(struct session *s, err code, const char *message);
/* From `ready`: the prompt as token ids, with BOS where the model wants it. */
MUST_USE err session_encode_prompt(struct session *s, struct token_list *out);

/* A log-probability as JSON can say it: it has no infinity, so -9999 as the API of `serve` has it.
 */
double session_json_logprob(float logprob);
/* {"rank", "host", "weight_bytes", …} for each rank. */
json_t *session_ranks_json(const struct session *s);
/* Writes `text` as the file that --json-out names; ERR_IO names it. */
MUST_USE err session_write_file(const char *path, const char *text, size_t n);

#endif
