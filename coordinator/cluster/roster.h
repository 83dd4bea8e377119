/* roster.h: who is in the cluster, and who may come in.
 *
 * Judges HELLOs and keeps what the ranks said about themselves.  Pure: no sockets, no processes.
 * Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_ROSTER_H
#define COORDINATOR_ROSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/wire.h"

struct roster_rank {
    bool here; // its lifeline said HELLO
    char host[64];
    int64_t pid;
    char isa[32], mpi[96], transport[96], cpus[128];
    uint32_t threads, local_size;
    uint64_t memory_available_bytes;
    char **warnings; // [n_warnings], owned
    uint32_t n_warnings;
};

struct roster {
    uint32_t size;             // 0 until the first HELLO when nobody said it before
    struct roster_rank *ranks; // [size]
    uint32_t n_here;
    bool has_link; // rank 0's
    /* What a HELLO must say. */
    char secret[129];
    char build_id[96];
    uint64_t epoch;
};

enum hello_verdict {
    HELLO_ACCEPT,
    HELLO_STRANGER, // it does not know the secret: not a word to it
    HELLO_REFUSE,   // ours, but not wanted (another epoch, a rank that is here): tell it
    HELLO_MISMATCH, // ours, and the job cannot work like this: tell it and the user
};

void roster_init(struct roster *r, uint32_t size, const char *secret, const char *build_id,
                 uint64_t epoch);
void roster_deinit(struct roster *r);

/* Judges; for HELLO_REFUSE and HELLO_MISMATCH writes a sentence with both values. */
enum hello_verdict roster_judge(const struct roster *r, const struct wire_hello *h, char *why,
                                size_t why_size);
/* Notes an accepted HELLO. */
void roster_add(struct roster *r, const struct wire_hello *h);
bool roster_is_complete(const struct roster *r);
/* "ranks 1 and 3 of 4 did not report" (and rank 0's link) into `out`. */
void roster_describe_missing(const struct roster *r, struct buf *out);
/* "rank 3 on host2", or "rank 3" before its HELLO, into out[96]. */
void roster_name(const struct roster *r, uint32_t rank, char out[96]);
/* The first rank of the same host: hosts are counted and grouped by it. */
uint32_t roster_host_leader(const struct roster *r, uint32_t rank);
uint32_t roster_host_count(const struct roster *r);

#endif
