/* access_log.h: one line for every request that was answered, or whose client left.
 *
 *   time=2026-01-31T12:00:00.123Z client=10.0.0.7:40312 method=POST path=/v1/completions status=200
 *   id=cmpl-… prompt_tokens=12 cached_tokens=0 generated_tokens=64 first_token_ms=31.2
 *   total_ms=812.0 finish=length bytes=18211
 *
 * No text of a prompt is in it unless the operator asks.  A line is one write(2) to a file that is
 * opened for appending, so that others may rotate it by copying and truncating.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_ACCESS_LOG_H
#define COORDINATOR_ACCESS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"
#include "coordinator/cli/options.h"

struct access_line {
    const char *client, *method, *path; // as sent; escaped in the line
    int status;                         // 499: the client left before there was one
    uint64_t bytes;                     // of the answer's body
    uint64_t total_ns;
    /* Of completions only: NULL id for others. */
    const char *id;
    uint32_t prompt_tokens, cached_tokens, generated_tokens;
    uint64_t first_token_ns; // after the request; 0: none came
    const char *finish;      // "stop", "length", "abort" or "error"
    const char *prompt;      // NULL: not shown
    size_t prompt_bytes;
};

struct access_log {
    int fd;
    enum access_format format;
    bool prompts; // are shown
    bool failed;  // a write has failed, and it was said
    struct buf line;
};

/* `path` "-" is standard error.  ERR_IO names the file. */
MUST_USE err access_log_open(struct access_log *l, const char *path, enum access_format format,
                             bool prompts);
void access_log_close(struct access_log *l);
/* A line that cannot be written is lost as a whole, and the first such loss is said in the log. */
void access_log_write(struct access_log *l, const struct access_line *line);
/* The line as text, with its end; unix_ms is its time. */
void access_log_put(struct buf *out, enum access_format format, const struct access_line *line,
                    int64_t unix_ms);

#endif
