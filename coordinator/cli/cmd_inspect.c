// SPDX-License-Identifier: MIT
/* cmd_inspect.c: `lockstep inspect`: what is in a model file.
 *
 * Works on every readable GGUF file: one that this build cannot serve is shown with the reason, and
 * so is a vocabulary without weights; only a file that cannot be read is an error.  No rank is
 * started, no weight is read. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/inspect.h"
#include "coordinator/cli/session.h"

err cmd_inspect(const struct options *o) {
    struct gguf *g;
    struct buf json, text;
    err e = ERR_OK;
    TRY(gguf_open(&g, o->model));
    buf_init(&json, 0);
    buf_init(&text, 0);
    if (o->json || o->json_out) inspect_put_json(g, &json);
    if (o->json_out) TRY_GOTO(e, session_write_file(o->json_out, json.data, json.length), done);
    if (!o->json) inspect_put_text(g, &text);
    const struct buf *shown = o->json ? &json : &text;
    if (fwrite(shown->data, 1, shown->length, stdout) != shown->length || fflush(stdout) != 0)
        e = FAIL(ERR_IO, "writing to standard output: %s", strerror(errno));
done:
    buf_deinit(&json);
    buf_deinit(&text);
    gguf_close(g);
    return e;
}
