// SPDX-License-Identifier: MIT
/* schedule.c: see schedule.h.
 *
 * Main thread of every rank, before loading.  What is shared costs a copy and a wait, so as much as
 * possible is kept: with a file everywhere that is all but a third of a Llama (attention output and
 * FFN down), of which a rank receives its own columns and sends the others'. */

#include "worker/weights/schedule.h"

#include <string.h>

#include "common/mem.h"

#define KEPT_ROUND_BYTES  ((uint64_t)32 << 20)  // of one rank
#define SHARE_ROUND_BYTES ((uint64_t)8 << 20)   // read by one rank, or received
#define SHARE_CHUNK_BYTES ((uint64_t)512 << 10) // a thread reads and cuts one at a time
#define SHARE_ROWS        96                    // a multiple of the panels of all tables

/* Rows of a part that the same ranks hold. */
struct band {
    uint64_t row_begin, row_end;
    bool kept;
    uint32_t reader;    // kept: its holder
    uint64_t n_chunks;  // it is cut into
    uint64_t step_rows; // shared: rows of a chunk
};

/* What making a schedule needs beside it. */
struct maker {
    struct schedule *s;
    size_t capacity; // of s->chunks
    const uint8_t *has_file;
    uint32_t *readers; // [n_readers]
    uint32_t n_readers, next_reader;
    struct tensor_slice *slices; // [ranks] of the part at hand
    struct band *bands;          // [2 * ranks + 1]
};

static struct piece piece_of(const struct shard_part *part, const struct chunk *c,
                             const struct tensor_slice *slice) {
    const struct gguf_tensor *t = part->tensor;
    struct piece p = {.row_begin = c->row_begin, .row_end = c->row_end};
    uint64_t col_end = t->dims[0];
    if (!part->is_vector) { // vectors are small: everybody gets all and takes its range
        if (p.row_begin < slice->row_begin) p.row_begin = slice->row_begin;
        if (p.row_end > slice->row_end) p.row_end = slice->row_end;
        p.col_begin = slice->col_begin;
        col_end = slice->col_end;
    }
    if (p.row_begin < p.row_end && p.col_begin < col_end) {
        p.row_bytes = dtype_row_bytes(t->type, col_end - p.col_begin);
        p.bytes = (p.row_end - p.row_begin) * p.row_bytes;
    }
    return p;
}

struct piece schedule_piece(const struct schedule *s, const struct chunk *c, uint32_t rank) {
    const struct shard_part *part = &s->parts[c->part];
    struct tensor_slice slice = shard_slice(part, s->shape, s->plan, rank);
    return piece_of(part, c, &slice);
}

uint64_t schedule_chunk_bytes(const struct schedule *s, const struct chunk *c) {
    uint64_t bytes = (c->row_end - c->row_begin) * s->parts[c->part].tensor->row_bytes;
    if (!c->kept) return bytes;
    return bytes * (c->step + 1) / c->steps - bytes * c->step / c->steps;
}

/* ---- the chunks of a part ------------------------------------------------------------------ */

static bool holds(const struct tensor_slice *slice, uint64_t row) {
    return slice->row_begin <= row && row < slice->row_end && slice->col_begin < slice->col_end;
}

/* The rows of a matrix from `begin` on that have the same holders.  One that can read keeps them
 * when it has no company. */
static struct band next_band(const struct maker *m, uint64_t begin, uint64_t end) {
    struct band b = {.row_begin = begin, .row_end = end};
    size_t holders = 0;
    for (uint32_t r = 0; r < m->s->plan->size; r++) {
        const struct tensor_slice *slice = &m->slices[r];
        if (slice->row_begin > begin && slice->row_begin < b.row_end) b.row_end = slice->row_begin;
        if (slice->row_end > begin && slice->row_end < b.row_end) b.row_end = slice->row_end;
        if (!holds(slice, begin)) continue;
        holders++;
        b.reader = r;
    }
    b.kept = holders == 1 && m->has_file[b.reader];
    return b;
}

/* Readers take turns at what is shared, each as often as the others. */
static void size_chunks(const struct maker *m, struct band *b, uint64_t row_bytes) {
    uint64_t rows = b->row_end - b->row_begin, bytes = rows * row_bytes;
    if (b->kept) {
        b->n_chunks = bytes / KEPT_ROUND_BYTES + 1;
        return;
    }
    uint64_t at_once = m->n_readers * (bytes / (m->n_readers * SHARE_CHUNK_BYTES) + 1);
    b->step_rows = (rows + at_once - 1) / at_once;
    if (b->step_rows > SHARE_ROWS)
        b->step_rows = (b->step_rows + SHARE_ROWS - 1) / SHARE_ROWS * SHARE_ROWS;
    b->n_chunks = (rows + b->step_rows - 1) / b->step_rows;
}

static struct chunk band_chunk(struct maker *m, size_t part, const struct band *b, uint64_t i) {
    struct chunk c = {.part = part, .row_begin = b->row_begin, .row_end = b->row_end};
    if (b->kept) {
        c.kept = true;
        c.reader = b->reader;
        c.step = (uint32_t)i;
        c.steps = (uint32_t)b->n_chunks;
    } else {
        c.reader = m->readers[m->next_reader++ % m->n_readers];
        c.row_begin += i * b->step_rows;
        if (c.row_end - c.row_begin > b->step_rows) c.row_end = c.row_begin + b->step_rows;
    }
    return c;
}

static void add_chunk(struct maker *m, struct chunk c) {
    struct schedule *s = m->s;
    if (s->n_chunks == m->capacity) {
        m->capacity = m->capacity ? 2 * m->capacity : 256;
        s->chunks = mem_realloc(s->chunks, m->capacity * sizeof *s->chunks);
    }
    s->chunks[s->n_chunks++] = c;
    s->total_bytes += schedule_chunk_bytes(s, &c);
}

static size_t find_bands(struct maker *m, const struct shard_part *part) {
    const struct gguf_tensor *t = part->tensor;
    if (part->is_vector) {
        m->bands[0] = (struct band){.row_end = t->rows};
        return 1;
    }
    size_t n = 0;
    for (uint32_t r = 0; r < m->s->plan->size; r++)
        m->slices[r] = shard_slice(part, m->s->shape, m->s->plan, r);
    for (uint64_t row = 0; row < t->rows; row = m->bands[n++].row_end)
        m->bands[n] = next_band(m, row, t->rows);
    return n;
}

/* All ranks' first chunks, then the second ones: in a round everybody has something to do. */
static void add_part(struct maker *m, size_t part) {
    const struct shard_part *p = &m->s->parts[part];
    size_t n = find_bands(m, p);
    uint64_t most = 0;
    for (size_t i = 0; i < n; i++) {
        size_chunks(m, &m->bands[i], p->tensor->row_bytes);
        if (m->bands[i].n_chunks > most) most = m->bands[i].n_chunks;
    }
    for (uint64_t c = 0; c < most; c++)
        for (size_t i = 0; i < n; i++)
            if (c < m->bands[i].n_chunks) add_chunk(m, band_chunk(m, part, &m->bands[i], c));
}

/* ---- the rounds ---------------------------------------------------------------------------- */

/* What a round asks of one rank. */
struct load {
    uint64_t kept, read, received;
};

/* Adds a chunk to what the round asks for; returns whether it still fits. */
static bool add_load(const struct schedule *s, const struct chunk *c, struct load *loads) {
    uint64_t bytes = schedule_chunk_bytes(s, c);
    struct load *reader = &loads[c->reader];
    if (c->kept) return (reader->kept += bytes) <= KEPT_ROUND_BYTES;
    bool fits = (reader->read += bytes) <= SHARE_ROUND_BYTES;
    for (uint32_t r = 0; r < s->plan->size; r++) {
        if (r == c->reader) continue;
        loads[r].received += schedule_piece(s, c, r).bytes;
        fits = fits && loads[r].received <= SHARE_ROUND_BYTES;
    }
    return fits;
}

/* A round ends before the chunk that no longer fits. */
static void cut_rounds(struct schedule *s) {
    struct load *loads = mem_zalloc_array(s->plan->size, sizeof *loads);
    s->rounds = mem_zalloc_array(s->n_chunks + 2, sizeof *s->rounds);
    for (size_t i = 0; i < s->n_chunks; i++) {
        if (add_load(s, &s->chunks[i], loads) || i == s->rounds[s->n_rounds]) continue;
        s->rounds[++s->n_rounds] = i;
        memset(loads, 0, s->plan->size * sizeof *loads);
        (void)add_load(s, &s->chunks[i], loads);
    }
    if (s->n_chunks) s->rounds[++s->n_rounds] = s->n_chunks;
    mem_free(loads);
}

/* ---- all of it ----------------------------------------------------------------------------- */

err schedule_create(struct schedule *s, const uint8_t *has_file) {
    const uint32_t size = s->plan->size;
    struct maker m = {.s = s, .has_file = has_file};
    m.readers = mem_zalloc_array(size, sizeof *m.readers);
    for (uint32_t r = 0; r < size; r++)
        if (has_file[r]) m.readers[m.n_readers++] = r;
    if (m.n_readers > 0) {
        m.slices = mem_zalloc_array(size, sizeof *m.slices);
        m.bands = mem_zalloc_array(2 * (size_t)size + 1, sizeof *m.bands);
        for (size_t i = 0; i < s->n_parts; i++) add_part(&m, i);
        cut_rounds(s);
    }
    mem_free(m.readers);
    mem_free(m.slices);
    mem_free(m.bands);
    return m.n_readers ? ERR_OK : FAIL(ERR_MODEL, "no rank can open the model file");
}

void schedule_free(struct schedule *s) {
    mem_free(s->chunks);
    mem_free(s->rounds);
}
