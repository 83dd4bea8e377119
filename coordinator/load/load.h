/* load.h: a load test of any OpenAI-compatible server: level after level of so many clients at
 * once.
 *
 * Every client asks for one streamed completion after the other, on a connection that it keeps.
 * Before the first level two requests are made that are not measured: they show that the server
 * answers at all, and how many tokens a word is.  Owns its event loop; blocks. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_LOAD_H
#define COORDINATOR_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "coordinator/load/tally.h"

#define LOAD_MAX_CLIENTS 4096u

struct load_plan {
    const char *url;
    const char *model;       // NULL: the first that the server lists
    const char *api_key;     // NULL: none
    const uint32_t *clients; // [n_levels], each up to LOAD_MAX_CLIENTS
    size_t n_levels;
    uint64_t requests; // of a level, all clients together; 0: no bound
    double duration_s; // no request is begun later; 0: no bound (one of the two bounds is needed)
    double timeout_s;  // of one request
    uint32_t prompt_tokens, shared_prefix_tokens, max_tokens;
    bool chat, may_stop;
    double temperature;
    uint64_t seed;
};

/* What the server said before the first level. */
struct load_facts {
    char model[256];
    bool reports_usage; // else words count as tokens of prompts, chunks as generated ones
};

struct load_events {
    /* Once, before the first level. */
    void (*begin)(void *ctx, const struct load_facts *facts);
    /* After each level; the tally may be changed (sorted) and is gone after the call. */
    void (*level)(void *ctx, struct tally *t);
};

/* ERR_USAGE or ERR_ADDRESS for the URL; ERR_ADDRESS, ERR_IO or ERR_REQUEST with the server's words
 * when the requests before the first level fail; ERR_CANCELLED after Ctrl-C or SIGTERM (the present
 * level is reported as far as it came). */
MUST_USE err load_run(const struct load_plan *p, const struct load_events *events, void *ctx);

#endif
