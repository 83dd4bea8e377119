// SPDX-License-Identifier: MIT
/* test_wire_measure.c: the messages of measuring, out and back, and what they may not say. */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/frame.h"
#include "common/wire.h"

static struct arena scratch, arena;
static struct buf out;

static int setup(void **state) {
    (void)state;
    arena_init(&scratch, WIRE_ARENA_BYTES);
    arena_init(&arena, WIRE_ARENA_BYTES);
    buf_init(&out, 0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    arena_deinit(&scratch);
    arena_deinit(&arena);
    buf_deinit(&out);
    return 0;
}

static err round_trip(struct wire_message *back, const struct wire_message *m) {
    buf_clear(&out);
    arena_reset(&scratch);
    arena_reset(&arena);
    assert_int_equal(wire_encode(&out, m, &scratch), ERR_OK);
    return wire_decode(back, out.data + FRAME_HEADER_BYTES, out.length - FRAME_HEADER_BYTES,
                       &arena);
}

static void test_question(void **state) {
    (void)state;
    struct wire_message back,
        m = {WIRE_MEASURE, .measure = {MEASURE_COLLECTIVES, 41, 10, 1u << 30}};
    assert_int_equal(round_trip(&back, &m), ERR_OK);
    assert_int_equal(back.kind, WIRE_MEASURE);
    assert_int_equal(back.measure.what, MEASURE_COLLECTIVES);
    assert_int_equal(back.measure.index, 41);
    assert_int_equal(back.measure.reps, 10);
    assert_true(back.measure.memory_bytes == 1u << 30);
    m.measure.what = MEASURE_N_WHATS;
    assert_int_equal(round_trip(&back, &m), ERR_PROTOCOL);
    m.measure.what = MEASURE_COUNTERS;
    m.measure.reps = 0;
    assert_int_equal(round_trip(&back, &m), ERR_PROTOCOL);
    m.measure.reps = MEASURE_MAX_REPS + 1;
    assert_int_equal(round_trip(&back, &m), ERR_PROTOCOL);
}

static const struct measure_rank ranks[2] = {{1, 2, 3, 4, 5, 6, 7, "a CPU"},
                                             {8, 9, 10, 11, 12, 13, 14, ""}};
static const struct measure_time times[2] = {
    {"matmul", "Q4_0", 2048, 5632, 8, 100, 200, 10, 1.5, 1.25, 2.5},
    {"gather", "", 0, 0, 2, 8, 0, 3, 4.5, 4, 5}};

static void test_answer(void **state) {
    (void)state;
    struct wire_message back,
        m = {WIRE_MEASURED, .measured = {.size = 2,
                                         .ranks = ranks,
                                         .limits = {4e10, 1e12, 2e11, 1u << 30, 1u << 29, "x"},
                                         .n_indexes = 9,
                                         .n_times = 2,
                                         .times = times}};
    const struct measure_answer *a = &back.measured;
    assert_int_equal(round_trip(&back, &m), ERR_OK);
    assert_int_equal(back.kind, WIRE_MEASURED);
    assert_int_equal(a->size, 2);
    for (size_t r = 0; r < 2; r++) {
        const struct measure_rank *k = &a->ranks[r];
        assert_memory_equal(k, &ranks[r], offsetof(struct measure_rank, cpu));
        assert_string_equal(k->cpu, ranks[r].cpu);
    }
    assert_true(a->limits.read_bytes_per_s == 4e10 && a->limits.int8_ops_per_s == 1e12);
    assert_true(a->limits.f32_ops_per_s == 2e11 && a->limits.memory_bytes == 1u << 30);
    assert_true(a->limits.huge_bytes == 1u << 29);
    assert_string_equal(a->limits.read_way, "x");
    assert_int_equal(a->n_indexes, 9);
    assert_int_equal(a->n_times, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(a->times[i].name, times[i].name);
        assert_string_equal(a->times[i].type, times[i].type);
        assert_memory_equal(&a->times[i].rows, &times[i].rows, 5 * sizeof times[i].rows);
        assert_int_equal(a->times[i].reps, times[i].reps);
        assert_memory_equal(&a->times[i].median_ns, &times[i].median_ns,
                            3 * sizeof times[i].median_ns);
    }
    m.measured.limits = (struct measure_limits){0}; // they were not asked for
    assert_int_equal(round_trip(&back, &m), ERR_OK);
    assert_true(a->limits.memory_bytes == 0 && a->limits.read_way == NULL);
}

static void test_bad_answers(void **state) {
    (void)state;
    static struct measure_rank many_ranks[PLAN_MAX_RANKS + 1];
    static struct measure_time many_times[MEASURE_MAX_TIMES + 1];
    struct wire_message back, m = {WIRE_MEASURED, .measured = {.size = PLAN_MAX_RANKS,
                                                               .ranks = many_ranks,
                                                               .n_times = MEASURE_MAX_TIMES,
                                                               .times = many_times}};
    assert_int_equal(round_trip(&back, &m), ERR_OK);
    m.measured.size++;
    assert_int_equal(round_trip(&back, &m), ERR_PROTOCOL);
    m.measured.size = 1;
    m.measured.n_times++;
    assert_int_equal(round_trip(&back, &m), ERR_PROTOCOL);
    m.measured.n_times = 1;
    many_times[0].max_ns = NAN;
    assert_int_equal(round_trip(&back, &m), ERR_PROTOCOL);
    many_times[0] = (struct measure_time){.name = "\xFF"};
    assert_int_equal(round_trip(&back, &m), ERR_PROTOCOL);
    m.measured.n_times = 0;
    many_ranks[0].cpu = "\xC3(";
    assert_int_equal(round_trip(&back, &m), ERR_PROTOCOL);
    many_ranks[0].cpu = NULL;
    m.measured.limits = (struct measure_limits){.memory_bytes = 1, .int8_ops_per_s = -1};
    assert_int_equal(round_trip(&back, &m), ERR_PROTOCOL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_question),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_bad_answers),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
