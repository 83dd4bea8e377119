// SPDX-License-Identifier: MIT
/* kernels_support.h: what the kernel tests share: random weights, exact buffers, comparisons.
 *
 * Buffers are heap blocks of exactly the size asked for, so that AddressSanitizer sees the first
 * byte read or written beyond.  Random numbers are seeded per call site and the same everywhere. */
#ifndef TESTS_KERNELS_SUPPORT_H
#define TESTS_KERNELS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/kernels/kernels.h"

/* The tables of this machine in ascending order of preference; NULL ends the list. */
const struct kernels *const *support_tables(void);

/* Every type of the tables. */
extern const enum dtype support_types[];
extern const size_t support_type_count;

/* malloc that cannot fail; free() it. */
void *support_alloc(size_t bytes);

/* xorshift: never 0. */
uint32_t support_random(uint32_t *state);
/* Uniform in [-1, 1). */
float support_uniform(uint32_t *state);

enum scales {
    SCALES_RANDOM, // moderate: weights of size about 1
    SCALES_EIGHTH  // every f16 field is 1/8: with small activations no float operation rounds
};
/* Fills a row of `cols` elements with random weights of a type. */
void support_fill_row(enum dtype type, uint8_t *row, size_t cols, enum scales scales,
                      uint32_t *state);

/* The same with every byte beside the f16 scales of 1/8 equal to `pattern`. */
void support_fill_pattern(enum dtype type, uint8_t *row, size_t cols, uint8_t pattern);

/* rows x cols of a type: as in the file, as floats, and packed for one table. */
struct support_matrix {
    enum dtype type;
    size_t rows, cols, row_bytes;
    uint8_t *file;
    float *floats; // [rows, cols]
};
void support_matrix_init(struct support_matrix *m, enum dtype type, size_t rows, size_t cols,
                         enum scales scales, uint32_t seed);
void support_matrix_deinit(struct support_matrix *m);
/* free() the result. */
void *support_pack(const struct matmul_kernel *kernel, const struct support_matrix *m);

/* Activations in a block of memory of their own; free(x.blocks) when done. */
struct act_rows support_act_rows(size_t cols, size_t tokens);
/* The integer of one element. */
int8_t *support_act_q(const struct act_rows *x, size_t token, size_t col);
/* Sets every scale to 1/8 and the sums to those of q. */
void support_act_finish(struct act_rows *x);
/* Integers in [-limit, limit], finished. */
struct act_rows support_act_integers(size_t cols, size_t tokens, int limit, uint32_t seed);

/* Fails with both values, their place and the table's name unless |got - want| <= bound. */
void support_close(const char *isa, const char *what, size_t at, double got, double want,
                   double bound);
/* Fails unless both arrays hold the same bits. */
void support_same_bits(const char *isa, const char *what, const float *got, const float *want,
                       size_t n);

#endif
