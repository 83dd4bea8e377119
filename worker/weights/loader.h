/* loader.h: moves the model from the files to the ranks that own it, as schedule.h says.
 *
 * A round on one rank, with its team of threads:
 *
 *   shared chunks:  pread ─┬─ cut for the others ─► exchange over MPI ─► agree ─► pack what arrived
 *                          └─ pack my own columns         ║
 *   kept chunks:    pread a few hundred KB ─► pack, in each thread the rows that it will use
 *
 * So a kept byte passes through a thread's own cache once, and staging memory is bounded by what a
 * round may share.  Storage that is slower than memory is asked for the next round in advance.
 * Main thread; the team reads and packs. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_LOADER_H
#define WORKER_LOADER_H

#include "worker/weights/shard.h"

/* Where the pieces of one part go on this rank. */
struct loader_target {
    struct tensor_slice slice;
    struct matrix *matrix; // for matrices: packed memory in place (NULL memory when it is empty)
    float *vector;         // for vectors: [slice rows]
};

struct loader_job {
    struct comm *comm;
    const struct gguf *gguf;
    const struct model_shape *shape;
    const struct plan *plan;
    const struct shard_part *parts;      // [n_parts] as shard_list_parts gives them
    const struct loader_target *targets; // [n_parts] of this rank
    size_t n_parts;
    weights_progress *progress; // called on rank 0, may be NULL
    void *progress_ctx;
};

/* Fills the targets; *bytes_read counts what this rank read from the files.  Errors are agreed by
 * all ranks in the round in which they happen: ERR_MODEL when no rank has the file or it has become
 * shorter, ERR_IO.  Collective. */
MUST_USE err loader_run(const struct loader_job *job, uint64_t *bytes_read);

#endif
