// SPDX-License-Identifier: MIT
/* conn_metrics.c: see conn_metrics.h. */

#include "coordinator/gateway/conn_metrics.h"

#include "coordinator/metrics/exposition.h"

static void put_ended(const struct conn_metrics *m, struct buf *out) {
    static const char name[] = "lockstep:connections_ended_total";
    static const char *const reasons[CONN_END_COUNT] = {[CONN_END_CLIENT_LEFT] = "client_left",
                                                        [CONN_END_BAD_REQUEST] = "bad_request",
                                                        [CONN_END_SLOW_REQUEST] = "slow_request",
                                                        [CONN_END_IDLE] = "idle",
                                                        [CONN_END_UNREAD] = "unread",
                                                        [CONN_END_STALLED] = "stalled",
                                                        [CONN_END_SENT_AHEAD] = "sent_ahead"};
    exposition_begin(out, name, "counter",
                     "Connections that ended for another reason than that all was said.");
    for (int i = 0; i < CONN_END_COUNT; i++)
        exposition_put_count(out, name, "", &(struct exposition_label){"reason", reasons[i]}, 1,
                             m->ended[i]);
}

void conn_metrics_put(const struct conn_metrics *m, struct buf *out) {
    exposition_put_gauge(out, "lockstep:num_connections", "Connections of clients that are open.",
                         m->open);
    exposition_put_counter(out, "lockstep:connections_total", "Connections that were accepted.",
                           m->accepted);
    exposition_put_counter(out, "lockstep:accept_pauses_total",
                           "Times that clients had to wait: for a connection to close, or a file.",
                           m->pauses);
    put_ended(m, out);
}
