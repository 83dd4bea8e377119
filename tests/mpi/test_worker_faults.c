// SPDX-License-Identifier: MIT
/* test_worker_faults.c: what a coordinator, a file or a fault can do to a job of lockstep-worker.
 *
 *      test_worker_faults WORKER RANKS
 *
 * Each time the reason arrives, the exit code is the error's, and nothing is left behind. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/mpi/job_rig.h"

/* ---- refusals ---- */

static void a_different_file_elsewhere(void **state) {
    (void)state;
    char here[1024];
    struct fixture_file other;
    struct fixture_options o = {.type = "Q4_0"};
    assert_int_equal(fixture_create(&other, &o), ERR_OK);
    const char *name = strrchr(job.file.path, '/') + 1;
    assert_string_equal(strrchr(other.path, '/') + 1, name);
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(job.file.directory), 0);
    struct fake_launch launch = {
        .worker = job.worker, .size = job.size, .other_dir = other.directory};
    fake_start(&job.fake, &launch);
    assert_int_equal(chdir(here), 0);
    fake_welcome(&job.fake);
    struct wire_message m = {.kind = WIRE_OPEN, .open = {.path = name}};
    fake_tell(&job.fake, &m);
    job_expect_failure(ERR_MISMATCH, "differs between hosts");
    fixture_remove(&other);
}

static void one_rank_is_refused(void **state) {
    (void)state;
    fake_refuse(&job.fake, job.size - 1, ERR_MISMATCH, "another build");
    if (job.size > 1) { // rank 0 was welcome and says who was not
        struct wire_error e = fake_hear_error(&job.fake);
        assert_int_equal(e.code, ERR_MISMATCH);
        assert_non_null(strstr(e.message, "another build"));
    }
    assert_int_equal(fake_exit_code(&job.fake, END_MS), error_exit_code(ERR_MISMATCH));
    fake_expect_nothing_left(&job.fake, GONE_MS);
}

static void no_such_model(void **state) {
    (void)state;
    fake_welcome(&job.fake);
    struct wire_message m = {.kind = WIRE_OPEN, .open = {.path = "/nonexistent/\xc3\xa9.gguf"}};
    fake_tell(&job.fake, &m);
    job_expect_failure(ERR_MODEL, "/nonexistent/\xc3\xa9.gguf");
}

static void expect_load_refused(const struct wire_message *load, err code, const char *reason) {
    fake_welcome(&job.fake);
    job_open_model(job.file.path, (uint32_t)job.size);
    fake_tell(&job.fake, load);
    job_expect_failure(code, reason);
}

static void another_model(void **state) {
    (void)state;
    struct wire_message m = job_load_message();
    m.load.identity ^= 1;
    expect_load_refused(&m, ERR_MISMATCH, "the ranks opened the model");
}

static void another_plan(void **state) {
    (void)state;
    struct wire_message m = job_load_message();
    m.load.plan_hash ^= 1;
    expect_load_refused(&m, ERR_MISMATCH, "the plan's hash");
}

static void a_plan_for_more_ranks(void **state) {
    (void)state;
    struct plan larger;
    fake_plan(&larger, &job.model->shape, (uint32_t)job.size + 1);
    struct wire_message m = job_load_message();
    m.load.plan = larger;
    m.load.plan_hash = plan_hash(&larger);
    expect_load_refused(&m, ERR_MISMATCH, "the job has");
    plan_deinit(&larger);
}

static void more_memory_than_there_is(void **state) {
    (void)state;
    struct wire_message m = job_load_message();
    m.load.kv_blocks = 100000000;
    expect_load_refused(&m, ERR_MEMORY, "MiB together");
}

static void step_of_another_epoch(void **state) {
    (void)state;
    job_ready();
    struct batch_seq seq = {
        .n_tokens = 1, .tokens = job_prompt, .n_blocks = 1, .blocks = &(uint32_t){0}};
    struct wire_message m = {
        .kind = WIRE_STEP,
        .batch = {.epoch = FAKE_EPOCH - 1, .step = 1, .n_seqs = 1, .n_tokens = 1, .seqs = &seq}};
    fake_tell(&job.fake, &m);
    job_expect_failure(ERR_MISMATCH, "epoch");
}

static void step_with_a_block_that_does_not_exist(void **state) {
    (void)state;
    job_ready();
    job_tell_step(1, KV_BLOCKS, 0, job_prompt, 4);
    job_expect_failure(ERR_PROTOCOL, "block");
}

static void measuring_before_a_model(void **state) {
    (void)state;
    struct wire_message m = {.kind = WIRE_MEASURE, .measure = {.reps = 1}};
    fake_welcome(&job.fake);
    job_open_model(job.file.path, (uint32_t)job.size);
    fake_tell(&job.fake, &m);
    job_expect_failure(ERR_PROTOCOL, "measures before a model");
}

static void step_before_a_model(void **state) {
    (void)state;
    fake_welcome(&job.fake);
    job_tell_step(1, 0, 0, job_prompt, 4);
    job_expect_failure(ERR_PROTOCOL, "before a model");
}

static void garbage_on_the_link(void **state) {
    (void)state;
    fake_welcome(&job.fake);
    fake_tell_bytes(&job.fake, "\x05\0\0\0\xff\xff\xff\xff\xff", 9);
    job_expect_failure(ERR_PROTOCOL, "");
}

/* ---- faults ---- */

static void coordinator_dies_while_idle(void **state) {
    (void)state;
    job_ready();
    fake_listen(&job.fake, 50);
    fake_hang_up(&job.fake);
    assert_int_equal(fake_exit_code(&job.fake, 3000), error_exit_code(ERR_RANK_LOST));
    fake_expect_nothing_left(&job.fake, GONE_MS);
}

static void coordinator_dies_in_a_step(void **state) {
    (void)state;
    job_ready();
    job_tell_step(1, 0, 0, job_prompt, 4);
    fake_hang_up(&job.fake);
    assert_int_equal(fake_exit_code(&job.fake, 3000), error_exit_code(ERR_RANK_LOST));
    fake_expect_nothing_left(&job.fake, GONE_MS);
}

/* mpirun itself names the rank and ends the rest. */
static void a_rank_is_killed(void **state) {
    (void)state;
    job_ready();
    fake_listen(&job.fake, 50);
    kill(job.fake.lifelines[job.size - 1].pid, SIGKILL);
    assert_int_equal(fake_exit_code(&job.fake, END_MS), 128 + SIGKILL);
    fake_expect_nothing_left(&job.fake, GONE_MS);
}

static void mpirun_is_killed(void **state) {
    (void)state;
    job_ready();
    kill(job.fake.mpirun, SIGKILL);
    assert_int_equal(fake_exit_code(&job.fake, 1000), 128 + SIGKILL);
    fake_expect_nothing_left(&job.fake, GONE_MS);
}

int main(int argc, char **argv) {
    if (job_arguments(argc, argv)) return 2;
    const struct CMUnitTest tests[] = {
        WITH_JOB(measuring_before_a_model),
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
    };
    const struct CMUnitTest several[] = {OWN_JOB(a_different_file_elsewhere)};
    int failed = cmocka_run_group_tests(tests, job_make_model, job_remove_model);
    if (job.size > 1) failed += cmocka_run_group_tests(several, job_make_model, job_remove_model);
    return failed;
}
