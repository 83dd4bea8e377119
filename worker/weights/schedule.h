/* schedule.h: who reads which part of the files, in which round, and whose it is.
 *
 * The tensors are cut into chunks of whole rows, in the order of the files.  A chunk that one rank
 * alone holds is read by that rank and kept: no other rank hears of it.  The others are shared:
 * rows of a matrix that is cut by columns, vectors, rows that several ranks hold, all rows of a
 * rank that has no file.  Ranks with files take turns at reading those.  A round is a run of chunks
 * that fits everybody's staging memory.
 *
 * It follows from the model, the plan and the set of readers, so every rank works out the same one
 * and nobody asks anybody what comes next.  Any thread, Local. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_SCHEDULE_H
#define WORKER_SCHEDULE_H

#include "worker/weights/shard.h"

struct chunk {
    size_t part;
    uint64_t row_begin, row_end; // of the tensor
    uint32_t reader;             // a rank
    bool kept;                   // by its reader; else shared
    uint32_t step, steps;        // kept: a large matrix takes several rounds, this is one's share
};

struct schedule {
    const struct shard_part *parts; // [n_parts], these four are the caller's
    size_t n_parts;
    const struct model_shape *shape;
    const struct plan *plan;
    struct chunk *chunks; // [n_chunks]
    size_t n_chunks;
    size_t *rounds; // [n_rounds + 1] where each begins among the chunks
    size_t n_rounds;
    uint64_t total_bytes;
};

/* What a rank holds of a chunk, cut out of the file's rows. */
struct piece {
    uint64_t row_begin, row_end;
    uint64_t col_begin;      // a multiple of the type's block
    size_t row_bytes, bytes; // of the piece; 0: nothing of it
};

/* has_file[plan->size] says who can read.  ERR_MODEL when nobody can. */
MUST_USE err schedule_create(struct schedule *s, const uint8_t *has_file);
void schedule_free(struct schedule *s);

struct piece schedule_piece(const struct schedule *s, const struct chunk *c, uint32_t rank);
/* Bytes of the file that reading the chunk takes. */
uint64_t schedule_chunk_bytes(const struct schedule *s, const struct chunk *c);

#endif
