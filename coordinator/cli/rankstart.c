// SPDX-License-Identifier: MIT
/* rankstart.c: see rankstart.h.
 *
 * The rank keeps the pid that mpirun knows, so it is the rank that execs and the coordinator that
 * is the new process; that one leads a session of its own, or mpirun's signals to the rank's
 * process group would end it before it can tell its clients. */

#include "coordinator/cli/rankstart.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/plan.h"
#include "coordinator/cli/install.h"
#include "coordinator/cluster/launch.h"

/* False when it is not set or no number. */
static bool read_number(const char *name, uint32_t *out) {
    const char *text = getenv(name);
    char *end;
    if (!text || *text < '0' || *text > '9') return false;
    unsigned long v = strtoul(text, &end, 10);
    if (*end || v > PLAN_MAX_RANKS) return false;
    *out = (uint32_t)v;
    return true;
}

struct rankstart rankstart_detect(void) {
    struct rankstart r = {.is_rank = false};
    uint32_t local_size, nodes;
    if (read_number("OMPI_COMM_WORLD_RANK", &r.rank)) {
        r.is_rank = true;
        if (!read_number("OMPI_COMM_WORLD_SIZE", &r.size)) r.size = 0;
        r.spans_hosts =
            !read_number("OMPI_COMM_WORLD_LOCAL_SIZE", &local_size) || local_size != r.size;
    } else if (getenv("PMIX_NAMESPACE") && read_number("PMIX_RANK", &r.rank)) {
        r.is_rank = true;
        if (!read_number("SLURM_STEP_NUM_TASKS", &r.size)) r.size = 0;
        r.spans_hosts = !read_number("SLURM_STEP_NUM_NODES", &nodes) || nodes != 1;
    }
    return r;
}

err rankstart_check(const struct rankstart *r, struct options *o) {
    if (r->size && o->ranks_given && o->ranks != r->size)
        return FAIL(ERR_USAGE,
                    "-n %u was given, but mpirun started %u ranks: leave -n out or make "
                    "them equal",
                    o->ranks, r->size);
    if (o->bench_ranks.n > 1 || o->bench_threads.n > 1)
        return FAIL(ERR_USAGE,
                    "mpirun started %u ranks, once: several -n or -t need clusters that "
                    "lockstep starts itself, without mpirun",
                    r->size);
    if (o->wait_for_ranks)
        return FAIL(ERR_USAGE, "--wait is for a coordinator outside mpirun; here the ranks are "
                               "started already");
    if (r->size || !o->ranks_given) o->ranks = r->size;
    o->spans_hosts = r->spans_hosts;
    if (r->rank == 0 && (o->hostfile || o->launcher || o->n_launcher_args))
        log_warn("mpirun has started the ranks: hostfile, launcher and launcher-arg mean nothing");
    return ERR_OK;
}

/* Only returns on failure. */
static err exec_worker(const struct options *o, int bootstrap_fd, pid_t coordinator) {
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    char fd_text[16], pid_text[16];
    const char *argv[10] = {install_worker(), "--log-level", levels[o->log_level]};
    size_t n = 3;
    if (o->log_all_ranks) argv[n++] = "--log-all-ranks";
    if (coordinator) {
        snprintf(fd_text, sizeof fd_text, "%d", bootstrap_fd);
        snprintf(pid_text, sizeof pid_text, "%d", (int)coordinator);
        argv[n++] = "--bootstrap-fd";
        argv[n++] = fd_text;
        argv[n++] = "--coordinator-pid";
        argv[n++] = pid_text;
    }
    execv(argv[0], (char *const *)argv);
    return FAIL(ERR_LAUNCH, "%s: %s; it belongs beside lockstep", argv[0], strerror(errno));
}

/* Returns when the coordinator has something for rank 0, so has found no fault in the options and
 * the model file.  When it ends before that, this process ends with the same code, which mpirun
 * then takes for its own; a worker would only add that it was told nothing. */
static void await_coordinator(int fd, pid_t child) {
    char c;
    ssize_t n;
    do n = recv(fd, &c, 1, MSG_PEEK);
    while (n < 0 && errno == EINTR);
    int status;
    if (n <= 0 && waitpid(child, &status, 0) == child)
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : error_exit_code(ERR_LAUNCH));
}

err rankstart_become(const struct rankstart *r, struct options *o) {
    int pair[2];
    if (r->rank > 0) return exec_worker(o, -1, 0);
    // The rank's end is handed through exec; the coordinator's is its own.
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return FAIL(ERR_LAUNCH, "socketpair: %s", strerror(errno));
    pid_t child = fork();
    if (child < 0) return FAIL(ERR_LAUNCH, "fork: %s", strerror(errno));
    if (child > 0) {
        close(pair[0]);
        await_coordinator(pair[1], child);
        return exec_worker(o, pair[1], child);
    }
    close(pair[1]);
    fcntl(pair[0], F_SETFD, FD_CLOEXEC);
    setsid();
    signal(SIGUSR1, SIG_IGN); // "finish what runs", passed on by rank 0; for `serve` to handle
    launch_clean_environment();
    o->bootstrap_fd = pair[0];
    return ERR_OK;
}
