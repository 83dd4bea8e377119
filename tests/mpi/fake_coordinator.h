/* fake_coordinator.h: a coordinator in a test's hands, with a real job of lockstep-worker ranks.
 *
 * It starts mpirun, gives rank 0 the start line, listens on a Unix socket and speaks frames, so a
 * test decides message by message what a coordinator says, also what a good one never would.  All
 * functions are cmocka assertions: they fail the test when something does not go as it should.
 * One thread. */
// SPDX-License-Identifier: MIT
#ifndef TESTS_FAKE_COORDINATOR_H
#define TESTS_FAKE_COORDINATOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/buf.h"
#include "common/mem.h"
#include "common/model.h"
#include "common/wire.h"

#define FAKE_MAX_RANKS 8
#define FAKE_MAX_SHM   16
#define FAKE_SECRET    "0123456789abcdef0123456789abcdef"
#define FAKE_EPOCH     3

struct fake_peer {
    int fd; // -1: not connected, or ended
    struct buf in;
    size_t taken;
    pid_t pid;
    uint32_t n_shm;
    char shm[FAKE_MAX_SHM][160];
    struct wire_heartbeat beat; // the last one heard
    uint32_t beats;
};

struct fake {
    int size, listener;
    pid_t mpirun;
    char directory[64], socket_path[96];
    struct fake_peer lifelines[FAKE_MAX_RANKS], link;
    uint64_t sent; // messages on the link so far
    bool resting;  // the ranks wait for a WAKE
    struct arena arena, scratch;
};

struct fake_launch {
    const char *worker; // path of the program
    int size;
    const char *other_dir; // working directory of the ranks above 0, or NULL
};

/* Starts mpirun and gives rank 0 the start line. */
void fake_start(struct fake *f, const struct fake_launch *launch);
/* Takes everybody's hello and welcomes them. */
void fake_welcome(struct fake *f);
/* The same until rank `rank` says hello: it is refused with `code`. */
void fake_refuse(struct fake *f, int rank, err code, const char *message);
/* A message on the link, with WAKE for the others when they rest. */
void fake_tell(struct fake *f, const struct wire_message *m);
/* Bytes on the link that are no message. */
void fake_tell_bytes(struct fake *f, const void *bytes, size_t n);
/* The next message on the link that is not IDLE, within ten seconds; valid until the next call.
 * IDLE is noted, and answered by WAKE when there is work already. */
struct wire_message fake_hear(struct fake *f);
/* Reads everything that comes within `ms`: IDLE and heartbeats. */
void fake_listen(struct fake *f, int ms);
/* The next message from the link or any lifeline that is an ERROR. */
struct wire_error fake_hear_error(struct fake *f);
/* Waits for mpirun, at most limit_ms; its exit code, or 128 + signal. */
int fake_exit_code(struct fake *f, int limit_ms);
/* No rank lives any more after limit_ms, and no shared memory of theirs is left. */
void fake_expect_nothing_left(struct fake *f, int limit_ms);
void fake_hang_up(struct fake *f); // closes all connections
void fake_free(struct fake *f);

/* An equal cut of a model over n ranks. */
void fake_plan(struct plan *p, const struct model_shape *s, uint32_t n);

#endif
