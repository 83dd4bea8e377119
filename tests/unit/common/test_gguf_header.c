// SPDX-License-Identifier: MIT
/* test_gguf_header.c: headers that lie and headers that are cut off.
 *
 * Wrong files are rows of a table: what to do to a good file, and what the sentence must say.  The
 * parser is also run against a guard page: one byte read too far is a signal. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/gguf_internal.h"
#include "tests/unit/common/gguf_builder.h"

static void assert_says(const char *part) {
    if (!strstr(error_message(), part))
        fail_msg("\"%s\" does not say \"%s\"", error_message(), part);
}

/* ---- wrong files ------------------------------------------------------------------------- */

static void entry(struct gguf_builder *b, uint32_t type, uint64_t d0, uint64_t d1,
                  uint64_t offset) {
    gguf_builder_entry(b, "bad", 2, (uint64_t[]){d0, d1}, type, offset);
}
static void wrong_version_1(struct gguf_builder *b) {
    b->version = 1;
}
static void wrong_version_9(struct gguf_builder *b) {
    b->version = 9;
}
static void wrong_endian(struct gguf_builder *b) {
    b->version = 3u << 24;
}
static void wrong_tensor_count(struct gguf_builder *b) {
    b->n_tensors = 1000;
}
static void wrong_tensor_count_huge(struct gguf_builder *b) {
    b->n_tensors = UINT64_MAX;
}
static void wrong_key_count(struct gguf_builder *b) {
    b->n_kvs = 60000;
}
static void wrong_key_count_huge(struct gguf_builder *b) {
    b->n_kvs = UINT64_MAX / 2;
}
static void wrong_key_length(struct gguf_builder *b) {
    memset(b->kvs.data, 0xFF, 8);
}
static void wrong_key_empty(struct gguf_builder *b) {
    gguf_builder_u32(b, "", 1);
}
static void wrong_key_twice(struct gguf_builder *b) {
    gguf_builder_u32(b, "llama.block_count", 1);
}
static void wrong_value_type(struct gguf_builder *b) {
    gguf_builder_key(b, "odd", 13);
}
static void wrong_bool(struct gguf_builder *b) {
    gguf_builder_key(b, "odd", GGUF_BOOL);
    buf_putc(&b->kvs, 2);
}
static void wrong_array_nested(struct gguf_builder *b) {
    gguf_builder_array(b, "odd", GGUF_ARRAY, 1);
}
static void wrong_array_type(struct gguf_builder *b) {
    gguf_builder_array(b, "odd", 77, 1);
}
static void wrong_array_count(struct gguf_builder *b) {
    gguf_builder_array(b, "odd", GGUF_U64, UINT64_MAX / 8 + 2);
}
static void wrong_array_strings(struct gguf_builder *b) {
    gguf_builder_array(b, "odd", GGUF_STRING, UINT64_MAX / 16 + 2);
}
static void wrong_string_length(struct gguf_builder *b) {
    gguf_builder_key(b, "odd", GGUF_STRING);
    buf_append(&b->kvs, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 8);
}
static void wrong_alignment(struct gguf_builder *b) {
    gguf_builder_u32(b, "general.alignment", 48);
}
static void wrong_alignment_zero(struct gguf_builder *b) {
    gguf_builder_u32(b, "general.alignment", 0);
}
static void wrong_alignment_huge(struct gguf_builder *b) {
    gguf_builder_u32(b, "general.alignment", 1u << 31);
}
static void wrong_alignment_type(struct gguf_builder *b) {
    gguf_builder_str(b, "general.alignment", "32");
}
static void wrong_name_empty(struct gguf_builder *b) {
    gguf_builder_tensor(b, "", DTYPE_F32, 8, 0);
}
static void wrong_name_long(struct gguf_builder *b) {
    gguf_builder_tensor(b, "a234567890123456789012345678901234567890123456789012345678901234x",
                        DTYPE_F32, 8, 0);
}
static void wrong_name_twice(struct gguf_builder *b) {
    gguf_builder_tensor(b, "norm", DTYPE_F32, 8, 0);
}
static void wrong_dims_none(struct gguf_builder *b) {
    gguf_builder_entry(b, "bad", 0, (uint64_t[]){1}, DTYPE_F32, 0);
}
static void wrong_dims_five(struct gguf_builder *b) {
    gguf_builder_entry(b, "bad", 5, (uint64_t[]){1, 1, 1, 1, 1}, DTYPE_F32, 0);
}
static void wrong_dim_zero(struct gguf_builder *b) {
    entry(b, DTYPE_F32, 0, 4, 0);
}
static void wrong_dim_zero_outer(struct gguf_builder *b) {
    entry(b, DTYPE_F32, 8, 0, 0);
}
static void wrong_dims_wrap(struct gguf_builder *b) {
    entry(b, DTYPE_F32, 1ull << 32, 1ull << 32, 0); // 2^66 bytes, 0 in 64 bits
}
static void wrong_dims_wrap_row(struct gguf_builder *b) {
    entry(b, DTYPE_F32, 1ull << 62, 1, 0); // a row of 2^64 bytes
}
static void wrong_dims_wrap_four(struct gguf_builder *b) {
    gguf_builder_entry(b, "bad", 4, (uint64_t[]){1 << 16, 1 << 16, 1 << 16, 1 << 16}, DTYPE_F32, 0);
}
static void wrong_block(struct gguf_builder *b) {
    entry(b, DTYPE_Q4_0, 48, 2, 0);
}
static void wrong_type_removed(struct gguf_builder *b) {
    entry(b, 31, 32, 2, 0);
}
static void wrong_type_unknown(struct gguf_builder *b) {
    entry(b, 0xFFFFFFFF, 32, 2, 0);
}
static void wrong_offset_odd(struct gguf_builder *b) {
    entry(b, DTYPE_F32, 8, 1, 4);
}
static void wrong_offset_far(struct gguf_builder *b) {
    entry(b, DTYPE_F32, 8, 1, 1 << 20);
}
static void wrong_offset_wrap(struct gguf_builder *b) {
    entry(b, DTYPE_F32, 8, 1, UINT64_MAX - 31);
}
static void wrong_overlap(struct gguf_builder *b) {
    entry(b, DTYPE_F32, 8, 1, 64 + 32);
}
static void wrong_same_place(struct gguf_builder *b) {
    entry(b, DTYPE_F32, 8, 1, 0);
}
static void wrong_unnamed_part(struct gguf_builder *b) {
    gguf_builder_u32(b, "split.count", 3);
}
static void wrong_part_number(struct gguf_builder *b) {
    gguf_builder_u32(b, "split.no", 1);
}

static const struct {
    void (*change)(struct gguf_builder *b);
    const char *says;
} wrong_files[] = {
    {wrong_version_1, "version 1"},
    {wrong_version_9, "version 9"},
    {wrong_endian, "big-endian (version 3)"},
    {wrong_tensor_count, "1000 tensors, more than it could hold"},
    {wrong_tensor_count_huge, "more than are allowed"},
    {wrong_key_count, "60000 metadata keys, more than it could hold"},
    {wrong_key_count_huge, "more than are allowed"},
    {wrong_key_length, "at offset 24: the length of a key is 18446744073709551615"},
    {wrong_key_empty, "a key is empty"},
    {wrong_key_twice, "the key llama.block_count is there twice"},
    {wrong_value_type, "odd has the unknown type 13"},
    {wrong_bool, "the value of odd is 2"},
    {wrong_array_nested, "elements of type 9 (array)"},
    {wrong_array_type, "elements of type 77"},
    {wrong_array_count, "the array odd has 2305843009213693953 elements"},
    {wrong_array_strings, "more than the file could hold"},
    {wrong_string_length, "the length of odd is 18446744073709551615"},
    {wrong_alignment, "general.alignment must be"},
    {wrong_alignment_zero, "general.alignment must be"},
    {wrong_alignment_huge, "general.alignment must be"},
    {wrong_alignment_type, "general.alignment must be"},
    {wrong_name_empty, "a tensor's name is empty"},
    {wrong_name_long, "the length of a tensor's name is 65, at most 64"},
    {wrong_name_twice, "the tensor norm is there twice"},
    {wrong_dims_none, "has 0 dimensions"},
    {wrong_dims_five, "has 5 dimensions"},
    {wrong_dim_zero, "which is nothing"},
    {wrong_dim_zero_outer, "which is nothing"},
    {wrong_dims_wrap, "more than the file could hold"},
    {wrong_dims_wrap_row, "more than the file could hold"},
    {wrong_dims_wrap_four, "more than the file could hold"},
    {wrong_block, "no multiple of the 32 in a block of Q4_0"},
    {wrong_type_removed, "type number 31 (Q4_0_4_4)"},
    {wrong_type_unknown, "type number 4294967295 (unknown)"},
    {wrong_offset_odd, "no multiple of the alignment 32"},
    {wrong_offset_far, "reaches beyond the end of the file"},
    {wrong_offset_wrap, "reaches beyond the end of the file"},
    {wrong_overlap, "the data of the tensors matrix and bad overlap"},
    {wrong_same_place, "overlap"},
    {wrong_unnamed_part, "is one of 3 parts, but its name"},
    {wrong_part_number, "this is not part 1 of a split model"},
};

static void test_wrong_files(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof wrong_files / sizeof wrong_files[0]; i++) {
        struct gguf_builder b;
        struct buf bytes;
        struct gguf *g = NULL;
        gguf_builder_small(&b);
        wrong_files[i].change(&b);
        gguf_builder_finish(&b, &bytes);
        if (gguf_builder_open(&g, &bytes) != ERR_MODEL)
            fail_msg("\"%s\" was accepted", wrong_files[i].says);
        assert_says(wrong_files[i].says);
        assert_says("/proc/self/fd/"); // the file's name is always there
        assert_null(g);
        buf_deinit(&bytes);
        gguf_builder_deinit(&b);
    }
}

static void test_no_model_at_all(void **state) {
    (void)state;
    struct gguf *g;
    struct buf bytes;
    buf_init(&bytes, 0);
    buf_puts(&bytes, "PK\003\004 something else");
    assert_int_equal(gguf_builder_open(&g, &bytes), ERR_MODEL);
    assert_says("not a GGUF file");
    buf_clear(&bytes);
    assert_int_equal(gguf_builder_open(&g, &bytes), ERR_MODEL);
    assert_says("ends within its headers");
    buf_deinit(&bytes);
    assert_int_equal(gguf_open(&g, "/nonexistent/model.gguf"), ERR_MODEL);
    assert_says("/nonexistent/model.gguf cannot be opened: No such file");
    assert_int_equal(gguf_open(&g, "/"), ERR_MODEL);
    assert_says("not a regular file");
}

/* Every beginning of the file, with the byte after its end unreadable. */
static void test_every_cut(void **state) {
    (void)state;
    struct gguf_builder b;
    struct buf bytes;
    gguf_builder_small(&b);
    gguf_builder_finish(&b, &bytes);
    size_t header = gguf_builder_header_bytes(&b), page = (size_t)sysconf(_SC_PAGESIZE);
    assert_true(header < page);
    uint8_t *pages =
        mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    assert_int_equal(mprotect(pages + page, page, PROT_NONE), 0);
    size_t padding = 160 - 2 * 74; // after the last tensor: it may be missing
    for (size_t n = 0; n < bytes.length - padding; n++) {
        size_t held = n < header ? n : header;
        uint8_t *place = pages + page - held;
        memcpy(place, bytes.data, held);
        struct gguf__header h;
        uint64_t memory = 1 << 20;
        size_t need = 0;
        /* A file of n bytes is too short … */
        struct gguf__source cut = {"cut", place, held, n};
        assert_int_equal(gguf__header_parse(&h, &cut, &memory, &need), ERR_MODEL);
        gguf__header_deinit(&h);
        /* … and n bytes of a whole file ask for more, until all headers are there. */
        struct gguf__source beginning = {"beginning", place, held, bytes.length};
        assert_int_equal(gguf__header_parse(&h, &beginning, &memory, &need), ERR_OK);
        assert_true(n < header ? need > n && need <= header : need == 0);
        gguf__header_deinit(&h);
    }
    munmap(pages, 2 * page);
    buf_deinit(&bytes);
    gguf_builder_deinit(&b);
}

static void test_memory_is_bounded(void **state) {
    (void)state;
    struct gguf_builder b;
    struct buf bytes;
    struct gguf *g;
    const uint64_t n = 1500000; // empty strings: 8 bytes each in the file, 16 in a table
    gguf_builder_init(&b);
    gguf_builder_array(&b, "odd", GGUF_STRING, n);
    memset(buf_extend(&b.kvs, n * 8), 0, n * 8);
    gguf_builder_finish(&b, &bytes);
    assert_int_equal(gguf_builder_open(&g, &bytes), ERR_MODEL);
    assert_says("more memory than a file of this size may");
    buf_deinit(&bytes);
    gguf_builder_deinit(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_files),
        cmocka_unit_test(test_no_model_at_all),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
