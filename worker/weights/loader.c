// SPDX-License-Identifier: MIT
/* loader.c: see loader.h.
 *
 * Runs on the main thread of every rank.  The choice that shapes it: readers are given stretches of
 * the file, not tensors or owners, so that storage sees few large sequential reads and every byte
 * once, and the network does the rest.  An owner may get pieces of several readers in a round,
 * hence chunks shrink as readers grow in number: a round brings a rank at most ROUND_BYTES, or one
 * row of every reader where rows are longer than that. */

#include "worker/weights/loader.h"

#include <string.h>

#include "common/mem.h"

#define CHUNK_BYTES_MAX ((size_t)4 << 20)
#define CHUNK_BYTES_MIN ((size_t)64 << 10)
#define ROUND_BYTES     ((size_t)8 << 20)

/* Whole rows of one tensor: what is read at once. */
struct chunk {
    size_t part;
    uint64_t row_begin, row_end;
};

/* Reader i reads chunks [first[i], first[i + 1]), one in each round. */
struct schedule {
    struct chunk *chunks;
    size_t n_chunks, rounds;
    int *readers;  // [n_readers] their ranks
    size_t *first; // [n_readers + 1]
    size_t n_readers;
    uint64_t total_bytes;
};

/* The part of a chunk that one rank holds: rows of the file and columns, [begin, end). */
struct piece {
    uint64_t row_begin, row_end, col_begin, col_end;
    size_t row_bytes, bytes; // of the piece
};

struct loader {
    const struct loader_job *job;
    struct schedule schedule;
    size_t my_reader; // index of this rank among the readers; SIZE_MAX: it reads nothing
    uint8_t *read;    // the chunk as in the file
    uint8_t *cut;     // column ranges of it, packed together
    uint8_t *received;
    struct comm_piece *sends; // [ranks]
    struct comm_piece *recvs; // [readers]
};

static struct piece piece_of(const struct loader *l, const struct chunk *c,
                             const struct tensor_slice *slice) {
    const struct shard_part *part = &l->job->parts[c->part];
    const struct gguf_tensor *t = part->tensor;
    struct piece p = {.row_begin = c->row_begin, .row_end = c->row_end, .col_end = t->dims[0]};
    if (!part->is_vector) { // vectors are small: everybody gets all and keeps its range
        if (p.row_begin < slice->row_begin) p.row_begin = slice->row_begin;
        if (p.row_end > slice->row_end) p.row_end = slice->row_end;
        p.col_begin = slice->col_begin;
        p.col_end = slice->col_end;
    }
    if (p.row_begin < p.row_end && p.col_begin < p.col_end) {
        p.row_bytes = dtype_row_bytes(t->type, p.col_end - p.col_begin);
        p.bytes = (p.row_end - p.row_begin) * p.row_bytes;
    }
    return p;
}

static size_t chunk_bytes(const struct loader *l, const struct chunk *c) {
    return (c->row_end - c->row_begin) * l->job->parts[c->part].tensor->row_bytes;
}

/* --- the schedule: the same on every rank --- */

static err find_readers(struct loader *l) {
    struct comm *comm = l->job->comm;
    size_t size = (size_t)comm_size(comm);
    uint8_t mine = gguf_has_files(l->job->gguf);
    uint8_t *has_files = mem_zalloc(size);
    comm_allgather(comm, &mine, has_files, 1);

    struct schedule *s = &l->schedule;
    s->readers = mem_zalloc_array(size, sizeof *s->readers);
    l->my_reader = SIZE_MAX;
    for (size_t r = 0; r < size; r++) {
        if (!has_files[r]) continue;
        if ((int)r == comm_rank(comm)) l->my_reader = s->n_readers;
        s->readers[s->n_readers++] = (int)r;
    }
    mem_free(has_files);
    if (s->n_readers == 0) return FAIL(ERR_MODEL, "no rank can open the model file");
    return ERR_OK;
}

static void cut_chunks(struct loader *l) {
    struct schedule *s = &l->schedule;
    size_t limit = ROUND_BYTES / s->n_readers;
    if (limit > CHUNK_BYTES_MAX) limit = CHUNK_BYTES_MAX;
    if (limit < CHUNK_BYTES_MIN) limit = CHUNK_BYTES_MIN;

    for (int counting = 1; counting >= 0; counting--) {
        s->n_chunks = 0;
        for (size_t i = 0; i < l->job->n_parts; i++) {
            const struct gguf_tensor *t = l->job->parts[i].tensor;
            uint64_t step = t->row_bytes < limit ? limit / t->row_bytes : 1;
            for (uint64_t row = 0; row < t->rows; row += step, s->n_chunks++) {
                if (counting) continue;
                uint64_t end = row + step < t->rows ? row + step : t->rows;
                s->chunks[s->n_chunks] =
                    (struct chunk){.part = i, .row_begin = row, .row_end = end};
            }
        }
        if (counting) s->chunks = mem_zalloc_array(s->n_chunks, sizeof *s->chunks);
    }
}

/* Stretches of equal bytes: a chunk belongs to the reader in whose n-th of the total it begins. */
static void share_chunks(struct loader *l) {
    struct schedule *s = &l->schedule;
    for (size_t i = 0; i < s->n_chunks; i++) s->total_bytes += chunk_bytes(l, &s->chunks[i]);

    s->first = mem_zalloc_array(s->n_readers + 1, sizeof *s->first);
    uint64_t before = 0;
    size_t next = 0;
    for (size_t i = 0; i < s->n_chunks; i++) {
        while (next < s->n_readers && before >= s->total_bytes / s->n_readers * next)
            s->first[next++] = i;
        before += chunk_bytes(l, &s->chunks[i]);
    }
    while (next <= s->n_readers) s->first[next++] = s->n_chunks;
    for (size_t i = 0; i < s->n_readers; i++)
        if (s->first[i + 1] - s->first[i] > s->rounds) s->rounds = s->first[i + 1] - s->first[i];
}

/* The chunk that a reader reads in a round, or NULL. */
static const struct chunk *chunk_at(const struct loader *l, size_t reader, size_t round) {
    const struct schedule *s = &l->schedule;
    if (reader >= s->n_readers || round >= s->first[reader + 1] - s->first[reader]) return NULL;
    return &s->chunks[s->first[reader] + round];
}

/* --- one round --- */

/* Copies columns [col_begin, col_end) of the piece's rows together. */
static void cut_columns(const struct loader *l, const struct chunk *c, const struct piece *p,
                        uint8_t *dst) {
    const struct gguf_tensor *t = l->job->parts[c->part].tensor;
    const uint8_t *src = l->read + dtype_row_bytes(t->type, p->col_begin);
    for (uint64_t row = p->row_begin; row < p->row_end; row++, dst += p->row_bytes)
        memcpy(dst, src + (row - c->row_begin) * t->row_bytes, p->row_bytes);
}

/* Makes the pieces of this rank's chunk; returns the bytes of `cut` they take.  With sends NULL it
 * only counts.  Ranks that share a masked block hold the same columns: they are cut once. */
static size_t cut_chunk(struct loader *l, const struct chunk *c, struct comm_piece *sends,
                        size_t *n_sends) {
    const struct shard_part *part = &l->job->parts[c->part];
    size_t used = 0, n = 0;
    struct piece last = {0};
    uint8_t *last_data = NULL;
    for (uint32_t r = 0; r < l->job->plan->size; r++) {
        struct tensor_slice slice = shard_slice(part, l->job->shape, l->job->plan, r);
        struct piece p = piece_of(l, c, &slice);
        if (p.bytes == 0) continue;
        bool whole_rows = p.row_bytes == part->tensor->row_bytes;
        bool as_last = last.bytes && last.col_begin == p.col_begin && last.col_end == p.col_end;
        if (!whole_rows && !as_last) {
            if (sends) cut_columns(l, c, &p, l->cut + used);
            if (sends) last_data = l->cut + used;
            last = p;
            used += p.bytes;
        }
        if (!sends) continue;
        size_t skipped = (p.row_begin - c->row_begin) * part->tensor->row_bytes;
        sends[n++] = (struct comm_piece){
            .peer = (int)r, .data = whole_rows ? l->read + skipped : last_data, .bytes = p.bytes};
    }
    if (n_sends) *n_sends = n;
    return used;
}

/* Places for what this rank gets in a round; returns their bytes.  With recvs NULL it only counts.
 */
static size_t expect_pieces(const struct loader *l, size_t round, struct comm_piece *recvs) {
    size_t used = 0;
    for (size_t i = 0; i < l->schedule.n_readers; i++) {
        const struct chunk *c = chunk_at(l, i, round);
        size_t bytes = c ? piece_of(l, c, &l->job->targets[c->part].slice).bytes : 0;
        if (recvs)
            recvs[i] = (struct comm_piece){
                .peer = l->schedule.readers[i], .data = l->received + used, .bytes = bytes};
        used += bytes;
    }
    return used;
}

/* Rows of different panels never share a cache line, so threads take panels. */
static void pack_matrix(const struct matrix *m, size_t row_begin, size_t row_end,
                        const uint8_t *src, size_t src_row_bytes) {
    size_t panel = m->kernel->panel_rows;
    size_t first = row_begin / panel, last = (row_end + panel - 1) / panel;
#pragma omp parallel for schedule(static)
    for (size_t p = first; p < last; p++) {
        size_t begin = p * panel > row_begin ? p * panel : row_begin;
        size_t end = (p + 1) * panel < row_end ? (p + 1) * panel : row_end;
        for (size_t row = begin; row < end; row++)
            m->kernel->pack_row(m->packed, m->rows, m->cols, row,
                                src + (row - row_begin) * src_row_bytes);
    }
}

static void pack_piece(const struct loader *l, const struct chunk *c, const uint8_t *data) {
    const struct shard_part *part = &l->job->parts[c->part];
    const struct loader_target *target = &l->job->targets[c->part];
    const struct tensor_slice *slice = &target->slice;
    struct piece p = piece_of(l, c, slice);
    if (p.bytes == 0) return;
    if (part->is_vector) {
        enum dtype type = part->tensor->type;
        dtype_dequantize(type, target->vector, data + dtype_row_bytes(type, slice->row_begin),
                         slice->row_end - slice->row_begin);
    } else {
        pack_matrix(target->matrix, p.row_begin - slice->row_begin, p.row_end - slice->row_begin,
                    data, p.row_bytes);
    }
}

static err read_chunk(struct loader *l, const struct chunk *c, uint64_t *bytes_read) {
    const struct gguf_tensor *t = l->job->parts[c->part].tensor;
    size_t bytes = chunk_bytes(l, c);
    TRY(gguf_read(l->job->gguf, t, c->row_begin * t->row_bytes, l->read, bytes));
    *bytes_read += bytes;
    return ERR_OK;
}

/* A reader that failed sends what is in its buffer, so that nobody waits for it, and tells then. */
static err run_round(struct loader *l, size_t round, uint64_t *bytes_read) {
    err e = ERR_OK;
    size_t n_sends = 0;
    const struct chunk *mine = chunk_at(l, l->my_reader, round);
    if (mine) {
        e = read_chunk(l, mine, bytes_read);
        cut_chunk(l, mine, l->sends, &n_sends);
    }
    expect_pieces(l, round, l->recvs);
    comm_exchange(l->job->comm, l->sends, n_sends, l->recvs, l->schedule.n_readers);
    TRY(comm_agree(l->job->comm, e, NULL));
    for (size_t i = 0; i < l->schedule.n_readers; i++) {
        const struct chunk *c = chunk_at(l, i, round);
        if (c) pack_piece(l, c, l->recvs[i].data);
    }
    return ERR_OK;
}

/* --- all of it --- */

static err make_staging(struct loader *l) {
    size_t read = 0, cut = 0, received = 0;
    for (size_t round = 0; round < l->schedule.rounds; round++) {
        const struct chunk *c = chunk_at(l, l->my_reader, round);
        if (c) {
            size_t cut_now = cut_chunk(l, c, NULL, NULL);
            if (chunk_bytes(l, c) > read) read = chunk_bytes(l, c);
            if (cut_now > cut) cut = cut_now;
        }
        size_t received_now = expect_pieces(l, round, NULL);
        if (received_now > received) received = received_now;
    }
    l->read = mem_try_zalloc(read, 1);
    l->cut = mem_try_zalloc(cut, 1);
    l->received = mem_try_zalloc(received, 1);
    if (!l->read || !l->cut || !l->received)
        return FAIL(ERR_MEMORY, "no memory for the %zu bytes that loading needs for staging",
                    read + cut + received);
    l->sends = mem_zalloc_array(l->job->plan->size, sizeof *l->sends);
    l->recvs = mem_zalloc_array(l->schedule.n_readers, sizeof *l->recvs);
    return ERR_OK;
}

static void loader_deinit(struct loader *l) {
    mem_free(l->schedule.chunks);
    mem_free(l->schedule.readers);
    mem_free(l->schedule.first);
    mem_free(l->read);
    mem_free(l->cut);
    mem_free(l->received);
    mem_free(l->sends);
    mem_free(l->recvs);
}

/* Bytes of the whole cluster that the rounds before `round` have moved. */
static uint64_t bytes_of_round(const struct loader *l, size_t round) {
    uint64_t sum = 0;
    for (size_t i = 0; i < l->schedule.n_readers; i++) {
        const struct chunk *c = chunk_at(l, i, round);
        if (c) sum += chunk_bytes(l, c);
    }
    return sum;
}

err loader_run(const struct loader_job *job, uint64_t *bytes_read) {
    err e = ERR_OK;
    struct loader l = {.job = job};
    uint64_t done = 0;
    TRY_GOTO(e, find_readers(&l), out);
    cut_chunks(&l);
    share_chunks(&l);
    TRY_GOTO(e, comm_agree(job->comm, make_staging(&l), NULL), out);
    for (size_t round = 0; round < l.schedule.rounds; round++) {
        TRY_GOTO(e, run_round(&l, round, bytes_read), out);
        done += bytes_of_round(&l, round);
        if (job->progress && comm_rank(job->comm) == 0)
            job->progress(job->progress_ctx, done, l.schedule.total_bytes);
    }
out:
    loader_deinit(&l);
    return e;
}
