// SPDX-License-Identifier: MIT
/* token_rate.c: see token_rate.h. */

#include "coordinator/gateway/token_rate.h"

#include <string.h>

#define PLACES   (TOKEN_RATE_SECONDS + 1) // the whole seconds and the one under way
#define NS_PER_S UINT64_C(1000000000)

/* Makes `now_s` the second of now_ns: the seconds between had no tokens. */
static void move_on(struct token_rate *r, uint64_t now_ns) {
    uint64_t now_s = now_ns / NS_PER_S;
    if (now_s - r->now_s >= PLACES) {
        memset(r->tokens, 0, sizeof r->tokens);
        r->now_s = now_s;
    }
    while (r->now_s < now_s) r->tokens[++r->now_s % PLACES] = 0;
}

void token_rate_add(struct token_rate *r, size_t n, uint64_t now_ns) {
    move_on(r, now_ns);
    r->tokens[r->now_s % PLACES] += n;
}

void token_rate_read(struct token_rate *r, uint64_t now_ns, uint64_t out[TOKEN_RATE_SECONDS]) {
    move_on(r, now_ns);
    for (uint64_t i = 0; i < TOKEN_RATE_SECONDS; i++)
        out[i] = r->tokens[(r->now_s + 1 + i) % PLACES];
}
