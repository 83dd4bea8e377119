/* client_limits.h: what one client may take of the server: bytes, headers, time, connections.
 *
 * Every limit is an option of `lockstep serve`, with its default in the table of options.  Read by
 * the parser, the connections and the exchanges.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_CLIENT_LIMITS_H
#define COORDINATOR_CLIENT_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#include "coordinator/cli/options.h"

struct client_limits {
    size_t head_bytes;    // request line and headers together
    uint32_t headers;     // and how many of them
    size_t body_bytes;    // of a request
    size_t unread_bytes;  // of answers that wait for a client to read
    uint32_t connections; // open at once
    uint64_t head_ns;     // from the first byte of a request to the end of its headers
    uint64_t body_ns;     // from there to the end of its body
    uint64_t idle_ns;     // between two requests
    uint64_t write_ns;    // unread bytes without progress
    uint64_t ping_ns;     // a stream that is silent
};

struct client_limits client_limits_from_options(const struct options *o);
/* Raises the process's limit of open files as far as it may, for so many connections and `reserved`
 * other descriptors besides those that are open.  Returns how many connections there is room for:
 * at most `wanted`, at least 1.  Says so in the log when it is fewer. */
uint32_t client_limits_make_room(uint32_t wanted, uint32_t reserved);

#endif
