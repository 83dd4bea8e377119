/* conn_world.h: a server, its clients and a pretended engine in one process, over real sockets.
 *
 * `turn` lets the loop do what is due, without waiting; time is as a test says. */
// SPDX-License-Identifier: MIT
#ifndef TESTS_UNIT_COORDINATOR_GATEWAY_CONN_WORLD_H
#define TESTS_UNIT_COORDINATOR_GATEWAY_CONN_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "coordinator/gateway/conn.h"
#include "tests/unit/coordinator/gateway/fake_engine.h"

#define SECOND       ((uint64_t)1000 * 1000 * 1000)
#define UNREAD_BYTES ((size_t)256 << 10)

extern const struct client_limits limits; // of every world, to begin with

/* For cmocka_run_group_tests: the tokenizer of all worlds, and no SIGPIPE, as in lockstep. */
int open_conn_tests(void **state);
int close_conn_tests(void **state);

struct world {
    uv_loop_t loop;
    struct engine engine;
    struct gateway gateway;
    struct server server;
};

/* What is due, with moments for the kernel to deliver. */
void turn(struct world *w);
/* A server on a free port with `limits`. */
void open_world(struct world *w);
/* Everything is closed, and the loop agrees. */
void close_world(struct world *w);

struct client {
    int fd;
    struct buf heard;
    bool at_end; // the server has closed
};

/* A socket with a small buffer; it is connected to the server; both. */
void prepare(struct client *c);
void connect_to(struct world *w, struct client *c);
void dial(struct world *w, struct client *c);
void say(struct world *w, struct client *c, const char *text);
/* Until `wanted` bytes were heard, the server has closed, or nothing came for some seconds. */
void listen_for(struct world *w, struct client *c, size_t wanted);
/* What has come by now; the server's end too. */
void listen_to(struct world *w, struct client *c);
void hang_up(struct client *c);
/* Whether `text` is in what has come. */
bool hears(const struct client *c, const char *text);
/* What the server's clock does, at another time. */
void tick(struct world *w, uint64_t now_ns);
/* A request for a completion. */
const char *post(char out[600], const char *json);
/* A world with a client that waits for a completion. */
void open_with_request(struct world *w, struct client *c, const char *json);

#endif
