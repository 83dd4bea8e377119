// SPDX-License-Identifier: MIT
/* log.c: see log.h.  Level and identity are set before threads start and only read afterwards. */

#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"

static enum log_level threshold = LOG_INFO;
static char identity[96];

static const char *const level_names[] = {
    [LOG_ERROR] = "error",
    [LOG_WARN] = "warn",
    [LOG_INFO] = "info",
    [LOG_DEBUG] = "debug",
};

void log_set_level(enum log_level level) {
    threshold = level;
}

enum log_level log_get_level(void) {
    return threshold;
}

err log_parse_level(const char *name, enum log_level *out) {
    for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return ERR_OK;
        }
    }
    return FAIL(ERR_USAGE, "log level '%.40s' is not one of error, warn, info, debug", name);
}

void log_set_identity(const char *who) {
    snprintf(identity, sizeof identity, "%s", who ? who : "");
}

void log_write(enum log_level level, const char *fmt, ...) {
    if (level > threshold) return;
    char line[2048];
    double s = (double)clock_ns() / 1e9;
    int n = snprintf(line, sizeof line, "%9.3f %-5s %s%s", s, level_names[level], identity,
                     identity[0] ? ": " : "");
    if (n < 0) return;
    va_list ap;
    va_start(ap, fmt);
    int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
    va_end(ap);
    if (m < 0) return;
    size_t len = strlen(line);
    line[len++] = '\n';
    for (size_t done = 0; done < len;) {
        ssize_t w = write(STDERR_FILENO, line + done, len - done);
        if (w <= 0) return; // standard error is gone; there is nobody left to tell
        done += (size_t)w;
    }
}
