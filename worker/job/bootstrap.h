/* bootstrap.h: how a rank learns where its coordinator is.
 *
 * Rank 0 reads one line, from its standard input or from a descriptor it inherited:
 *     LOCKSTEP1 EPOCH SECRET ADDRESS [ADDRESS…]\n
 * EPOCH counts launches, SECRET is 32 to 128 hex digits, an ADDRESS is unix:/path or tcp:HOST:PORT
 * (an IPv6 host in brackets); they are tried in order.  The secret never stands on a command line.
 * A struct bootstrap is plain bytes and travels to the other ranks as such.  Main thread. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_BOOTSTRAP_H
#define WORKER_BOOTSTRAP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

#define BOOTSTRAP_LINE_MAX      4096 // bytes, with the newline
#define BOOTSTRAP_SECRET_MIN    32   // hex digits
#define BOOTSTRAP_SECRET_MAX    128
#define BOOTSTRAP_ADDRESSES_MAX 16
#define BOOTSTRAP_ADDRESS_BYTES 256

struct bootstrap {
    uint64_t epoch; // >= 1
    bool joins;     // the coordinator was started by somebody else, perhaps later than we
    char secret[BOOTSTRAP_SECRET_MAX + 1];
    uint32_t n_addresses; // >= 1
    char addresses[BOOTSTRAP_ADDRESSES_MAX][BOOTSTRAP_ADDRESS_BYTES];
};

/* Reads the text of a line without its newline.  ERR_PROTOCOL says what is wrong with it.  Local.
 */
MUST_USE err bootstrap_parse(struct bootstrap *b, const char *line);
/* Reads one line from `fd`, blocking for at most timeout_ms, and not a byte more.  ERR_LAUNCH when
 * none comes.  Local. */
MUST_USE err bootstrap_read(struct bootstrap *b, int fd, int timeout_ms);
/* For a job that joins a coordinator which runs already: its HOST:PORT, and the secret from a file
 * (its first line) or, when that is NULL, from the environment variable LOCKSTEP_SECRET.  ERR_USAGE
 * names what is missing.  Local. */
MUST_USE err bootstrap_join(struct bootstrap *b, const char *host_port, const char *secret_file);

#endif
