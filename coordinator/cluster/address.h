/* address.h: where the ranks find the coordinator.
 *
 * A control address is a Unix socket (all ranks on this host) or a TCP host and port.  Written
 * "unix:/path" or "tcp:HOST:PORT" to the ranks, "HOST[:PORT]" or "/path" by the user.
 * Name look-ups block: start-up only.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_ADDRESS_H
#define COORDINATOR_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/error.h"

#define ADDRESS_TEXT_BYTES 320 // of address_format

struct address {
    bool is_unix;
    char path[104]; // of a Unix socket
    char host[256]; // name or number, without brackets
    uint16_t port;  // 0: any free one
};

/* "HOST", "HOST:PORT", "[V6]:PORT" or a path with a '/'.  ERR_USAGE names the text. */
MUST_USE err address_parse(struct address *out, const char *text);
/* As the ranks read it.  `out` has ADDRESS_TEXT_BYTES. */
void address_format(const struct address *a, char *out);
/* The first socket address of a TCP address.  ERR_ADDRESS when the name is unknown. */
MUST_USE err address_resolve(const struct address *a, struct sockaddr_storage *out);

/* The number of this host's interface from which packets to `host` leave; false when the name does
 * not resolve or there is no way to it.  Sends nothing. */
bool address_toward(const char *host, char *out, size_t size);
/* The number of the first interface that is up and no loopback; false without one. */
bool address_of_this_host(char *out, size_t size);

/* The first host of a hostfile (mpirun's format) that is not `self` or localhost; *out is "" when
 * all are.  ERR_USAGE when the file cannot be read or names no host. */
MUST_USE err address_first_remote(const char *path, const char *self, char *out, size_t size);

#endif
