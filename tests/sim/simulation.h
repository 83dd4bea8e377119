/* simulation.h: traffic through the scheduler and pretended ranks, in virtual time.
 *
 *   traffic ─► sched ─► fake_ranks ─► sched ─► clients
 *
 * It does what the engine does: steps are made when the scheduler says, results come after the time
 * that the machine takes and the way of the link, clients leave when the traffic says.  After each
 * event it checks what must always hold.  A failed check is a failure of the test that runs. */
// SPDX-License-Identifier: MIT
#ifndef TESTS_SIM_SIMULATION_H
#define TESTS_SIM_SIMULATION_H

#include "coordinator/scheduling/sched.h"
#include "tests/sim/fake_ranks.h"
#include "tests/sim/traffic.h"

struct sim_machine {
    uint64_t fixed_ns, token_ns; // of a step, of a token in it
    double depth_ns;             // of a token for every position before it
    uint64_t link_ns;            // one way between coordinator and rank 0
};

struct sim_options {
    struct sched_limits limits;
    struct sim_machine machine;
    bool one_flight; // a step is made only when no other is under way
};

struct sim_client {
    const struct traffic_request *request;
    struct simulation *sim;
    uint64_t id;
    bool refused, left, ended;
    err error;
    uint64_t digest[REQUEST_MAX_CHOICES + 1]; // of all that each choice said; last: of the prompt
    uint32_t n_tokens, n_finished, finished;  // finished: a bit for each choice
    struct request_usage usage;
    uint64_t ended_ns;
    uint64_t *token_ns; // [n_tokens] when each came
};

/* One choice of a request. */
struct sim_sequence {
    struct sim_client *client;
    uint32_t choice;
    uint64_t last_step; // that it was in; 0: none yet
};

struct simulation {
    struct sim_options options;
    const struct tokenizer *tokenizer;
    struct sched *sched;
    struct fake_ranks *ranks;
    struct sim_client *clients; // [n_clients]
    uint32_t n_clients;
    struct sim_sequence *sequences; // [n_sequences] by seq_id - 1
    uint32_t n_sequences;
    uint32_t *open; // [n_open] indices of those that have begun and not ended
    uint32_t n_open;
    uint64_t now_ns;
    uint64_t answer_ns[SCHED_MAX_FLIGHTS], rank_end_ns; // of the steps under way; of the last one
    uint32_t n_flights;
    uint32_t n_begun; // all sequences before this index have been in a step, or left
    uint64_t n_steps, n_ahead, idle_ns, busy_ns;
    uint32_t most_seqs, most_tokens;
};

void sim_open(struct simulation *s, const struct sim_options *o, const struct tokenizer *t);
/* Runs all of list[n] to its end, and checks that nothing is left. */
void sim_run(struct simulation *s, const struct traffic_request *list, uint32_t n);
void sim_close(struct simulation *s);

#endif
