// SPDX-License-Identifier: MIT
/* cluster_model.c: see cluster_model.h. */

#include "coordinator/cluster/cluster_model.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "coordinator/cluster/planner.h"

#define HEADERS_MAX_BYTES ((uint64_t)512 << 20)

/* Ranks may be started in another folder. */
static err make_absolute(char out[4096], const char *path) {
    char folder[2048] = "";
    if (*path != '/' && !getcwd(folder, sizeof folder))
        return FAIL(ERR_MODEL, "the current folder has no name: %s", strerror(errno));
    int n = snprintf(out, 4096, "%s%s%s", folder, *folder ? "/" : "", path);
    if (n < 0 || n >= 4096) return FAIL(ERR_MODEL, "the path %.80s… is too long", path);
    return ERR_OK;
}

static err understand(struct cluster_model *c) {
    TRY(model_create(&c->model, c->gguf));
    return tokenizer_create(&c->tokenizer, c->gguf);
}

err cluster_model_init(struct cluster_model *c, const char *path, bool remote) {
    *c = (struct cluster_model){0};
    buf_init(&c->headers, HEADERS_MAX_BYTES);
    TRY(make_absolute(c->path, path));
    if (remote && access(c->path, R_OK) != 0) {
        log_info("%s cannot be read on this host; rank 0 will send its headers", c->path);
        return ERR_OK;
    }
    TRY(gguf_open(&c->gguf, c->path));
    return understand(c);
}

void cluster_model_deinit(struct cluster_model *c) {
    plan_deinit(&c->plan);
    tokenizer_free(c->tokenizer);
    model_free(c->model);
    gguf_close(c->gguf);
    buf_deinit(&c->headers);
    *c = (struct cluster_model){0};
}

err cluster_model_opened(struct cluster_model *c, const struct wire_opened *o) {
    if (c->gguf) {
        uint64_t own = gguf_identity(c->gguf);
        if (own != o->identity)
            return FAIL(ERR_MISMATCH,
                        "%s is another model on rank 0's host: its identity is "
                        "%016" PRIx64 " there and %016" PRIx64 " here",
                        c->path, o->identity, own);
        return ERR_OK;
    }
    if (o->headers_bytes == 0 || o->headers_bytes > HEADERS_MAX_BYTES)
        return FAIL(ERR_PROTOCOL, "rank 0 announced %" PRIu64 " bytes of model headers",
                    o->headers_bytes);
    if (c->headers_bytes) return FAIL(ERR_PROTOCOL, "rank 0 has opened the model twice");
    c->headers_bytes = o->headers_bytes;
    return ERR_OK;
}

err cluster_model_take_headers(struct cluster_model *c, const struct wire_headers *h,
                               bool *complete) {
    *complete = false;
    if (c->gguf || h->n > c->headers_bytes - c->headers.length)
        return FAIL(ERR_PROTOCOL, "rank 0 sent more model headers than it had announced");
    buf_append(&c->headers, h->bytes, h->n);
    if (!h->last) return ERR_OK;
    if (c->headers.length != c->headers_bytes)
        return FAIL(ERR_PROTOCOL, "rank 0 sent %zu of %" PRIu64 " bytes of model headers",
                    c->headers.length, c->headers_bytes);
    TRY(gguf_from_headers(&c->gguf, c->headers.data, c->headers.length));
    buf_deinit(&c->headers);
    *complete = true;
    return understand(c);
}

err cluster_model_cut(struct cluster_model *c, const struct options *o, uint32_t size) {
    if (c->plan.size == size) return ERR_OK;
    const struct planner_options planner = {
        .size = size,
        .ctx_planned = planner_context(&c->model->shape, o->ctx),
        .kv_elem_bytes = o->kv_type == KV_F32 ? 4 : 2,
    };
    return planner_make(&c->plan, c->model, &planner);
}
