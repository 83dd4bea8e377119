// SPDX-License-Identifier: MIT
/* test_kernels_pack.c: a packed matrix holds the file's information, within the promised size. */

#include "tests/kernels/kernels_support.h"

#include <stdlib.h>
#include <string.h>

static const size_t row_counts[] = {1, 3, 8, 16, 17, 50, 97};
static const size_t block_counts[] = {1, 2, 5};

typedef void pack_check(const struct kernels *k, enum dtype type, size_t rows, size_t cols);

static void for_each_shape(pack_check *check) {
    for (const struct kernels *const *k = support_tables(); *k; k++)
        for (size_t i = 0; i < support_type_count; i++)
            for (size_t r = 0; r < sizeof row_counts / sizeof *row_counts; r++)
                for (size_t b = 0; b < sizeof block_counts / sizeof *block_counts; b++) {
                    size_t elems = dtype_info(support_types[i])->block_elems;
                    size_t cols = block_counts[b] * (elems == 1 ? 37 : elems);
                    check(*k, support_types[i], row_counts[r], cols);
                }
}

/* Any bits at all, NaN scales too, come back as dtype_dequantize makes them. */
static void check_round_trip(const struct kernels *k, enum dtype type, size_t rows, size_t cols) {
    const struct matmul_kernel *m = &k->matmul[type];
    size_t row_bytes = dtype_row_bytes(type, cols);
    uint8_t *file = support_alloc(rows * row_bytes), *packed;
    float *got = support_alloc(cols * sizeof *got), *want = support_alloc(cols * sizeof *want);
    uint32_t seed = 7;

    for (size_t i = 0; i < rows * row_bytes; i++) file[i] = (uint8_t)(support_random(&seed) >> 9);
    packed = support_alloc(m->packed_bytes(rows, cols));
    for (size_t r = rows; r-- > 0;) m->pack_row(packed, rows, cols, r, file + r * row_bytes);
    for (size_t r = 0; r < rows; r++) {
        m->unpack_row(packed, rows, cols, r, got);
        dtype_dequantize(type, want, file + r * row_bytes, cols);
        support_same_bits(k->isa, dtype_info(type)->name, got, want, cols);
    }
    free(file);
    free(packed);
    free(got);
    free(want);
}

static void test_round_trip(void **state) {
    (void)state;
    for_each_shape(check_round_trip);
}

/* The promise of kernels.h that memory plans rest on. */
static void check_size(const struct kernels *k, enum dtype type, size_t rows, size_t cols) {
    const struct matmul_kernel *m = &k->matmul[type];
    size_t row_bytes = dtype_row_bytes(type, cols);
    double file = (double)(rows * row_bytes), panel = (double)(m->panel_rows * row_bytes);
    double packed = (double)m->packed_bytes(rows, cols);
    if (packed > 1.07 * file + panel)
        fail_msg("%s %s %zu x %zu: %.0f bytes packed, %.0f in the file", k->isa,
                 dtype_info(type)->name, rows, cols, packed, file);
}

static void test_size(void **state) {
    (void)state;
    for_each_shape(check_size);
}

/* Rows may be packed by different threads: storing one leaves every bit of the others alone. */
static void check_rows_apart(const struct kernels *k, enum dtype type, size_t rows, size_t cols) {
    const struct matmul_kernel *m = &k->matmul[type];
    struct support_matrix a, b;
    float *row = support_alloc(cols * sizeof *row);

    support_matrix_init(&a, type, rows, cols, SCALES_RANDOM, 11);
    support_matrix_init(&b, type, rows, cols, SCALES_RANDOM, 12);
    void *packed = support_pack(m, &a);
    for (size_t r = 0; r < rows; r += 3)
        m->pack_row(packed, rows, cols, r, b.file + r * b.row_bytes);
    for (size_t r = 0; r < rows; r++) {
        const struct support_matrix *owner = r % 3 == 0 ? &b : &a;
        m->unpack_row(packed, rows, cols, r, row);
        support_same_bits(k->isa, dtype_info(type)->name, row, owner->floats + r * cols, cols);
    }
    free(packed);
    free(row);
    support_matrix_deinit(&a);
    support_matrix_deinit(&b);
}

static void test_rows_apart(void **state) {
    (void)state;
    for_each_shape(check_rows_apart);
}

/* Rows given together are stored as row by row, whatever their first one, their number and the gaps
 * between them in the file; the others stay as they were. */
static void check_rows_together(const struct kernels *k, enum dtype type, size_t rows,
                                size_t cols) {
    static const size_t gaps[] = {0, 3, 64};
    const struct matmul_kernel *m = &k->matmul[type];
    const size_t row_bytes = dtype_row_bytes(type, cols), bytes = m->packed_bytes(rows, cols);
    uint8_t *want = support_alloc(bytes), *got = support_alloc(bytes);
    uint32_t seed = 13;

    for (size_t begin = 0; begin < rows; begin += begin < 17 ? 1 : 13) {
        for (size_t n = rows - begin; n > 0; n -= n < 16 ? 1 : n / 3) {
            const size_t stride = row_bytes + gaps[(begin + n) % 3];
            uint8_t *file = support_alloc((n - 1) * stride + row_bytes);
            for (size_t i = 0; i < (n - 1) * stride + row_bytes; i++)
                file[i] = (uint8_t)(support_random(&seed) >> 9);
            memset(want, 0xA5, bytes);
            memset(got, 0xA5, bytes);
            for (size_t r = 0; r < n; r++)
                m->pack_row(want, rows, cols, begin + r, file + r * stride);
            m->pack_rows(got, rows, cols, begin, n, file, stride);
            if (memcmp(want, got, bytes) != 0)
                fail_msg("%s %s %zu x %zu: rows %zu to %zu, %zu bytes apart, differ", k->isa,
                         dtype_info(type)->name, rows, cols, begin, begin + n, stride);
            free(file);
        }
    }
    free(want);
    free(got);
}

static void test_rows_together(void **state) {
    (void)state;
    for_each_shape(check_rows_together);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_rows_apart),
        cmocka_unit_test(test_rows_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
