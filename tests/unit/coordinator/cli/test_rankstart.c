// SPDX-License-Identifier: MIT
/* test_rankstart.c: who is a rank, and whether -n agrees with mpirun. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/cli/rankstart.h"

static int clear_environment(void **state) {
    (void)state;
    return clearenv();
}

static void test_not_a_rank(void **state) {
    (void)state;
    assert_false(rankstart_detect().is_rank);
    setenv("SLURM_PROCID", "0", 1); // a batch script
    setenv("PMIX_RANK", "0", 1);    // without a namespace
    assert_false(rankstart_detect().is_rank);
    setenv("OMPI_COMM_WORLD_RANK", "x", 1);
    assert_false(rankstart_detect().is_rank);
}

static void test_open_mpi(void **state) {
    (void)state;
    setenv("OMPI_COMM_WORLD_RANK", "2", 1);
    setenv("OMPI_COMM_WORLD_SIZE", "4", 1);
    setenv("OMPI_COMM_WORLD_LOCAL_SIZE", "4", 1);
    struct rankstart r = rankstart_detect();
    assert_true(r.is_rank);
    assert_int_equal(r.rank, 2);
    assert_int_equal(r.size, 4);
    assert_false(r.spans_hosts);
    setenv("OMPI_COMM_WORLD_LOCAL_SIZE", "2", 1);
    assert_true(rankstart_detect().spans_hosts);
}

static void test_pmix(void **state) {
    (void)state;
    setenv("PMIX_RANK", "1", 1);
    setenv("PMIX_NAMESPACE", "job", 1);
    struct rankstart r = rankstart_detect();
    assert_true(r.is_rank);
    assert_int_equal(r.rank, 1);
    assert_int_equal(r.size, 0); // not said
    assert_true(r.spans_hosts);  // not said: the safe side
}

static void test_check(void **state) {
    (void)state;
    struct rankstart r = {.is_rank = true, .rank = 1, .size = 4, .spans_hosts = true};
    struct options o = {.ranks = 2};
    assert_int_equal(rankstart_check(&r, &o), ERR_OK);
    assert_int_equal(o.ranks, 4);
    assert_true(o.spans_hosts);
    o = (struct options){.ranks = 4, .ranks_given = true};
    assert_int_equal(rankstart_check(&r, &o), ERR_OK);
    o = (struct options){.ranks = 3, .ranks_given = true};
    assert_int_equal(rankstart_check(&r, &o), ERR_USAGE);
    assert_non_null(strstr(error_message(), "-n 3"));
    assert_non_null(strstr(error_message(), "4 ranks"));
    o = (struct options){.wait_for_ranks = true};
    assert_int_equal(rankstart_check(&r, &o), ERR_USAGE);
    r.size = 0; // rank 0's HELLO will say
    o = (struct options){.ranks = 2};
    assert_int_equal(rankstart_check(&r, &o), ERR_OK);
    assert_int_equal(o.ranks, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_not_a_rank, clear_environment),
        cmocka_unit_test_setup(test_open_mpi, clear_environment),
        cmocka_unit_test_setup(test_pmix, clear_environment),
        cmocka_unit_test_setup(test_check, clear_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
