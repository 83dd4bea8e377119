/* shard.h: which tensors a model's ranks hold, and where each goes in `struct weights`.
 *
 * The list of parts is the same on every rank (it follows from the model alone), so that a part's
 * index means the same tensor everywhere; slices and sizes of one rank follow from the plan.
 * Any thread.  Everything here is Local. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_SHARD_H
#define WORKER_SHARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/gguf.h"
#include "common/model.h"
#include "common/plan.h"
#include "worker/kernels/kernels.h"
#include "worker/weights/weights.h"

struct shard_part {
    const struct gguf_tensor *tensor;
    enum tensor_role role;
    bool is_vector; // a norm or a bias: travels whole, is kept as f32; else a packed matrix
    bool in_layer;
    uint32_t layer; // when in_layer
    size_t place;   // offset of its `struct matrix` or `const float *` in struct layer_weights, or
                    // in struct weights when it is outside the layers
};

/* All tensors the model uses, each once (a tied head is the embedding), in the order of the file:
 * by part, then offset.  Returns how many; *out is the caller's, mem_free. */
size_t shard_list_parts(const struct model *m, struct shard_part **out);

/* What rank r holds of a part: rows and columns for a matrix; for a vector row_begin, row_end count
 * elements of it. */
struct tensor_slice shard_slice(const struct shard_part *part, const struct model_shape *s,
                                const struct plan *p, uint32_t r);

/* Bytes in the rank's memory: packed for a matrix, f32 for a vector. */
size_t shard_held_bytes(const struct shard_part *part, const struct tensor_slice *slice,
                        const struct kernels *k);

/* The rows of a matrix that thread `thread` of `threads` multiplies with (and so touches first):
 * whole panels, sharing as evenly as they divide.  May be empty. */
struct shard_rows {
    size_t begin, end;
};
static inline struct shard_rows shard_thread_rows(size_t rows, size_t panel_rows, size_t threads,
                                                  size_t thread) {
    size_t panels = (rows + panel_rows - 1) / panel_rows;
    size_t begin = panels * thread / threads * panel_rows;
    size_t end = panels * (thread + 1) / threads * panel_rows;
    return (struct shard_rows){.begin = begin < rows ? begin : rows,
                               .end = end < rows ? end : rows};
}

#endif
