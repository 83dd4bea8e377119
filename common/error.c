// SPDX-License-Identifier: MIT
/* error.c: one failure record per thread.
 *
 * The record is thread-local, so the lifeline thread of a rank and its main thread can fail
 * independently, and nothing is allocated: an error about missing memory must not need memory. */

#include "common/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char message[1024];
static _Thread_local char origin[128];

static const struct {
    const char *name, *text;
    int exit_code;
} errors[ERR_COUNT] = {
#define X(name_, exit_code_, text_) {.name = #name_, .text = (text_), .exit_code = (exit_code_)},
    ERROR_MAP(X)
#undef X
};

err error_fail(err code, const char *file, int line, const char *fmt, ...) {
    char fresh[sizeof message]; // the arguments may point into the old message
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(fresh, sizeof fresh, fmt, ap);
    va_end(ap);
    memcpy(message, fresh, sizeof message);
    snprintf(origin, sizeof origin, "%s:%d", file, line);
    return code;
}

err error_prefix(err code, const char *fmt, ...) {
    char prefix[512], joined[sizeof message];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, ap);
    va_end(ap);
    snprintf(joined, sizeof joined, "%s: %.*s", prefix, (int)(sizeof message - strlen(prefix) - 3),
             message);
    memcpy(message, joined, sizeof message);
    return code;
}

const char *error_message(void) {
    return message;
}

const char *error_origin(void) {
    return origin;
}

static size_t index_of(err code) {
    return (size_t)code < ERR_COUNT ? (size_t)code : ERR_INTERNAL;
}

const char *error_name(err code) {
    return errors[index_of(code)].name;
}

const char *error_text(err code) {
    return errors[index_of(code)].text;
}

int error_exit_code(err code) {
    return errors[index_of(code)].exit_code;
}

void error_check_failed(const char *file, int line, const char *what) {
    fprintf(stderr, "lockstep: broken invariant at %s:%d: %s\n", file, line, what);
    abort();
}
