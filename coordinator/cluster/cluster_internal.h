/* cluster_internal.h: what the files of the cluster share: cluster.c (the running of it) and
 * cluster_begin.c (how it comes to be).  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_CLUSTER_INTERNAL_H
#define COORDINATOR_CLUSTER_INTERNAL_H

#include "coordinator/cluster/banner.h"
#include "coordinator/cluster/cause.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/cluster/cluster_model.h"
#include "coordinator/cluster/kvpool.h"
#include "coordinator/cluster/link.h"
#include "coordinator/cluster/roster.h"
#include "coordinator/cluster/supervisor.h"

#define CLUSTER_MAX_IN_FLIGHT 2

enum cluster_mode {
    MODE_LAUNCH, // we start mpirun
    MODE_MPIRUN, // mpirun started rank 0, and that started us
    MODE_WAIT    // somebody else starts the ranks
};

enum cluster_state {
    STATE_HELLO,   // ranks are being started and report
    STATE_OPENING, // rank 0 opens the model
    STATE_LOADING,
    STATE_READY,
    STATE_STOPPING, // SHUTDOWN is sent, the ranks end
    STATE_FAILING,  // something broke; evidence is collected for a moment
    STATE_CLOSING,  // processes are ended, handles are closed
};

struct cluster_member {
    bool lifeline, link; // connected
    bool said_last;      // it had announced its end
    unsigned silent_ticks;
};

struct cluster {
    uv_loop_t *loop;
    const struct options *options;
    const struct cluster_events *events;
    void *ctx;
    enum cluster_mode mode;
    enum cluster_state state;
    int bootstrap_fd;
    pid_t parent; // rank 0 in MODE_MPIRUN
    char host[64];

    struct cluster_model model;
    struct roster roster;
    struct kvpool pool;
    struct cause cause;
    struct banner_progress progress;
    struct link *link;
    struct supervisor *supervisor;
    uv_timer_t tick, deadline;
    unsigned n_open; // link, supervisor and timers that are not closed yet

    struct cluster_member *members; // [roster.size]
    uint32_t n_connected;           // lifelines and the link
    uint64_t n_sent;                // messages on rank 0's link
    bool idle;                      // the other ranks sleep
    uint64_t in_flight[CLUSTER_MAX_IN_FLIGHT];
    uint32_t n_in_flight;
    bool measuring;

    struct cluster_rank *ranks; // [roster.size]
    struct cluster_info info;
    bool informed; // info is filled
    err end_code;  // of `failed`; ERR_OK: `stopped`
    char end_message[1100];
};

/* cluster_begin.c: mode, addresses, listening, starting.  Errors before any handle exists are
 * returned; later ones end in cluster_fail. */
MUST_USE err cluster_begin(struct cluster *c);

/* cluster.c, for cluster_begin.c. */
extern const struct link_events cluster_link_events;
void cluster_set_size(struct cluster *c); // roster.size is known
void cluster_fail(struct cluster *c, err code, const char *message);

#endif
