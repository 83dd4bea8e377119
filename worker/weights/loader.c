// SPDX-License-Identifier: MIT
/* loader.c: see loader.h.
 *
 * Runs on the main thread of every rank and its team.  The choice that shapes it: a byte is moved
 * as seldom as possible.  What a rank keeps is read by the thread that will multiply with it, in
 * pieces that stay in its cache, and packed from there; only what is cut by columns crosses ranks,
 * in one message for each pair of ranks and round.  Memory is first touched by the thread that will
 * use it, so that on a machine with several memory nodes it lies on that thread's own. */

#include "worker/weights/loader.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "worker/weights/schedule.h"

#define PAGE_BYTES        ((size_t)4096)
#define THREAD_BYTES      ((size_t)256 << 10) // of kept rows that a thread reads at once
#define THREADS_BYTES     ((size_t)64 << 20)  // of all threads together, where rows are long
#define SLOW_BYTES_PER_NS 1.5                 // one thread from the page cache: 10 and more
#define SENTENCE_BYTES    1024

/* A shared chunk that this rank reads, and its place in `read`. */
struct reading {
    const struct chunk *chunk;
    size_t at;
};

/* A piece that another rank reads for this one, and its place in `received`. */
struct arrival {
    const struct chunk *chunk;
    struct piece piece;
    size_t at;
};

/* Bytes of the three staging areas. */
struct areas {
    size_t read, cut, received;
};

struct loader {
    const struct loader_job *job;
    struct schedule schedule;
    uint32_t me, size;
    uint8_t *staging; // one mapping for the four that follow
    size_t staging_bytes;
    uint8_t *read;     // shared chunks as in the file
    uint8_t *cut;      // columns and rows of them for the others, rank by rank
    uint8_t *received; // pieces of others' chunks, rank by rank
    uint8_t *rows;     // [threads, rows_bytes] kept rows as in the file
    size_t rows_bytes, threads;
    /* The round at hand. */
    struct reading *readings;
    struct arrival *arrivals;
    size_t n_readings, n_arrivals;
    size_t *cut_at;                   // [readings, ranks] places in `cut`
    size_t *to, *from;                // [ranks] bytes, then places
    struct comm_piece *sends, *recvs; // [ranks]
    size_t n_sends, n_recvs;
    uint64_t read_ns, read_bytes; // by all threads together
    bool slow;                    // storage is, as the last round has shown
    /* The first failure of any thread, with its sentence. */
    err failed;
    char sentence[SENTENCE_BYTES];
    uint64_t total_read;
};

static const struct gguf_tensor *tensor_of(const struct loader *l, const struct chunk *c) {
    return l->job->parts[c->part].tensor;
}

/* ---- reading ------------------------------------------------------------------------------- */

/* By any thread of the team. */
static bool read_rows(struct loader *l, const struct gguf_tensor *t, uint64_t row, uint64_t n,
                      uint8_t *dst) {
    uint64_t begin = clock_ns();
    err e = gguf_read(l->job->gguf, t, row * t->row_bytes, dst, n * t->row_bytes);
    uint64_t ns = clock_ns() - begin;
#pragma omp critical(loader_reading)
    {
        l->read_ns += ns;
        l->read_bytes += n * t->row_bytes;
        if (e != ERR_OK && l->failed == ERR_OK) {
            l->failed = e;
            snprintf(l->sentence, sizeof l->sentence, "%s", error_message());
        }
    }
    return e == ERR_OK;
}

/* The rows of a kept chunk, as rows of this rank's matrix, that are a thread's. */
static struct shard_rows kept_rows(const struct loader *l, const struct chunk *c, size_t threads,
                                   size_t thread) {
    const struct loader_target *target = &l->job->targets[c->part];
    const struct matrix *m = target->matrix;
    const size_t panel = m->kernel->panel_rows;
    const size_t begin = c->row_begin - target->slice.row_begin;
    const size_t end = c->row_end - target->slice.row_begin;
    struct shard_rows mine = shard_thread_rows(m->rows, panel, threads, thread);
    if (mine.begin < begin) mine.begin = begin;
    if (mine.end > end) mine.end = end;
    if (mine.begin >= mine.end) return (struct shard_rows){0};
    struct shard_rows now = shard_thread_rows(mine.end - mine.begin, panel, c->steps, c->step);
    return (struct shard_rows){.begin = mine.begin + now.begin, .end = mine.begin + now.end};
}

static void ask_rows(const struct loader *l, const struct chunk *c, uint64_t begin, uint64_t end) {
    const struct gguf_tensor *t = tensor_of(l, c);
    gguf_read_soon(l->job->gguf, t, begin * t->row_bytes, (end - begin) * t->row_bytes);
}

/* What this rank reads in a round. */
static void ask_ahead(const struct loader *l, size_t round) {
    const struct schedule *s = &l->schedule;
    if (round >= s->n_rounds) return;
    for (size_t i = s->rounds[round]; i < s->rounds[round + 1]; i++) {
        const struct chunk *c = &s->chunks[i];
        if (c->reader != l->me) continue;
        if (!c->kept) {
            ask_rows(l, c, c->row_begin, c->row_end);
            continue;
        }
        uint64_t first = l->job->targets[c->part].slice.row_begin;
        for (size_t thread = 0; thread < l->threads; thread++) {
            struct shard_rows rows = kept_rows(l, c, l->threads, thread);
            if (rows.begin < rows.end) ask_rows(l, c, first + rows.begin, first + rows.end);
        }
    }
}

/* ---- packing ------------------------------------------------------------------------------- */

/* The piece's rows begin every `stride` bytes. */
static void pack_piece(const struct loader *l, const struct chunk *c, const struct piece *p,
                       const uint8_t *data, size_t stride) {
    const struct shard_part *part = &l->job->parts[c->part];
    const struct loader_target *target = &l->job->targets[c->part];
    const struct tensor_slice *slice = &target->slice;
    if (part->is_vector) {
        enum dtype type = part->tensor->type;
        dtype_dequantize(type, target->vector, data + dtype_row_bytes(type, slice->row_begin),
                         slice->row_end - slice->row_begin);
    } else {
        const struct matrix *m = target->matrix;
        m->kernel->pack_rows(m->packed, m->rows, m->cols, p->row_begin - slice->row_begin,
                             p->row_end - p->row_begin, data, stride);
    }
}

/* A thread's share of a kept chunk, through its own piece of staging memory. */
static void load_kept(struct loader *l, const struct chunk *c, size_t threads, size_t thread) {
    const struct gguf_tensor *t = tensor_of(l, c);
    const struct loader_target *target = &l->job->targets[c->part];
    const struct matrix *m = target->matrix;
    const size_t panel = m->kernel->panel_rows;
    uint8_t *rows = l->rows + thread * l->rows_bytes;
    size_t at_once = l->rows_bytes / t->row_bytes;
    if (at_once > panel) at_once -= at_once % panel;

    struct shard_rows mine = kept_rows(l, c, threads, thread);
    for (size_t row = mine.begin, n; row < mine.end; row += n) {
        n = mine.end - row < at_once ? mine.end - row : at_once;
        if (!read_rows(l, t, target->slice.row_begin + row, n, rows)) return;
        m->kernel->pack_rows(m->packed, m->rows, m->cols, row, n, rows, t->row_bytes);
    }
}

/* ---- one round ----------------------------------------------------------------------------- */

/* bytes[ranks] become places in an area, one after the other, and pieces for the ranks concerned.
 * Without an area it only counts. */
static size_t place_by_rank(const struct loader *l, size_t *bytes, struct comm_piece *pieces,
                            uint8_t *area, size_t *n) {
    size_t used = 0;
    *n = 0;
    for (uint32_t r = 0; r < l->size; r++) {
        size_t count = bytes[r];
        bytes[r] = used;
        if (count == 0) continue;
        pieces[(*n)++] = (struct comm_piece){.peer = (int)r, .data = area + used, .bytes = count};
        used += count;
    }
    return used;
}

/* Who sends this rank what in a round and where it goes.  Returns the areas it takes. */
static struct areas plan_round(struct loader *l, size_t round) {
    const struct schedule *s = &l->schedule;
    struct areas used = {0};
    l->n_readings = l->n_arrivals = 0;
    memset(l->to, 0, l->size * sizeof *l->to);
    memset(l->from, 0, l->size * sizeof *l->from);
    for (size_t i = s->rounds[round]; i < s->rounds[round + 1]; i++) {
        const struct chunk *c = &s->chunks[i];
        if (c->kept) continue;
        if (c->reader == l->me) {
            l->readings[l->n_readings++] = (struct reading){.chunk = c, .at = used.read};
            used.read += schedule_chunk_bytes(s, c);
            for (uint32_t r = 0; r < l->size; r++)
                if (r != l->me) l->to[r] += schedule_piece(s, c, r).bytes;
        } else {
            struct piece p = schedule_piece(s, c, l->me);
            if (p.bytes) l->arrivals[l->n_arrivals++] = (struct arrival){.chunk = c, .piece = p};
            l->from[c->reader] += p.bytes;
        }
    }
    used.cut = place_by_rank(l, l->to, l->sends, l->cut, &l->n_sends);
    used.received = place_by_rank(l, l->from, l->recvs, l->received, &l->n_recvs);
    for (size_t i = 0; i < l->n_arrivals; i++) {
        struct arrival *a = &l->arrivals[i];
        a->at = l->from[a->chunk->reader];
        l->from[a->chunk->reader] += a->piece.bytes;
    }
    for (size_t i = 0; i < l->n_readings; i++)
        for (uint32_t r = 0; r < l->size; r++) {
            l->cut_at[i * l->size + r] = l->to[r];
            if (r != l->me) l->to[r] += schedule_piece(s, l->readings[i].chunk, r).bytes;
        }
    return used;
}

/* Reads a shared chunk, packs what this rank holds and puts the others' pieces where they are sent
 * from.  After a failure they get what was there: nobody waits for them, and all hear of it. */
static void load_shared(struct loader *l, size_t i) {
    const struct chunk *c = l->readings[i].chunk;
    const struct gguf_tensor *t = tensor_of(l, c);
    uint8_t *data = l->read + l->readings[i].at;
    if (!read_rows(l, t, c->row_begin, c->row_end - c->row_begin, data)) return;
    for (uint32_t r = 0; r < l->size; r++) {
        struct piece p = schedule_piece(&l->schedule, c, r);
        if (p.bytes == 0) continue;
        const uint8_t *src = data + (p.row_begin - c->row_begin) * t->row_bytes +
                             dtype_row_bytes(t->type, p.col_begin);
        if (r == l->me) {
            pack_piece(l, c, &p, src, t->row_bytes);
            continue;
        }
        uint8_t *dst = l->cut + l->cut_at[i * l->size + r];
        for (uint64_t row = p.row_begin; row < p.row_end; row++) {
            memcpy(dst, src, p.row_bytes);
            dst += p.row_bytes;
            src += t->row_bytes;
        }
    }
}

static void load_kept_of_round(struct loader *l, size_t round) {
    const struct schedule *s = &l->schedule;
#pragma omp parallel
    {
        size_t threads = (size_t)omp_get_num_threads(), thread = (size_t)omp_get_thread_num();
        for (size_t i = s->rounds[round]; i < s->rounds[round + 1]; i++)
            if (s->chunks[i].kept && s->chunks[i].reader == l->me)
                load_kept(l, &s->chunks[i], threads, thread);
    }
}

static err run_round(struct loader *l, size_t round) {
    plan_round(l, round);
    if (l->slow) ask_ahead(l, round + 1);
    l->read_ns = l->read_bytes = 0;
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < l->n_readings; i++) load_shared(l, i);
    comm_exchange_start(l->job->comm, l->sends, l->n_sends, l->recvs, l->n_recvs);
    load_kept_of_round(l, round);
    comm_exchange_finish(l->job->comm);
    err e = l->failed == ERR_OK ? ERR_OK : FAIL(l->failed, "%s", l->sentence);
    TRY(comm_agree(l->job->comm, e, NULL));
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < l->n_arrivals; i++) {
        const struct arrival *a = &l->arrivals[i];
        pack_piece(l, a->chunk, &a->piece, l->received + a->at, a->piece.row_bytes);
    }
    l->slow = (double)l->read_bytes < SLOW_BYTES_PER_NS * (double)l->read_ns;
    l->total_read += l->read_bytes;
    return ERR_OK;
}

/* ---- all of it ----------------------------------------------------------------------------- */

/* The same schedule on every rank.  Collective. */
static err make_schedule(struct loader *l) {
    const struct loader_job *job = l->job;
    uint8_t mine = gguf_has_files(job->gguf);
    uint8_t *has_file = mem_zalloc(l->size);
    comm_allgather(job->comm, &mine, has_file, 1);
    l->schedule = (struct schedule){
        .parts = job->parts, .n_parts = job->n_parts, .shape = job->shape, .plan = job->plan};
    err e = schedule_create(&l->schedule, has_file);
    mem_free(has_file);
    return e;
}

/* Places for what a round can ask of this rank. */
static void make_places(struct loader *l) {
    const struct schedule *s = &l->schedule;
    size_t most = 0;
    for (size_t round = 0; round < s->n_rounds; round++) {
        size_t shared = 0;
        for (size_t i = s->rounds[round]; i < s->rounds[round + 1]; i++)
            shared += !s->chunks[i].kept;
        if (shared > most) most = shared;
    }
    l->readings = mem_zalloc_array(most, sizeof *l->readings);
    l->arrivals = mem_zalloc_array(most, sizeof *l->arrivals);
    l->cut_at = mem_zalloc_array(most * l->size, sizeof *l->cut_at);
    l->to = mem_zalloc_array(l->size, sizeof *l->to);
    l->from = mem_zalloc_array(l->size, sizeof *l->from);
    l->sends = mem_zalloc_array(l->size, sizeof *l->sends);
    l->recvs = mem_zalloc_array(l->size, sizeof *l->recvs);
}

/* Room for a panel of kept rows, but for no more than the threads may take together. */
static size_t thread_bytes(const struct loader *l) {
    const struct schedule *s = &l->schedule;
    size_t wanted = THREAD_BYTES, longest = 0;
    for (size_t i = 0; i < s->n_chunks; i++) {
        const struct chunk *c = &s->chunks[i];
        if (!c->kept || c->reader != l->me) continue;
        size_t row_bytes = tensor_of(l, c)->row_bytes;
        size_t panel_bytes = row_bytes * l->job->targets[c->part].matrix->kernel->panel_rows;
        if (row_bytes > longest) longest = row_bytes;
        if (panel_bytes > wanted) wanted = panel_bytes;
    }
    if (wanted > THREADS_BYTES / l->threads) wanted = THREADS_BYTES / l->threads;
    return wanted > longest ? wanted : longest;
}

static err make_staging(struct loader *l) {
    struct areas most = {0};
    make_places(l);
    for (size_t round = 0; round < l->schedule.n_rounds; round++) {
        struct areas a = plan_round(l, round);
        if (a.read > most.read) most.read = a.read;
        if (a.cut > most.cut) most.cut = a.cut;
        if (a.received > most.received) most.received = a.received;
    }
    l->rows_bytes = thread_bytes(l);
    l->staging_bytes = most.read + most.cut + most.received + l->threads * l->rows_bytes;
    void *memory;
    TRY(mem_map(&memory, l->staging_bytes));
    l->staging = memory;
    l->rows = l->staging;
    l->read = l->rows + l->threads * l->rows_bytes;
    l->cut = l->read + most.read;
    l->received = l->cut + most.cut;
    return ERR_OK;
}

/* Shared rows are packed by whoever is free: before, every thread writes one byte of each page of
 * those that it will use. */
static void touch_shared(const struct loader *l) {
    const struct schedule *s = &l->schedule;
#pragma omp parallel
    {
        size_t threads = (size_t)omp_get_num_threads(), thread = (size_t)omp_get_thread_num();
        for (size_t i = 0; i < s->n_chunks; i++) {
            const struct chunk *c = &s->chunks[i];
            const struct matrix *m = l->job->targets[c->part].matrix;
            bool again = i > 0 && c->part == c[-1].part;
            if (c->kept || again || !m || m->packed_bytes == 0) continue;
            struct shard_rows mine =
                shard_thread_rows(m->rows, m->kernel->panel_rows, threads, thread);
            size_t row_bytes = m->packed_bytes / m->rows;
            volatile uint8_t *bytes = m->packed;
            for (size_t at = mine.begin * row_bytes; at < mine.end * row_bytes; at += PAGE_BYTES)
                bytes[at] = 0;
        }
    }
}

static void loader_deinit(struct loader *l) {
    schedule_free(&l->schedule);
    mem_unmap(l->staging, l->staging_bytes);
    mem_free(l->readings);
    mem_free(l->arrivals);
    mem_free(l->cut_at);
    mem_free(l->to);
    mem_free(l->from);
    mem_free(l->sends);
    mem_free(l->recvs);
}

static uint64_t bytes_of_round(const struct schedule *s, size_t round) {
    uint64_t sum = 0;
    for (size_t i = s->rounds[round]; i < s->rounds[round + 1]; i++)
        sum += schedule_chunk_bytes(s, &s->chunks[i]);
    return sum;
}

err loader_run(const struct loader_job *job, uint64_t *bytes_read) {
    err e = ERR_OK;
    struct loader l = {.job = job,
                       .me = (uint32_t)comm_rank(job->comm),
                       .size = (uint32_t)comm_size(job->comm),
                       .threads = (size_t)omp_get_max_threads()};
    uint64_t done = 0;
    TRY_GOTO(e, make_schedule(&l), out);
    TRY_GOTO(e, comm_agree(job->comm, make_staging(&l), NULL), out);
    touch_shared(&l);
    for (size_t round = 0; round < l.schedule.n_rounds; round++) {
        TRY_GOTO(e, run_round(&l, round), out);
        done += bytes_of_round(&l.schedule, round);
        if (job->progress && comm_rank(job->comm) == 0)
            job->progress(job->progress_ctx, done, l.schedule.total_bytes);
    }
    *bytes_read = l.total_read;
out:
    loader_deinit(&l);
    return e;
}
