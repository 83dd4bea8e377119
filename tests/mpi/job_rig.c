// SPDX-License-Identifier: MIT
/* job_rig.c: see job_rig.h. */

#include "tests/mpi/job_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct job_rig job;

int job_arguments(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s WORKER RANKS\n", argv[0]);
        return 2;
    }
    job.worker = argv[1];
    job.size = atoi(argv[2]);
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    return 0;
}

/* ---- a job for each test, a model for all ---- */

int job_make_model(void **state) {
    (void)state;
    struct fixture_options o = {.type = "Q8_0", .heads = 8, .kv_heads = 4, .dim = 256};
    if (fixture_create(&job.file, &o) != ERR_OK || gguf_open(&job.gguf, job.file.path) != ERR_OK ||
        model_create(&job.model, job.gguf) != ERR_OK) {
        print_error("no model for the test: %s\n", error_message());
        return -1;
    }
    fake_plan(&job.plan, &job.model->shape, (uint32_t)job.size);
    return 0;
}

int job_remove_model(void **state) {
    (void)state;
    plan_deinit(&job.plan);
    model_free(job.model);
    gguf_close(job.gguf);
    fixture_remove(&job.file);
    return 0;
}

int job_start(void **state) {
    (void)state;
    struct fake_launch launch = {.worker = job.worker, .size = job.size};
    fake_start(&job.fake, &launch);
    return 0;
}

int job_end(void **state) {
    (void)state;
    fake_free(&job.fake);
    return 0;
}

/* ---- what a coordinator says ---- */

struct wire_message job_load_message(void) {
    return (struct wire_message){.kind = WIRE_LOAD,
                                 .load = {.identity = gguf_identity(job.gguf),
                                          .plan_hash = plan_hash(&job.plan),
                                          .plan = job.plan,
                                          .kv_blocks = KV_BLOCKS,
                                          .max_step_tokens = 64,
                                          .max_batch = 4,
                                          .threads = 1,
                                          .check_ranks = true}};
}

void job_open_model(const char *path, uint32_t readers) {
    struct wire_message m = {.kind = WIRE_OPEN, .open = {.path = path}};
    fake_tell(&job.fake, &m);
    m = fake_hear(&job.fake);
    assert_int_equal(m.kind, WIRE_OPENED);
    assert_true(m.opened.identity == gguf_identity(job.gguf));
    assert_int_equal(m.opened.n_readers, readers);
    assert_int_equal(m.opened.headers_bytes, 0);
}

void job_load_model(void) {
    struct wire_message m = job_load_message();
    uint64_t done = 0;
    fake_tell(&job.fake, &m);
    for (m = fake_hear(&job.fake); m.kind == WIRE_PROGRESS; m = fake_hear(&job.fake)) {
        assert_in_range(m.progress.bytes_done, done, m.progress.bytes_total);
        done = m.progress.bytes_done;
    }
    assert_int_equal(m.kind, WIRE_LOADED);
    assert_int_equal(m.loaded.size, job.size);
    uint64_t read = 0;
    for (int r = 0; r < job.size; r++) {
        assert_true(m.loaded.ranks[r].weight_bytes > 0);
        assert_true(m.loaded.ranks[r].kv_bytes > 0);
        assert_int_equal(m.loaded.ranks[r].threads, 1);
        read += m.loaded.ranks[r].file_bytes_read;
    }
    assert_true(read > 0 && read <= gguf_file_bytes(job.gguf) * 102 / 100);
}

void job_ready(void) {
    fake_welcome(&job.fake);
    job_open_model(job.file.path, (uint32_t)job.size);
    job_load_model();
}

void job_tell_step_of(uint64_t step, uint64_t seq_id, uint32_t block, uint32_t start,
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
    fake_tell(&job.fake, &m);
}

void job_tell_step(uint64_t step, uint32_t block, uint32_t start, const int32_t *tokens,
                   uint32_t n) {
    job_tell_step_of(step, step, block, start, tokens, n);
}

int32_t job_hear_token(uint64_t step) {
    struct wire_message m = fake_hear(&job.fake);
    assert_int_equal(m.kind, WIRE_RESULT);
    assert_int_equal(m.result.epoch, FAKE_EPOCH);
    assert_int_equal(m.result.step, step);
    assert_int_equal(m.result.n_seqs, 1);
    assert_int_equal(m.result.seqs[0].n_outputs, 1);
    assert_int_equal(m.result.seqs[0].outputs[0].top[0].token, m.result.seqs[0].token);
    assert_in_range(m.result.seqs[0].token, 0, job.model->shape.n_vocab - 1);
    return m.result.seqs[0].token;
}

const int32_t job_prompt[] = {1, 2, 3, 4};

void job_shut_down(void) {
    struct wire_message m = {.kind = WIRE_SHUTDOWN};
    fake_tell(&job.fake, &m);
    while (job.fake.link.fd >= 0) fake_listen(&job.fake, 20); // the ranks hang up by themselves
    fake_listen(&job.fake, 100);
    for (int r = 0; r < job.size; r++) assert_true(job.fake.lifelines[r].beat.last);
    assert_int_equal(fake_exit_code(&job.fake, END_MS), 0);
    fake_expect_nothing_left(&job.fake, GONE_MS);
}

void job_expect_failure(err code, const char *reason) {
    struct wire_error e = fake_hear_error(&job.fake);
    if (e.code != code || !strstr(e.message, reason))
        fail_msg("%s: '%s', wanted %s with '%s'", error_name(e.code), e.message, error_name(code),
                 reason);
    assert_int_equal(fake_exit_code(&job.fake, END_MS), error_exit_code(code));
    fake_expect_nothing_left(&job.fake, GONE_MS);
}
