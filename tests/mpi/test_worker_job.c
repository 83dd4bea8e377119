// SPDX-License-Identifier: MIT
/* test_worker_job.c: real jobs of lockstep-worker under a coordinator played by the test.
 *
 *      test_worker_job WORKER RANKS
 *
 * The life of a job from hello to shutdown: what it answers, what it costs, and that nothing is
 * left behind. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "tests/mpi/job_rig.h"

static void from_hello_to_shutdown(void **state) {
    (void)state;
    job_ready();
    job_tell_step(1, 0, 0, job_prompt, 4);
    int32_t first = job_hear_token(1);
    job_tell_step(2, 0, 4, &first, 1);
    job_tell_step(3, 1, 0, job_prompt, 4); // the same elsewhere, while the other step is in flight
    job_hear_token(2);
    assert_int_equal(job_hear_token(3), first);
    job_shut_down();
}

static struct wire_message ask(enum measure_what what, uint32_t index, uint64_t memory_bytes) {
    struct wire_message m = {
        .kind = WIRE_MEASURE,
        .measure = {.what = what, .index = index, .reps = 2, .memory_bytes = memory_bytes}};
    fake_tell(&job.fake, &m);
    m = fake_hear(&job.fake);
    assert_int_equal(m.kind, WIRE_MEASURED);
    assert_int_equal(m.measured.size, job.size);
    return m;
}

/* What steps have cost, between any two of them; and what the machine can do. */
static void measuring(void **state) {
    (void)state;
    job_ready();
    struct wire_message m = ask(MEASURE_COUNTERS, 0, 0);
    for (int r = 0; r < job.size; r++) assert_int_equal(m.measured.ranks[r].steps, 0);
    assert_true(m.measured.limits.memory_bytes == 0);
    uint64_t begin = clock_ns();
    job_tell_step(1, 0, 0, job_prompt, 4);
    job_hear_token(1);
    uint64_t wall = clock_ns() - begin;
    for (int i = 0; i < 2; i++) {
        const uint64_t asked = (uint64_t)8 << 20;
        m = ask(i ? MEASURE_COUNTERS : MEASURE_LIMITS, 0, asked);
        const struct measure_limits *l = &m.measured.limits;
        assert_int_equal(l->read_bytes_per_s > 0 && l->int8_ops_per_s > 0 && l->f32_ops_per_s > 0,
                         i == 0);
        if (i == 0) assert_in_range(l->memory_bytes, asked / 2, asked);
        for (int r = 0; r < job.size; r++) {
            const struct measure_rank *k = &m.measured.ranks[r];
            assert_int_equal(k->steps, 1);
            assert_true(k->compute_ns > 0);
            if (r == 0) assert_true(k->compute_ns + k->wait_ns + k->wire_ns <= wall);
            assert_int_equal(k->allreduce_calls, 2 * job.model->shape.n_layers + 1);
            assert_int_equal(k->allreduce_bytes, k->allreduce_calls * 4 * 4 * job.model->shape.dim);
            assert_true(k->peak_rss_bytes > 0);
        }
    }
    job_shut_down();
    for (int r = 0; r < job.size; r++) { // heartbeats say the same
        const struct wire_totals *t = &job.fake.lifelines[r].beat.totals;
        assert_true(t->steps == 1 && t->compute_ns > 0);
        assert_int_equal(t->allreduce_bytes,
                         (2 * job.model->shape.n_layers + 1) * 4 * 4 * job.model->shape.dim);
    }
}

static void check_times(const struct measure_answer *a) {
    for (uint32_t i = 0; i < a->n_times; i++) {
        const struct measure_time *t = &a->times[i];
        assert_true(strlen(t->name) > 0 && t->bytes > 0 && t->reps > 0);
        assert_true(t->min_ns > 0 && t->min_ns <= t->median_ns && t->median_ns <= t->max_ns);
    }
}

/* The first question, the last and one beyond. */
static void measuring_kernels_and_collectives(void **state) {
    (void)state;
    job_ready();
    struct wire_message m = ask(MEASURE_KERNELS, 0, 0);
    uint32_t n = m.measured.n_indexes;
    assert_true(n > 5 && m.measured.n_times == 1);
    check_times(&m.measured);
    assert_string_equal(m.measured.times[0].name, "matmul_q");
    assert_string_equal(m.measured.times[0].type, "Q8_0");
    assert_int_equal(m.measured.times[0].cols, job.model->shape.dim);
    m = ask(MEASURE_KERNELS, n - 1, 0);
    assert_true(m.measured.n_times > 10);
    check_times(&m.measured);
    m = ask(MEASURE_KERNELS, n, 0);
    assert_true(m.measured.n_indexes == n && m.measured.n_times == 0);
    m = ask(MEASURE_COLLECTIVES, 0, 0);
    n = m.measured.n_indexes;
    uint32_t ways = 0;
    for (uint32_t i = 0; i <= n; i += 20) { // each way at its smallest size
        m = ask(MEASURE_COLLECTIVES, i, 0);
        assert_in_range(m.measured.n_times, 0, job.size > 1 && i < n);
        check_times(&m.measured);
        if (m.measured.n_times) assert_int_equal(m.measured.times[0].bytes, 8);
        ways += m.measured.n_times;
    }
    assert_true(job.size == 1 ? ways == 0 : ways > 2);
    job_tell_step(1, 0, 0, job_prompt, 4); // as if nothing had been
    job_hear_token(1);
    job_shut_down();
}

/* Steps that are sent before the token that they begin with is known. */
static void steps_sent_ahead(void **state) {
    (void)state;
    int32_t tokens[8], pending = BATCH_TOKEN_PENDING;
    job_ready();
    job_tell_step(1, 0, 0, job_prompt, 4);
    for (uint32_t i = 0; i < 8; i++) {
        tokens[i] = job_hear_token(1 + i);
        if (i < 7) job_tell_step(2 + i, 0, 4 + i, &tokens[i], 1);
    }
    job_tell_step(9, 1, 0, job_prompt, 4);
    for (uint32_t i = 0; i < 8; i++) {
        if (i < 7) job_tell_step_of(10 + i, 9, 1, 4 + i, &pending, 1);
        assert_int_equal(job_hear_token(9 + i), tokens[i]);
    }
    job_tell_step_of(17, 9, 1, 20, &pending, 1); // not where the step before has sampled
    job_expect_failure(ERR_PROTOCOL, "position 20");
}

/* Steps at every distance around the moment at which the ranks go to rest. */
static void rest_and_wake(void **state) {
    (void)state;
    job_ready();
    job_tell_step(1, 0, 0, job_prompt, 4);
    int32_t first = job_hear_token(1);
    for (uint64_t step = 2; step < 100; step++) {
        job_tell_step(step, 0, 0, job_prompt, 4);
        assert_int_equal(job_hear_token(step), first);
        if (step % 10) fake_listen(&job.fake, (int)(step % 10));
    }
    job_shut_down();
}

static uint64_t cpu_ns_of_all(void) {
    uint64_t sum = 0;
    for (int r = 0; r < job.size; r++) sum += job.fake.lifelines[r].beat.cpu_ns;
    return sum;
}

/* Idle ranks block in poll(): 2 s cost next to nothing, and the next step is as fast as ever. */
static void idle_costs_nothing(void **state) {
    (void)state;
    job_ready();
    job_tell_step(1, 0, 0, job_prompt, 4);
    job_hear_token(1);
    fake_listen(&job.fake, 700);
    assert_true(job.fake.resting);
    uint64_t before = cpu_ns_of_all();
    uint32_t beats = job.fake.lifelines[0].beats;
    fake_listen(&job.fake, 2000);
    assert_in_range(job.fake.lifelines[0].beats - beats, 2, 5);
    uint64_t used_us = (cpu_ns_of_all() - before) / 1000;
    print_message("%d idle ranks used %d us of CPU in 2 s\n", job.size, (int)used_us);
    assert_true(before > 0 && used_us < 60000);
    uint64_t begin = clock_ns();
    job_tell_step(2, 0, 4, job_prompt, 1);
    job_hear_token(2);
    print_message("the next step took %d us\n", (int)((clock_ns() - begin) / 1000));
    job_shut_down();
}

static void headers_for_a_coordinator_without_the_file(void **state) {
    (void)state;
    struct buf headers;
    buf_init(&headers, 0);
    fake_welcome(&job.fake);
    struct wire_message m = {.kind = WIRE_OPEN,
                             .open = {.path = job.file.path, .want_headers = true}};
    fake_tell(&job.fake, &m);
    m = fake_hear(&job.fake);
    assert_int_equal(m.kind, WIRE_OPENED);
    uint64_t announced = m.opened.headers_bytes;
    do {
        m = fake_hear(&job.fake);
        assert_int_equal(m.kind, WIRE_HEADERS);
        assert_in_range(m.headers.n, 1, WIRE_HEADERS_CHUNK);
        buf_append(&headers, m.headers.bytes, m.headers.n);
    } while (!m.headers.last);
    assert_int_equal(headers.length, announced);
    struct gguf *copy;
    assert_int_equal(gguf_from_headers(&copy, headers.data, headers.length), ERR_OK);
    assert_true(gguf_identity(copy) == gguf_identity(job.gguf));
    gguf_close(copy);
    buf_deinit(&headers);
    job_shut_down();
}

/* Ranks above 0 start in an empty folder and cannot see the file. */
static void only_rank_0_has_the_file(void **state) {
    (void)state;
    char here[1024], empty[] = "/tmp/lockstep-empty-XXXXXX";
    assert_non_null(mkdtemp(empty));
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(job.file.directory), 0);
    struct fake_launch launch = {.worker = job.worker, .size = job.size, .other_dir = empty};
    fake_start(&job.fake, &launch);
    assert_int_equal(chdir(here), 0);
    fake_welcome(&job.fake);
    job_open_model(strrchr(job.file.path, '/') + 1, 1);
    job_load_model();
    job_tell_step(1, 0, 0, job_prompt, 4);
    job_hear_token(1);
    job_shut_down();
    rmdir(empty);
}

static void sleep_ms(int ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

/* mpirun hands SIGUSR1 on to the ranks; without a coordinator of their own they do nothing. */
static void signals_of_the_user(void **state) {
    (void)state;
    job_ready();
    kill(job.fake.mpirun, SIGUSR1);
    kill(job.fake.mpirun, SIGUSR2);
    sleep_ms(200);
    job_tell_step(1, 0, 0, job_prompt, 4);
    job_hear_token(1);
    job_shut_down();
}

int main(int argc, char **argv) {
    if (job_arguments(argc, argv)) return 2;
    const struct CMUnitTest tests[] = {
        WITH_JOB(from_hello_to_shutdown),
        WITH_JOB(steps_sent_ahead),
        WITH_JOB(rest_and_wake),
        WITH_JOB(measuring),
        WITH_JOB(measuring_kernels_and_collectives),
        WITH_JOB(idle_costs_nothing),
        WITH_JOB(headers_for_a_coordinator_without_the_file),
        OWN_JOB(only_rank_0_has_the_file),
        WITH_JOB(signals_of_the_user),
    };
    return cmocka_run_group_tests(tests, job_make_model, job_remove_model);
}
