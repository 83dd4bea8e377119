/* plan.h: the cut of a model over N ranks, as plain numbers.
 *
 * The coordinator's planner makes a plan; every rank receives the same one.  All ranges are
 * half-open.  This header also answers what a plan means for one tensor (which rows, which
 * columns), so that planner, loader and memory estimates cannot disagree.  Any thread, Local. */
// SPDX-License-Identifier: MIT
#ifndef COMMON_PLAN_H
#define COMMON_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/model.h"

#define PLAN_MAX_RANKS 1024

struct range {
    uint32_t begin, end;
};
static inline uint32_t range_len(struct range r) {
    return r.end - r.begin;
}

struct plan_rank {
    struct range heads;    // query heads, never empty
    struct range kv_heads; // the KV heads those query heads read (ranks may share one: copies)
    struct range ffn;      // FFN columns, may be empty
    struct range vocab;    // rows of embedding and output head, may be empty
};

struct plan {
    uint32_t size;           // N
    struct plan_rank *ranks; // [size], owned
};

void plan_init(struct plan *p, uint32_t size); // all ranges empty
void plan_deinit(struct plan *p);
/* 64-bit hash of all numbers: equal on two processes that have the same cut. */
uint64_t plan_hash(const struct plan *p);
/* Ranges tile heads, ffn and vocab exactly and KV ranges fit the heads; ERR_PLAN otherwise. */
MUST_USE err plan_check(const struct plan *p, const struct model_shape *s);

/* How a tensor is divided. */
enum cut_kind {
    CUT_ROWS,      // column-parallel: a range of the file's rows
    CUT_COLUMNS,   // row-parallel: a range of each row, in whole blocks
    CUT_REPLICATED // every rank has all of it
};

struct tensor_slice {
    enum cut_kind kind;
    uint64_t row_begin, row_end; // rows of the file held
    uint64_t col_begin, col_end; // elements of each row held, on block boundaries (whole blocks)
    uint64_t own_col_begin, own_col_end; // the part of those that is really the rank's; the input
                                         // of the others is fed zeros (masked blocks)
};

/* What a matrix is to the cut. */
enum tensor_role {
    ROLE_ATTN_Q,
    ROLE_ATTN_KV,
    ROLE_ATTN_OUT,
    ROLE_FFN_UP /* gate and up */,
    ROLE_FFN_DOWN,
    ROLE_VOCAB /* embedding and output head */,
    ROLE_REPLICATED
};

/* The part of tensor `t` that rank r of the plan holds.  Biases of Q, K, V are matrices of one
 * column to this function: dims[0] counts as rows for CUT_ROWS of a 1-dimensional tensor. */
struct tensor_slice plan_slice(const struct plan *p, uint32_t r, const struct model_shape *s,
                               enum tensor_role role, const struct gguf_tensor *t);
/* Bytes of a slice in the file's own encoding. */
uint64_t plan_slice_bytes(const struct tensor_slice *slice, const struct gguf_tensor *t);

/* Per-rank totals in the file's encoding. */
uint64_t plan_weight_bytes(const struct plan *p, uint32_t r, const struct model *m);
/* Bytes of weights that one decode step reads: all but the embedding's rows that are not looked up
 * (a tied matrix counts once, as the head). */
uint64_t plan_read_bytes_per_token(const struct plan *p, uint32_t r, const struct model *m);
/* K and V of all layers for one token; elem_bytes is 2 (f16) or 4 (f32). */
uint64_t plan_kv_bytes_per_token(const struct plan *p, uint32_t r, const struct model_shape *s,
                                 uint32_t elem_bytes);

#endif
