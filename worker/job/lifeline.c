// SPDX-License-Identifier: MIT
/* lifeline.c: see lifeline.h.
 *
 * One small thread per rank with all signals blocked.  It never touches MPI or the model, so it
 * answers however busy or stuck the main thread is, and it is the only place that ends the process
 * by force: a rank that waits inside MPI for a lost neighbour cannot end itself. */

#include "worker/job/lifeline.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "worker/job/hostinfo.h"
#include "worker/job/uplink.h"

#define CONNECT_MS      10000
#define HELLO_MS        10000
#define HEARTBEAT_NS    UINT64_C(500000000)
#define COORDINATOR_MS  1000 // a coordinator that closed its end is about to exit
#define MPIRUN_FIRST_MS 300  // it ends us when a rank has died, and says by which signal
#define SCRATCH_BYTES   ((size_t)64 << 10)
#define MESSAGE_BYTES   1024
#define STACK_BYTES     ((size_t)256 << 10)

struct lifeline {
    pthread_t thread;
    int event_fd; // written once: the thread shall end
    pid_t coordinator_pid;
    uint32_t rank;
    struct uplink uplink; // receiving: the thread only; sending: under `sending`
    pthread_mutex_t sending;
    struct arena send_scratch; // under `sending`
    struct arena scratch;      // of the thread
    pthread_mutex_t waking;
    pthread_cond_t woken;
    uint64_t wake; // highest number announced; under `waking`
    atomic_bool ending, in_step;
    atomic_uint_fast64_t added_progress;
    pthread_mutex_t asking; // the thread asks for progress and totals
    lifeline_progress *progress;
    const void *progress_ctx;
    struct wire_totals totals;
};

/* ---- ending by force ---- */

static void sleep_ms(int ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

int lifeline_child_exit_code(pid_t pid, int limit_ms, int otherwise) {
    uint64_t deadline_ns = clock_ns() + (uint64_t)(limit_ms > 0 ? limit_ms : 0) * 1000000u;
    for (;;) {
        int status = 0;
        pid_t ended = waitpid(pid, &status, limit_ms < 0 ? 0 : WNOHANG);
        if (ended == pid) return WIFEXITED(status) ? WEXITSTATUS(status) : otherwise;
        if (ended < 0 && errno != EINTR) return otherwise;
        if (limit_ms >= 0 && clock_ns() >= deadline_ns) return otherwise;
        if (ended == 0) sleep_ms(5);
    }
}

static _Noreturn void end_with(int exit_code) {
    hostinfo_unlink_shm_files();
    _exit(exit_code);
}

void lifeline_end_process(struct lifeline *l, const char *why) {
    static pthread_mutex_t first = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&first); // two threads may notice; one of them ends the process
    int code = error_exit_code(ERR_RANK_LOST);
    if (l->coordinator_pid > 0) {
        int own = lifeline_child_exit_code(l->coordinator_pid, COORDINATOR_MS, code);
        if (own != 0) end_with(own);
    }
    log_warn("ending: %s", why);
    end_with(code);
}

/* ---- the thread ---- */

/* ERR_RANK_LOST when it cannot be sent. */
static err send_message(struct lifeline *l, const struct wire_message *m) {
    pthread_mutex_lock(&l->sending);
    err e = uplink_send(&l->uplink, m, &l->send_scratch);
    pthread_mutex_unlock(&l->sending);
    return e;
}

static uint64_t timeval_ns(struct timeval t) {
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_usec * 1000u;
}

static err send_heartbeat(struct lifeline *l, bool last) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    pthread_mutex_lock(&l->asking);
    uint64_t progress = l->progress ? l->progress(l->progress_ctx) : 0;
    struct wire_totals totals = l->totals;
    pthread_mutex_unlock(&l->asking);
    struct wire_message m = {
        .kind = WIRE_HEARTBEAT,
        .heartbeat = {.progress = progress + atomic_load(&l->added_progress),
                      .in_step = atomic_load(&l->in_step),
                      .peak_rss_bytes = (uint64_t)usage.ru_maxrss * 1024,
                      .cpu_ns = timeval_ns(usage.ru_utime) + timeval_ns(usage.ru_stime),
                      .last = last,
                      .totals = totals}};
    return send_message(l, &m);
}

static err handle_message(struct lifeline *l, const uint8_t *payload, size_t n) {
    struct wire_message m;
    arena_reset(&l->scratch);
    TRY(wire_decode(&m, payload, n, &l->scratch));
    if (m.kind == WIRE_ERROR && m.error.code != ERR_OK) {
        bool heard = l->rank != 0 || l->coordinator_pid > 0; // by the user, from somebody else
        log_write(heard ? LOG_DEBUG : LOG_ERROR, "%s: %s", error_text(m.error.code),
                  m.error.message);
        if (m.error.code == ERR_RANK_LOST) sleep_ms(MPIRUN_FIRST_MS);
        end_with(error_exit_code(m.error.code));
    }
    if (m.kind != WIRE_WAKE)
        return FAIL(ERR_PROTOCOL, "the coordinator sent %s to a lifeline", wire_kind_name(m.kind));
    pthread_mutex_lock(&l->waking);
    if (m.step > l->wake) l->wake = m.step;
    pthread_cond_signal(&l->woken);
    pthread_mutex_unlock(&l->waking);
    return ERR_OK;
}

static err handle_input(struct lifeline *l) {
    for (;;) {
        const uint8_t *payload;
        size_t n;
        TRY(uplink_receive(&l->uplink, 0, &payload, &n));
        if (!payload) return ERR_OK;
        TRY(handle_message(l, payload, n));
    }
}

/* Waits for input or for the next heartbeat, and deals with the former. */
static err wait_input(struct lifeline *l, uint64_t until_ns) {
    struct pollfd p[2] = {{.fd = l->uplink.fd, .events = POLLIN},
                          {.fd = l->event_fd, .events = POLLIN}};
    uint64_t now = clock_ns();
    int wait_ms = until_ns > now ? (int)((until_ns - now) / 1000000u) + 1 : 0;
    return poll(p, 2, wait_ms) > 0 && p[0].revents ? handle_input(l) : ERR_OK;
}

static void *serve(void *ctx) {
    struct lifeline *l = ctx;
    uint64_t next_ns = clock_ns();
    err e = handle_input(l); // what arrived together with the welcome
    while (e == ERR_OK && !atomic_load(&l->ending)) {
        if (clock_ns() >= next_ns) {
            e = send_heartbeat(l, false);
            next_ns = clock_ns() + HEARTBEAT_NS;
        }
        if (e == ERR_OK) e = wait_input(l, next_ns);
    }
    if (atomic_load(&l->ending)) return NULL;
    /* A heartbeat that could not be sent: the coordinator's last words may be here. */
    char why[MESSAGE_BYTES];
    uplink_clean_text(why, sizeof why, error_message());
    if (e == ERR_RANK_LOST && handle_input(l) == ERR_OK) log_debug("it said nothing more");
    lifeline_end_process(l, why);
}

static err start_thread(struct lifeline *l) {
    sigset_t all, before;
    pthread_attr_t attributes;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int fault = pthread_create(&l->thread, &attributes, serve, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (fault) return FAIL(ERR_LAUNCH, "no thread for the lifeline: %s", strerror(fault));
    return ERR_OK;
}

/* ---- the main thread's side ---- */

static void release(struct lifeline *l) {
    uplink_close(&l->uplink);
    if (l->event_fd >= 0) close(l->event_fd);
    arena_deinit(&l->send_scratch);
    arena_deinit(&l->scratch);
    pthread_mutex_destroy(&l->sending);
    pthread_mutex_destroy(&l->waking);
    pthread_mutex_destroy(&l->asking);
    pthread_cond_destroy(&l->woken);
    mem_free(l);
}

err lifeline_open(struct lifeline **out, const struct bootstrap *b, const struct wire_hello *hello,
                  pid_t coordinator_pid) {
    err e = ERR_OK;
    struct lifeline *l = mem_zalloc(sizeof *l);
    l->uplink.fd = -1;
    l->coordinator_pid = coordinator_pid;
    l->rank = hello->rank;
    l->event_fd = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_init(&l->sending, NULL);
    pthread_mutex_init(&l->waking, NULL);
    pthread_mutex_init(&l->asking, NULL);
    pthread_cond_init(&l->woken, NULL);
    arena_init(&l->send_scratch, SCRATCH_BYTES);
    arena_init(&l->scratch, SCRATCH_BYTES);
    if (l->event_fd < 0) {
        e = FAIL(ERR_LAUNCH, "no event descriptor: %s", strerror(errno));
        goto fail;
    }
    TRY_GOTO(e, uplink_connect(&l->uplink, b, CONNECT_MS), fail);
    TRY_GOTO(e, uplink_hello(&l->uplink, hello, &l->scratch, HELLO_MS), fail);
    TRY_GOTO(e, start_thread(l), fail);
    *out = l;
    return ERR_OK;

fail:
    release(l);
    return e;
}

void lifeline_wait_wake(struct lifeline *l, uint64_t seen) {
    pthread_mutex_lock(&l->waking);
    while (l->wake <= seen) pthread_cond_wait(&l->woken, &l->waking);
    pthread_mutex_unlock(&l->waking);
}

void lifeline_set_progress(struct lifeline *l, lifeline_progress *progress, const void *ctx) {
    pthread_mutex_lock(&l->asking);
    l->progress = progress;
    l->progress_ctx = ctx;
    pthread_mutex_unlock(&l->asking);
}

void lifeline_add_progress(struct lifeline *l, uint64_t n) {
    atomic_fetch_add(&l->added_progress, n);
}

void lifeline_set_in_step(struct lifeline *l, bool in_step) {
    atomic_store(&l->in_step, in_step);
}

void lifeline_set_totals(struct lifeline *l, const struct wire_totals *totals) {
    pthread_mutex_lock(&l->asking);
    l->totals = *totals;
    pthread_mutex_unlock(&l->asking);
}

bool lifeline_report_error(struct lifeline *l, err code, uint32_t rank, const char *message) {
    char text[MESSAGE_BYTES];
    uplink_clean_text(text, sizeof text, message);
    struct wire_message m = {.kind = WIRE_ERROR,
                             .error = {.code = code, .rank = rank, .message = text}};
    return send_message(l, &m) == ERR_OK;
}

void lifeline_stop(struct lifeline *l) {
    if (!l) return;
    atomic_store(&l->ending, true);
    uint64_t one = 1;
    if (write(l->event_fd, &one, sizeof one) != (ssize_t)sizeof one)
        log_debug("the lifeline's thread ends with its next heartbeat");
    pthread_join(l->thread, NULL);
    if (send_heartbeat(l, true) != ERR_OK) log_debug("no last heartbeat: %s", error_message());
}

void lifeline_close(struct lifeline *l) {
    if (l) release(l);
}
