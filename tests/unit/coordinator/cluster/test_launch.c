// SPDX-License-Identifier: MIT
/* test_launch.c: the launcher's command line and environment. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "coordinator/cluster/launch.h"

static const struct launch_facts here = {
    .ranks = 3, .worker = "/bin/w", .run_dir = "/run/x", .one_host = true};

/* "[mpirun][--bind-to][none]…" */
static void words(struct buf *out, const struct options *o, const struct launch_facts *f) {
    char **argv;
    buf_init(out, 0);
    assert_int_equal(launch_build(&argv, o, f), ERR_OK);
    for (size_t i = 0; argv[i]; i++) buf_printf(out, "[%s]", argv[i]);
    launch_free(argv);
}

static void has(const struct buf *b, const char *part, bool expected) {
    if ((strstr(b->data, part) != NULL) != expected)
        fail_msg("%s: '%s' was%s expected", b->data, part, expected ? "" : " not");
}

static void test_mpirun(void **state) {
    (void)state;
    struct options o = {.log_level = LOG_WARN,
                        .launcher_args = {"-x", "Y=1"},
                        .n_launcher_args = 2,
                        .log_all_ranks = true};
    struct buf b;
    words(&b, &o, &here);
    assert_int_equal(strncmp(b.data, "[mpirun][--bind-to][none]", 25), 0);
    has(&b, "[--oversubscribe]", true);
    has(&b, "[--mca][odls_base_sigkill_timeout][0]", true);
    has(&b, "[--mca][orte_tmpdir_base][/run/x]", true);
    has(&b, "single_copy", false);
    has(&b, "[-x][Y=1][-n][3][/bin/w][--log-level][warn][--log-all-ranks]", true);
    buf_deinit(&b);
}

static void test_hostfile(void **state) {
    (void)state;
    struct options o = {.hostfile = "hosts"};
    struct launch_facts f = here;
    f.one_host = false;
    f.no_cma = true;
    struct buf b;
    words(&b, &o, &f);
    has(&b, "[--hostfile][hosts]", true);
    has(&b, "[--oversubscribe]", false);
    has(&b, "orte_tmpdir_base", false); // the folder exists on this host only
    has(&b, "[btl_vader_single_copy_mechanism][none]", true);
    buf_deinit(&b);
}

static void test_launcher(void **state) {
    (void)state;
    struct options o = {.launcher = " srun  --mpi=pmix '--comment=a b'\t-c\"2 \"",
                        .launcher_args = {"--exclusive"},
                        .n_launcher_args = 1};
    struct buf b;
    char **argv;
    words(&b, &o, &here);
    assert_string_equal(b.data,
                        "[srun][--mpi=pmix][--comment=a b][-c2 ][--exclusive][-n][3][/bin/w]"
                        "[--log-level][error]");
    buf_deinit(&b);
    o.launcher = "srun 'open";
    assert_int_equal(launch_build(&argv, &o, &here), ERR_USAGE);
    o.launcher = "  ";
    assert_int_equal(launch_build(&argv, &o, &here), ERR_USAGE);
    char *many = malloc(4096);
    memset(many, 'x', 4095);
    for (size_t i = 1; i < 4095; i += 2) many[i] = ' ';
    many[4095] = '\0';
    o.launcher = many;
    assert_int_equal(launch_build(&argv, &o, &here), ERR_USAGE);
    free(many);
}

static void test_hosts(void **state) {
    (void)state;
    clearenv();
    struct options o = {.launcher_args = {"--report-bindings"}, .n_launcher_args = 1};
    assert_false(launch_spans_hosts(&o));
    setenv("SLURM_JOB_NUM_NODES", "1", 1);
    assert_false(launch_spans_hosts(&o));
    setenv("SLURM_JOB_NUM_NODES", "2", 1);
    assert_true(launch_spans_hosts(&o));
    clearenv();
    o.launcher_args[0] = "-H";
    assert_true(launch_spans_hosts(&o));
    o = (struct options){.launcher = "srun"};
    assert_true(launch_spans_hosts(&o));
    setenv("PBS_NODEFILE", "f", 1);
    o = (struct options){0};
    assert_true(launch_spans_hosts(&o));
}

static void test_environment(void **state) {
    (void)state;
    static const char *const removed[] = {
        "OMPI_COMM_WORLD_RANK", "OMPI_UNIVERSE_SIZE", "PMIX_RANK", "PMI_FD", "ORTE_X",
        "SLURM_PROCID",         "SLURM_LOCALID"};
    static const char *const kept[] = {"OMPI_MCA_btl", "PMIX_MCA_gds",   "OPAL_PREFIX",    "PATH",
                                       "SLURM_JOB_ID", "SLURM_NODELIST", "OMP_NUM_THREADS"};
    clearenv();
    for (size_t i = 0; i < 7; i++) {
        setenv(removed[i], "1", 1);
        setenv(kept[i], "1", 1);
    }
    launch_clean_environment();
    for (size_t i = 0; i < 7; i++) {
        if (getenv(removed[i])) fail_msg("%s is still there", removed[i]);
        if (!getenv(kept[i])) fail_msg("%s is gone", kept[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mpirun),      cmocka_unit_test(test_hostfile),
        cmocka_unit_test(test_launcher),    cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
