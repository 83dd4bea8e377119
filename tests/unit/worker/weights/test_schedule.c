// SPDX-License-Identifier: MIT
/* test_schedule.c: everything is read once, by one who can, in rounds that fit; what one rank alone
 * holds stays with it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/mem.h"
#include "worker/weights/schedule.h"

#define LAYERS    3
#define MAX_RANKS 8
#define ALL_FILES 0xFF
#define MIB       ((uint64_t)1 << 20)

/* A few layers of TinyLlama-1.1B in Q4_K, with a large vocabulary. */
static const struct model_shape shape = {.n_layers = LAYERS,
                                         .dim = 2048,
                                         .n_heads = 32,
                                         .n_kv_heads = 4,
                                         .head_dim = 64,
                                         .n_ff = 5632,
                                         .n_vocab = 128000};

static struct gguf_tensor tensors[3 + 9 * LAYERS];
static struct model_layer layers[LAYERS];
static size_t n_tensors;

static const struct gguf_tensor *add_tensor(uint64_t cols, uint64_t rows) {
    struct gguf_tensor *t = &tensors[n_tensors++];
    enum dtype type = rows > 1 ? DTYPE_Q4_K : DTYPE_F32;
    size_t row_bytes = dtype_row_bytes(type, cols);
    *t = (struct gguf_tensor){.type = type,
                              .n_dims = rows > 1 ? 2 : 1,
                              .dims = {cols, rows, 1, 1},
                              .rows = rows,
                              .row_bytes = row_bytes,
                              .bytes = rows * row_bytes,
                              .offset = n_tensors << 40};
    return t;
}

static struct model make_model(void) {
    const uint64_t dim = shape.dim, kv = shape.n_kv_heads * shape.head_dim, ff = shape.n_ff;
    n_tensors = 0;
    struct model m = {.shape = shape, .layers = layers};
    m.token_embd = add_tensor(dim, shape.n_vocab);
    for (size_t i = 0; i < LAYERS; i++)
        layers[i] = (struct model_layer){.attn_norm = add_tensor(dim, 1),
                                         .q = add_tensor(dim, dim),
                                         .k = add_tensor(dim, kv),
                                         .v = add_tensor(dim, kv),
                                         .attn_out = add_tensor(dim, dim),
                                         .ffn_norm = add_tensor(dim, 1),
                                         .gate = add_tensor(dim, ff),
                                         .up = add_tensor(dim, ff),
                                         .down = add_tensor(ff, dim)};
    m.output_norm = add_tensor(dim, 1);
    m.output = add_tensor(dim, shape.n_vocab);
    return m;
}

static struct range share(uint32_t total, uint32_t i, uint32_t n) {
    return (struct range){total * i / n, total * (i + 1) / n};
}

static void make_plan(struct plan *p, uint32_t size) {
    const uint32_t group = shape.n_heads / shape.n_kv_heads;
    plan_init(p, size);
    for (uint32_t r = 0; r < size; r++) {
        struct range heads = share(shape.n_heads, r, size);
        p->ranks[r] =
            (struct plan_rank){.heads = heads,
                               .kv_heads = {heads.begin / group, (heads.end - 1) / group + 1},
                               .ffn = share(shape.n_ff, r, size),
                               .vocab = share(shape.n_vocab, r, size)};
    }
    assert_int_equal(plan_check(p, &shape), ERR_OK);
}

/* Bit r of `files`: rank r can read. */
static bool has_file(unsigned files, uint32_t rank) {
    return files >> rank & 1;
}

static size_t count_holders(const struct schedule *s, const struct chunk *c) {
    size_t n = 0;
    for (uint32_t r = 0; r < s->plan->size; r++) n += schedule_piece(s, c, r).bytes > 0;
    return n;
}

/* Each row of each part is in one chunk, or in one sequence of steps. */
static void expect_tiling(const struct schedule *s) {
    for (size_t i = 0; i < s->n_parts; i++) {
        const struct gguf_tensor *t = s->parts[i].tensor;
        uint8_t *seen = mem_zalloc(t->rows);
        for (size_t k = 0; k < s->n_chunks; k++) {
            const struct chunk *c = &s->chunks[k];
            if (c->part != i || (c->kept && c->step > 0)) continue;
            for (uint64_t row = c->row_begin; row < c->row_end; row++) seen[row]++;
            for (uint32_t step = 1; c->kept && step < c->steps; step++) {
                size_t at = k + 1;
                while (at < s->n_chunks &&
                       !(s->chunks[at].part == i && s->chunks[at].kept &&
                         s->chunks[at].row_begin == c->row_begin && s->chunks[at].step == step))
                    at++;
                assert_true(at < s->n_chunks);
                assert_int_equal(s->chunks[at].steps, c->steps);
            }
        }
        for (uint64_t row = 0; row < t->rows; row++) assert_int_equal(seen[row], 1);
        mem_free(seen);
    }
}

static void expect_readers(const struct schedule *s, unsigned files) {
    for (size_t i = 0; i < s->n_chunks; i++) {
        const struct chunk *c = &s->chunks[i];
        size_t holders = count_holders(s, c);
        assert_true(has_file(files, c->reader));
        assert_true(holders >= 1);
        bool alone = holders == 1 && schedule_piece(s, c, c->reader).bytes > 0;
        if (c->kept) assert_true(alone);
        if (s->plan->size > 1 && !c->kept) assert_false(alone);
    }
}

/* No round asks a rank for more than its staging memory. */
static void expect_rounds(const struct schedule *s) {
    uint64_t total = 0;
    assert_int_equal(s->rounds[0], 0);
    assert_int_equal(s->rounds[s->n_rounds], s->n_chunks);
    for (size_t round = 0; round < s->n_rounds; round++) {
        uint64_t kept[MAX_RANKS] = {0}, read[MAX_RANKS] = {0}, received[MAX_RANKS] = {0};
        assert_true(s->rounds[round] < s->rounds[round + 1]);
        for (size_t i = s->rounds[round]; i < s->rounds[round + 1]; i++) {
            const struct chunk *c = &s->chunks[i];
            uint64_t bytes = schedule_chunk_bytes(s, c);
            total += bytes;
            *(c->kept ? &kept[c->reader] : &read[c->reader]) += bytes;
            for (uint32_t r = 0; r < s->plan->size; r++)
                if (!c->kept && r != c->reader) received[r] += schedule_piece(s, c, r).bytes;
        }
        for (uint32_t r = 0; r < s->plan->size; r++)
            assert_true(kept[r] <= 32 * MIB && read[r] <= 8 * MIB && received[r] <= 8 * MIB);
    }
    assert_int_equal(total, s->total_bytes);
}

static uint64_t bytes_read_by(const struct schedule *s, uint32_t rank) {
    uint64_t sum = 0;
    for (size_t i = 0; i < s->n_chunks; i++)
        if (s->chunks[i].reader == rank) sum += schedule_chunk_bytes(s, &s->chunks[i]);
    return sum;
}

static void expect_fair(const struct schedule *s, unsigned files) {
    uint32_t readers = 0;
    for (uint32_t r = 0; r < s->plan->size; r++) readers += has_file(files, r);
    for (uint32_t r = 0; r < s->plan->size; r++)
        if (has_file(files, r) && (readers == 1 || files == ALL_FILES))
            assert_true(bytes_read_by(s, r) <= s->total_bytes / readers / 100 * 105);
}

static void with_schedule(uint32_t size, unsigned files,
                          void (*check)(const struct schedule *, unsigned)) {
    struct model m = make_model();
    struct shard_part *parts;
    struct plan plan;
    uint8_t mine[MAX_RANKS];
    make_plan(&plan, size);
    for (uint32_t r = 0; r < MAX_RANKS; r++) mine[r] = has_file(files, r);
    struct schedule s = {.n_parts = shard_list_parts(&m, &parts), .shape = &m.shape, .plan = &plan};
    s.parts = parts;
    assert_int_equal(schedule_create(&s, mine), ERR_OK);
    assert_int_equal(s.total_bytes, model_weight_bytes(&m));
    check(&s, files);
    schedule_free(&s);
    plan_deinit(&plan);
    mem_free(parts);
}

static void check_all(const struct schedule *s, unsigned files) {
    expect_tiling(s);
    expect_readers(s, files);
    expect_rounds(s);
    expect_fair(s, files);
}

static void test_everything_once(void **state) {
    (void)state;
    for (uint32_t size = 1; size <= MAX_RANKS; size++) {
        with_schedule(size, ALL_FILES, check_all);
        with_schedule(size, 1, check_all); // rank 0 alone
        with_schedule(size, 1u << (size - 1), check_all);
        if (size > 2) with_schedule(size, 6, check_all);
    }
}

/* With the file everywhere a third of a layer is shared, by hand of all ranks in each round. */
static void check_little_is_shared(const struct schedule *s, unsigned files) {
    (void)files;
    uint64_t shared = 0, columns = 0;
    for (size_t i = 0; i < s->n_chunks; i++)
        if (!s->chunks[i].kept) shared += schedule_chunk_bytes(s, &s->chunks[i]);
    for (size_t i = 0; i < LAYERS; i++)
        columns += layers[i].attn_out->bytes + layers[i].down->bytes;
    assert_in_range(shared, columns, columns + MIB);

    for (size_t round = 0; round + 1 < s->n_rounds; round++) {
        unsigned busy = 0;
        for (size_t i = s->rounds[round]; i < s->rounds[round + 1]; i++)
            busy |= 1u << s->chunks[i].reader;
        assert_int_equal(busy, (1u << s->plan->size) - 1);
    }
}

static void test_little_is_shared(void **state) {
    (void)state;
    with_schedule(2, ALL_FILES, check_little_is_shared);
    with_schedule(4, ALL_FILES, check_little_is_shared);
}

static void test_nobody_reads(void **state) {
    (void)state;
    struct model m = make_model();
    struct shard_part *parts;
    struct plan plan;
    uint8_t none[2] = {0};
    make_plan(&plan, 2);
    struct schedule s = {.n_parts = shard_list_parts(&m, &parts), .shape = &m.shape, .plan = &plan};
    s.parts = parts;
    assert_int_equal(schedule_create(&s, none), ERR_MODEL);
    schedule_free(&s);
    plan_deinit(&plan);
    mem_free(parts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_once),
        cmocka_unit_test(test_little_is_shared),
        cmocka_unit_test(test_nobody_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
