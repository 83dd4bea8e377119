/* job_rig.h: a real job of lockstep-worker under a coordinator that the test plays; one at a time.
 *
 * Everything fails the running test when the ranks do otherwise. */
// SPDX-License-Identifier: MIT
#ifndef TESTS_JOB_RIG_H
#define TESTS_JOB_RIG_H

#include "tests/fixtures/fixture.h"
#include "tests/mpi/fake_coordinator.h"

#define KV_BLOCKS 16
#define END_MS    5000
/* mpirun signals the ranks of a job that failed and ends without waiting for all of them. */
#define GONE_MS 2000

extern struct job_rig {
    const char *worker; // the program
    int size;           // ranks
    struct fake fake;
    struct fixture_file file; // the model, for all tests of a group
    struct gguf *gguf;
    struct model *model;
    struct plan plan;
} job;

extern const int32_t job_prompt[4];

/* Takes WORKER and RANKS of the command line; 2, the exit code, when they are not there. */
int job_arguments(int argc, char **argv);

/* Fixtures of cmocka: a model for a group of tests, a job for a test. */
int job_make_model(void **state);
int job_remove_model(void **state);
int job_start(void **state);
int job_end(void **state);
#define WITH_JOB(test) cmocka_unit_test_setup_teardown(test, job_start, job_end)
#define OWN_JOB(test)  cmocka_unit_test_teardown(test, job_end)

/* The message that loads the model as it should be; it borrows the rig's plan. */
struct wire_message job_load_message(void);
/* Opens `path`, which `readers` ranks must see and which must be the rig's model. */
void job_open_model(const char *path, uint32_t readers);
void job_load_model(void);
/* All of it: from hello to a loaded model. */
void job_ready(void);

/* A step that continues a greedy sequence by `n` tokens from position `start`. */
void job_tell_step_of(uint64_t step, uint64_t seq_id, uint32_t block, uint32_t start,
                      const int32_t *tokens, uint32_t n);
/* The same of a sequence that is named by its first step. */
void job_tell_step(uint64_t step, uint32_t block, uint32_t start, const int32_t *tokens,
                   uint32_t n);
/* The token that step has sampled. */
int32_t job_hear_token(uint64_t step);

/* The good end, of all ranks and of mpirun. */
void job_shut_down(void);
/* What every failure must come to: one reason for the coordinator, its exit code, nothing left. */
void job_expect_failure(err code, const char *reason);

#endif
