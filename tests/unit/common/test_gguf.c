// SPDX-License-Identifier: MIT
/* test_gguf.c: the GGUF reader on files: values, look-ups, split models, headers that travel, files
 * that shrink, files that somebody else wrote.  (Files that lie: test_gguf_header.c.) */

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/gguf.h"
#include "tests/unit/common/gguf_builder.h"

static void assert_says(const char *part) {
    if (!strstr(error_message(), part))
        fail_msg("\"%s\" does not say \"%s\"", error_message(), part);
}

/* ---- right files ------------------------------------------------------------------------- */

static void test_small_file(void **state) {
    (void)state;
    struct gguf_builder b;
    struct buf bytes;
    struct gguf *g;
    gguf_builder_small(&b);
    gguf_builder_finish(&b, &bytes);
    assert_int_equal(gguf_builder_open(&g, &bytes), ERR_OK);
    assert_int_equal(gguf_version(g), 3);
    assert_int_equal(gguf_part_count(g), 1);
    assert_int_equal(gguf_file_bytes(g), bytes.length);
    assert_true(gguf_has_files(g));
    assert_int_equal(gguf_kv_count(g), 3);
    assert_true(gguf_str_is(gguf_kv_at(g, 1)->key, "llama.block_count"));
    assert_null(gguf_find(g, "llama.block"));

    const struct gguf_array *tokens;
    assert_int_equal(gguf_get_array(g, "tokens", GGUF_STRING, &tokens), ERR_OK);
    assert_int_equal(tokens->count, 3);
    assert_true(gguf_str_is(tokens->strings[0], "a"));
    assert_true(gguf_str_is(tokens->strings[1], ""));
    assert_true(gguf_str_is(tokens->strings[2], "ccc"));

    const struct gguf_tensor *t = gguf_tensor_find(g, "matrix");
    assert_non_null(t);
    assert_ptr_equal(t, gguf_tensor_at(g, 1));
    assert_int_equal(t->type, DTYPE_Q4_K);
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->dims[2], 1);
    assert_int_equal(t->rows, 3);
    assert_int_equal(t->row_bytes, 2 * 144);
    assert_int_equal(t->bytes, 3 * 2 * 144);
    uint8_t data[4];
    assert_int_equal(gguf_read(g, t, 860, data, sizeof data), ERR_OK);
    for (size_t i = 0; i < sizeof data; i++) // the norm before it takes 64 bytes
        assert_int_equal(data[i], (64 + 860 + i) % 251);

    t = gguf_tensor_find(g, "exotic"); // shown, though this build cannot compute with it
    assert_int_equal(t->bytes, 2 * 74);
    assert_null(dtype_find(t->type));
    assert_string_equal(dtype_ggml_name(t->type), "IQ2_XS");
    assert_null(gguf_tensor_find(g, "nothing"));
    gguf_close(g);
    buf_deinit(&bytes);
    gguf_builder_deinit(&b);
}

static void test_every_value_type(void **state) {
    (void)state;
    static const uint8_t minus_two[8] = {0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    struct gguf_builder b;
    struct buf bytes;
    struct gguf *g;
    double e = 2.5;
    gguf_builder_init(&b);
    b.version = 2;
    for (uint32_t type = 0; type < GGUF_TYPE_COUNT; type++) { // integers get -2, or its bits
        char key[16];
        size_t width = gguf_type_bytes((enum gguf_type)type);
        if (width == 0 || type == GGUF_F32) continue;
        snprintf(key, sizeof key, "k.%s", gguf_type_name((enum gguf_type)type));
        gguf_builder_key(&b, key, type);
        if (type == GGUF_F64)
            buf_append(&b.kvs, &e, sizeof e);
        else if (type == GGUF_BOOL)
            buf_putc(&b.kvs, 1);
        else
            buf_append(&b.kvs, minus_two, width);
    }
    gguf_builder_f32(&b, "k.f32", 0.5f);
    gguf_builder_finish(&b, &bytes);
    assert_int_equal(gguf_builder_open(&g, &bytes), ERR_OK);
    assert_int_equal(gguf_version(g), 2);
    assert_int_equal(gguf_find(g, "k.u8")->u, 0xFE);
    assert_int_equal(gguf_find(g, "k.u16")->u, 0xFFFE);
    assert_int_equal(gguf_find(g, "k.u32")->u, 0xFFFFFFFE);
    assert_true(gguf_find(g, "k.u64")->u == 0xFFFFFFFFFFFFFFFE);
    assert_int_equal(gguf_find(g, "k.i8")->i, -2);
    assert_int_equal(gguf_find(g, "k.i16")->i, -2);
    assert_int_equal(gguf_find(g, "k.i32")->i, -2);
    assert_int_equal(gguf_find(g, "k.i64")->i, -2);

    uint32_t u = 5;
    float f = 0;
    bool yes = false;
    struct gguf_str s;
    const struct gguf_array *a;
    assert_int_equal(gguf_get_u32(g, "absent", &u), ERR_OK);
    assert_int_equal(u, 5);
    assert_int_equal(gguf_get_u32(g, "k.u16", &u), ERR_OK);
    assert_int_equal(u, 0xFFFE);
    assert_int_equal(gguf_get_u32(g, "k.u64", &u), ERR_MODEL);
    assert_says("too large");
    assert_int_equal(gguf_get_u32(g, "k.i32", &u), ERR_MODEL);
    assert_says("k.i32");
    assert_int_equal(gguf_get_f32(g, "k.f32", &f), ERR_OK);
    assert_true(f == 0.5f);
    assert_int_equal(gguf_get_f32(g, "k.f64", &f), ERR_OK);
    assert_true(f == 2.5f);
    assert_int_equal(gguf_get_f32(g, "k.u8", &f), ERR_MODEL);
    assert_int_equal(gguf_get_bool(g, "k.bool", &yes), ERR_OK);
    assert_true(yes);
    assert_int_equal(gguf_get_bool(g, "k.u8", &yes), ERR_MODEL);
    assert_int_equal(gguf_get_str(g, "k.f32", &s), ERR_MODEL);
    assert_says("of type f32, where a string is expected");
    assert_int_equal(gguf_get_array(g, "k.f32", GGUF_I32, &a), ERR_MODEL);
    assert_int_equal(gguf_get_array(g, "absent", GGUF_I32, &a), ERR_OK);
    assert_null(a);
    gguf_close(g);
    buf_deinit(&bytes);
    gguf_builder_deinit(&b);
}

/* Headers longer than the first read, and a key after the long part. */
static void test_long_headers(void **state) {
    (void)state;
    struct gguf_builder b;
    struct buf bytes;
    struct gguf *g;
    const size_t n = 5000000;
    gguf_builder_init(&b);
    gguf_builder_array(&b, "long", GGUF_U8, n);
    memset(buf_extend(&b.kvs, n), 7, n);
    gguf_builder_array(&b, "many", GGUF_STRING, 100000);
    for (int i = 0; i < 100000; i++) gguf_builder_put_string(&b.kvs, "word");
    gguf_builder_u32(&b, "last", 9);
    gguf_builder_tensor(&b, "t", DTYPE_F32, 8, 0);
    gguf_builder_finish(&b, &bytes);
    assert_int_equal(gguf_builder_open(&g, &bytes), ERR_OK);
    uint32_t last = 0;
    assert_int_equal(gguf_get_u32(g, "last", &last), ERR_OK);
    assert_int_equal(last, 9);
    assert_true(gguf_str_is(gguf_find(g, "many")->a.strings[99999], "word"));
    assert_int_equal(gguf_find(g, "long")->a.data[n - 1], 7);
    gguf_close(g);
    buf_deinit(&bytes);
    gguf_builder_deinit(&b);
}

/* Names are indexed: 60,000 keys and as many tensors, found and compared, in well under a second of
 * processor time (comparing all pairs would take a minute). */
static void test_many_names(void **state) {
    (void)state;
    struct gguf_builder b;
    struct buf bytes;
    struct gguf *g;
    char name[32];
    gguf_builder_init(&b);
    for (uint32_t i = 0; i < 60000; i++) {
        snprintf(name, sizeof name, "key.number.%u", i);
        gguf_builder_u32(&b, name, i);
        snprintf(name, sizeof name, "tensor.number.%u", i);
        gguf_builder_tensor(&b, name, DTYPE_F32, 1, 0);
    }
    gguf_builder_finish(&b, &bytes);
    clock_t start = clock();
    assert_int_equal(gguf_builder_open(&g, &bytes), ERR_OK);
    for (uint32_t i = 0; i < 60000; i += 7) {
        uint32_t value = 0;
        snprintf(name, sizeof name, "key.number.%u", i);
        assert_int_equal(gguf_get_u32(g, name, &value), ERR_OK);
        assert_int_equal(value, i);
        snprintf(name, sizeof name, "tensor.number.%u", i);
        assert_ptr_equal(gguf_tensor_find(g, name), gguf_tensor_at(g, i));
    }
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    if (seconds > 2) fail_msg("it took %.2f s", seconds);
    gguf_close(g);
    buf_deinit(&bytes);
    gguf_builder_deinit(&b);
}

/* ---- headers that travel ----------------------------------------------------------------- */

static void test_headers_travel(void **state) {
    (void)state;
    struct gguf_builder b;
    struct buf bytes, headers;
    struct gguf *g, *far = NULL;
    char path[64], other_path[64];
    gguf_builder_small(&b);
    gguf_builder_finish(&b, &bytes);
    int fd = gguf_builder_memory_file(&bytes, path);
    assert_int_equal(gguf_open(&g, path), ERR_OK);
    buf_init(&headers, 0);
    gguf_put_headers(g, &headers);
    assert_int_equal(gguf_from_headers(&far, headers.data, headers.length), ERR_OK);
    assert_false(gguf_has_files(far));
    assert_true(gguf_identity(far) == gguf_identity(g));
    assert_int_equal(gguf_tensor_find(far, "matrix")->offset,
                     gguf_tensor_find(g, "matrix")->offset);

    bytes.data[bytes.length - 1]++; // weights are no part of the identity
    int same = gguf_builder_memory_file(&bytes, other_path);
    assert_int_equal(gguf_attach(far, other_path), ERR_OK);
    uint8_t byte;
    assert_int_equal(gguf_read(far, gguf_tensor_find(far, "norm"), 3, &byte, 1), ERR_OK);
    assert_int_equal(byte, 3);
    close(same);

    char *key = memmem(bytes.data, bytes.length, "block_count", 11);
    key[11 + 4]++; // another value in the headers
    int different = gguf_builder_memory_file(&bytes, other_path);
    assert_int_equal(gguf_attach(far, other_path), ERR_MODEL);
    assert_says("not the model that the others use");
    assert_int_equal(gguf_attach(far, "/nonexistent/x.gguf"), ERR_MODEL);
    assert_true(gguf_has_files(far)); // still the ones it had
    close(different);
    gguf_close(far);

    for (size_t n = 0; n < headers.length; n++) {
        assert_int_equal(gguf_from_headers(&far, headers.data, n), ERR_MODEL);
    }
    buf_putc(&headers, 'x');
    assert_int_equal(gguf_from_headers(&far, headers.data, headers.length), ERR_MODEL);
    assert_says("too many");
    close(fd);
    gguf_close(g);
    buf_deinit(&headers);
    buf_deinit(&bytes);
    gguf_builder_deinit(&b);
}

static void test_file_shrinks(void **state) {
    (void)state;
    struct gguf_builder b;
    struct buf bytes;
    struct gguf *g;
    char path[64], data[40];
    gguf_builder_small(&b);
    gguf_builder_finish(&b, &bytes);
    int fd = gguf_builder_memory_file(&bytes, path);
    assert_int_equal(gguf_open(&g, path), ERR_OK);
    const struct gguf_tensor *t = gguf_tensor_find(g, "norm");
    assert_int_equal(ftruncate(fd, (off_t)t->offset + 8), 0);
    assert_int_equal(gguf_read(g, t, 0, data, 8), ERR_OK);
    assert_int_equal(gguf_read(g, t, 0, data, sizeof data), ERR_MODEL);
    assert_says("has become shorter");
    assert_says(path);
    gguf_close(g);
    close(fd);
    buf_deinit(&bytes);
    gguf_builder_deinit(&b);
}

/* ---- split models ------------------------------------------------------------------------ */

struct split {
    char folder[128];
    char paths[3][192];
};

static void write_part(const char *path, uint32_t no, uint32_t count, uint32_t tensors) {
    struct gguf_builder b;
    struct buf bytes;
    char name[16];
    gguf_builder_init(&b);
    gguf_builder_u32(&b, "split.no", no);
    gguf_builder_u32(&b, "split.count", count);
    gguf_builder_u32(&b, "split.tensors.count", tensors);
    if (no == 0) gguf_builder_str(&b, "general.architecture", "llama");
    snprintf(name, sizeof name, "t%u", no);
    gguf_builder_tensor(&b, name, DTYPE_F32, 8 + no, 0);
    gguf_builder_finish(&b, &bytes);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes.data, 1, bytes.length, f), bytes.length);
    fclose(f);
    buf_deinit(&bytes);
    gguf_builder_deinit(&b);
}

static int split_setup(void **state) {
    static struct split s;
    const char *parent = getenv("TMPDIR");
    snprintf(s.folder, sizeof s.folder, "%s/gguf-XXXXXX", parent ? parent : P_tmpdir);
    if (!mkdtemp(s.folder)) return -1;
    for (uint32_t i = 0; i < 3; i++) {
        snprintf(s.paths[i], sizeof s.paths[i], "%s/m-0000%u-of-00003.gguf", s.folder, i + 1);
        write_part(s.paths[i], i, 3, 3);
    }
    *state = &s;
    return 0;
}

static int split_teardown(void **state) {
    struct split *s = *state;
    for (int i = 0; i < 3; i++) unlink(s->paths[i]); // one may be gone already
    return rmdir(s->folder);
}

static void test_split(void **state) {
    struct split *s = *state;
    struct gguf *g, *far;
    assert_int_equal(gguf_open(&g, s->paths[0]), ERR_OK);
    assert_int_equal(gguf_part_count(g), 3);
    assert_int_equal(gguf_tensor_count(g), 3);
    const struct gguf_tensor *t = gguf_tensor_find(g, "t2");
    assert_int_equal(t->part, 2);
    assert_int_equal(t->dims[0], 10);
    uint8_t bytes[40];
    assert_int_equal(gguf_read(g, t, 0, bytes, sizeof bytes), ERR_OK);
    assert_int_equal(bytes[39], 39);

    struct buf headers;
    buf_init(&headers, 0);
    gguf_put_headers(g, &headers);
    assert_int_equal(gguf_from_headers(&far, headers.data, headers.length), ERR_OK);
    assert_int_equal(gguf_attach(far, s->paths[0]), ERR_OK);
    assert_int_equal(gguf_read(far, gguf_tensor_find(far, "t1"), 35, bytes, 1), ERR_OK);
    assert_int_equal(bytes[0], 35);
    gguf_close(far);
    buf_deinit(&headers);
    gguf_close(g);
}

static void test_split_wrong(void **state) {
    struct split *s = *state;
    struct gguf *g;
    assert_int_equal(gguf_open(&g, s->paths[1]), ERR_MODEL);
    assert_says("is part 2 of 3: give the first part");

    write_part(s->paths[0], 0, 3, 4);
    assert_int_equal(gguf_open(&g, s->paths[0]), ERR_MODEL);
    assert_says("hold 3 tensors together");
    write_part(s->paths[0], 0, 4, 3);
    assert_int_equal(gguf_open(&g, s->paths[0]), ERR_MODEL);
    assert_says("split.count says 4 parts, but the name says 3");
    write_part(s->paths[0], 0, 3, 3);

    write_part(s->paths[1], 2, 3, 3);
    assert_int_equal(gguf_open(&g, s->paths[0]), ERR_MODEL);
    assert_says("m-00002-of-00003.gguf: split.no says that this is not part 2");
    unlink(s->paths[1]);
    assert_int_equal(gguf_open(&g, s->paths[0]), ERR_MODEL);
    assert_says(
        "m-00002-of-00003.gguf cannot be opened: No such file or directory; it is part 2 of");
}

/* ---- files that somebody else wrote ------------------------------------------------------ */

static void test_real_files(void **state) {
    (void)state;
    static const struct {
        const char *path;
        size_t tensors, tokens;
    } files[] = {
        {"models/demo-f16.gguf", 38, 2048},      {"models/demo-q8_0.gguf", 38, 2048},
        {"models/demo-q4_0.gguf", 38, 2048},     {"models/demo-q4_k_m.gguf", 38, 2048},
        {"data/vocab/gpt-2.gguf", 0, 50257},     {"data/vocab/llama-bpe.gguf", 0, 128256},
        {"data/vocab/llama-spm.gguf", 0, 32000}, {"data/vocab/phi-3.gguf", 0, 32064},
        {"data/vocab/qwen2.gguf", 0, 151665},
    };
    const char *shared = getenv("LOCKSTEP_SHARED");
    char path[512];
    snprintf(path, sizeof path, "%s/%s", shared ? shared : "", files[0].path);
    if (!shared || access(path, R_OK) != 0) skip();
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct gguf *g;
        const struct gguf_array *tokens;
        snprintf(path, sizeof path, "%s/%s", shared, files[i].path);
        assert_int_equal(gguf_open(&g, path), ERR_OK);
        assert_int_equal(gguf_tensor_count(g), files[i].tensors);
        assert_int_equal(gguf_get_array(g, "tokenizer.ggml.tokens", GGUF_STRING, &tokens), ERR_OK);
        assert_int_equal(tokens->count, files[i].tokens);
        gguf_close(g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_file),
        cmocka_unit_test(test_every_value_type),
        cmocka_unit_test(test_long_headers),
        cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_headers_travel),
        cmocka_unit_test(test_file_shrinks),
        cmocka_unit_test_setup_teardown(test_split, split_setup, split_teardown),
        cmocka_unit_test_setup_teardown(test_split_wrong, split_setup, split_teardown),
        cmocka_unit_test(test_real_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
