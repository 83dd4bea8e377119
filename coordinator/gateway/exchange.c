// SPDX-License-Identifier: MIT
/* exchange.c: what a connection asks of an exchange, whichever endpoint it belongs to. */

#include "coordinator/gateway/gateway.h"

void exchange_abort(struct exchange *x) {
    x->kind->abort(x);
}

void exchange_describe(const struct exchange *x, struct access_line *line) {
    if (x->kind->describe) x->kind->describe(x, line);
}

void exchange_put_prompts(const struct exchange *x, struct buf *out) {
    if (x->kind->put_prompts) x->kind->put_prompts(x, out);
}

uint64_t exchange_tick(struct exchange *x, uint64_t now_ns) {
    return x->kind->tick ? x->kind->tick(x, now_ns) : UINT64_MAX;
}
