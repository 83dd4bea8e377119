// SPDX-License-Identifier: MIT
/* cors.c: see cors.h.  Any header may be sent: what a page adds (the official client has several of
 * its own) is ignored by a server that reads four. */

#include "coordinator/gateway/cors.h"

#include <string.h>

#define TOKEN_CHARACTERS                                                                           \
    "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

static bool is_origin(const char *s) {
    if (strcmp(s, "*") == 0 || strcmp(s, "null") == 0) return true;
    const char *host = strstr(s, "://");
    if (!host || host == s) return false;
    host += 3;
    for (const char *c = s; *c; c++)
        if (*c <= ' ' || *c > '~' || (*c >= 'A' && *c <= 'Z')) return false;
    return *host && !host[strcspn(host, "/?#@")];
}

err cors_check(const struct cors *c) {
    for (size_t i = 0; i < c->n; i++)
        if (!is_origin(c->origins[i]))
            return FAIL(ERR_USAGE,
                        "--cors-origin %.100s: an origin is SCHEME://HOST[:PORT] in small letters "
                        "without a path, as browsers send it, or *",
                        c->origins[i]);
    return ERR_OK;
}

static bool allows_all(const struct cors *c) {
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->origins[i], "*") == 0) return true;
    return false;
}

bool cors_allows(const struct cors *c, const char *origin) {
    if (!*origin) return false;
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->origins[i], origin) == 0) return true;
    return allows_all(c);
}

void cors_put_headers(struct buf *out, const struct cors *c, const char *origin) {
    if (c->n == 0) return;
    bool all = allows_all(c), allowed = cors_allows(c, origin);
    if (!all) buf_puts(out, "Vary: Origin\r\n"); // also where it is not: caches must not mix
    if (!allowed) return;
    buf_printf(out, "Access-Control-Allow-Origin: %s\r\n", all ? "*" : origin);
    buf_puts(out, "Access-Control-Expose-Headers: Retry-After, X-Request-Id\r\n");
}

void cors_put_preflight(struct buf *out, const char *methods, const char *asked_headers) {
    size_t n = strlen(asked_headers);
    bool clean = n > 0 && strspn(asked_headers, TOKEN_CHARACTERS ", ") == n;
    buf_printf(out, "Access-Control-Allow-Methods: %s\r\n", methods);
    buf_printf(out, "Access-Control-Allow-Headers: %s\r\n",
               clean ? asked_headers : "Authorization, Content-Type");
    buf_puts(out, "Access-Control-Max-Age: 7200\r\n"); // more than browsers keep it anyway
}
