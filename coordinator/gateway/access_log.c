// SPDX-License-Identifier: MIT
/* access_log.c: see access_log.h.  Both forms come from one walk over the fields: a putter per form
 * writes key and value. */

#include "coordinator/gateway/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define KEEP_BYTES ((size_t)64 << 10) // of the line's memory: a prompt may be long

/* ---- one field ---- */

/* Does a value need quotes in logfmt? */
static bool is_plain(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (s[i] <= ' ' || s[i] >= 0x7f || s[i] == '"' || s[i] == '=' || s[i] == '\\') return false;
    return n > 0;
}

static void put_key(struct buf *out, enum access_format f, const char *key) {
    if (f == ACCESS_JSON)
        buf_printf(out, "%s\"%s\":", out->data[out->length - 1] == '{' ? "" : ",", key);
    else
        buf_printf(out, "%s%s=", out->length ? " " : "", key);
}

static void put_text(struct buf *out, enum access_format f, const char *key, const char *s,
                     size_t n) {
    bool quoted = f == ACCESS_JSON || !is_plain(s, n);
    put_key(out, f, key);
    if (quoted) buf_putc(out, '"');
    buf_append_json(out, s, n);
    if (quoted) buf_putc(out, '"');
}

static void put_string(struct buf *out, enum access_format f, const char *key, const char *s) {
    put_text(out, f, key, s, strlen(s));
}

static void put_number(struct buf *out, enum access_format f, const char *key, uint64_t n) {
    put_key(out, f, key);
    buf_printf(out, "%" PRIu64, n);
}

static void put_ms(struct buf *out, enum access_format f, const char *key, uint64_t ns) {
    put_key(out, f, key);
    buf_printf(out, "%.3f", (double)ns / 1e6);
}

/* ---- one line ---- */

static void put_time(struct buf *out, enum access_format f, int64_t unix_ms) {
    time_t s = unix_ms / 1000;
    struct tm t;
    char text[32];
    gmtime_r(&s, &t);
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &t);
    snprintf(text + n, sizeof text - n, ".%03dZ", (int)(unix_ms % 1000));
    put_string(out, f, "time", text);
}

static void put_completion(struct buf *out, enum access_format f, const struct access_line *line) {
    put_string(out, f, "id", line->id);
    put_number(out, f, "prompt_tokens", line->prompt_tokens);
    put_number(out, f, "cached_tokens", line->cached_tokens);
    put_number(out, f, "generated_tokens", line->generated_tokens);
    if (line->first_token_ns) put_ms(out, f, "first_token_ms", line->first_token_ns);
    put_string(out, f, "finish", line->finish);
}

void access_log_put(struct buf *out, enum access_format f, const struct access_line *line,
                    int64_t unix_ms) {
    if (f == ACCESS_JSON) buf_putc(out, '{');
    put_time(out, f, unix_ms);
    put_string(out, f, "client", line->client);
    put_string(out, f, "method", line->method);
    put_string(out, f, "path", line->path);
    put_number(out, f, "status", (uint64_t)line->status);
    if (line->id) put_completion(out, f, line);
    put_ms(out, f, "total_ms", line->total_ns);
    put_number(out, f, "bytes", line->bytes);
    if (line->prompt) put_text(out, f, "prompt", line->prompt, line->prompt_bytes);
    buf_puts(out, f == ACCESS_JSON ? "}\n" : "\n");
}

/* ---- the file ---- */

err access_log_open(struct access_log *l, const char *path, enum access_format format,
                    bool prompts) {
    *l = (struct access_log){.fd = STDERR_FILENO, .format = format, .prompts = prompts};
    buf_init(&l->line, 0);
    if (strcmp(path, "-") == 0) return ERR_OK;
    l->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (l->fd < 0)
        return FAIL(ERR_IO, "the access log '%s' cannot be opened: %s", path, strerror(errno));
    return ERR_OK;
}

void access_log_close(struct access_log *l) {
    if (l->fd > STDERR_FILENO) close(l->fd);
    buf_deinit(&l->line);
}

/* A line is written whole or not at all: what a full disk took of it is cut off again. */
static bool write_line(const struct access_log *l) {
    ssize_t n = write(l->fd, l->line.data, l->line.length);
    if (n == (ssize_t)l->line.length) return true;
    int cause = n < 0 ? errno : ENOSPC;
    struct stat file;
    if (n > 0 && fstat(l->fd, &file) == 0 && S_ISREG(file.st_mode) &&
        ftruncate(l->fd, file.st_size - n) != 0)
        cause = errno;
    errno = cause;
    return false;
}

void access_log_write(struct access_log *l, const struct access_line *line) {
    access_log_put(&l->line, l->format, line, clock_unix_ms());
    if (!write_line(l) && !l->failed) {
        l->failed = true;
        log_warn("the access log cannot be written: %s; requests are answered all the same",
                 strerror(errno));
    }
    if (l->line.capacity > KEEP_BYTES)
        buf_deinit(&l->line);
    else
        buf_clear(&l->line);
}
