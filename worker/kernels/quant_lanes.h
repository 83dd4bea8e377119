// SPDX-License-Identifier: MIT
/* quant_lanes.h: y = W x for quantised W in panels (panel.h), a template over lanes_*.h.
 *
 * Included once by the .c file of each instruction set, after its vocabulary.  The paper version:
 * for one row and one token, with 32 activations q of scale s and integer weights u >= 0,
 *
 *   y = sum over blocks of 32, ascending:  s * (scale * sum(u q) + min * sum(q))
 *
 * The integer sum is exact; a type whose weights are u - offset starts it at -offset * sum(q),
 * which quantize_row has stored.  Q6_K has a scale for each half of 16 and adds two such terms.
 * A panel is PANEL_VECTORS vectors of rows, which share the broadcast of a token's activations. Its
 * weights are unpacked into registers once per block and meet all tokens of a tile, whose sums wait
 * in L1.  What is added to a (row, token) and in which order is the same for every tile: the same
 * bits come out of any batch, row range or thread.
 *
 * All type parameters are constants in always-inline functions: each entry function at the end is
 * a specialised loop for one token, for two, or for many.  Hot: decode reads the whole model
 * through this file. */
#ifndef WORKER_KERNELS_QUANT_LANES_H
#define WORKER_KERNELS_QUANT_LANES_H

#include "worker/kernels/kernels.h"
#include "worker/kernels/panel.h"
#include "worker/kernels/unpack_lanes.h"

#define QUANT_FEW   2 // most tokens that have functions of their own
#define QUANT_TURNS 4 // parts of a block of 32 that is loaded and multiplied in turns

/* ---- the product --------------------------------------------------------------------------- */

static ALWAYS_INLINE vi quant_start(struct quant_format f, int32_t minus_sum) {
    if (f.bits == 0) return vi_dot_signed_start(minus_sum);
    return f.offset_log2 ? vi_shl(vi_set(minus_sum), f.offset_log2) : vi_set(0);
}

/* dot[t][v] = the sum of (u - offset) q over `groups` groups of four from `group` on, for each
 * token of x.  The tokens' chains of additions are interleaved: one alone would wait for itself. */
static ALWAYS_INLINE void quant_dots(struct quant_format f, vi (*dot)[PANEL_VECTORS],
                                     const struct quant_weights *q, int group, int groups,
                                     const struct act_block *x, int tokens) {
    const vi *w[PANEL_VECTORS];
    const int8_t *quads[QUANT_GROUP];

    for (int v = 0; v < PANEL_VECTORS; v++) w[v] = q[v].w + group;
    for (int t = 0; t < tokens; t++) {
        vi start = quant_start(f, groups == 8 ? x[t].minus_sum : x[t].minus_halves[group / 4]);
        for (int v = 0; v < PANEL_VECTORS; v++) dot[t][v] = start;
        quads[t] = x[t].q + 4 * group;
    }
    if (f.bits)
        vi_dots(dot, w, quads, groups, tokens, f.bits);
    else
        vi_dots_signed(dot, w, quads, groups, tokens);
}

/* term = scale * sum(u q) + min * sum(q) of 32 activations x, of which dot is the first sum. */
static ALWAYS_INLINE void quant_scale(struct quant_format f, vf *term,
                                      const struct quant_weights *q, const vi *dot,
                                      const struct act_block *x) {
    vf minus_sum = vf_of_vi(vi_set(x->minus_sum));
    for (int v = 0; v < PANEL_VECTORS; v++) {
        term[v] = vf_mul(q[v].scale[0], vf_of_vi(dot[v]));
        if (f.has_min) term[v] = vf_fma(q[v].minus_min, minus_sum, term[v]);
    }
}

/* The same of a few tokens, for each vector of the panel. */
static ALWAYS_INLINE void quant_terms(struct quant_format f, vf (*term)[PANEL_VECTORS],
                                      const struct quant_weights *q, const struct act_block *x,
                                      int tokens) {
    vi dot[QUANT_GROUP][PANEL_VECTORS];

    quant_dots(f, dot, q, 0, f.halves ? 4 : 8, x, tokens);
    for (int t = 0; t < tokens; t++) quant_scale(f, term[t], q, dot[t], &x[t]);
    if (!f.halves) return;
    quant_dots(f, dot, q, 4, 4, x, tokens);
    for (int t = 0; t < tokens; t++)
        for (int v = 0; v < PANEL_VECTORS; v++)
            term[t][v] = vf_fma(q[v].scale[1], vf_of_vi(dot[t][v]), term[t][v]);
}

/* Where the sums of a panel stand: those of token t and vector v at p + t * stride + v * LANES. */
struct quant_sums {
    float *p;
    size_t stride;
};

/* to = from + a block of 32, for up to QUANT_GROUP tokens. */
static ALWAYS_INLINE void quant_add_group(struct quant_format f, struct quant_sums to,
                                          struct quant_sums from, const struct quant_weights *q,
                                          const struct act_block *x, int tokens) {
    vf term[QUANT_GROUP][PANEL_VECTORS];

    quant_terms(f, term, q, x, tokens);
    for (int t = 0; t < tokens; t++, to.p += to.stride, from.p += from.stride)
        for (int v = 0; v < PANEL_VECTORS; v++) {
            vf sum = vf_load(from.p + v * LANES);
            vf_store(to.p + v * LANES, vf_fma(term[t][v], vf_set(x[t].scale), sum));
        }
}

/* How many panels of small blocks are read at once by one and two tokens. */
static ALWAYS_INLINE int quant_streams(struct quant_format f) {
    return f.subs > 1 ? 1 : QUANT_STREAMS;
}

/* How many small blocks of a panel a loop for so many tokens takes at once: fewer where that would
 * be too much code. */
static ALWAYS_INLINE int quant_unroll(struct quant_format f, int tokens) {
    const int most = tokens <= QUANT_FEW ? 8 : 4;
    if (f.subs > 1 || !QUANT_UNROLL) return 1;
    return f.bits || tokens == 1 ? most : most / 2;
}

/* How far ahead of its use memory is asked for, in bytes.  Several streams share what may be on its
 * way. */
static ALWAYS_INLINE int quant_ahead(struct quant_format f, int streams) {
    return f.subs > 1 ? 8192 : 6144 / streams;
}

/* Asks for a piece, of `pieces`, of the memory `ahead` of a block; of a large one, of 64 elements
 * of it with every even `sub`.  Each piece is a loop: with a row of such instructions instead, one
 * token of Q4_K reads 30 % less. */
static ALWAYS_INLINE void quant_prefetch(struct quant_format f, const uint8_t *block, int sub,
                                         int ahead, int piece, int pieces) {
    if (sub % 2) return;
    const int bytes = PANEL_ROWS * f.block_bytes * (f.subs > 1 ? 2 : 1) / f.subs;
    const int lines = (bytes + 63) / 64;
    const uint8_t *at = block + ahead + bytes * (sub / 2);
    const uint8_t *end = at + lines * (piece + 1) / pieces * 64;
    at += lines * piece / pieces * 64;
#pragma GCC unroll 1
    for (; at < end; at += 64) __builtin_prefetch(at);
}

/* Adds a block of 32 to the sums of many tokens.  Most types call it as a function of their kind,
 * so that the compiler keeps the weights in registers: with the eight copies of this loop for a
 * large block, or with 16 registers, it spills them.  Small blocks and the 32 registers of AVX-512
 * (QUANT_INLINE) save the weights a way through memory. */
static ALWAYS_INLINE void quant_add_tokens(struct quant_format f, struct quant_sums to,
                                           struct quant_sums from,
                                           const struct quant_weights *weights,
                                           const struct act_block *x, size_t tokens) {
    struct quant_weights q[PANEL_VECTORS];

    for (int v = 0; v < PANEL_VECTORS; v++) q[v] = weights[v];
    for (; tokens >= QUANT_GROUP; tokens -= QUANT_GROUP, x += QUANT_GROUP) {
        quant_add_group(f, to, from, q, x, QUANT_GROUP);
        to.p += QUANT_GROUP * to.stride;
        from.p += QUANT_GROUP * from.stride;
    }
    for (; tokens > 0; tokens--, x++, to.p += to.stride, from.p += from.stride)
        quant_add_group(f, to, from, q, x, 1);
}

#define QUANT_ADD_TOKENS(name, ...)                                                                \
    static NO_INLINE void name(struct quant_sums to, struct quant_sums from,                       \
                               const struct quant_weights *q, const struct act_block *x,           \
                               size_t tokens) {                                                    \
        quant_add_tokens((struct quant_format){__VA_ARGS__}, to, from, q, x, tokens);              \
    }
QUANT_ADD_TOKENS(add_tokens_signed, .bits = 0)
QUANT_ADD_TOKENS(add_tokens_4, .bits = 4, .offset_log2 = 3)
QUANT_ADD_TOKENS(add_tokens_5, .bits = 5, .offset_log2 = 4)
QUANT_ADD_TOKENS(add_tokens_min_4, .bits = 4, .has_min = true)
QUANT_ADD_TOKENS(add_tokens_min_5, .bits = 5, .has_min = true)
QUANT_ADD_TOKENS(add_tokens_halves, .bits = 6, .offset_log2 = 5, .halves = true)

/* to = from + one block of 32 of a panel, for many tokens. */
static ALWAYS_INLINE void quant_add_many(enum dtype type, struct quant_sums to,
                                         struct quant_sums from, const uint8_t *block, int sub,
                                         int ahead, const struct act_block *x, size_t tokens) {
    const struct quant_format f = quant_formats[type];
    const int pieces = f.subs > 1 ? 1 : 2;
    struct quant_weights q[PANEL_VECTORS];

    quant_prefetch(f, block, sub, ahead, 0, pieces);
    quant_load(type, q, block, sub);
    if (pieces == 2) quant_prefetch(f, block, sub, ahead, 1, pieces);
    if (QUANT_INLINE && f.subs == 1)
        quant_add_tokens(f, to, from, q, x, tokens);
    else if (f.halves)
        add_tokens_halves(to, from, q, x, tokens);
    else if (f.has_min && f.bits == 4)
        add_tokens_min_4(to, from, q, x, tokens);
    else if (f.has_min)
        add_tokens_min_5(to, from, q, x, tokens);
    else if (f.bits == 0)
        add_tokens_signed(to, from, q, x, tokens);
    else if (f.bits == 4)
        add_tokens_4(to, from, q, x, tokens);
    else
        add_tokens_5(to, from, q, x, tokens);
}

static ALWAYS_INLINE size_t quant_row_bytes(struct quant_format f, size_t cols) {
    return cols / ((size_t)f.subs * ACT_BLOCK) * (size_t)f.block_bytes;
}

/* The first `rows` rows of a panel for one token. */
static ALWAYS_INLINE void quant_store(float *to, const vf *sums, size_t rows) {
    for (size_t v = 0; v < PANEL_VECTORS; v++, to += LANES) {
        if (rows >= (v + 1) * LANES)
            vf_store(to, sums[v]);
        else if (rows > v * LANES)
            vf_store_n(to, sums[v], rows - v * LANES);
    }
}

/* sums += term * the activations' scales. */
static ALWAYS_INLINE void quant_add_few_terms(vf (*sums)[PANEL_VECTORS], vf (*term)[PANEL_VECTORS],
                                              const struct act_block *x, int tokens) {
    for (int t = 0; t < tokens; t++)
        for (int v = 0; v < PANEL_VECTORS; v++)
            sums[t][v] = vf_fma(term[t][v], vf_set(x[t].scale), sums[t][v]);
}

/* sums += one block of 32 of a panel, for a few tokens.  Pieces of memory are asked for before the
 * load of each vector, after the loads and after the products. */
static ALWAYS_INLINE void quant_add_few(enum dtype type, vf (*sums)[PANEL_VECTORS],
                                        const uint8_t *block, int sub, int ahead,
                                        const struct act_block *x, int tokens) {
    const struct quant_format f = quant_formats[type];
    const int pieces = PANEL_VECTORS + 2;
    vf term[QUANT_FEW][PANEL_VECTORS];
    struct quant_weights q[PANEL_VECTORS];

#pragma GCC unroll 2 // a loop would keep the weights in memory
    for (int v = 0; v < PANEL_VECTORS; v++) {
        quant_prefetch(f, block, sub, ahead, v, pieces);
        load_weights(type, &q[v], block, v, sub);
    }
    quant_prefetch(f, block, sub, ahead, PANEL_VECTORS, pieces);
    quant_terms(f, term, q, x, tokens);
    quant_prefetch(f, block, sub, ahead, PANEL_VECTORS + 1, pieces);
    quant_add_few_terms(sums, term, x, tokens);
}

/* The integer sums of a block of 32: of its halves, or all in the first. */
typedef vi quant_few_dots[2][QUANT_FEW][PANEL_VECTORS];

/* Adds the two groups of four that are multiplied in turn `turn`: of K-quants one of each half, for
 * Q6_K's share their upper bits. */
static ALWAYS_INLINE void quant_add_turn(struct quant_format f, quant_few_dots dot,
                                         const struct quant_weights *q, int turn,
                                         const struct act_block *x, int tokens) {
    const vi *w[PANEL_VECTORS];
    const int8_t *quads[QUANT_FEW];

#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const int group = f.bits ? turn + QUANT_TURNS * i : 2 * turn + i;
        for (int v = 0; v < PANEL_VECTORS; v++) w[v] = q[v].w + group;
        for (int t = 0; t < tokens; t++) quads[t] = x[t].q + 4 * group;
        if (f.bits)
            vi_dots(dot[f.halves ? i : 0], w, quads, 1, tokens, f.bits);
        else
            vi_dots_signed(dot[0], w, quads, 1, tokens);
    }
}

/* Memory may have changed, as far as the compiler knows: it neither loads earlier what is needed
 * after this nor keeps what it has, which would be more than the registers hold. */
#define QUANT_LOAD_ANEW() __asm__ volatile("" ::: "memory")

/* The same as quant_add_few for n blocks of 32: two of a large block, whose weights lie in the same
 * bytes.  Weights are multiplied as they come and never wait in memory of their own. */
static ALWAYS_INLINE void quant_add_few_turns(enum dtype type, vf (*sums)[PANEL_VECTORS],
                                              const uint8_t *block, int sub, int n, int ahead,
                                              const struct act_block *x, size_t x_stride,
                                              int tokens) {
    const struct quant_format f = quant_formats[type];
    quant_few_dots dot[2];
    vf term[QUANT_FEW][PANEL_VECTORS];
    struct quant_weights q[PANEL_VECTORS];

    for (int i = 0; i < n; i++)
        for (int t = 0; t < tokens; t++)
            for (int v = 0; v < PANEL_VECTORS; v++) {
                const struct act_block *b = x + (size_t)i * x_stride + t;
                dot[i][0][t][v] = quant_start(f, f.halves ? b->minus_halves[0] : b->minus_sum);
                dot[i][1][t][v] = quant_start(f, b->minus_halves[1]);
            }
#pragma GCC unroll 8
    for (int turn = 0; turn < QUANT_TURNS; turn++) {
        quant_prefetch(f, block, sub, ahead, turn, QUANT_TURNS);
        QUANT_LOAD_ANEW();
#pragma GCC unroll 2
        for (int i = 0; i < n; i++) {
            quant_load(type, q, block, sub + i); // what this turn does not multiply is left out
            quant_add_turn(f, dot[i], q, turn, x + (size_t)i * x_stride, tokens);
        }
    }
    QUANT_LOAD_ANEW();
#pragma GCC unroll 2
    for (int i = 0; i < n; i++, x += x_stride) {
        quant_load(type, q, block, sub + i); // the scales
        for (int t = 0; t < tokens; t++) {
            quant_scale(f, term[t], q, dot[i][0][t], &x[t]);
            for (int v = 0; v < PANEL_VECTORS && f.halves; v++)
                term[t][v] = vf_fma(q[v].scale[1], vf_of_vi(dot[i][1][t][v]), term[t][v]);
        }
        quant_add_few_terms(sums, term, x, tokens);
    }
}

/* The sums of a few panels times a few tokens. */
typedef vf quant_few_sums[QUANT_STREAMS][QUANT_FEW][PANEL_VECTORS];

/* Adds the next n blocks, a constant, of each of a few panels that are `apart` bytes apart. */
static ALWAYS_INLINE void quant_add_few_blocks(enum dtype type, quant_few_sums sums,
                                               const uint8_t *panel, size_t apart, int panels,
                                               int n, const struct act_block *x, size_t x_stride,
                                               int tokens) {
    const struct quant_format f = quant_formats[type];
    const bool turns = f.subs > 1 ? QUANT_LARGE_IN_TURNS : f.bits == 0 && QUANT_BYTES_IN_TURNS;
    const int ahead = quant_ahead(f, panels), step = turns && f.subs > 1 ? 2 : 1;
#pragma GCC unroll 8 // i is a constant in each copy: unpacking would branch, and see quant_tile_few
    for (int i = 0; i < n * f.subs; i += step, x += (size_t)step * x_stride) {
#pragma GCC unroll 8
        for (int p = 0; p < panels; p++) {
            const uint8_t *block =
                panel + (size_t)p * apart + i / f.subs * PANEL_ROWS * f.block_bytes;
            if (turns)
                quant_add_few_turns(type, sums[p], block, i % f.subs, step, ahead, x, x_stride,
                                    tokens);
            else
                quant_add_few(type, sums[p], block, i % f.subs, ahead, x, tokens);
        }
    }
}

/* A few panels, whose first rows are `apart` rows apart, times a few tokens: both numbers are
 * constants, and the sums never leave the loop.  The first `rows` rows of each panel are stored.
 *
 * A loop of one small block has loads that advance by less than a page each time and reads less
 * than one of eight blocks (a large one has as many): presumably the hardware takes each load as a
 * pattern of its own and fetches what is on its way already (README.md). */
static ALWAYS_INLINE void quant_tile_few(enum dtype type, struct quant_sums y, size_t rows,
                                         const uint8_t *panel, size_t apart, int panels,
                                         const struct act_rows *x, size_t token, int tokens) {
    const struct quant_format f = quant_formats[type];
    const size_t panel_apart = apart * quant_row_bytes(f, x->cols);
    const int block_bytes = PANEL_ROWS * f.block_bytes, run = quant_unroll(f, tokens);
    const struct act_block *a = act_rows_block(x, token, 0);
    size_t left = x->cols / ((size_t)f.subs * ACT_BLOCK);
    quant_few_sums sums;

    for (int p = 0; p < panels; p++)
        for (int t = 0; t < tokens; t++)
            for (int v = 0; v < PANEL_VECTORS; v++) sums[p][t][v] = vf_zero();
    for (; run > 1 && left >= (size_t)run; left -= (size_t)run) {
        quant_add_few_blocks(type, sums, panel, panel_apart, panels, run, a, x->stride, tokens);
        panel += run * block_bytes;
        a += (size_t)run * x->stride;
    }
#pragma GCC unroll 1
    for (; left > 0; left--) {
        quant_add_few_blocks(type, sums, panel, panel_apart, panels, 1, a, x->stride, tokens);
        panel += block_bytes;
        a += (size_t)f.subs * x->stride;
    }
    for (int p = 0; p < panels; p++)
        for (int t = 0; t < tokens; t++)
            quant_store(y.p + (size_t)t * y.stride + (size_t)p * apart, sums[p][t], rows);
}

/* One panel times `tokens` <= QUANT_TILE tokens, whose sums wait in L1.  They begin at a row of
 * zeros, and the last block writes them where they belong: a loop that does nothing but write rows
 * a page apart would wait for memory. */
static ALWAYS_INLINE void quant_tile_many(enum dtype type, struct quant_sums y, size_t rows,
                                          const uint8_t *panel, const struct act_rows *x,
                                          size_t token, size_t tokens) {
    const struct quant_format f = quant_formats[type];
    const int block_bytes = PANEL_ROWS * f.block_bytes, run = quant_unroll(f, QUANT_TILE);
    const int ahead = quant_ahead(f, 1);
    const struct act_block *a = act_rows_block(x, token, 0);
    _Alignas(vf) float sums[QUANT_TILE][PANEL_ROWS], zeros[PANEL_ROWS] = {0};
    const struct quant_sums kept = {sums[0], PANEL_ROWS};
    struct quant_sums from = {zeros, 0};
    size_t left = x->cols / ((size_t)f.subs * ACT_BLOCK);

    for (; run > 1 && left > (size_t)run; left -= (size_t)run) {
#pragma GCC unroll 8 // as in quant_tile_few
        for (int i = 0; i < run; i++, panel += block_bytes, a += x->stride) {
            quant_add_many(type, kept, from, panel, 0, ahead, a, tokens);
            from = kept;
        }
    }
#pragma GCC unroll 1
    for (; left > 0; left--, panel += block_bytes) {
        const bool last = left == 1 && rows == PANEL_ROWS;
#pragma GCC unroll 8 // sub is a constant in each copy, or unpacking would branch
        for (int sub = 0; sub < f.subs; sub++, a += x->stride) {
            quant_add_many(type, last && sub == f.subs - 1 ? y : kept, from, panel, sub, ahead, a,
                           tokens);
            from = kept;
        }
    }
    for (size_t t = 0; t < tokens && rows < PANEL_ROWS; t++)
        memcpy(y.p + t * y.stride, sums[t], rows * sizeof *sums[t]);
}

/* Rows [row_begin, row_end) for `tokens` <= QUANT_FEW tokens from `token` on, a constant: decode,
 * which waits for memory.  Where small blocks cannot be unrolled over a page, panels of them are
 * read as several streams, each a share of them from front to back: more of memory is on its way
 * than the hardware fetches ahead in one. */
static ALWAYS_INLINE void quant_rows_few(enum dtype type, float *y, size_t ldy, const void *packed,
                                         size_t row_begin, size_t row_end, const struct act_rows *x,
                                         size_t token, int tokens) {
    const struct quant_format f = quant_formats[type];
    const size_t row_bytes = quant_row_bytes(f, x->cols);
    const int streams = quant_streams(f);
    const size_t apart = (row_end - row_begin) / PANEL_ROWS / (size_t)streams * PANEL_ROWS;
    const uint8_t *weights = packed;

    for (size_t row = row_begin; row < row_begin + apart; row += PANEL_ROWS) {
        const struct quant_sums to = {y + token * ldy + row, ldy};
        quant_tile_few(type, to, PANEL_ROWS, weights + row * row_bytes, apart, streams, x, token,
                       tokens);
    }
    for (size_t row = row_begin + (size_t)streams * apart; row < row_end; row += PANEL_ROWS) {
        size_t rows = row_end - row < PANEL_ROWS ? row_end - row : PANEL_ROWS;
        const struct quant_sums to = {y + token * ldy + row, ldy};
        quant_tile_few(type, to, rows, weights + row * row_bytes, 0, 1, x, token, tokens);
    }
}

/* The same for the tile of QUANT_FEW < `tokens` <= QUANT_TILE tokens. */
static ALWAYS_INLINE void quant_rows_many(enum dtype type, float *y, size_t ldy, const void *packed,
                                          size_t row_begin, size_t row_end,
                                          const struct act_rows *x, size_t token, size_t tokens) {
    const size_t row_bytes = quant_row_bytes(quant_formats[type], x->cols);
    const uint8_t *weights = packed;

    for (size_t row = row_begin; row < row_end; row += PANEL_ROWS) {
        size_t rows = row_end - row < PANEL_ROWS ? row_end - row : PANEL_ROWS;
        const struct quant_sums to = {y + token * ldy + row, ldy};
        quant_tile_many(type, to, rows, weights + row * row_bytes, x, token, tokens);
    }
}

/* ---- the entry functions of a type --------------------------------------------------------- */

#define QUANT_ROWS_PARAMETERS                                                                      \
    float *y, size_t ldy, const void *packed, size_t row_begin, size_t row_end,                    \
        const struct act_rows *x, size_t token

/* Functions of their own for one and two tokens: what the compiler makes of a loop that waits for
 * memory changes with the code beside it.  Tokens are the outer loop: a tile's activations stay in
 * the second-level cache while the weights pass by. */
#define QUANT_FUNCTIONS(type, name)                                                                \
    static size_t name##_packed_bytes(size_t rows, size_t cols) {                                  \
        return panel_bytes(type, PANEL_ROWS, rows, cols);                                          \
    }                                                                                              \
    static void name##_pack_row(void *packed, size_t rows, size_t cols, size_t row,                \
                                const void *src) {                                                 \
        (void)rows;                                                                                \
        panel_pack_row(type, PANEL_ROWS, packed, cols, row, src);                                  \
    }                                                                                              \
    static void name##_pack_rows(void *packed, size_t rows, size_t cols, size_t row,               \
                                 size_t n_rows, const void *src, size_t src_stride) {              \
        (void)rows;                                                                                \
        panel_pack_rows(type, PANEL_ROWS, packed, cols, row, n_rows, src, src_stride);             \
    }                                                                                              \
    static void name##_unpack_row(const void *packed, size_t rows, size_t cols, size_t row,        \
                                  float *dst) {                                                    \
        (void)rows;                                                                                \
        panel_unpack_row(type, PANEL_ROWS, packed, cols, row, dst);                                \
    }                                                                                              \
    static NO_INLINE void name##_one(QUANT_ROWS_PARAMETERS) {                                      \
        quant_rows_few(type, y, ldy, packed, row_begin, row_end, x, token, 1);                     \
    }                                                                                              \
    static NO_INLINE void name##_two(QUANT_ROWS_PARAMETERS) {                                      \
        quant_rows_few(type, y, ldy, packed, row_begin, row_end, x, token, 2);                     \
    }                                                                                              \
    static NO_INLINE void name##_many(QUANT_ROWS_PARAMETERS, size_t tokens) {                      \
        if (tokens <= QUANT_FEW) __builtin_unreachable();                                          \
        quant_rows_many(type, y, ldy, packed, row_begin, row_end, x, token, tokens);               \
    }                                                                                              \
    static void name##_matmul(float *y, size_t ldy, const void *packed, size_t rows, size_t cols,  \
                              size_t row_begin, size_t row_end, const struct act_rows *x) {        \
        (void)rows;                                                                                \
        (void)cols;                                                                                \
        for (size_t t = 0; t < x->tokens; t += QUANT_TILE) {                                       \
            size_t tokens = x->tokens - t < QUANT_TILE ? x->tokens - t : QUANT_TILE;               \
            if (tokens == 1)                                                                       \
                name##_one(y, ldy, packed, row_begin, row_end, x, t);                              \
            else if (tokens == 2)                                                                  \
                name##_two(y, ldy, packed, row_begin, row_end, x, t);                              \
            else                                                                                   \
                name##_many(y, ldy, packed, row_begin, row_end, x, t, tokens);                     \
        }                                                                                          \
    }

#define QUANT_KERNEL(dtype_, name)                                                                 \
    {                                                                                              \
        .type = (dtype_), .panel_rows = PANEL_ROWS, .packed_bytes = name##_packed_bytes,           \
        .pack_row = name##_pack_row, .pack_rows = name##_pack_rows,                                \
        .unpack_row = name##_unpack_row, .matmul_q = name##_matmul                                 \
    }

QUANT_FUNCTIONS(DTYPE_Q4_0, q4_0)
QUANT_FUNCTIONS(DTYPE_Q4_1, q4_1)
QUANT_FUNCTIONS(DTYPE_Q5_0, q5_0)
QUANT_FUNCTIONS(DTYPE_Q5_1, q5_1)
QUANT_FUNCTIONS(DTYPE_Q8_0, q8_0)
QUANT_FUNCTIONS(DTYPE_Q4_K, q4_k)
QUANT_FUNCTIONS(DTYPE_Q5_K, q5_k)
QUANT_FUNCTIONS(DTYPE_Q6_K, q6_k)

/* Puts the quantised types of this instruction set into a table. */
static void quant_fill(struct kernels *k) {
    k->matmul[DTYPE_Q4_0] = (struct matmul_kernel)QUANT_KERNEL(DTYPE_Q4_0, q4_0);
    k->matmul[DTYPE_Q4_1] = (struct matmul_kernel)QUANT_KERNEL(DTYPE_Q4_1, q4_1);
    k->matmul[DTYPE_Q5_0] = (struct matmul_kernel)QUANT_KERNEL(DTYPE_Q5_0, q5_0);
    k->matmul[DTYPE_Q5_1] = (struct matmul_kernel)QUANT_KERNEL(DTYPE_Q5_1, q5_1);
    k->matmul[DTYPE_Q8_0] = (struct matmul_kernel)QUANT_KERNEL(DTYPE_Q8_0, q8_0);
    k->matmul[DTYPE_Q4_K] = (struct matmul_kernel)QUANT_KERNEL(DTYPE_Q4_K, q4_k);
    k->matmul[DTYPE_Q5_K] = (struct matmul_kernel)QUANT_KERNEL(DTYPE_Q5_K, q5_k);
    k->matmul[DTYPE_Q6_K] = (struct matmul_kernel)QUANT_KERNEL(DTYPE_Q6_K, q6_k);
}

#endif
