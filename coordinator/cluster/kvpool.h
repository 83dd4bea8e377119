/* kvpool.h: how many blocks the KV cache has.
 *
 * One number for the whole cluster, since a block id means the same tokens on every rank: what the
 * tightest host allows, after its ranks' weights and working memory.  Pure.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_KVPOOL_H
#define COORDINATOR_KVPOOL_H

#include <stdint.h>

#include "common/error.h"
#include "common/model.h"
#include "common/plan.h"
#include "coordinator/cli/options.h"
#include "coordinator/cluster/roster.h"

struct kvpool {
    uint32_t ctx; // tokens a request may hold
    uint32_t blocks;
    uint32_t max_step_tokens;
    uint64_t rank_bytes; // most that a rank needs: weights, KV, working memory
    uint64_t kv_bytes;   // of all ranks together
};

/* The user's numbers if there are any, else enough for max_batch requests of the whole context, but
 * no more than a part of what the hosts have.  ERR_MEMORY with what is needed and what there is,
 * when not even one request fits; a context shortened to a small pool is a warning. */
MUST_USE err kvpool_decide(struct kvpool *out, const struct options *o, const struct model *m,
                           const struct plan *p, const struct roster *r);

/* "1.5 GiB" into out[16]. */
void kvpool_format_bytes(uint64_t bytes, char out[16]);

#endif
