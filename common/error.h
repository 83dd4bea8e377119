/* error.h: errors are values.
 *
 * A function that can fail returns `err`; ERR_OK is 0.  The place that finds the fault calls FAIL()
 * with a sentence that a user can act on; callers forward with TRY or TRY_GOTO.  The sentence and
 * its file:line stay in a record of the calling thread until the next FAIL there.
 *
 * Three kinds of failure: bad input is an error value; a broken invariant is CHECK (kept in
 * release, ends the process); DCHECK is for hot loops, debug builds only.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COMMON_ERROR_H
#define COMMON_ERROR_H

#include <stddef.h>

/* X(name, exit code, what the user reads before the sentence).  The exit code of every program of
 * the project is the code of the error that ended it; the README's table is this table. */
#define ERROR_MAP(X)                                                                               \
    X(OK, 0, "no error")                                                                           \
    X(INTERNAL, 1, "internal error")                                                               \
    X(USAGE, 2, "bad option or argument")                                                          \
    X(MODEL, 3, "the model file is missing, damaged or not supported")                             \
    X(MEMORY, 4, "not enough memory")                                                              \
    X(PLAN, 5, "the model cannot be cut this way")                                                 \
    X(ADDRESS, 6, "an address or port cannot be used")                                             \
    X(MISMATCH, 7, "two processes do not match")                                                   \
    X(RANK_LOST, 8, "a rank was lost")                                                             \
    X(LAUNCH, 9, "the ranks could not be started")                                                 \
    X(REQUEST, 10, "the request was refused")                                                      \
    X(PROTOCOL, 11, "a peer broke the protocol")                                                   \
    X(IO, 12, "reading or writing failed")                                                         \
    X(CONTEXT, 13, "the prompt does not fit the context")                                          \
    X(BUSY, 14, "the queue is full")                                                               \
    X(CANCELLED, 130, "interrupted")

typedef enum err {
#define X(name, exit_code, text) ERR_##name,
    ERROR_MAP(X)
#undef X
        ERR_COUNT
} err;

/* On every declaration that returns err: GCC honours this on functions, not on types. */
#define MUST_USE __attribute__((warn_unused_result))

/* Records a failure of the calling thread and returns `code`.  `fmt` makes one sentence without a
 * final newline; it is cut at 1023 bytes.  Use the FAIL macro. */
MUST_USE err error_fail(err code, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#define FAIL(code, ...) error_fail((code), __FILE__, __LINE__, __VA_ARGS__)

/* Puts "prefix: " before the recorded sentence (a file's name, a rank) and returns `code`. */
MUST_USE err error_prefix(err code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The sentence of the calling thread's last failure, "" if there was none.  Valid until the next.
 */
const char *error_message(void);
/* "file:line" where it began. */
const char *error_origin(void);
/* The name ("MODEL"), the general text and the process exit code of an error. */
const char *error_name(err code);
const char *error_text(err code);
int error_exit_code(err code);

#define TRY(expr)                                                                                  \
    do {                                                                                           \
        err try_err_ = (expr);                                                                     \
        if (try_err_ != ERR_OK) return try_err_;                                                   \
    } while (0)

#define TRY_GOTO(e, expr, label)                                                                   \
    do {                                                                                           \
        (e) = (expr);                                                                              \
        if ((e) != ERR_OK) goto label;                                                             \
    } while (0)

/* Prints the broken invariant with file:line and aborts. */
_Noreturn void error_check_failed(const char *file, int line, const char *what);

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0)) error_check_failed(__FILE__, __LINE__, #cond);           \
    } while (0)

#ifdef NDEBUG
#define DCHECK(cond) ((void)sizeof(cond))
#else
#define DCHECK(cond) CHECK(cond)
#endif

#endif
