/* log.h: one line per event on standard error.
 *
 * Lines look like `12.345 warn  rank 1@host2: sentence`; the identity is set once at start.
 * A line is written by one write(2), so lines of threads and ranks do not mix.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include "common/error.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Sets the least important level that is written (default LOG_INFO).  Call before threads start. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* "error", "warn", "info" or "debug" → level; ERR_USAGE names the bad word. */
MUST_USE err log_parse_level(const char *name, enum log_level *out);
/* Who writes: "rank 1@host2", or NULL for none.  Copied, cut at 95 bytes. */
void log_set_identity(const char *who);

void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

#endif
