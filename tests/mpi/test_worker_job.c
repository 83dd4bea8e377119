// SPDX-License-Identifier: MIT
/* test_worker_job.c: real jobs of lockstep-worker under a coordinator played by the test.
 *
 *      test_worker_job WORKER RANKS
 *
 * The life of a job from hello to shutdown, and everything a coordinator, a file or a fault can do
 * to it: each time the reason arrives, the exit code is the error's, and nothing is left behind. */

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "tests/fixtures/fixture.h"
#include "tests/mpi/fake_coordinator.h"

#define KV_BLOCKS 16
#define END_MS    5000
/* mpirun signals the ranks of a job that failed and ends without waiting for all of them. */
#define GONE_MS 2000

static const char *worker;
static int size;
static struct fake fake;
static struct fixture_file file;
static struct gguf *gguf;
static struct model *model;
static struct plan plan;

/* ---- a job for each test, a model for all ---- */

static int make_model(void **state) {
    (void)state;
    struct fixture_options o = {.type = "Q8_0", .heads = 8, .kv_heads = 4, .dim = 256};
    if (fixture_create(&file, &o) != ERR_OK || gguf_open(&gguf, file.path) != ERR_OK ||
        model_create(&model, gguf) != ERR_OK) {
        print_error("no model for the test: %s\n", error_message());
        return -1;
    }
    fake_plan(&plan, &model->shape, (uint32_t)size);
    return 0;
}

static int remove_model(void **state) {
    (void)state;
    plan_deinit(&plan);
    model_free(model);
    gguf_close(gguf);
    fixture_remove(&file);
    return 0;
}

static int start_job(void **state) {
    (void)state;
    struct fake_launch launch = {.worker = worker, .size = size};
    fake_start(&fake, &launch);
    return 0;
}

static int end_job(void **state) {
    (void)state;
    fake_free(&fake);
    return 0;
}

static void sleep_ms(int ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

/* ---- what a coordinator says ---- */

static struct wire_message load_message(void) {
    return (struct wire_message){.kind = WIRE_LOAD,
                                 .load = {.identity = gguf_identity(gguf),
                                          .plan_hash = plan_hash(&plan),
                                          .plan = plan,
                                          .kv_blocks = KV_BLOCKS,
                                          .max_step_tokens = 64,
                                          .max_batch = 4,
                                          .threads = 1,
                                          .check_ranks = true}};
}

static void open_model(const char *path, uint32_t readers) {
    struct wire_message m = {.kind = WIRE_OPEN, .open = {.path = path}};
    fake_tell(&fake, &m);
    m = fake_hear(&fake);
    assert_int_equal(m.kind, WIRE_OPENED);
    assert_true(m.opened.identity == gguf_identity(gguf));
    assert_int_equal(m.opened.n_readers, readers);
    assert_int_equal(m.opened.headers_bytes, 0);
}

static void load_model(void) {
    struct wire_message m = load_message();
    uint64_t done = 0;
    fake_tell(&fake, &m);
    for (m = fake_hear(&fake); m.kind == WIRE_PROGRESS; m = fake_hear(&fake)) {
        assert_in_range(m.progress.bytes_done, done, m.progress.bytes_total);
        done = m.progress.bytes_done;
    }
    assert_int_equal(m.kind, WIRE_LOADED);
    assert_int_equal(m.loaded.size, size);
    uint64_t read = 0;
    for (int r = 0; r < size; r++) {
        assert_true(m.loaded.ranks[r].weight_bytes > 0);
        assert_true(m.loaded.ranks[r].kv_bytes > 0);
        assert_int_equal(m.loaded.ranks[r].threads, 1);
        read += m.loaded.ranks[r].file_bytes_read;
    }
    assert_true(read > 0 && read <= gguf_file_bytes(gguf) * 102 / 100);
}

static void ready(void) {
    fake_welcome(&fake);
    open_model(file.path, (uint32_t)size);
    load_model();
}

/* A step that continues a greedy sequence by `n` tokens from position `start`. */
static void tell_step_of(uint64_t step, uint64_t seq_id, uint32_t block, uint32_t start,
                         const int32_t *tokens, uint32_t n) {
    struct batch_seq seq = {.seq_id = seq_id,
                            .start = start,
                            .n_tokens = n,
                            .tokens = tokens,
                            .n_blocks = 1,
                            .blocks = &block,
                            .n_outputs = 1,
                            .top_n = 1,
                            .sample = true,
                            .sampling = {.top_p = 1}};
    struct wire_message m = {
        .kind = WIRE_STEP,
        .batch = {.epoch = FAKE_EPOCH, .step = step, .n_seqs = 1, .n_tokens = n, .seqs = &seq}};
    fake_tell(&fake, &m);
}

/* The same of a sequence that is named by its first step. */
static void tell_step(uint64_t step, uint32_t block, uint32_t start, const int32_t *tokens,
                      uint32_t n) {
    tell_step_of(step, step, block, start, tokens, n);
}

static int32_t hear_token(uint64_t step) {
    struct wire_message m = fake_hear(&fake);
    assert_int_equal(m.kind, WIRE_RESULT);
    assert_int_equal(m.result.epoch, FAKE_EPOCH);
    assert_int_equal(m.result.step, step);
    assert_int_equal(m.result.n_seqs, 1);
    assert_int_equal(m.result.seqs[0].n_outputs, 1);
    assert_int_equal(m.result.seqs[0].outputs[0].top[0].token, m.result.seqs[0].token);
    assert_in_range(m.result.seqs[0].token, 0, model->shape.n_vocab - 1);
    return m.result.seqs[0].token;
}

static const int32_t prompt[] = {1, 2, 3, 4};

static void shut_down(void) {
    struct wire_message m = {.kind = WIRE_SHUTDOWN};
    fake_tell(&fake, &m);
    while (fake.link.fd >= 0) fake_listen(&fake, 20); // the ranks hang up by themselves
    fake_listen(&fake, 100);
    for (int r = 0; r < size; r++) assert_true(fake.lifelines[r].beat.last);
    assert_int_equal(fake_exit_code(&fake, END_MS), 0);
    fake_expect_nothing_left(&fake, GONE_MS);
}

/* What every failure must come to: one reason for the coordinator, its exit code, nothing left. */
static void expect_failure(err code, const char *reason) {
    struct wire_error e = fake_hear_error(&fake);
    if (e.code != code || !strstr(e.message, reason))
        fail_msg("%s: '%s', wanted %s with '%s'", error_name(e.code), e.message, error_name(code),
                 reason);
    assert_int_equal(fake_exit_code(&fake, END_MS), error_exit_code(code));
    fake_expect_nothing_left(&fake, GONE_MS);
}

/* ---- a good life ---- */

static void from_hello_to_shutdown(void **state) {
    (void)state;
    ready();
    tell_step(1, 0, 0, prompt, 4);
    int32_t first = hear_token(1);
    tell_step(2, 0, 4, &first, 1);
    tell_step(3, 1, 0, prompt, 4); // the same prompt elsewhere, while the other step is in flight
    hear_token(2);
    assert_int_equal(hear_token(3), first);
    shut_down();
}

static struct wire_message ask(enum measure_what what, uint32_t index, uint64_t memory_bytes) {
    struct wire_message m = {
        .kind = WIRE_MEASURE,
        .measure = {.what = what, .index = index, .reps = 2, .memory_bytes = memory_bytes}};
    fake_tell(&fake, &m);
    m = fake_hear(&fake);
    assert_int_equal(m.kind, WIRE_MEASURED);
    assert_int_equal(m.measured.size, size);
    return m;
}

/* What steps have cost, between any two of them; and what the machine can do. */
static void measuring(void **state) {
    (void)state;
    ready();
    struct wire_message m = ask(MEASURE_COUNTERS, 0, 0);
    for (int r = 0; r < size; r++) assert_int_equal(m.measured.ranks[r].steps, 0);
    assert_true(m.measured.limits.memory_bytes == 0);
    uint64_t begin = clock_ns();
    tell_step(1, 0, 0, prompt, 4);
    hear_token(1);
    uint64_t wall = clock_ns() - begin;
    for (int i = 0; i < 2; i++) {
        const uint64_t asked = (uint64_t)8 << 20;
        m = ask(i ? MEASURE_COUNTERS : MEASURE_LIMITS, 0, asked);
        const struct measure_limits *l = &m.measured.limits;
        assert_int_equal(l->read_bytes_per_s > 0 && l->int8_ops_per_s > 0 && l->f32_ops_per_s > 0,
                         i == 0);
        if (i == 0) assert_in_range(l->memory_bytes, asked / 2, asked);
        for (int r = 0; r < size; r++) {
            const struct measure_rank *k = &m.measured.ranks[r];
            assert_int_equal(k->steps, 1);
            assert_true(k->compute_ns > 0);
            if (r == 0) assert_true(k->compute_ns + k->wait_ns + k->wire_ns <= wall);
            assert_int_equal(k->allreduce_calls, 2 * model->shape.n_layers + 1);
            assert_int_equal(k->allreduce_bytes, k->allreduce_calls * 4 * 4 * model->shape.dim);
            assert_true(k->peak_rss_bytes > 0);
        }
    }
    shut_down();
    for (int r = 0; r < size; r++) { // heartbeats say the same
        const struct wire_totals *t = &fake.lifelines[r].beat.totals;
        assert_true(t->steps == 1 && t->compute_ns > 0);
        assert_int_equal(t->allreduce_bytes,
                         (2 * model->shape.n_layers + 1) * 4 * 4 * model->shape.dim);
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
    ready();
    struct wire_message m = ask(MEASURE_KERNELS, 0, 0);
    uint32_t n = m.measured.n_indexes;
    assert_true(n > 5 && m.measured.n_times == 1);
    check_times(&m.measured);
    assert_string_equal(m.measured.times[0].name, "matmul_q");
    assert_string_equal(m.measured.times[0].type, "Q8_0");
    assert_int_equal(m.measured.times[0].cols, model->shape.dim);
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
        assert_in_range(m.measured.n_times, 0, size > 1 && i < n);
        check_times(&m.measured);
        if (m.measured.n_times) assert_int_equal(m.measured.times[0].bytes, 8);
        ways += m.measured.n_times;
    }
    assert_true(size == 1 ? ways == 0 : ways > 2);
    tell_step(1, 0, 0, prompt, 4); // as if nothing had been
    hear_token(1);
    shut_down();
}

static void measuring_before_a_model(void **state) {
    (void)state;
    struct wire_message m = {.kind = WIRE_MEASURE, .measure = {.reps = 1}};
    fake_welcome(&fake);
    open_model(file.path, (uint32_t)size);
    fake_tell(&fake, &m);
    expect_failure(ERR_PROTOCOL, "measures before a model");
}

/* Steps that are sent before the token that they begin with is known. */
static void steps_sent_ahead(void **state) {
    (void)state;
    int32_t tokens[8], pending = BATCH_TOKEN_PENDING;
    ready();
    tell_step(1, 0, 0, prompt, 4);
    for (uint32_t i = 0; i < 8; i++) {
        tokens[i] = hear_token(1 + i);
        if (i < 7) tell_step(2 + i, 0, 4 + i, &tokens[i], 1);
    }
    tell_step(9, 1, 0, prompt, 4);
    for (uint32_t i = 0; i < 8; i++) {
        if (i < 7) tell_step_of(10 + i, 9, 1, 4 + i, &pending, 1);
        assert_int_equal(hear_token(9 + i), tokens[i]);
    }
    tell_step_of(17, 9, 1, 20, &pending, 1); // not where the step before has sampled
    expect_failure(ERR_PROTOCOL, "position 20");
}

/* Steps at every distance around the moment at which the ranks go to rest. */
static void rest_and_wake(void **state) {
    (void)state;
    ready();
    tell_step(1, 0, 0, prompt, 4);
    int32_t first = hear_token(1);
    for (uint64_t step = 2; step < 100; step++) {
        tell_step(step, 0, 0, prompt, 4);
        assert_int_equal(hear_token(step), first);
        if (step % 10) fake_listen(&fake, (int)(step % 10));
    }
    shut_down();
}

static uint64_t cpu_ns_of_all(void) {
    uint64_t sum = 0;
    for (int r = 0; r < size; r++) sum += fake.lifelines[r].beat.cpu_ns;
    return sum;
}

/* Idle ranks block in poll(): 2 s cost next to nothing, and the next step is as fast as ever. */
static void idle_costs_nothing(void **state) {
    (void)state;
    ready();
    tell_step(1, 0, 0, prompt, 4);
    hear_token(1);
    fake_listen(&fake, 700);
    assert_true(fake.resting);
    uint64_t before = cpu_ns_of_all();
    uint32_t beats = fake.lifelines[0].beats;
    fake_listen(&fake, 2000);
    assert_in_range(fake.lifelines[0].beats - beats, 2, 5);
    uint64_t used_us = (cpu_ns_of_all() - before) / 1000;
    print_message("%d idle ranks used %d us of CPU in 2 s\n", size, (int)used_us);
    assert_true(before > 0 && used_us < 60000);
    uint64_t begin = clock_ns();
    tell_step(2, 0, 4, prompt, 1);
    hear_token(2);
    print_message("the next step took %d us\n", (int)((clock_ns() - begin) / 1000));
    shut_down();
}

static void headers_for_a_coordinator_without_the_file(void **state) {
    (void)state;
    struct buf headers;
    buf_init(&headers, 0);
    fake_welcome(&fake);
    struct wire_message m = {.kind = WIRE_OPEN, .open = {.path = file.path, .want_headers = true}};
    fake_tell(&fake, &m);
    m = fake_hear(&fake);
    assert_int_equal(m.kind, WIRE_OPENED);
    uint64_t announced = m.opened.headers_bytes;
    do {
        m = fake_hear(&fake);
        assert_int_equal(m.kind, WIRE_HEADERS);
        assert_in_range(m.headers.n, 1, WIRE_HEADERS_CHUNK);
        buf_append(&headers, m.headers.bytes, m.headers.n);
    } while (!m.headers.last);
    assert_int_equal(headers.length, announced);
    struct gguf *copy;
    assert_int_equal(gguf_from_headers(&copy, headers.data, headers.length), ERR_OK);
    assert_true(gguf_identity(copy) == gguf_identity(gguf));
    gguf_close(copy);
    buf_deinit(&headers);
    shut_down();
}

/* Ranks above 0 start in an empty folder and cannot see the file. */
static void only_rank_0_has_the_file(void **state) {
    (void)state;
    char here[1024], empty[] = "/tmp/lockstep-empty-XXXXXX";
    assert_non_null(mkdtemp(empty));
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(file.directory), 0);
    struct fake_launch launch = {.worker = worker, .size = size, .other_dir = empty};
    fake_start(&fake, &launch);
    assert_int_equal(chdir(here), 0);
    fake_welcome(&fake);
    open_model(strrchr(file.path, '/') + 1, 1);
    load_model();
    tell_step(1, 0, 0, prompt, 4);
    hear_token(1);
    shut_down();
    rmdir(empty);
}

/* ---- refusals ---- */

static void a_different_file_elsewhere(void **state) {
    (void)state;
    char here[1024];
    struct fixture_file other;
    struct fixture_options o = {.type = "Q4_0"};
    assert_int_equal(fixture_create(&other, &o), ERR_OK);
    const char *name = strrchr(file.path, '/') + 1;
    assert_string_equal(strrchr(other.path, '/') + 1, name);
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(file.directory), 0);
    struct fake_launch launch = {.worker = worker, .size = size, .other_dir = other.directory};
    fake_start(&fake, &launch);
    assert_int_equal(chdir(here), 0);
    fake_welcome(&fake);
    struct wire_message m = {.kind = WIRE_OPEN, .open = {.path = name}};
    fake_tell(&fake, &m);
    expect_failure(ERR_MISMATCH, "differs between hosts");
    fixture_remove(&other);
}

static void one_rank_is_refused(void **state) {
    (void)state;
    fake_refuse(&fake, size - 1, ERR_MISMATCH, "another build");
    if (size > 1) { // rank 0 was welcome and says who was not
        struct wire_error e = fake_hear_error(&fake);
        assert_int_equal(e.code, ERR_MISMATCH);
        assert_non_null(strstr(e.message, "another build"));
    }
    assert_int_equal(fake_exit_code(&fake, END_MS), error_exit_code(ERR_MISMATCH));
    fake_expect_nothing_left(&fake, GONE_MS);
}

static void no_such_model(void **state) {
    (void)state;
    fake_welcome(&fake);
    struct wire_message m = {.kind = WIRE_OPEN, .open = {.path = "/nonexistent/\xc3\xa9.gguf"}};
    fake_tell(&fake, &m);
    expect_failure(ERR_MODEL, "/nonexistent/\xc3\xa9.gguf");
}

static void expect_load_refused(const struct wire_message *load, err code, const char *reason) {
    fake_welcome(&fake);
    open_model(file.path, (uint32_t)size);
    fake_tell(&fake, load);
    expect_failure(code, reason);
}

static void another_model(void **state) {
    (void)state;
    struct wire_message m = load_message();
    m.load.identity ^= 1;
    expect_load_refused(&m, ERR_MISMATCH, "the ranks opened the model");
}

static void another_plan(void **state) {
    (void)state;
    struct wire_message m = load_message();
    m.load.plan_hash ^= 1;
    expect_load_refused(&m, ERR_MISMATCH, "the plan's hash");
}

static void a_plan_for_more_ranks(void **state) {
    (void)state;
    struct plan larger;
    fake_plan(&larger, &model->shape, (uint32_t)size + 1);
    struct wire_message m = load_message();
    m.load.plan = larger;
    m.load.plan_hash = plan_hash(&larger);
    expect_load_refused(&m, ERR_MISMATCH, "the job has");
    plan_deinit(&larger);
}

static void more_memory_than_there_is(void **state) {
    (void)state;
    struct wire_message m = load_message();
    m.load.kv_blocks = 100000000;
    expect_load_refused(&m, ERR_MEMORY, "MiB together");
}

static void step_of_another_epoch(void **state) {
    (void)state;
    ready();
    struct batch_seq seq = {
        .n_tokens = 1, .tokens = prompt, .n_blocks = 1, .blocks = &(uint32_t){0}};
    struct wire_message m = {
        .kind = WIRE_STEP,
        .batch = {.epoch = FAKE_EPOCH - 1, .step = 1, .n_seqs = 1, .n_tokens = 1, .seqs = &seq}};
    fake_tell(&fake, &m);
    expect_failure(ERR_MISMATCH, "epoch");
}

static void step_with_a_block_that_does_not_exist(void **state) {
    (void)state;
    ready();
    tell_step(1, KV_BLOCKS, 0, prompt, 4);
    expect_failure(ERR_PROTOCOL, "block");
}

static void step_before_a_model(void **state) {
    (void)state;
    fake_welcome(&fake);
    tell_step(1, 0, 0, prompt, 4);
    expect_failure(ERR_PROTOCOL, "before a model");
}

static void garbage_on_the_link(void **state) {
    (void)state;
    fake_welcome(&fake);
    fake_tell_bytes(&fake, "\x05\0\0\0\xff\xff\xff\xff\xff", 9);
    expect_failure(ERR_PROTOCOL, "");
}

/* ---- faults ---- */

static void coordinator_dies_while_idle(void **state) {
    (void)state;
    ready();
    fake_listen(&fake, 50);
    fake_hang_up(&fake);
    assert_int_equal(fake_exit_code(&fake, 3000), error_exit_code(ERR_RANK_LOST));
    fake_expect_nothing_left(&fake, GONE_MS);
}

static void coordinator_dies_in_a_step(void **state) {
    (void)state;
    ready();
    tell_step(1, 0, 0, prompt, 4);
    fake_hang_up(&fake);
    assert_int_equal(fake_exit_code(&fake, 3000), error_exit_code(ERR_RANK_LOST));
    fake_expect_nothing_left(&fake, GONE_MS);
}

/* mpirun itself names the rank and ends the rest. */
static void a_rank_is_killed(void **state) {
    (void)state;
    ready();
    fake_listen(&fake, 50);
    kill(fake.lifelines[size - 1].pid, SIGKILL);
    assert_int_equal(fake_exit_code(&fake, END_MS), 128 + SIGKILL);
    fake_expect_nothing_left(&fake, GONE_MS);
}

static void mpirun_is_killed(void **state) {
    (void)state;
    ready();
    kill(fake.mpirun, SIGKILL);
    assert_int_equal(fake_exit_code(&fake, 1000), 128 + SIGKILL);
    fake_expect_nothing_left(&fake, GONE_MS);
}

/* mpirun hands SIGUSR1 on to the ranks; without a coordinator of their own they do nothing. */
static void signals_of_the_user(void **state) {
    (void)state;
    ready();
    kill(fake.mpirun, SIGUSR1);
    kill(fake.mpirun, SIGUSR2);
    sleep_ms(200);
    tell_step(1, 0, 0, prompt, 4);
    hear_token(1);
    shut_down();
}

#define WITH_JOB(test) cmocka_unit_test_setup_teardown(test, start_job, end_job)
#define OWN_JOB(test)  cmocka_unit_test_teardown(test, end_job)

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s WORKER RANKS\n", argv[0]);
        return 2;
    }
    worker = argv[1];
    size = atoi(argv[2]);
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    const struct CMUnitTest tests[] = {
        WITH_JOB(from_hello_to_shutdown),
        WITH_JOB(steps_sent_ahead),
        WITH_JOB(rest_and_wake),
        WITH_JOB(measuring),
        WITH_JOB(measuring_kernels_and_collectives),
        WITH_JOB(measuring_before_a_model),
        WITH_JOB(idle_costs_nothing),
        WITH_JOB(headers_for_a_coordinator_without_the_file),
        OWN_JOB(only_rank_0_has_the_file),
        WITH_JOB(one_rank_is_refused),
        WITH_JOB(no_such_model),
        WITH_JOB(another_model),
        WITH_JOB(another_plan),
        WITH_JOB(a_plan_for_more_ranks),
        WITH_JOB(more_memory_than_there_is),
        WITH_JOB(step_of_another_epoch),
        WITH_JOB(step_with_a_block_that_does_not_exist),
        WITH_JOB(step_before_a_model),
        WITH_JOB(garbage_on_the_link),
        WITH_JOB(coordinator_dies_while_idle),
        WITH_JOB(coordinator_dies_in_a_step),
        WITH_JOB(a_rank_is_killed),
        WITH_JOB(mpirun_is_killed),
        WITH_JOB(signals_of_the_user),
    };
    const struct CMUnitTest several[] = {OWN_JOB(a_different_file_elsewhere)};
    int failed = cmocka_run_group_tests(tests, make_model, remove_model);
    if (size > 1) failed += cmocka_run_group_tests(several, make_model, remove_model);
    return failed;
}
