// SPDX-License-Identifier: MIT
/* linear.c: see linear.h.
 *
 * Main thread of a rank and its team.  One code path for prefill and decode is what makes them give
 * the same bits: every type goes through the kernel table at any number of tokens.
 *
 * Quantised weights take an input rounded to 8 bits, which is good enough for weights of 4 or 5
 * bits.  Where it matters most (`fine`), weights of 6 and 8 bits take a second row, the rounded
 * rest of the first:
 *
 *     x = scale q + rest,   rest ~ scale' q'        W x ~ W (scale q) + W (scale' q')
 *
 * To the kernel these are two tokens: decode waits for memory, and the weights are read once. */

#include "worker/compute/linear.h"

#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "worker/compute/balance.h"
#include "worker/job/team.h"
#include "worker/weights/shard.h"

#define QUANTIZE_BLOCKS ((size_t)8)    // of a token before the next one's turn: they stay in L1
#define PAIR_TOKENS     ((size_t)32)   // tokens at once; when they are all, both rows in one call
#define PAIR_ROWS       ((size_t)1024) // rows of such a product at most
#define PAIR_BYTES      ((size_t)256 << 10) // of its weights: they stay in cache for the second row
#define PAIR_FLOATS     (2 * PAIR_TOKENS * PAIR_ROWS)

struct linear {
    const struct kernels *kernels;
    size_t max_cols, max_tokens, threads;
    /* the input */
    const float *x;
    size_t n, tokens;
    /* its 8-bit form, made when the first quantised matrix asks for it */
    struct act_rows q; // [q_planes * tokens, cols]: all first rows, then all second ones
    size_t q_begin;    // own column that x[.][0] was placed at
    size_t q_planes;   // rows per token; 0: not made yet
    void *q_memory;
    float *pairs; // [threads, PAIR_FLOATS] products of both rows
    struct balance *balance;
};

uint64_t linear_bytes(size_t max_cols, size_t max_tokens) {
    return act_rows_bytes(max_cols, 2 * max_tokens) + team_size() * PAIR_FLOATS * sizeof(float);
}

static err map_floats(float **out, size_t n) {
    void *p;
    TRY(mem_map(&p, n * sizeof **out));
    *out = p;
    return ERR_OK;
}

err linear_create(struct linear **out, const struct kernels *k, size_t max_cols,
                  size_t max_tokens) {
    err e = ERR_OK;
    struct linear *l = mem_zalloc(sizeof *l);
    l->kernels = k;
    l->max_cols = max_cols;
    l->max_tokens = max_tokens;
    l->threads = team_size();
    l->balance = balance_create(l->threads);
    TRY_GOTO(e, mem_map(&l->q_memory, act_rows_bytes(max_cols, 2 * max_tokens)), fail);
    TRY_GOTO(e, map_floats(&l->pairs, l->threads * PAIR_FLOATS), fail);
    *out = l;
    return ERR_OK;
fail:
    linear_free(l);
    return e;
}

void linear_free(struct linear *l) {
    if (!l) return;
    balance_free(l->balance);
    mem_unmap(l->q_memory, act_rows_bytes(l->max_cols, 2 * l->max_tokens));
    mem_unmap(l->pairs, l->threads * PAIR_FLOATS * sizeof(float));
    mem_free(l);
}

void linear_set_input(struct linear *l, const float *x, size_t n, size_t tokens) {
    CHECK(tokens <= l->max_tokens);
    l->x = x;
    l->n = n;
    l->tokens = tokens;
    l->q_planes = 0;
}

/* ---- the 8-bit input ---- */

static bool is_quantized(const struct linear_product *p) {
    return dtype_info(p->w->type)->quantized;
}

static bool takes_pairs(const struct linear_product *p) {
    return p->fine && (p->w->type == DTYPE_Q8_0 || p->w->type == DTYPE_Q6_K);
}

/* row[0..) = columns [begin, end) of token t's input as the matrix sees it: x lies at q_begin, the
 * columns around it belong to other ranks and are zero. */
static void place_columns(const struct linear *l, float *row, size_t t, size_t begin, size_t end) {
    size_t own_end = l->q_begin + l->n;
    size_t from = begin < l->q_begin ? l->q_begin : begin, to = end < own_end ? end : own_end;
    memset(row, 0, (end - begin) * sizeof *row);
    if (from < to)
        memcpy(row + from - begin, l->x + t * l->n + from - l->q_begin, (to - from) * sizeof *row);
}

/* Blocks [first, last) of token t's rows, at most QUANTIZE_BLOCKS. */
static void quantize_blocks(const struct linear *l, size_t t, size_t first, size_t last) {
    size_t begin = first * ACT_BLOCK, n = (last - first) * ACT_BLOCK;
    float row[QUANTIZE_BLOCKS * ACT_BLOCK];
    const float *x = row;
    struct act_rows out = l->q;
    out.cols = n;
    out.blocks = act_rows_block(&l->q, 0, first);
    if (l->q_begin == 0 && begin + n <= l->n)
        x = l->x + t * l->n + begin;
    else
        place_columns(l, row, t, begin, begin + n);
    if (l->q_planes == 1)
        l->kernels->quantize_row(&out, t, x, n);
    else
        l->kernels->quantize_twice(&out, t, l->tokens + t, x, n);
}

/* A thread's part of the rows: whole tokens, or a range of blocks where there are fewer tokens than
 * threads.  A few blocks of all its tokens at a time: the blocks of one token lie far apart, often
 * by a power of two, and those of the next token in the same cache lines. */
static void quantize_share(const void *arg, size_t thread, size_t threads) {
    const struct linear *l = arg;
    struct team_part tokens = {0, l->tokens}, blocks = {0, l->q.cols / ACT_BLOCK};
    if (l->tokens >= threads)
        tokens = team_part(l->tokens, thread, threads);
    else
        blocks = team_part(blocks.end, thread, threads);
    for (size_t first = blocks.begin, next; first < blocks.end; first = next) {
        next = blocks.end - first < QUANTIZE_BLOCKS ? blocks.end : first + QUANTIZE_BLOCKS;
        for (size_t t = tokens.begin; t < tokens.end; t++) quantize_blocks(l, t, first, next);
    }
}

/* Whether the team must make 8-bit rows before it multiplies; if so, where they go. */
static bool plan_rows(struct linear *l, const struct linear_product *products, size_t n) {
    const struct matrix *w = NULL;
    size_t planes = 1;
    for (size_t i = 0; i < n; i++) {
        if (products[i].w->rows == 0 || !is_quantized(&products[i])) continue;
        CHECK(!w || (w->cols == products[i].w->cols && w->own_begin == products[i].w->own_begin));
        w = products[i].w;
        if (takes_pairs(&products[i])) planes = 2;
    }
    if (!w) return false;
    if (l->q_planes >= planes && l->q.cols == w->cols && l->q_begin == w->own_begin) return false;
    CHECK(w->cols <= l->max_cols);
    act_rows_place(&l->q, l->q_memory, w->cols, planes * l->tokens);
    l->q_begin = w->own_begin;
    l->q_planes = planes;
    return true;
}

/* ---- the products ---- */

/* Rows [begin, end) times both rows of every token; pairs is the thread's. */
static void multiply_pairs(const struct linear *l, const struct linear_product *p, float *pairs,
                           size_t begin, size_t end) {
    const struct matrix *w = p->w;
    const size_t rows = end - begin, tokens = l->tokens;
    const uint8_t *packed = (const uint8_t *)w->packed + w->kernel->packed_bytes(begin, w->cols);

    for (size_t t = 0; t < tokens; t += PAIR_TOKENS) {
        size_t some = tokens - t < PAIR_TOKENS ? tokens - t : PAIR_TOKENS;
        float *second = pairs + some * rows;
        if (some == tokens) {
            struct act_rows both = act_rows_slice(&l->q, 0, 2 * tokens);
            w->kernel->matmul_q(pairs, rows, packed, rows, w->cols, 0, rows, &both);
        } else {
            struct act_rows a = act_rows_slice(&l->q, t, some);
            struct act_rows b = act_rows_slice(&l->q, tokens + t, some);
            w->kernel->matmul_q(pairs, rows, packed, rows, w->cols, 0, rows, &a);
            w->kernel->matmul_q(second, rows, packed, rows, w->cols, 0, rows, &b);
        }
        for (size_t i = 0; i < some; i++) {
            float *y = p->y + (t + i) * w->rows + begin;
            for (size_t r = 0; r < rows; r++) y[r] = pairs[i * rows + r] + second[i * rows + r];
        }
    }
}

/* Where weights are read more than once, those of a step stay in cache. */
static void multiply_all_pairs(const struct linear *l, const struct linear_product *p, float *pairs,
                               struct shard_rows mine) {
    const size_t panel = p->w->kernel->panel_rows;
    size_t step = PAIR_ROWS / panel * panel;
    if (l->tokens > PAIR_TOKENS) {
        const size_t panel_bytes = p->w->kernel->packed_bytes(panel, p->w->cols);
        const size_t fit = panel_bytes < PAIR_BYTES ? PAIR_BYTES / panel_bytes * panel : panel;
        if (fit < step) step = fit;
    }
    for (size_t begin = mine.begin; begin < mine.end; begin += step)
        multiply_pairs(l, p, pairs, begin, mine.end - begin < step ? mine.end : begin + step);
}

/* A thread's rows of one product. */
static void multiply_rows(const struct linear *l, const struct linear_product *p, size_t thread,
                          struct shard_rows mine) {
    const struct matrix *w = p->w;
    if (takes_pairs(p)) {
        multiply_all_pairs(l, p, l->pairs + thread * PAIR_FLOATS, mine);
    } else if (is_quantized(p)) {
        struct act_rows x = act_rows_slice(&l->q, 0, l->tokens);
        w->kernel->matmul_q(p->y, w->rows, w->packed, w->rows, w->cols, mine.begin, mine.end, &x);
    } else {
        w->kernel->matmul_f(p->y, w->rows, w->packed, w->rows, w->cols, mine.begin, mine.end, l->x,
                            l->n, l->tokens);
    }
    for (size_t t = 0; t < l->tokens && p->bias; t++)
        l->kernels->add(p->y + t * w->rows + mine.begin, p->bias + mine.begin,
                        mine.end - mine.begin);
}

/* y = bias, or 0. */
static void fill_bias(const struct linear *l, const struct linear_product *p) {
    size_t rows = p->w->rows;
    for (size_t t = 0; t < l->tokens && rows > 0; t++) {
        if (p->bias)
            memcpy(p->y + t * rows, p->bias, rows * sizeof *p->y);
        else
            memset(p->y + t * rows, 0, rows * sizeof *p->y);
    }
}

struct products {
    const struct linear *l;
    const struct linear_product *products;
    size_t n;
};

static void multiply_share(const void *arg, size_t thread, size_t threads) {
    const struct products *p = arg;
    const struct linear *l = p->l;
    const uint64_t begin_ns = threads > 1 ? clock_ns() : 0;
    size_t rows = 0;
    CHECK(thread < l->threads);
    for (size_t i = 0; i < p->n; i++) {
        const struct matrix *w = p->products[i].w;
        struct shard_rows mine =
            balance_rows(l->balance, w->rows, w->kernel->panel_rows, threads, thread);
        if (mine.begin == mine.end) continue; // more threads than panels
        multiply_rows(l, &p->products[i], thread, mine);
        rows += mine.end - mine.begin;
    }
    if (threads > 1) balance_note(l->balance, thread, rows, clock_ns() - begin_ns);
}

void linear_apply(struct linear *l, const struct linear_product *products, size_t n) {
    const struct products all = {l, products, n};
    CHECK(n <= LINEAR_MAX_PRODUCTS);
    for (size_t i = 0; i < n; i++)
        CHECK(products[i].w->rows == 0 ||
              l->n == products[i].w->own_end - products[i].w->own_begin);
    if (l->n == 0) {
        for (size_t i = 0; i < n; i++) fill_bias(l, &products[i]);
        return;
    }
    if (plan_rows(l, products, n)) team_run(quantize_share, l);
    balance_begin(l->balance, l->tokens);
    team_run(multiply_share, &all);
    balance_learn(l->balance, l->threads);
}
