/* load_internal.h: what the parts of a load test share.  Internal to load.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_LOAD_INTERNAL_H
#define COORDINATOR_LOAD_INTERNAL_H

#include <stdbool.h>
#include <uv.h>

#include "coordinator/load/ask.h"
#include "coordinator/load/load.h"
#include "coordinator/load/load_client.h"

struct load {
    const struct load_plan *plan;
    uv_loop_t loop;
    uv_signal_t interrupt, terminate; // they do not keep the loop running
    struct target target;
    struct load_facts facts;
    struct ask_form form;
    struct ask_fit fit;
    uint64_t next_text; // its number: no two prompts of a run are the same
    bool interrupted;
    /* What runs at present. */
    struct load_client *clients[LOAD_MAX_CLIENTS]; // [n_clients]; NULL: closed
    uint32_t n_clients;
};

/* load_probe.c: finds out model and words per token. */
MUST_USE err load__probe(struct load *l);
/* load_level.c: runs one level to its end. */
void load__level(struct load *l, uint32_t clients, struct tally *t);
/* load.c: closes one of `clients`. */
void load__close(struct load *l, uint32_t index);

/* Most chunks with text that an answer of so many tokens may have: some servers cut tokens. */
static inline uint32_t load__max_chunks(uint32_t max_tokens) {
    return 4 * max_tokens + 64;
}

#endif
