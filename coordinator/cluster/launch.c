// SPDX-License-Identifier: MIT
/* launch.c: see launch.h.
 *
 * The settings for Open MPI's mpirun are a table with a reason each.  They are for its runtime
 * (process control), not for communication: the one about transport is there to keep containers
 * quiet.  Arguments of the user come after ours, so that they win. */

#include "coordinator/cluster/launch.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/mem.h"

#define MAX_ARGS 256

extern char **environ;

struct words {
    char *argv[MAX_ARGS + 1];
    size_t n;
    bool full;
};

static void add_bytes(struct words *w, const char *word, size_t n) {
    if (w->n == MAX_ARGS)
        w->full = true;
    else
        w->argv[w->n++] = mem_strndup(word, n);
}

static void add(struct words *w, const char *word) {
    add_bytes(w, word, strlen(word));
}

static void add_setting(struct words *w, const char *name, const char *value) {
    add(w, "--mca");
    add(w, name);
    add(w, value);
}

/* Splits like a shell without expansions: blanks separate, '…' and "…" keep them. */
static err add_command(struct words *w, const char *command) {
    char word[4096];
    const char *p = command;
    for (;;) {
        while (isspace((unsigned char)*p)) p++;
        if (!*p) break;
        size_t n = 0;
        char quote = 0;
        for (; *p && (quote || !isspace((unsigned char)*p)); p++) {
            if (quote ? *p == quote : *p == '\'' || *p == '"')
                quote = quote ? 0 : *p;
            else if (n < sizeof word)
                word[n++] = *p;
        }
        if (quote) return FAIL(ERR_USAGE, "--launcher %.80s: a quote is not closed", command);
        add_bytes(w, word, n);
    }
    return w->n ? ERR_OK : FAIL(ERR_USAGE, "--launcher: the command is empty");
}

static const struct {
    const char *name, *value;
} runtime_settings[] = {
    {"odls_base_sigkill_timeout", "0"}, // when a rank is lost the others go now, not in a second
    {"oob_tcp_keepalive_time", "2"},    // a dead host is seen in seconds, not in minutes
    {"oob_tcp_keepalive_intvl", "1"},   {"oob_tcp_keepalive_probes", "2"},
    {"orte_abort_print_stack", "0"},
};

static void add_mpirun(struct words *w, const struct options *o, const struct launch_facts *f) {
    add(w, "mpirun");
    add(w, "--bind-to"); // its default binds two ranks to one core each
    add(w, "none");
    // Without a hostfile it would refuse more ranks than cores; that is ours to say (a warning).
    if (!o->hostfile) add(w, "--oversubscribe");
    for (size_t i = 0; i < sizeof runtime_settings / sizeof *runtime_settings; i++)
        add_setting(w, runtime_settings[i].name, runtime_settings[i].value);
    if (f->one_host && *f->run_dir) add_setting(w, "orte_tmpdir_base", f->run_dir);
    if (f->no_cma) add_setting(w, "btl_vader_single_copy_mechanism", "none");
    if (o->hostfile) {
        add(w, "--hostfile");
        add(w, o->hostfile);
    }
}

static void add_worker(struct words *w, const struct options *o, const struct launch_facts *f) {
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    add(w, f->worker);
    add(w, "--log-level");
    add(w, levels[o->log_level]);
    if (o->log_all_ranks) add(w, "--log-all-ranks");
}

err launch_build(char ***argv, const struct options *o, const struct launch_facts *f) {
    struct words w = {.n = 0};
    char number[16];
    err e = ERR_OK;
    if (o->launcher)
        TRY_GOTO(e, add_command(&w, o->launcher), fail);
    else
        add_mpirun(&w, o, f);
    for (size_t i = 0; i < o->n_launcher_args; i++) add(&w, o->launcher_args[i]);
    snprintf(number, sizeof number, "%u", f->ranks);
    add(&w, "-n");
    add(&w, number);
    add_worker(&w, o, f);
    if (w.full) {
        e = FAIL(ERR_USAGE, "--launcher: the command has more than %d words", MAX_ARGS);
        goto fail;
    }
    *argv = mem_zalloc_array(w.n + 1, sizeof **argv);
    memcpy(*argv, w.argv, w.n * sizeof **argv);
    return ERR_OK;

fail:
    for (size_t i = 0; i < w.n; i++) mem_free(w.argv[i]);
    return e;
}

void launch_free(char **argv) {
    for (size_t i = 0; argv && argv[i]; i++) mem_free(argv[i]);
    mem_free(argv);
}

bool launch_spans_hosts(const struct options *o) {
    static const char *const allocations[] = {"PBS_NODEFILE", "LSB_HOSTS", "LSB_DJOB_HOSTFILE",
                                              "PE_HOSTFILE", "OMPI_MCA_orte_default_hostfile"};
    static const char *const host_args[] = {
        "-H",         "-host",        "--host",        "-hostfile",
        "--hostfile", "-machinefile", "--machinefile", "--default-hostfile"};
    if (o->hostfile || o->launcher) return true;
    for (size_t i = 0; i < o->n_launcher_args; i++)
        for (size_t k = 0; k < sizeof host_args / sizeof *host_args; k++)
            if (strcmp(o->launcher_args[i], host_args[k]) == 0) return true;
    for (size_t i = 0; i < sizeof allocations / sizeof *allocations; i++)
        if (getenv(allocations[i])) return true;
    const char *nodes = getenv("SLURM_JOB_NUM_NODES");
    return nodes && strtol(nodes, NULL, 10) > 1;
}

bool launch_cma_works(void) {
    char from = 1, to = 0;
    struct iovec local = {&to, 1}, remote = {&from, 1};
    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1 && to == 1;
}

static bool is_task_mark(const char *name) {
    static const char *const kept[] = {"OMPI_MCA_", "PMIX_MCA_", "PRTE_MCA_",
                                       "OMPI_ALLOW_RUN_AS_ROOT"};
    static const char *const marks[] = {"OMPI_",
                                        "PMIX_",
                                        "PMI_",
                                        "PRTE_",
                                        "ORTE_",
                                        "SLURM_PROCID=",
                                        "SLURM_LOCALID=",
                                        "SLURM_NODEID=",
                                        "SLURM_GTIDS=",
                                        "SLURM_TASK_PID=",
                                        "SLURM_STEPID=",
                                        "SLURM_STEP_ID=",
                                        "SLURM_STEP_NODELIST=",
                                        "SLURM_STEP_NUM_"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (strncmp(name, kept[i], strlen(kept[i])) == 0) return false;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (strncmp(name, marks[i], strlen(marks[i])) == 0) return true;
    return false;
}

void launch_clean_environment(void) {
    for (size_t i = 0; environ[i];) {
        char name[256];
        if (!is_task_mark(environ[i])) {
            i++;
            continue;
        }
        snprintf(name, sizeof name, "%.*s", (int)strcspn(environ[i], "="), environ[i]);
        if (unsetenv(name) != 0) i++; // moves the rest down, so i stays
    }
    if (geteuid() == 0) {
        setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
        setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    }
}
