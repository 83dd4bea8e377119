// SPDX-License-Identifier: MIT
/* panel.c: the permutation between a file's row and its lane of a panel.
 *
 * Each rank's loader threads pack, whole panels where they can and single rows at odd ends; the
 * embedding look-up unpacks.  The layout is a table of fields, so that each of the three is one
 * loop for all types (Q6_K's bits change places first); a row given back is put together as the
 * file's block and dequantised by dtype.c, which makes it equal bit for bit.  Two rows never share
 * a byte.  Compiled for the baseline: nothing here is specific to a CPU. */

#include "worker/kernels/panel.h"

#include <stdbool.h>
#include <string.h>

#include "common/error.h"
#include "worker/kernels/arrange.h"
#include "worker/kernels/turn.h"

#define MAX_FIELDS      9
#define MAX_BLOCK_BYTES 210 // Q6_K
#define MAX_LANES       32  // of any instruction set's panels

/* A run of `count` units of `unit` bytes at `offset` of the block, the file's or an arranged one.
 * The fields of a type stand in the order in which the panel holds them (enum panel_offset). */
struct field {
    uint8_t offset, unit, count;
    bool spread; // a word of fifth bits, element j at bit j in the file
};

static const struct field layouts[DTYPE_LIMIT][MAX_FIELDS] = {
    [DTYPE_Q4_0] = {{0, 2, 1, false}, {2, 4, 4, false}},
    [DTYPE_Q4_1] = {{0, 2, 2, false}, {4, 4, 4, false}},
    [DTYPE_Q5_0] = {{0, 2, 1, false}, {2, 4, 1, true}, {6, 4, 4, false}},
    [DTYPE_Q5_1] = {{0, 2, 2, false}, {4, 4, 1, true}, {8, 4, 4, false}},
    [DTYPE_Q8_0] = {{0, 2, 1, false}, {2, 4, 8, false}},
    [DTYPE_Q4_K] = {{0, 2, 2, false}, {4, 1, 12, false}, {16, 4, 32, false}},
    [DTYPE_Q5_K] = {{0, 2, 2, false}, {4, 1, 12, false}, {16, 4, 8, false}, {48, 4, 32, false}},
    [DTYPE_Q6_K] = {{208, 2, 1, false}, // of the arranged block
                    {0, 1, 4, false},
                    {4, 4, 12, false},
                    {52, 1, 4, false},
                    {56, 4, 12, false},
                    {104, 1, 4, false},
                    {108, 4, 12, false},
                    {156, 1, 4, false},
                    {160, 4, 12, false}},
};

/* Types whose bits change places within a block before the panel is made. */
static const struct arrangement {
    void (*arrange)(uint8_t *dst, const uint8_t *src);
    void (*restore)(uint8_t *dst, const uint8_t *src);
} arrangements[DTYPE_LIMIT] = {[DTYPE_Q6_K] = {arrange_q6_k, restore_q6_k}};

/* A word of fifth bits has bit j at bit 8 (j % 4) + j / 4 of the panel's: a shift by g then brings
 * those of elements 4g..4g+3 to the same place of the word's four bytes.  Two of the five bits of j
 * change places in each of these exchanges: all bits under the mask with those `shift` above. */
static const struct exchange {
    uint32_t shift, mask;
} exchanges[] = {{1, 0x22222222}, {3, 0x0A0A0A0A}, {6, 0x00CC00CC}, {12, 0x0000F0F0}};

#define EXCHANGES (sizeof exchanges / sizeof *exchanges)

static uint32_t exchange_bits(uint32_t v, struct exchange e) {
    uint32_t differ = (v >> e.shift ^ v) & e.mask;
    return v ^ differ ^ differ << e.shift;
}

static void spread_word(uint8_t *dst, const uint8_t *src) {
    uint32_t v;
    memcpy(&v, src, sizeof v);
    for (size_t i = 0; i < EXCHANGES; i++) v = exchange_bits(v, exchanges[i]);
    memcpy(dst, &v, sizeof v);
}

static void gather_word(uint8_t *dst, const uint8_t *src) {
    uint32_t v;
    memcpy(&v, src, sizeof v);
    for (size_t i = EXCHANGES; i-- > 0;) v = exchange_bits(v, exchanges[i]);
    memcpy(dst, &v, sizeof v);
}

/* Where unit 0 of the row's lane lies in a field that begins `base` bytes into a block's lanes. */
static size_t unit_at(const struct field *f, size_t lanes, size_t lane, size_t base) {
    return lanes * base + lane * f->unit;
}

/* memcpy of a unit, with sizes that the compiler knows. */
static void copy_unit(uint8_t *dst, const uint8_t *src, size_t unit) {
    if (unit == 4)
        memcpy(dst, src, 4);
    else if (unit == 2)
        memcpy(dst, src, 2);
    else
        *dst = *src;
}

static void pack_block(const struct field *fields, size_t lanes, size_t lane, uint8_t *dst,
                       const uint8_t *src) {
    size_t base = 0;
    for (const struct field *f = fields; f < fields + MAX_FIELDS && f->unit; f++) {
        uint8_t *to = dst + unit_at(f, lanes, lane, base);
        const uint8_t *from = src + f->offset;
        for (size_t u = 0; u < f->count; u++, to += lanes * f->unit, from += f->unit) {
            if (f->spread)
                spread_word(to, from);
            else
                copy_unit(to, from, f->unit);
        }
        base += (size_t)f->unit * f->count;
    }
}

static void unpack_block(const struct field *fields, size_t lanes, size_t lane, uint8_t *dst,
                         const uint8_t *src) {
    size_t base = 0;
    for (const struct field *f = fields; f < fields + MAX_FIELDS && f->unit; f++) {
        const uint8_t *from = src + unit_at(f, lanes, lane, base);
        uint8_t *to = dst + f->offset;
        for (size_t u = 0; u < f->count; u++, from += lanes * f->unit, to += f->unit) {
            if (f->spread)
                gather_word(to, from);
            else
                copy_unit(to, from, f->unit);
        }
        base += (size_t)f->unit * f->count;
    }
}

/* All lanes of a panel's block; rows begin every `stride` bytes of src. */
static void pack_panel_block(const struct field *fields, size_t lanes, uint8_t *dst,
                             const uint8_t *src, size_t stride) {
    for (const struct field *f = fields; f < fields + MAX_FIELDS && f->unit; f++) {
        const uint8_t *from = src + f->offset;
        if (f->spread) {
            for (size_t lane = 0; lane < lanes; lane++, from += stride)
                spread_word(dst + lane * f->unit, from);
        } else {
            turn_units(dst, from, stride, lanes, f->unit, f->count);
        }
        dst += lanes * f->unit * f->count;
    }
}

static void pack_panel(enum dtype type, size_t lanes, uint8_t *dst, size_t cols, const uint8_t *src,
                       size_t stride) {
    const struct dtype_info *info = dtype_info(type);
    const size_t bytes = lanes * info->block_bytes;
    const struct arrangement *a = &arrangements[type];
    uint8_t arranged[MAX_LANES * MAX_BLOCK_BYTES];

    for (size_t k = 0; k < cols; k += info->block_elems) {
        if (a->arrange) {
            for (size_t lane = 0; lane < lanes; lane++)
                a->arrange(arranged + lane * info->block_bytes, src + lane * stride);
            pack_panel_block(layouts[type], lanes, dst, arranged, info->block_bytes);
        } else {
            pack_panel_block(layouts[type], lanes, dst, src, stride);
        }
        dst += bytes;
        src += info->block_bytes;
    }
}

size_t panel_bytes(enum dtype type, size_t lanes, size_t rows, size_t cols) {
    return (rows + lanes - 1) / lanes * lanes * dtype_row_bytes(type, cols);
}

void panel_pack_row(enum dtype type, size_t lanes, void *packed, size_t cols, size_t row,
                    const void *src) {
    const struct dtype_info *info = dtype_info(type);
    uint8_t *dst = (uint8_t *)packed + row / lanes * lanes * dtype_row_bytes(type, cols);
    const uint8_t *block = src;
    uint8_t arranged[MAX_BLOCK_BYTES];

    for (size_t k = 0; k < cols; k += info->block_elems) {
        if (arrangements[type].arrange) arrangements[type].arrange(arranged, block);
        pack_block(layouts[type], lanes, row % lanes, dst,
                   arrangements[type].arrange ? arranged : block);
        dst += lanes * info->block_bytes;
        block += info->block_bytes;
    }
}

void panel_pack_rows(enum dtype type, size_t lanes, void *packed, size_t cols, size_t row,
                     size_t n_rows, const void *src, size_t src_stride) {
    const size_t end = row + n_rows, row_bytes = dtype_row_bytes(type, cols);
    const uint8_t *from = src;

    CHECK(lanes <= MAX_LANES);
    while (row < end) {
        bool whole = row % lanes == 0 && end - row >= lanes;
        size_t n = whole ? lanes : 1;
        if (whole)
            pack_panel(type, lanes, (uint8_t *)packed + row * row_bytes, cols, from, src_stride);
        else
            panel_pack_row(type, lanes, packed, cols, row, from);
        row += n;
        from += n * src_stride;
    }
}

void panel_unpack_row(enum dtype type, size_t lanes, const void *packed, size_t cols, size_t row,
                      float *dst) {
    const struct dtype_info *info = dtype_info(type);
    const uint8_t *src =
        (const uint8_t *)packed + row / lanes * lanes * dtype_row_bytes(type, cols);
    uint8_t block[MAX_BLOCK_BYTES], restored[MAX_BLOCK_BYTES];

    CHECK(info->block_bytes <= sizeof block);
    for (size_t k = 0; k < cols; k += info->block_elems) {
        unpack_block(layouts[type], lanes, row % lanes, block, src);
        if (arrangements[type].restore) arrangements[type].restore(restored, block);
        dtype_dequantize(type, dst + k, arrangements[type].restore ? restored : block,
                         info->block_elems);
        src += lanes * info->block_bytes;
    }
}
