/* cause.h: why the ranks are lost, from everything that was seen.
 *
 * When one rank dies the others follow within milliseconds, and several things are noticed at
 * nearly the same time: a connection ends, mpirun says who died of what, an ERROR frame arrives,
 * mpirun itself exits.  The evidence is collected for a moment and the most telling piece becomes
 * the one sentence that the user gets.  Pure.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_CAUSE_H
#define COORDINATOR_CAUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "coordinator/cluster/launcher_output.h"
#include "coordinator/cluster/roster.h"

struct cause {
    bool found; // anything at all
    /* Said or decided: a rank's ERROR frame, a mismatch, a refusal by the coordinator. */
    bool has_error, error_before_loss;
    err error_code;
    char error_message[1024];
    /* The first connection that ended, or the first rank that was silent. */
    bool has_loss, loss_on_purpose;
    uint32_t lost_rank;
    bool lost_silent;  // connected, but without a sign of life
    char lost_why[64]; // how its connection ended
};

struct cause_launcher {
    const char *name; // NULL: none of ours
    bool ended;
    int exit_code, signal;
    const struct launcher_output *output;
};

/* A decision of the coordinator, or a sentence of a rank that names itself.  The first counts. */
void cause_error(struct cause *c, err code, const char *message);
void cause_rank_error(struct cause *c, const struct roster *r, const struct wire_error *e);
/* `why` says how its connection ended, NULL: it did not, but there is no sign of life; on_purpose:
 * the rank had announced its end. */
void cause_loss(struct cause *c, uint32_t rank, const char *why, bool on_purpose);
/* The launcher ended: evidence by itself, or the explanation of a loss. */
void cause_launcher_end(struct cause *c);

/* The error's code and the sentence in out[size].  `started`: all ranks had said HELLO. */
err cause_decide(const struct cause *c, const struct roster *r, const struct cause_launcher *l,
                 bool started, char *out, size_t size);

#endif
