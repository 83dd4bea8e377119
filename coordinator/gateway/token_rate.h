/* token_rate.h: how many tokens came in each of the last seconds.
 *
 * A ring with a place for each second; what is too old is cleared when the ring is next touched, so
 * no clock has to run.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TOKEN_RATE_H
#define COORDINATOR_TOKEN_RATE_H

#include <stddef.h>
#include <stdint.h>

#define TOKEN_RATE_SECONDS 60

struct token_rate {
    uint64_t now_s;                          // the second that is being counted
    uint64_t tokens[TOKEN_RATE_SECONDS + 1]; // second s is tokens[s % (TOKEN_RATE_SECONDS + 1)]
};

/* Times are of one clock that never goes back. */
void token_rate_add(struct token_rate *r, size_t n, uint64_t now_ns);
/* The last whole seconds, oldest first. */
void token_rate_read(struct token_rate *r, uint64_t now_ns, uint64_t out[TOKEN_RATE_SECONDS]);

#endif
