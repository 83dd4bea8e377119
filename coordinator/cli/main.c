// SPDX-License-Identifier: MIT
/* main.c: lockstep, the coordinator's program and the command line of the project.
 *
 * Reads the options, finds out whether mpirun has started it as a rank, runs the command, prints
 * the one sentence that says what went wrong and turns the error into the exit code.  No other file
 * of the coordinator ends the process. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/wire.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/rankstart.h"

static const struct {
    const char *name;
    err (*run)(const struct options *o);
    bool needs_ranks;
} commands[] = {
    {"run", cmd_run, true},     {"serve", cmd_serve, true},      {"eval", cmd_eval, true},
    {"plan", cmd_plan, false},  {"inspect", cmd_inspect, false}, {"tokenize", cmd_tokenize, false},
    {"bench", cmd_bench, true}, {"load", cmd_load, false},
};

/* A standard file that the caller has closed would otherwise be the next socket. */
static void open_standard_files(void) {
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) return;
}

static err run_command(struct options *o, const struct rankstart *r) {
    size_t i = 0;
    while (strcmp(commands[i].name, o->command) != 0) i++;
    if (r->is_rank) {
        TRY(rankstart_check(r, o));
        if (commands[i].needs_ranks)
            TRY(rankstart_become(r, o));
        else if (r->rank > 0)
            return ERR_OK; // such a command prints once
    }
    return commands[i].run(o);
}

static err run(struct options *o, int argc, char **argv, const struct rankstart *r) {
    TRY(options_parse(o, argc, argv));
    log_set_level(o->log_level);
    if (o->help || o->version) {
        if (r->rank > 0) return ERR_OK;
        if (o->help)
            options_print_help(o->command);
        else
            printf("lockstep %s\n", wire_build_id());
        return ERR_OK;
    }
    return run_command(o, r);
}

/* A full disk or a reader that has gone shows only now. */
static err finish_output(void) {
    if (fflush(stdout) != 0 || ferror(stdout))
        return FAIL(ERR_IO, "standard output cannot be written: %s", strerror(errno));
    return ERR_OK;
}

int main(int argc, char **argv) {
    struct options o;
    struct rankstart r = rankstart_detect();
    open_standard_files();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); // a file that may not grow is an error of its write
    err e = run(&o, argc, argv, &r);
    if (e == ERR_OK) e = finish_output();
    if (e != ERR_OK && r.rank == 0) {
        fprintf(stderr, "lockstep: %s: %s\n", error_text(e), error_message());
        log_debug("this began at %s", error_origin());
    }
    options_deinit(&o);
    return error_exit_code(e);
}
