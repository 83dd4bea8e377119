/* target.h: the server that is asked: its addresses, and what its paths begin with.
 *
 * Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TARGET_H
#define COORDINATOR_TARGET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/error.h"

#define TARGET_MAX_ADDRESSES 8

struct target {
    char host[256]; // without brackets
    uint16_t port;
    char authority[280]; // "host:port", for the Host header
    char prefix[512];    // what stands before "/v1/…": "" or "/name"
    struct sockaddr_storage addresses[TARGET_MAX_ADDRESSES];
    size_t n_addresses;
    size_t preferred; // the address that took a connection last
};

/* http://HOST[:PORT][/PREFIX][/v1]; port 80 when none is given.  ERR_USAGE says what is wrong. */
MUST_USE err target_parse(struct target *t, const char *url);
/* Asks for the host's addresses; blocks.  ERR_ADDRESS names the host. */
MUST_USE err target_resolve(struct target *t);

#endif
