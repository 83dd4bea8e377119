// SPDX-License-Identifier: MIT
/* test_shard.c: the list of parts and the shares of threads. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/mem.h"
#include "worker/weights/shard.h"

#define LAYERS  2
#define TENSORS (2 + 1 + LAYERS * 12)

static struct gguf_tensor tensors[TENSORS];
static struct model_layer layers[LAYERS];

/* Tensors lie in the file in the reverse of the order in which they are handed out. */
static const struct gguf_tensor *next_tensor(size_t *used, uint32_t n_dims) {
    struct gguf_tensor *t = &tensors[*used];
    *t = (struct gguf_tensor){.type = DTYPE_F32, .n_dims = n_dims, .dims = {64, 1, 1, 1}};
    t->rows = n_dims == 1 ? 1 : 32;
    t->dims[1] = t->rows;
    t->part = *used < TENSORS / 2 ? 1 : 0;
    t->offset = 100000 - 1000 * *used;
    ++*used;
    return t;
}

static struct model make_model(bool bias, bool tied) {
    size_t used = 0;
    struct model m = {.shape = {.n_layers = LAYERS, .qkv_bias = bias, .tied = tied},
                      .layers = layers};
    m.token_embd = next_tensor(&used, 2);
    m.output = tied ? m.token_embd : next_tensor(&used, 2);
    m.output_norm = next_tensor(&used, 1);
    for (size_t i = 0; i < LAYERS; i++) {
        layers[i] = (struct model_layer){.attn_norm = next_tensor(&used, 1),
                                         .q = next_tensor(&used, 2),
                                         .k = next_tensor(&used, 2),
                                         .v = next_tensor(&used, 2),
                                         .attn_out = next_tensor(&used, 2),
                                         .ffn_norm = next_tensor(&used, 1),
                                         .gate = next_tensor(&used, 2),
                                         .up = next_tensor(&used, 2),
                                         .down = next_tensor(&used, 2)};
        if (!bias) continue;
        layers[i].q_bias = next_tensor(&used, 1);
        layers[i].k_bias = next_tensor(&used, 1);
        layers[i].v_bias = next_tensor(&used, 1);
    }
    return m;
}

static void test_every_tensor_once_in_file_order(void **unused) {
    (void)unused;
    for (int variant = 0; variant < 4; variant++) {
        bool bias = variant & 1, tied = variant & 2;
        struct model m = make_model(bias, tied);
        struct shard_part *parts;
        size_t n = shard_list_parts(&m, &parts);
        assert_int_equal(n, (tied ? 2 : 3) + LAYERS * (bias ? 12 : 9));
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(parts[i].is_vector, parts[i].tensor->n_dims == 1);
            if (i == 0) continue;
            const struct gguf_tensor *a = parts[i - 1].tensor, *b = parts[i].tensor;
            assert_true(a->part < b->part || (a->part == b->part && a->offset < b->offset));
        }
        mem_free(parts);
    }
}

static void test_places_match_the_tensors(void **unused) {
    (void)unused;
    struct model m = make_model(true, false);
    struct shard_part *parts;
    size_t n = shard_list_parts(&m, &parts), seen = 0;
    for (size_t i = 0; i < n; i++) {
        const struct shard_part *p = &parts[i];
        if (p->tensor == layers[1].down) {
            assert_true(p->in_layer && p->layer == 1 && p->role == ROLE_FFN_DOWN);
            assert_int_equal(p->place, offsetof(struct layer_weights, down));
            seen++;
        } else if (p->tensor == layers[0].v_bias) {
            assert_true(p->in_layer && p->layer == 0 && p->role == ROLE_ATTN_KV);
            assert_int_equal(p->place, offsetof(struct layer_weights, v_bias));
            seen++;
        } else if (p->tensor == m.output) {
            assert_true(!p->in_layer && p->role == ROLE_VOCAB);
            assert_int_equal(p->place, offsetof(struct weights, output));
            seen++;
        }
    }
    assert_int_equal(seen, 3);
    mem_free(parts);
}

static void test_thread_rows_tile_the_matrix(void **unused) {
    (void)unused;
    static const size_t rows[] = {0, 1, 15, 16, 17, 1000, 4096};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t threads = 1; threads <= 70; threads += 23) {
            size_t next = 0;
            for (size_t t = 0; t < threads; t++) {
                struct shard_rows r = shard_thread_rows(rows[i], 16, threads, t);
                assert_int_equal(r.begin, next);
                assert_true(r.end >= r.begin && r.end <= rows[i]);
                assert_true(r.end % 16 == 0 || r.end == rows[i]);
                assert_true(r.end - r.begin <= (rows[i] / 16 / threads + 1) * 16);
                next = r.end;
            }
            assert_int_equal(next, rows[i]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_tensor_once_in_file_order),
        cmocka_unit_test(test_places_match_the_tensors),
        cmocka_unit_test(test_thread_rows_tile_the_matrix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
