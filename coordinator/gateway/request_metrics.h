/* request_metrics.h: what the gateway counts about completions, for GET /metrics.
 *
 * A request with n choices counts n times where a choice finishes or has tokens, once where it
 * waits.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_REQUEST_METRICS_H
#define COORDINATOR_REQUEST_METRICS_H

#include <stdint.h>

#include "common/buf.h"
#include "coordinator/gateway/token_rate.h"
#include "coordinator/metrics/histogram.h"
#include "coordinator/scheduling/request.h"

struct request_metrics {
    uint64_t prompt_tokens, generated_tokens;
    uint64_t finished[FINISH_ERROR + 1]; // choices, by enum finish_reason
    struct token_rate rate;              // of generated tokens, for GET /cluster
    struct histogram first_token, between_tokens, whole, queue;
};

void request_metrics_init(struct request_metrics *m);
/* n > 0 tokens of a choice came together.  *last_ns: when its latest tokens before came, 0 for
 * none; becomes now_ns.  Tokens that come together count as evenly spaced. */
void request_metrics_tokens(struct request_metrics *m, uint64_t *last_ns, size_t n,
                            uint64_t begun_ns, uint64_t now_ns);
/* A request is complete. */
void request_metrics_complete(struct request_metrics *m, uint64_t queue_ns, uint64_t whole_ns);
void request_metrics_put(const struct request_metrics *m, struct buf *out);

#endif
