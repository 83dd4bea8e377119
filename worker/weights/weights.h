/* weights.h: what one rank holds of the model: its slices, packed for its kernels.
 *
 * weights_load is collective: ranks that can open the file read disjoint ranges in large sequential
 * reads and hand the pieces to their owners, so every byte is read once per cluster, and no rank
 * ever holds more than its share plus a bounded staging buffer.  Main thread; the OpenMP team
 * packs. */
// SPDX-License-Identifier: MIT
#ifndef WORKER_WEIGHTS_H
#define WORKER_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "common/gguf.h"
#include "common/model.h"
#include "common/plan.h"
#include "worker/job/comm.h"
#include "worker/kernels/kernels.h"

/* A packed slice of a matrix: y[rows] = W x[cols]. */
struct matrix {
    const struct matmul_kernel *kernel;
    enum dtype type;
    size_t rows, cols;         // of the slice; cols counts whole blocks
    size_t own_begin, own_end; // columns of the slice that are this rank's; the rest is fed zeros
    void *packed;              // inside the rank's weight memory
    size_t packed_bytes;
};

struct layer_weights {
    const float *attn_norm, *ffn_norm; // [dim]
    struct matrix q, k, v;             // [my heads * head_dim, dim], [my KV heads * head_dim, dim]
    const float *q_bias, *k_bias, *v_bias; // [rows of q, k, v] or NULL
    struct matrix attn_out;                // [dim, my heads * head_dim, rounded to blocks]
    struct matrix gate, up;                // [my FFN columns, dim]
    struct matrix down;                    // [dim, my FFN columns, rounded to blocks]
};

struct weights {
    uint32_t n_layers;
    struct layer_weights *layers; // [n_layers]
    struct matrix token_embd;     // [my vocabulary rows, dim]
    struct matrix output;         // the same memory as token_embd when tied
    const float *output_norm;     // [dim]
    const float *rope_freqs;      // [rope_dim / 2] or NULL
    uint64_t bytes;               // packed weights and vectors held
    uint64_t file_bytes_read;     // by this rank
    void *memory;                 // one mapping
    size_t memory_bytes;
};

/* Called between rounds on rank 0 with bytes of the whole cluster. */
typedef void weights_progress(void *ctx, uint64_t bytes_done, uint64_t bytes_total);

/* Bytes weights_load will map on rank r: for the check before loading.  Local. */
uint64_t weights_packed_bytes(const struct model *m, const struct plan *p, uint32_t r,
                              const struct kernels *k);
/* `g` has files on the ranks that can read (gguf_has_files); at least one must.  Errors are agreed:
 * all ranks return the same one.  Collective. */
MUST_USE err weights_load(struct weights **out, struct comm *c, const struct gguf *g,
                          const struct model *m, const struct plan *p, const struct kernels *k,
                          weights_progress *progress, void *ctx);
void weights_free(struct weights *w); // Local.

#endif
