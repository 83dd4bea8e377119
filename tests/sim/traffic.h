/* traffic.h: who asks what, and when: made up from a seed, or read from a recording. */
// SPDX-License-Identifier: MIT
#ifndef TESTS_SIM_TRAFFIC_H
#define TESTS_SIM_TRAFFIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/scheduling/request.h"

#define TRAFFIC_MAX_PROMPT 4096

/* One request.  Prompts of one group begin alike. */
struct traffic_request {
    uint64_t at_ns;
    uint32_t group, shared_tokens; // the first tokens follow from the group alone
    uint32_t n_prompt;
    uint32_t seed;
    struct request_params params;
    uint64_t cancel_after_ns; // 0: never
    uint32_t cancel_at_token; // from inside the sink, 0: never
    bool abandon;             // instead of cancel
};

struct traffic_options {
    uint32_t n_requests;
    uint64_t seed;
    double mean_gap_ns;
    uint32_t longest_prompt, longest_completion;
    uint32_t cancel_percent;
    uint32_t special_percent; // penalties, biases, stops, several choices, echoed prompts
};

/* The caller frees it with mem_free. */
struct traffic_request *traffic_make(const struct traffic_options *o);
/* A recording: lines of  MS GROUP SHARED PROMPT MAX_TOKENS N CANCEL_MS, `#` begins a comment. */
struct traffic_request *traffic_read(const char *path, uint32_t *n_requests);
/* prompt[n_prompt] of a request. */
void traffic_put_prompt(const struct traffic_request *r, int32_t *prompt);

#endif
