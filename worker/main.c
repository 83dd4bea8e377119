// SPDX-License-Identifier: MIT
/* main.c: lockstep-worker, one rank of the cluster.
 *
 * Started by mpirun (or srun), once per rank.  Reads from top to bottom as a rank lives: settings
 * that must stand before the libraries look, MPI, the coordinator's address, hello, the loop of
 * control.c, the end.  The exit code is that of the error that ended the job, the same on all
 * ranks; rank 0 of an mpirun that the user typed hands on the exit code of its child, the
 * coordinator. */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/log.h"
#include "worker/job/bootstrap.h"
#include "worker/job/control.h"
#include "worker/job/hostinfo.h"
#include "worker/job/loading.h"

#define BOOTSTRAP_MS  30000
#define CONNECT_MS    10000
#define HELLO_MS      10000
#define FINISH_MS     500                // for the coordinator to read our last words
#define FINALIZE_S    5                  // then SIGALRM ends a rank whose neighbours are gone
#define MESSAGE_BYTES ((size_t)64 << 20) // largest message unpacked; touched only as far as used
#define CPUS_BYTES    512

struct arguments {
    const char *coordinator, *secret_file;
    int bootstrap_fd;
    pid_t coordinator_pid; // child of this process, 0: none
    enum log_level log_level;
    bool log_all_ranks;
};

/* ---- arguments ---- */

static const char help[] =
    "lockstep-worker: one rank of a Lockstep cluster; 'lockstep serve -n N' starts it by itself.\n"
    "\n"
    "  mpirun -n N lockstep-worker --coordinator HOST:PORT [--secret-file FILE]\n"
    "                         joins 'lockstep serve --wait -n N'\n"
    "\n"
    "  --coordinator HOST:PORT  the waiting coordinator (otherwise rank 0 reads a start line)\n"
    "  --secret-file FILE       its secret (or the environment variable LOCKSTEP_SECRET)\n"
    "  --log-level LEVEL        error, warn, info or debug (info)\n"
    "  --log-all-ranks          messages of every rank, not of rank 0 only\n"
    "  --bootstrap-fd FD        rank 0 reads the start line there (standard input)\n"
    "  --coordinator-pid PID    the coordinator is this child of rank 0\n"
    "  --help, --version\n";

static err parse_number(const char *option, const char *text, int *out) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < 0 || value > INT32_MAX)
        return FAIL(ERR_USAGE, "%s wants a number, not '%.40s'", option, text);
    *out = (int)value;
    return ERR_OK;
}

/* *done when the answer was printed and there is nothing more to do. */
static err parse_arguments(struct arguments *a, int argc, char **argv, bool *done) {
    enum { COORDINATOR = 1, SECRET_FILE, BOOTSTRAP_FD, COORDINATOR_PID, LEVEL, ALL, HELP, VERSION };
    static const struct option options[] = {
        {"coordinator", required_argument, NULL, COORDINATOR},
        {"secret-file", required_argument, NULL, SECRET_FILE},
        {"bootstrap-fd", required_argument, NULL, BOOTSTRAP_FD},
        {"coordinator-pid", required_argument, NULL, COORDINATOR_PID},
        {"log-level", required_argument, NULL, LEVEL},
        {"log-all-ranks", no_argument, NULL, ALL},
        {"help", no_argument, NULL, HELP},
        {"version", no_argument, NULL, VERSION},
        {NULL, 0, NULL, 0}};
    *a = (struct arguments){.bootstrap_fd = STDIN_FILENO, .log_level = LOG_INFO};
    opterr = 0;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case COORDINATOR: a->coordinator = optarg; break;
        case SECRET_FILE: a->secret_file = optarg; break;
        case BOOTSTRAP_FD: TRY(parse_number("--bootstrap-fd", optarg, &a->bootstrap_fd)); break;
        case COORDINATOR_PID:
            TRY(parse_number("--coordinator-pid", optarg, &a->coordinator_pid));
            break;
        case LEVEL: TRY(log_parse_level(optarg, &a->log_level)); break;
        case ALL: a->log_all_ranks = true; break;
        case HELP:
            fputs(help, stdout);
            *done = true;
            return ERR_OK;
        case VERSION:
            printf("lockstep-worker %s\n", wire_build_id());
            *done = true;
            return ERR_OK;
        default: return FAIL(ERR_USAGE, "'%s' is not understood; see --help", argv[optind - 1]);
        }
    }
    if (optind < argc) return FAIL(ERR_USAGE, "'%s' is one argument too many", argv[optind]);
    return ERR_OK;
}

/* ---- signals ---- */

static volatile sig_atomic_t coordinator_to_drain;

/* mpirun ends its ranks with SIGTERM, and so does the kernel when mpirun is killed.  What MPI left
 * in /dev/shm goes with us, also on hosts that the coordinator cannot clean. */
static void on_end(int signal_number) {
    hostinfo_unlink_shm_files();
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* mpirun hands SIGUSR1 to every rank: the user wants the coordinator to finish what runs. */
static void on_drain(int signal_number) {
    int saved = errno;
    if (coordinator_to_drain > 0) kill((pid_t)coordinator_to_drain, signal_number);
    errno = saved;
}

static void handle_signal(int signal_number, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(signal_number, &action, NULL);
}

/* Returns false when the process that started us is gone already. */
static bool settle_signals(const struct arguments *a) {
    coordinator_to_drain = a->coordinator_pid;
    handle_signal(SIGTERM, on_end);
    handle_signal(SIGINT, on_end);
    handle_signal(SIGUSR1, on_drain);
    handle_signal(SIGUSR2, SIG_IGN);
    handle_signal(SIGPIPE, SIG_IGN);
    pid_t parent = getppid();
    (void)prctl(PR_SET_PDEATHSIG, (unsigned long)SIGTERM, 0ul, 0ul, 0ul);
    (void)prctl(PR_SET_NAME, "lockstep-worker", 0ul, 0ul, 0ul); // it was started again as "exe"
    return getppid() == parent;
}

/* ---- hello ---- */

/* Where the coordinator is, read by rank 0 and told to all.  Collective. */
static err find_coordinator(struct job *job, const struct arguments *a, struct bootstrap *b) {
    err e = ERR_OK;
    if (comm_rank(job->comm) == 0) {
        e = a->coordinator ? bootstrap_join(b, a->coordinator, a->secret_file)
                           : bootstrap_read(b, a->bootstrap_fd, BOOTSTRAP_MS);
    }
    TRY(comm_agree(job->comm, e, NULL));
    comm_bcast(job->comm, b, sizeof *b, 0);
    job->epoch = b->epoch;
    return ERR_OK;
}

/* The strings that a hello points to. */
struct self {
    char cpus[CPUS_BYTES];
    char shm_paths[HOSTINFO_SHM_MAX][HOSTINFO_SHM_PATH_MAX];
    const char *shm_files[HOSTINFO_SHM_MAX];
    const char *warnings[THREADS_MAX_WARNINGS];
};

static struct wire_hello describe_self(struct job *job, const struct bootstrap *b,
                                       struct self *self) {
    struct hostinfo_memory memory = hostinfo_memory("");
    size_t n_shm = hostinfo_shm_files(self->shm_paths, HOSTINFO_SHM_MAX);
    for (size_t i = 0; i < n_shm; i++) self->shm_files[i] = self->shm_paths[i];
    for (uint32_t i = 0; i < job->team.n_warnings; i++) self->warnings[i] = job->team.warnings[i];
    threads_describe(&job->team, self->cpus, sizeof self->cpus);
    int rank = comm_rank(job->comm);
    return (struct wire_hello){.protocol = WIRE_PROTOCOL_VERSION,
                               .build_id = wire_build_id(),
                               .secret = b->secret,
                               .epoch = b->epoch,
                               .rank = (uint32_t)rank,
                               .size = (uint32_t)comm_size(job->comm),
                               .host = comm_host(job->comm, rank),
                               .pid = getpid(),
                               .isa = job->kernels->isa,
                               .mpi = comm_library(job->comm),
                               .transport = comm_transport(job->comm),
                               .threads = job->team.threads,
                               .cpus = self->cpus,
                               .local_rank = (uint32_t)comm_local_rank(job->comm),
                               .local_size = (uint32_t)comm_local_size(job->comm),
                               .memory_available_bytes = hostinfo_memory_available(&memory),
                               .n_shm_files = (uint32_t)n_shm,
                               .shm_files = self->shm_files,
                               .n_warnings = job->team.n_warnings,
                               .warnings = self->warnings};
}

/* Rank 0's second connection, which carries the work. */
static err open_link(struct job *job, struct uplink *link, const struct bootstrap *b,
                     const struct wire_hello *hello) {
    struct wire_hello second = *hello;
    second.is_link = true;
    job->link = link;
    TRY(uplink_connect(link, b, CONNECT_MS));
    return uplink_hello(link, &second, &job->scratch, HELLO_MS);
}

/* Every rank introduces itself.  Collective. */
static err introduce(struct job *job, const struct arguments *a, struct uplink *link) {
    struct bootstrap b;
    struct self self;
    TRY(find_coordinator(job, a, &b));
    TRY(comm_agree(job->comm, kernels_select(&job->kernels), NULL));
    threads_host_init(&job->host, job->comm);
    threads_decide(&job->team, &job->host, 0);
    comm_set_spinning(job->comm, !job->team.crowded);

    struct wire_hello hello = describe_self(job, &b, &self);
    // Rank 0 goes first: what is wrong with the whole job is said once and known to all at once,
    // while nobody waits for a coordinator that has ended because of it.
    bool is_rank0 = comm_rank(job->comm) == 0;
    err e = ERR_OK;
    if (is_rank0) e = lifeline_open(&job->lifeline, &b, &hello, a->coordinator_pid);
    TRY(comm_agree(job->comm, e, NULL));
    if (!is_rank0) e = lifeline_open(&job->lifeline, &b, &hello, a->coordinator_pid);
    TRY(comm_agree(job->comm, e, NULL));
    if (is_rank0) e = open_link(job, link, &b, &hello);
    return comm_agree(job->comm, e, NULL);
}

/* ---- the end ---- */

/* Rank 0 tells the coordinator, which tells the user.  When there is no coordinator to tell, or it
 * has another terminal, the user hears it from here. */
static void report(const struct job *job, const struct arguments *a, err e) {
    if (comm_rank(job->comm) != 0) return;
    bool told = job->lifeline && lifeline_report_error(job->lifeline, e, 0, error_message());
    if (!told || a->coordinator) log_error("%s: %s", error_text(e), error_message());
    log_debug("this began at %s", error_origin());
}

/* Ends the job in good order, on all ranks together, and returns the exit code.  Collective. */
static int finish(struct job *job, const struct arguments *a, err e) {
    if (e != ERR_OK) report(job, a, e);
    lifeline_stop(job->lifeline);
    loading_release(job);
    threads_host_deinit(&job->host);
    arena_deinit(&job->arena);
    arena_deinit(&job->scratch);
    bool is_rank0 = comm_rank(job->comm) == 0;
    alarm(FINALIZE_S);
    comm_finalize(job->comm);
    alarm(0);
    if (job->link) uplink_finish(job->link, FINISH_MS);
    lifeline_close(job->lifeline);
    int code = error_exit_code(e);
    return is_rank0 && a->coordinator_pid ? lifeline_child_exit_code(a->coordinator_pid, -1, code)
                                          : code;
}

static int run_rank(const struct arguments *a, int *argc, char ***argv) {
    struct job job = {.comm = NULL};
    struct uplink link = {.fd = -1};
    err e = comm_init(&job.comm, argc, argv);
    if (e != ERR_OK) {
        log_error("%s: %s", error_text(e), error_message());
        return error_exit_code(e);
    }
    int rank = comm_rank(job.comm);
    char identity[96];
    snprintf(identity, sizeof identity, "rank %d@%s", rank, comm_host(job.comm, rank));
    log_set_identity(identity);
    if (rank != 0 && !a->log_all_ranks && a->log_level > LOG_WARN) log_set_level(LOG_WARN);
    arena_init(&job.arena, MESSAGE_BYTES);
    arena_init(&job.scratch, MESSAGE_BYTES);

    e = introduce(&job, a, &link);
    if (e == ERR_OK) e = control_run(&job);
    return finish(&job, a, e);
}

static err check_launched(void) {
    static const char *const marks[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (getenv(marks[i])) return ERR_OK;
    }
    return FAIL(ERR_USAGE,
                "lockstep-worker is a rank of an MPI job: start 'lockstep serve -n N', or "
                "this program by mpirun; see --help");
}

int main(int argc, char **argv) {
    struct arguments a;
    bool done = false;
    err e = parse_arguments(&a, argc, argv, &done);
    if (e == ERR_OK && done) return 0;
    if (e == ERR_OK) e = check_launched();
    if (e == ERR_OK) e = threads_settle_environment(argv);
    if (e != ERR_OK) {
        log_error("%s: %s", error_text(e), error_message());
        return error_exit_code(e);
    }
    log_set_level(a.log_level);
    if (!settle_signals(&a)) return error_exit_code(ERR_RANK_LOST);
    return run_rank(&a, &argc, &argv);
}
