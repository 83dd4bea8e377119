// SPDX-License-Identifier: MIT
/* balance.c: see balance.h. */

#include "worker/compute/balance.h"

#include <stdbool.h>

#include "common/mem.h"

#define LINE_BYTES  128        // two cache lines: processors fetch them in pairs
#define SMOOTHING   (1.0 / 64) // of a new measurement: several steps of a model with many layers
#define SURPRISE    1.25       // a measurement counts for at most so many times the weight
#define ALIKE       0.03       // weights this near to equal ones are taken for equal
#define LEAST       0.2        // of an equal part, for a thread that stands still
#define MEASURED_NS 20000u     // shorter products say nothing
#define FEW_TOKENS  2          // memory is the limit up to here
#define SOME_TOKENS 16         // memory and arithmetic; beyond, arithmetic

enum { SOME, MANY, N_CLASSES, FEW = N_CLASSES }; // few have no weights

struct note {
    size_t rows;
    uint64_t ns;
    char apart[LINE_BYTES - sizeof(size_t) - sizeof(uint64_t)]; // others' notes are not in its line
};

struct balance {
    size_t threads;
    int class;
    bool uneven[N_CLASSES + 1]; // of few never
    double *ends[N_CLASSES];    // where a thread's part of the whole ends, ascending to 1
    double *weights[N_CLASSES]; // of the threads; they add up to 1
    struct note *notes;
};

struct balance *balance_create(size_t threads) {
    struct balance *b = mem_zalloc(sizeof *b);
    b->threads = threads;
    b->class = FEW;
    b->notes = mem_zalloc_array(threads, sizeof *b->notes);
    for (int c = 0; c < N_CLASSES; c++) {
        b->ends[c] = mem_zalloc_array(threads, sizeof *b->ends[c]);
        b->weights[c] = mem_zalloc_array(threads, sizeof *b->weights[c]);
        for (size_t i = 0; i < threads; i++) b->weights[c][i] = 1 / (double)threads;
    }
    return b;
}

void balance_free(struct balance *b) {
    if (!b) return;
    for (int c = 0; c < N_CLASSES; c++) {
        mem_free(b->ends[c]);
        mem_free(b->weights[c]);
    }
    mem_free(b->notes);
    mem_free(b);
}

void balance_begin(struct balance *b, size_t tokens) {
    b->class = tokens <= FEW_TOKENS ? FEW : tokens <= SOME_TOKENS ? SOME : MANY;
}

/* The panel at which the part of the first `n` threads ends. */
static size_t panel_end(const struct balance *b, size_t panels, size_t n) {
    if (n == 0) return 0;
    if (n == b->threads) return panels;
    return (size_t)((double)panels * b->ends[b->class][n - 1] + 0.5);
}

struct shard_rows balance_rows(const struct balance *b, size_t rows, size_t panel_rows,
                               size_t threads, size_t thread) {
    if (threads != b->threads || !b->uneven[b->class])
        return shard_thread_rows(rows, panel_rows, threads, thread);
    const size_t panels = (rows + panel_rows - 1) / panel_rows;
    struct shard_rows r = {panel_end(b, panels, thread) * panel_rows,
                           panel_end(b, panels, thread + 1) * panel_rows};
    if (r.begin > rows) r.begin = rows;
    if (r.end > rows) r.end = rows;
    return r;
}

void balance_note(struct balance *b, size_t thread, size_t rows, uint64_t ns) {
    CHECK(thread < b->threads);
    b->notes[thread].rows = rows;
    b->notes[thread].ns = ns;
}

static double within(double x, double least, double most) {
    return x < least ? least : x > most ? most : x;
}

/* Where the parts end, and whether they are worth being told from equal ones. */
static void place_ends(struct balance *b) {
    const double equal = 1 / (double)b->threads;
    double *w = b->weights[b->class], sum = 0, end = 0;
    bool uneven = false;
    for (size_t i = 0; i < b->threads; i++) sum += w[i];
    for (size_t i = 0; i < b->threads; i++) {
        w[i] /= sum;
        b->ends[b->class][i] = end += w[i];
        if (w[i] < equal * (1 - ALIKE) || w[i] > equal * (1 + ALIKE)) uneven = true;
    }
    b->uneven[b->class] = uneven;
}

/* A thread whose part is less than half a panel gets none, and so cannot show that it is fast
 * again: all parts become a little more equal, until it does. */
static void forget(struct balance *b) {
    double *w = b->weights[b->class], equal = 1 / (double)b->threads;
    for (size_t i = 0; i < b->threads; i++) w[i] += SMOOTHING * (equal - w[i]);
    place_ends(b);
}

void balance_learn(struct balance *b, size_t threads) {
    if (threads != b->threads || threads < 2 || b->class == FEW) return;
    double *w = b->weights[b->class], speed = 0;
    for (size_t i = 0; i < threads; i++) {
        if (b->notes[i].rows == 0) return forget(b);
        if (b->notes[i].ns < MEASURED_NS) return;
        speed += (double)b->notes[i].rows / (double)b->notes[i].ns;
    }
    for (size_t i = 0; i < threads; i++) {
        double measured = (double)b->notes[i].rows / (double)b->notes[i].ns / speed;
        measured = within(measured, w[i] / SURPRISE, w[i] * SURPRISE);
        w[i] += SMOOTHING * (measured - w[i]);
        w[i] = within(w[i], LEAST / (double)threads, 1);
    }
    place_ends(b);
}
