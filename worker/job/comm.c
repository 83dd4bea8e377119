// SPDX-License-Identifier: MIT
/* comm.c: the ranks of the job, who shares a host with whom, and how to wait.
 *
 * Main thread of every rank.  MPI's own blocking calls spin for ever, which is poison when there
 * are more ranks than CPUs: the rank that everybody waits for cannot run.  So every call is a
 * nonblocking one followed by comm__wait, which spins, yields and then sleeps 10 µs, 20 µs … 200
 * µs. Ranks of one host also share a window, where no call at all is needed to meet (window.h).
 *
 * MPI errors keep their default handler, which ends the job: a lost rank is not something that can
 * be handled in here, the lifelines see it. */

#include "worker/job/comm.h"

#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "worker/job/comm_internal.h"

#define YIELD_NS       1000000u // MPI wakes nobody: who sleeps is late
#define SLEEP_MIN_NS   10000
#define SLEEP_MAX_NS   200000
#define TIMER_SLACK_NS 1000ul // a sleep of 10 µs must not become one of 60

#ifdef LOCKSTEP_SANITIZED
/* Asked by AddressSanitizer in every program that talks MPI: Open MPI leaves hundreds of blocks to
 * the end of the process, so looking for leaks here would only find its own. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "detect_leaks=0";
}
#endif

/* ---- waiting ---- */

static void sleep_ns(long ns) {
    struct timespec t = {.tv_nsec = ns};
    nanosleep(&t, NULL);
}

void comm__wait(struct comm *c, MPI_Request *requests, int n) {
    int done = 0;
    MPI_Testall(n, requests, &done, MPI_STATUSES_IGNORE);
    if (done) return;
    struct waiting w;
    struct waiting_limits limits = {.spin_ns = c->limits.spin_ns, .yield_ns = YIELD_NS};
    long pause_ns = SLEEP_MIN_NS;
    waiting_begin(&w, &limits);
    while (!done) {
        if (!waiting_turn(&w)) {
            sleep_ns(pause_ns);
            pause_ns = pause_ns * 2 < SLEEP_MAX_NS ? pause_ns * 2 : SLEEP_MAX_NS;
        }
        MPI_Testall(n, requests, &done, MPI_STATUSES_IGNORE);
    }
}

void comm_set_spinning(struct comm *c, bool enough_cpus) {
    c->limits = waiting_limits_for(enough_cpus);
}

/* ---- the library ---- */

/* Open MPI closes the components it did not choose, so those still loaded are the ones in use. */
static int find_transports(struct dl_phdr_info *info, size_t info_bytes, void *ctx) {
    (void)info_bytes;
    struct comm *c = ctx;
    static const char *const prefixes[] = {"mca_pml_", "mca_mtl_", "mca_btl_"};
    const char *file = strrchr(info->dlpi_name, '/');
    file = file ? file + 1 : info->dlpi_name;
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t skip = strlen(prefixes[i]);
        const char *end = strstr(file, ".so");
        if (strncmp(file, prefixes[i], skip) != 0 || !end) continue;
        size_t used = strlen(c->transport);
        snprintf(c->transport + used, sizeof c->transport - used, "%s%.*s", used ? ", " : "",
                 (int)(end - file) - (int)skip, file + skip);
    }
    return 0;
}

static void describe_library(struct comm *c) {
    char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    MPI_Get_library_version(text, &length);
    snprintf(c->library, sizeof c->library, "%.*s", (int)strcspn(text, ",\n"), text);
    dl_iterate_phdr(find_transports, c);
    size_t used = strlen(c->transport);
    if (c->window && c->local_size > 1)
        snprintf(c->transport + used, sizeof c->transport - used, "%swindow", used ? ", " : "");
    if (!c->transport[0]) snprintf(c->transport, sizeof c->transport, "not known");
}

/* ---- the hosts ---- */

static void wait_one(struct comm *c, MPI_Request request) {
    comm__wait(c, &request, 1);
}

/* What the first rank of a host tells the others about its window. */
struct offer {
    int made;
    struct window_name name;
};

/* The window of this host's ranks; some may fail.  Collective on local. */
static void make_window(struct comm *c, MPI_Comm local) {
    size_t bytes = 2 * (COMM_MESSAGE_BYTES + COMM_SUM_BYTES);
    uint32_t me = (uint32_t)c->local_rank, n = (uint32_t)c->local_size;
    struct offer offer = {.made = 0};
    err e = ERR_OK;
    if (me == 0) {
        e = window_make(&c->window, n, bytes, &offer.name);
        offer.made = e == ERR_OK;
    }
    MPI_Request request;
    MPI_Ibcast(&offer, (int)sizeof offer, MPI_BYTE, 0, local, &request);
    wait_one(c, request);
    if (me > 0 && offer.made) e = window_join(&c->window, me, n, bytes, &offer.name);
    if (e != ERR_OK)
        log_warn("the ranks of this host share no memory and talk through MPI, which is slower: %s",
                 error_message());
}

/* Who shares a host with whom, what the hosts are called, and where memory is shared. */
static void meet_neighbours(struct comm *c) {
    MPI_Comm local;
    MPI_Comm_split_type(c->world, MPI_COMM_TYPE_SHARED, c->rank, MPI_INFO_NULL, &local);
    MPI_Comm_rank(local, &c->local_rank);
    MPI_Comm_size(local, &c->local_size);
    int leader = c->rank;
    MPI_Request request;
    MPI_Ibcast(&leader, 1, MPI_INT, 0, local, &request);
    wait_one(c, request);
    if (c->size > 1) make_window(c, local);
    MPI_Comm_free(&local);
    MPI_Comm_split(c->world, c->local_rank == 0 ? 0 : MPI_UNDEFINED, c->rank, &c->hosts_world);

    char mine[COMM_HOST_BYTES] = "";
    if (gethostname(mine, sizeof mine - 1) != 0) snprintf(mine, sizeof mine, "unknown");
    c->hosts = mem_zalloc_array((size_t)c->size, sizeof *c->hosts);
    c->leaders = mem_zalloc_array((size_t)c->size, sizeof *c->leaders);
    c->locals = mem_zalloc_array((size_t)c->local_size, sizeof *c->locals);
    c->codes = mem_zalloc_array((size_t)c->size, sizeof *c->codes);
    comm_allgather(c, mine, c->hosts, sizeof mine);
    comm_allgather(c, &leader, c->leaders, sizeof leader);
    for (int r = 0, n = 0; r < c->size; r++)
        if (c->leaders[r] == leader) c->locals[n++] = r;

    int32_t has_window = c->window != NULL;
    comm_allgather(c, &has_window, c->codes, sizeof has_window);
    for (int r = 0; r < c->size; r++) {
        if (c->codes[r]) continue;
        window_close(c->window); // one that is not there everywhere is of no use
        c->window = NULL;
    }
}

/* ---- beginning and end ---- */

/* Within one host shared memory is the way, and asking the machine for fabrics takes a fifth of a
 * second.  What the user has chosen stays. */
static void skip_fabrics(void) {
    const char *here = getenv("OMPI_COMM_WORLD_LOCAL_SIZE"), *all = getenv("OMPI_COMM_WORLD_SIZE");
    if (here && all && strcmp(here, all) == 0) (void)setenv("OMPI_MCA_pml", "ob1", 0);
}

err comm_init(struct comm **out, int *argc, char ***argv) {
    int provided = MPI_THREAD_SINGLE;
    skip_fabrics();
    MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided);
    if (provided < MPI_THREAD_FUNNELED) {
        MPI_Finalize();
        return FAIL(ERR_LAUNCH, "this MPI library does not support threads beside MPI "
                                "(MPI_THREAD_FUNNELED); use one that does");
    }
    (void)prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0ul, 0ul, 0ul);
    struct comm *c = mem_zalloc(sizeof *c);
    c->world = MPI_COMM_WORLD;
    c->hosts_world = MPI_COMM_NULL;
    c->head = mem_zalloc(COMM_HEAD_BYTES);
    comm_set_spinning(c, false); // until it is known how many CPUs there are
    MPI_Comm_rank(c->world, &c->rank);
    MPI_Comm_size(c->world, &c->size);
    meet_neighbours(c);
    describe_library(c);
    *out = c;
    return ERR_OK;
}

void comm_finalize(struct comm *c) {
    if (!c) return;
    window_close(c->window);
    MPI_Finalize();
    mem_free(c->hosts);
    mem_free(c->leaders);
    mem_free(c->locals);
    mem_free(c->head);
    mem_free(c->codes);
    mem_free(c->requests);
    mem_free(c);
}

/* ---- what is known ---- */

int comm_rank(const struct comm *c) {
    return c->rank;
}

int comm_size(const struct comm *c) {
    return c->size;
}

int comm_local_rank(const struct comm *c) {
    return c->local_rank;
}

int comm_local_size(const struct comm *c) {
    return c->local_size;
}

const char *comm_host(const struct comm *c, int rank) {
    return c->hosts[rank];
}

int comm_host_leader(const struct comm *c, int rank) {
    return c->leaders[rank];
}

uint64_t comm_wait_ns(const struct comm *c) {
    return c->wait_ns;
}

uint64_t comm_wire_ns(const struct comm *c) {
    return c->wire_ns;
}

const char *comm_library(const struct comm *c) {
    return c->library;
}

const char *comm_transport(const struct comm *c) {
    return c->transport;
}

float *comm__sum_slot(const struct comm *c, int local_rank, uint64_t sum) {
    uint8_t *memory = window_memory(c->window, (uint32_t)local_rank);
    return (float *)(void *)(memory + 2 * COMM_MESSAGE_BYTES + (sum & 1) * COMM_SUM_BYTES);
}
