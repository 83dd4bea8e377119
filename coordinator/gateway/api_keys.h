/* api_keys.h: who may ask: the keys that `Authorization: Bearer KEY` must hold one of.
 *
 * Without keys everybody may.  With keys /health, /ready and / stay open, since what asks for them
 * (a load balancer, a browser that has no key yet) can send none; everything else needs one, also
 * /metrics and paths that do not exist.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_API_KEYS_H
#define COORDINATOR_API_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

#define API_KEY_MAX_BYTES 255

struct api_keys {
    char **keys; // [n]
    size_t n;
};

/* Adds a key; `where` is what the user wrote it in, for messages.  ERR_USAGE when it is empty, too
 * long, or holds what cannot stand in a header: blanks, control characters, non-ASCII. */
MUST_USE err api_keys_add(struct api_keys *k, const char *key, const char *where);
/* Adds the lines of a file; empty ones and those that begin with # are passed over.  ERR_USAGE when
 * it cannot be read or holds none. */
MUST_USE err api_keys_read(struct api_keys *k, const char *path);
void api_keys_deinit(struct api_keys *k);

enum api_keys_verdict { API_KEY_GOOD, API_KEY_MISSING, API_KEY_WRONG };
/* May this path be asked for with this value of the header Authorization ("" when absent)?  Takes
 * the same time wherever a wrong key differs from a right one. */
enum api_keys_verdict api_keys_judge(const struct api_keys *k, const char *path,
                                     const char *authorization);

#endif
