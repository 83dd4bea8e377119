/* cors.h: which pages of other origins may use this server from a browser (the Fetch standard's
 * CORS protocol).
 *
 * Off without origins.  Every answer then says whether the origin that asked may read it; before a
 * request with JSON or a key a browser asks with OPTIONS.  Credentials are never allowed: keys are
 * sent in a header by the page itself, not by the browser.  Free of I/O.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_CORS_H
#define COORDINATOR_CORS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/error.h"

struct cors {
    const char *const *origins; // [n] as browsers write them, or "*": all
    size_t n;
};

/* ERR_USAGE when one of them is neither "*" nor SCHEME://HOST[:PORT] nor "null". */
MUST_USE err cors_check(const struct cors *c);
/* Is the page of this origin ("" when the header is absent) welcome? */
bool cors_allows(const struct cors *c, const char *origin);
/* Appends the header lines of any answer. */
void cors_put_headers(struct buf *out, const struct cors *c, const char *origin);
/* Appends the lines that answer a preflight besides: methods, and the headers that were asked for
 * ("" when there are none). */
void cors_put_preflight(struct buf *out, const char *methods, const char *asked_headers);

#endif
