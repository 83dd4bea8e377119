// SPDX-License-Identifier: MIT
/* planner.c: see planner.h.
 *
 * Three steps, coarse pieces first, so that each finer one can even out what is left:
 *   heads        a contiguous run per rank, by dynamic programming: no rank above a limit, then the
 *                fewest bytes in all (few copied KV heads, few masked blocks), then the evenest
 *   FFN columns  in whole blocks of the down matrices, poured on like water: to the lowest ranks
 *   vocabulary   in small groups of rows, poured on likewise
 * The heads are cut twice: under the lowest limit that works at all; and, as the FFN can level out
 * uneven attention, under the level that the whole model would come to, where a cut with fewer
 * copies may exist.  The better outcome wins. */

#include "coordinator/cluster/planner.h"

#include <float.h>
#include <math.h>

#include "common/dtype.h"
#include "common/mem.h"

#define VOCAB_UNIT     16    // rows
#define FFN_UNIT       32    // columns, for types without blocks
#define FFN_UNIT_LEAST 8     // the same for narrow models
#define BISECTIONS     64    // halvings: down to the last bits of a double
#define WORTH_CHANGING 0.999 // the second cut of the heads must beat the first by this factor

enum { BLOCK_WIDTHS = 3 };
static const uint32_t block_widths[BLOCK_WIDTHS] = {1, 32, 256}; // all that dtype.h knows

/* Bytes that a decode step reads for each piece that can be handed out, all layers together.
 * Doubles hold these exactly up to 2^53. */
struct costs {
    uint32_t n_heads, head_dim, group;
    double query_head;              // rows of Q
    double kv_head;                 // rows of K and V, and the cache at the planned context
    double out_block[BLOCK_WIDTHS]; // one block of columns of the output projections of that width
    double ffn_column;              // a row of gate and up, a column of down
    double vocab_row;
    double fixed; // what every rank reads: norms
};

/* One way to cut, while it is being made. */
struct cut {
    struct plan plan;
    double *load;        // [size] bytes read so far
    double worst;        // largest load / weight
    struct range *parts; // [size] what cut_range made last
};

struct planner {
    const struct model *m;
    uint32_t size;
    const double *weights; // [size] or NULL
    struct costs costs;
    uint32_t ffn_unit;
};

static double weight_of(const struct planner *pl, uint32_t r) {
    return pl->weights ? pl->weights[r] : 1.0;
}

/* --- what pieces cost --- */

static double bytes_of(const struct gguf_tensor *t) {
    return t ? (double)t->bytes : 0.0;
}

static void add_layer(struct costs *c, const struct model_shape *s, const struct model_layer *l) {
    const struct dtype_info *out = dtype_info(l->attn_out->type);
    const struct dtype_info *down = dtype_info(l->down->type);
    c->query_head += (bytes_of(l->q) + bytes_of(l->q_bias)) / s->n_heads;
    c->kv_head += (bytes_of(l->k) + bytes_of(l->v) + bytes_of(l->k_bias) + bytes_of(l->v_bias)) /
                  s->n_kv_heads;
    for (int w = 0; w < BLOCK_WIDTHS; w++)
        if (block_widths[w] == out->block_elems)
            c->out_block[w] += (double)l->attn_out->rows * out->block_bytes;
    c->ffn_column += (double)l->gate->row_bytes + (double)l->up->row_bytes +
                     (double)l->down->rows * down->block_bytes / down->block_elems;
    c->fixed += bytes_of(l->attn_norm) + bytes_of(l->ffn_norm);
}

static void costs_init(struct costs *c, const struct model *m, const struct planner_options *o) {
    const struct model_shape *s = &m->shape;
    *c = (struct costs){
        .n_heads = s->n_heads,
        .head_dim = s->head_dim,
        .group = s->n_heads / s->n_kv_heads,
        .kv_head = 2.0 * s->n_layers * s->head_dim * o->kv_elem_bytes * o->ctx_planned,
        .vocab_row = (double)m->output->row_bytes,
        .fixed = bytes_of(m->output_norm) + bytes_of(m->rope_freqs),
    };
    for (uint32_t i = 0; i < s->n_layers; i++) add_layer(c, s, &m->layers[i]);
}

/* Attention of query heads [a, b): never less for a wider range, which the searches rely on.  Hot.
 */
static double attention_cost(const struct costs *c, uint32_t a, uint32_t b) {
    double cost = (b - a) * c->query_head + ((b - 1) / c->group + 1 - a / c->group) * c->kv_head;
    for (int w = 0; w < BLOCK_WIDTHS; w++) {
        uint32_t width = block_widths[w];
        uint32_t first = a * c->head_dim / width, last = (b * c->head_dim + width - 1) / width;
        cost += (last - first) * c->out_block[w];
    }
    return cost;
}

/* --- query heads --- */

/* Whether all heads can be placed with no rank's attention above limit * its weight.  Taking as
 * many heads as fit, rank by rank, is the best that can be done. */
static bool heads_fit(const struct planner *pl, double limit) {
    const struct costs *c = &pl->costs;
    uint32_t a = 0;
    for (uint32_t r = 0; r < pl->size; r++) {
        uint32_t most = c->n_heads - (pl->size - 1 - r); // one is left for each later rank
        uint32_t b = a;
        while (b < most && attention_cost(c, a, b + 1) <= limit * weight_of(pl, r)) b++;
        if (b == a) return false;
        a = b;
    }
    return a == c->n_heads;
}

static double lowest_limit(const struct planner *pl) {
    double least_weight = weight_of(pl, 0);
    for (uint32_t r = 1; r < pl->size; r++) least_weight = fmin(least_weight, weight_of(pl, r));
    double low = 0, high = attention_cost(&pl->costs, 0, pl->costs.n_heads) / least_weight;
    high *= 1 + DBL_EPSILON * 4; // the division may have rounded down
    for (int i = 0; i < BISECTIONS; i++) {
        double middle = low + (high - low) / 2;
        if (heads_fit(pl, middle))
            high = middle;
        else
            low = middle;
    }
    return high;
}

/* The best cut of the first b heads over the first ranks. */
struct prefix {
    double total;   // bytes; DBL_MAX: impossible
    double squares; // of each rank's bytes over its weight: of two equal totals the evener wins
};

static bool prefix_better(struct prefix x, struct prefix y) {
    return x.total < y.total || (x.total == y.total && x.squares < y.squares);
}

/* Extends `before` (cuts over r ranks) by rank r's heads [a, b) into `after`, for all a and b. */
static void place_rank(const struct planner *pl, uint32_t r, double limit,
                       const struct prefix *before, struct prefix *after, uint16_t *from) {
    const struct costs *c = &pl->costs;
    double weight = weight_of(pl, r);
    for (uint32_t b = 0; b <= c->n_heads; b++) {
        after[b] = (struct prefix){DBL_MAX, 0};
        for (uint32_t a = b; a-- > r;) {
            double cost = attention_cost(c, a, b);
            if (cost > limit * weight) break; // and all wider ranges are above it too
            if (before[a].total == DBL_MAX) continue;
            struct prefix next = {before[a].total + cost,
                                  before[a].squares + (cost / weight) * (cost / weight)};
            if (!prefix_better(next, after[b])) continue;
            after[b] = next;
            from[b] = (uint16_t)a;
        }
    }
}

/* Sets the heads of all ranks; `limit` is one that heads_fit. */
static void cut_heads(const struct planner *pl, double limit, struct plan *p) {
    size_t width = (size_t)pl->costs.n_heads + 1;
    struct prefix *before = mem_zalloc_array(width, sizeof *before);
    struct prefix *after = mem_zalloc_array(width, sizeof *after);
    uint16_t *from = mem_zalloc_array(pl->size * width, sizeof *from); // [size, n_heads + 1]
    for (size_t b = 1; b < width; b++) before[b].total = DBL_MAX;      // no ranks: no heads
    for (uint32_t r = 0; r < pl->size; r++) {
        place_rank(pl, r, limit, before, after, from + r * width);
        struct prefix *swap = before;
        before = after;
        after = swap;
    }
    uint32_t group = pl->costs.group, end = pl->costs.n_heads;
    CHECK(before[end].total != DBL_MAX);
    for (uint32_t r = pl->size; r-- > 0;) {
        uint32_t begin = from[r * width + end];
        p->ranks[r].heads = (struct range){begin, end};
        p->ranks[r].kv_heads = (struct range){begin / group, (end - 1) / group + 1};
        end = begin;
    }
    mem_free(before);
    mem_free(after);
    mem_free(from);
}

/* --- FFN columns and vocabulary rows --- */

/* Units that rank r can take until its load reaches level * its weight. */
static uint64_t room_below(const struct planner *pl, const double *load, uint32_t r, double level,
                           double unit_cost, uint64_t units) {
    double room = (level * weight_of(pl, r) - load[r]) / unit_cost;
    if (room <= 0) return 0;
    return room < (double)units ? (uint64_t)room : units;
}

static double level_after(const struct planner *pl, const double *load, uint32_t r, uint64_t units,
                          double unit_cost) {
    return (load[r] + (double)units * unit_cost) / weight_of(pl, r);
}

/* Hands out equal units so that the largest load / weight is the least possible: first the level
 * that the units would come to, then the few left over by rounding, one by one. */
static void pour(const struct planner *pl, const double *load, uint64_t units, double unit_cost,
                 uint64_t *given) {
    double low = 0, high = level_after(pl, load, 0, units, unit_cost);
    for (int i = 0; i < BISECTIONS; i++) {
        double middle = low + (high - low) / 2;
        uint64_t sum = 0;
        for (uint32_t r = 0; r < pl->size; r++)
            sum += room_below(pl, load, r, middle, unit_cost, units);
        if (sum > units)
            high = middle;
        else
            low = middle;
    }
    uint64_t left = units;
    for (uint32_t r = 0; r < pl->size; r++) {
        given[r] = room_below(pl, load, r, low, unit_cost, units);
        left -= given[r];
    }
    for (; left > 0; left--) {
        uint32_t lowest = 0;
        for (uint32_t r = 1; r < pl->size; r++)
            if (level_after(pl, load, r, given[r] + 1, unit_cost) <
                level_after(pl, load, lowest, given[lowest] + 1, unit_cost))
                lowest = r;
        given[lowest]++;
    }
}

/* Pours n columns or rows in units of `unit`; the shares become cut->parts, which tile [0, n). */
static void cut_range(const struct planner *pl, struct cut *cut, uint32_t n, uint32_t unit,
                      double cost) {
    uint64_t *given = mem_zalloc_array(pl->size, sizeof *given);
    uint64_t units = ((uint64_t)n + unit - 1) / unit, end_units = 0;
    uint32_t begin = 0;
    pour(pl, cut->load, units, cost * unit, given);
    for (uint32_t r = 0; r < pl->size; r++) {
        end_units += given[r];
        uint32_t end = end_units >= units ? n : (uint32_t)(end_units * unit); // the last is short
        cut->parts[r] = (struct range){begin, end};
        cut->load[r] += cost * range_len(cut->parts[r]);
        begin = end;
    }
    mem_free(given);
}

/* Columns that are handed out together: a block of the widest type of any layer's down matrix, so
 * that none is masked. */
static uint32_t choose_ffn_unit(const struct model *m, uint32_t size) {
    uint32_t widest = 1;
    for (uint32_t i = 0; i < m->shape.n_layers; i++) {
        uint32_t width = dtype_info(m->layers[i].down->type)->block_elems;
        if (width > widest) widest = width;
    }
    if (widest > 1) return widest;
    uint32_t unit = FFN_UNIT;
    while (unit > FFN_UNIT_LEAST && m->shape.n_ff / unit < 4 * size) unit /= 2;
    return unit;
}

/* --- all of it --- */

static void cut_init(struct cut *cut, uint32_t size) {
    plan_init(&cut->plan, size);
    cut->load = mem_zalloc_array(size, sizeof *cut->load);
    cut->parts = mem_zalloc_array(size, sizeof *cut->parts);
}

static void cut_deinit(struct cut *cut) {
    plan_deinit(&cut->plan);
    mem_free(cut->load);
    mem_free(cut->parts);
}

/* Cuts everything with the heads under `limit`; returns all ranks' attention bytes. */
static double cut_model(const struct planner *pl, double limit, struct cut *cut) {
    const struct model_shape *s = &pl->m->shape;
    double attention = 0;
    cut_heads(pl, limit, &cut->plan);
    for (uint32_t r = 0; r < pl->size; r++) {
        struct range h = cut->plan.ranks[r].heads;
        double cost = attention_cost(&pl->costs, h.begin, h.end);
        cut->load[r] = pl->costs.fixed + cost;
        attention += cost;
    }
    cut_range(pl, cut, s->n_ff, pl->ffn_unit, pl->costs.ffn_column);
    for (uint32_t r = 0; r < pl->size; r++) cut->plan.ranks[r].ffn = cut->parts[r];
    cut_range(pl, cut, s->n_vocab, VOCAB_UNIT, pl->costs.vocab_row);
    for (uint32_t r = 0; r < pl->size; r++) cut->plan.ranks[r].vocab = cut->parts[r];
    cut->worst = 0;
    for (uint32_t r = 0; r < pl->size; r++)
        cut->worst = fmax(cut->worst, cut->load[r] / weight_of(pl, r));
    return attention;
}

/* What a rank of weight 1 reads once everything is handed out, if that came out perfectly even. */
static double level_of(const struct planner *pl, double attention) {
    double sum = 0;
    for (uint32_t r = 0; r < pl->size; r++) sum += weight_of(pl, r);
    return (attention + pl->costs.ffn_column * pl->m->shape.n_ff +
            pl->costs.vocab_row * pl->m->shape.n_vocab) /
           sum;
}

static void search(const struct planner *pl, struct plan *out) {
    struct cut best, other;
    cut_init(&best, pl->size);
    cut_init(&other, pl->size);
    double limit = lowest_limit(pl);
    double attention = cut_model(pl, limit, &best);
    double level = level_of(pl, attention);
    if (level > limit) { // else attention alone sets the pace
        (void)cut_model(pl, level, &other);
        if (other.worst < best.worst * WORTH_CHANGING) {
            struct cut swap = best;
            best = other;
            other = swap;
        }
    }
    *out = best.plan;
    best.plan = (struct plan){0};
    cut_deinit(&best);
    cut_deinit(&other);
}

static err check_options(const struct model_shape *s, const struct planner_options *o) {
    if (s->n_heads > PLANNER_MAX_HEADS)
        return FAIL(ERR_PLAN, "the model has %u query heads; this build cuts at most %d",
                    s->n_heads, PLANNER_MAX_HEADS);
    if (o->size == 0) return FAIL(ERR_PLAN, "a model cannot be cut over 0 ranks: use -n 1 or more");
    if (o->size > s->n_heads)
        return FAIL(ERR_PLAN,
                    "the model has %u query heads and every rank needs at least one, so it cannot "
                    "be cut over %u ranks: use -n %u or less",
                    s->n_heads, o->size, s->n_heads);
    for (uint32_t r = 0; o->weights && r < o->size; r++)
        if (!(isfinite(o->weights[r]) && o->weights[r] > 0))
            return FAIL(ERR_PLAN, "rank %u has the weight %g; it must be above 0", r,
                        o->weights[r]);
    return ERR_OK;
}

_Static_assert(PLANNER_MAX_HEADS <= PLAN_MAX_RANKS, "a rank per head must be possible");

uint32_t planner_context(const struct model_shape *s, uint32_t requested) {
    if (requested > 0) return requested;
    return s->n_ctx < PLANNER_CTX_TOKENS ? s->n_ctx : PLANNER_CTX_TOKENS;
}

err planner_make(struct plan *out, const struct model *m, const struct planner_options *o) {
    *out = (struct plan){0};
    TRY(check_options(&m->shape, o));
    struct planner pl = {
        .m = m,
        .size = o->size,
        .weights = o->weights,
        .ffn_unit = choose_ffn_unit(m, o->size),
    };
    costs_init(&pl.costs, m, o);
    search(&pl, out);
    err e = plan_check(out, &m->shape);
    if (e != ERR_OK) plan_deinit(out);
    return e;
}

void planner_estimate_init(struct planner_estimate *e, const struct plan *p, const struct model *m,
                           const struct planner_options *o) {
    *e = (struct planner_estimate){
        .ranks = mem_zalloc_array(p->size, sizeof *e->ranks),
        .allreduce_calls_per_token = 2 * m->shape.n_layers + 1,
        .candidate_merges_per_token = 1,
    };
    e->allreduce_bytes_per_token =
        (uint64_t)e->allreduce_calls_per_token * m->shape.dim * sizeof(float);
    double most = 0, sum = 0;
    for (uint32_t r = 0; r < p->size; r++) {
        struct planner_rank_estimate *rank = &e->ranks[r];
        rank->weight_bytes = plan_weight_bytes(p, r, m);
        rank->kv_bytes_per_token = plan_kv_bytes_per_token(p, r, &m->shape, o->kv_elem_bytes);
        uint64_t kv_bytes = rank->kv_bytes_per_token * o->ctx_planned;
        rank->read_bytes_per_token = plan_read_bytes_per_token(p, r, m) + kv_bytes;
        rank->memory_bytes = rank->weight_bytes + kv_bytes;
        most = fmax(most, (double)rank->read_bytes_per_token);
        sum += (double)rank->read_bytes_per_token;
    }
    e->imbalance = most * p->size / sum;
    e->predicted_tokens_per_s = PLANNER_GB_PER_S * 1e9 / most;
}

void planner_estimate_deinit(struct planner_estimate *e) {
    mem_free(e->ranks);
    *e = (struct planner_estimate){0};
}
