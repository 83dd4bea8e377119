/* cluster_model.h: what the coordinator knows of the model: headers, shape, tokenizer, cut.
 *
 * From its own file, or from headers that rank 0 sent when only the ranks can see the file.  Never
 * reads weights.  Loop thread; blocks while it reads headers. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_CLUSTER_MODEL_H
#define COORDINATOR_CLUSTER_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/gguf.h"
#include "common/model.h"
#include "common/plan.h"
#include "common/tokenizer.h"
#include "common/wire.h"
#include "coordinator/cli/options.h"

struct cluster_model {
    char path[4096]; // absolute, as the ranks open it
    struct gguf *gguf;
    struct model *model;
    struct tokenizer *tokenizer;
    struct plan plan;       // empty until cluster_model_cut
    struct buf headers;     // arriving from rank 0
    uint64_t headers_bytes; // that will arrive
};

/* Opens the file.  When it cannot be read here and `remote` says that a rank elsewhere may, there
 * is nothing yet (gguf is NULL) and headers are to be asked for.  Errors are those of the file. */
MUST_USE err cluster_model_init(struct cluster_model *c, const char *path, bool remote);
void cluster_model_deinit(struct cluster_model *c);
/* Compares rank 0's file with ours, or prepares for headers.  ERR_MISMATCH with both identities. */
MUST_USE err cluster_model_opened(struct cluster_model *c, const struct wire_opened *o);
/* A piece of headers; *complete when it was the last one and the model is there. */
MUST_USE err cluster_model_take_headers(struct cluster_model *c, const struct wire_headers *h,
                                        bool *complete);
/* The cut over `size` ranks; once. */
MUST_USE err cluster_model_cut(struct cluster_model *c, const struct options *o, uint32_t size);

#endif
