/* secret.h: what a rank must know to be let in, and how it is told.
 *
 *   LOCKSTEP1 <epoch> <secret> <address> [<address>…]\n
 *
 * One line on rank 0's standard input (or its socket to the coordinator), never on a command line,
 * where every user of the host could read it.  Rank 0 broadcasts it.  A secret is 32 to 128 hex
 * digits.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_SECRET_H
#define COORDINATOR_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "coordinator/cluster/address.h"

#define SECRET_RANDOM_BYTES 32
#define SECRET_MIN_BYTES    32 // hex digits
#define SECRET_MAX_BYTES    128
#define SECRET_LINE_BYTES   1024

/* A fresh secret in hex.  `out` has SECRET_MAX_BYTES + 1. */
MUST_USE err secret_make(char *out);
/* For ranks that somebody else starts: the first line of `path` (made with mode 0600 and a fresh
 * secret when it does not exist), or without a path the environment's LOCKSTEP_SECRET.  ERR_USAGE
 * when there is none, or it is not 32 to 128 hex digits. */
MUST_USE err secret_read(char *out, const char *path);
/* In a time that does not depend on where they differ. */
bool secret_equal(const char *a, const char *b);

/* Writes rank 0's line with its newline and a NUL; returns its length. */
size_t secret_format_line(char out[SECRET_LINE_BYTES], uint64_t epoch, const char *secret,
                          const struct address *a);

#endif
