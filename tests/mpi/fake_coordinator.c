// SPDX-License-Identifier: MIT
/* fake_coordinator.c: see fake_coordinator.h. */

#include "tests/mpi/fake_coordinator.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/frame.h"

#define ANSWER_MS 60000 // a machine may be busy with other things: this only ends a test that hangs

static int left_ms(uint64_t deadline_ns) {
    uint64_t now = clock_ns();
    return now < deadline_ns ? (int)((deadline_ns - now) / 1000000u) + 1 : 0;
}

static uint64_t after_ms(int ms) {
    return clock_ns() + (uint64_t)ms * 1000000u;
}

/* ---- launching ---- */

static _Noreturn void exec_mpirun(const struct fake_launch *l, int input) {
    char others[16];
    // As launch.c starts it: when a rank is lost the others go now, not in a second.
    const char *argv[32] = {"mpirun", "--oversubscribe",           "--bind-to", "none",
                            "--mca",  "odls_base_sigkill_timeout", "0",         "-n"};
    size_t n = 8;
    bool split = l->other_dir && l->size > 1;
    snprintf(others, sizeof others, "%d", split ? l->size - 1 : l->size);
    argv[n++] = split ? "1" : others;
    argv[n++] = l->worker;
    argv[n++] = "--log-level";
    argv[n++] = "warn";
    if (split) {
        const char *rest[] = {":",          "-n",      others,        "-wdir",
                              l->other_dir, l->worker, "--log-level", "warn"};
        memcpy(argv + n, rest, sizeof rest);
    }
    setsid();
    dup2(input, STDIN_FILENO);
    execvp(argv[0], (char *const *)argv);
    perror("mpirun");
    _exit(127);
}

static void open_listener(struct fake *f) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(f->directory, sizeof f->directory, "/tmp/lockstep-fake-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->socket_path, sizeof f->socket_path, "%s/s", f->directory);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", f->socket_path);
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(f->listener, 16), 0);
}

static void init_peer(struct fake_peer *p) {
    *p = (struct fake_peer){.fd = -1};
    buf_init(&p->in, 0);
}

void fake_start(struct fake *f, const struct fake_launch *launch) {
    *f = (struct fake){.size = launch->size, .resting = true};
    arena_init(&f->arena, (size_t)64 << 20);
    arena_init(&f->scratch, (size_t)64 << 20);
    init_peer(&f->link);
    for (int r = 0; r < FAKE_MAX_RANKS; r++) init_peer(&f->lifelines[r]);
    open_listener(f);
    int input[2];
    assert_int_equal(pipe(input), 0);
    f->mpirun = fork();
    if (f->mpirun == 0) {
        close(input[1]);
        exec_mpirun(launch, input[0]);
    }
    close(input[0]);
    dprintf(input[1], "LOCKSTEP1 %d " FAKE_SECRET " unix:/nonexistent/lockstep unix:%s\n",
            FAKE_EPOCH, f->socket_path);
    close(input[1]);
}

/* ---- talking ---- */

static void send_to(struct fake *f, struct fake_peer *p, const struct wire_message *m) {
    struct buf b;
    buf_init(&b, 0);
    arena_reset(&f->scratch);
    assert_int_equal(wire_encode(&b, m, &f->scratch), ERR_OK);
    size_t at = 0;
    while (at < b.length) {
        ssize_t n = send(p->fd, b.data + at, b.length - at, MSG_NOSIGNAL);
        if (n <= 0) break; // the rank has gone: what it said before is what counts
        at += (size_t)n;
    }
    buf_deinit(&b);
}

/* A whole message that has arrived already; false when there is none. */
static bool take_message(struct fake *f, struct fake_peer *p, struct wire_message *m) {
    const uint8_t *payload = NULL;
    size_t n = 0;
    buf_consume(&p->in, p->taken);
    p->taken = 0;
    assert_int_equal(frame_next(p->in.data, p->in.length, FRAME_MAX_BYTES, &payload, &n, &p->taken),
                     ERR_OK);
    if (!payload) return false;
    arena_reset(&f->arena);
    assert_int_equal(wire_decode(m, payload, n, &f->arena), ERR_OK);
    return true;
}

/* Reads what there is; the end of a connection closes it. */
static void read_some(struct fake_peer *p) {
    char bytes[65536];
    ssize_t n = recv(p->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n > 0) {
        buf_append(&p->in, bytes, (size_t)n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        close(p->fd);
        p->fd = -1;
    }
}

/* Reads what comes until the deadline on all connections; false when the time is over. */
static bool read_all(struct fake *f, uint64_t deadline_ns) {
    struct pollfd fds[FAKE_MAX_RANKS + 1];
    struct fake_peer *peers[FAKE_MAX_RANKS + 1];
    nfds_t n = 0;
    for (int i = -1; i < f->size; i++) {
        struct fake_peer *p = i < 0 ? &f->link : &f->lifelines[i];
        if (p->fd < 0) continue;
        peers[n] = p;
        fds[n++] = (struct pollfd){.fd = p->fd, .events = POLLIN};
    }
    if (poll(fds, n, left_ms(deadline_ns)) <= 0) return false;
    for (nfds_t i = 0; i < n; i++) {
        if (fds[i].revents) read_some(peers[i]);
    }
    return true;
}

static void wake_ranks(struct fake *f) {
    struct wire_message m = {.kind = WIRE_WAKE, .step = f->sent};
    for (int r = 1; r < f->size; r++) send_to(f, &f->lifelines[r], &m);
    f->resting = false;
}

void fake_tell_bytes(struct fake *f, const void *bytes, size_t n) {
    assert_int_equal(send(f->link.fd, bytes, n, MSG_NOSIGNAL), n);
    f->sent++;
    if (f->resting) wake_ranks(f);
}

void fake_tell(struct fake *f, const struct wire_message *m) {
    send_to(f, &f->link, m);
    f->sent++;
    if (f->resting) wake_ranks(f);
}

/* Heartbeats and IDLE are dealt with here; true for anything else. */
static bool is_news(struct fake *f, struct fake_peer *p, const struct wire_message *m) {
    if (m->kind == WIRE_HEARTBEAT) {
        p->beat = m->heartbeat;
        p->beats++;
        return false;
    }
    if (m->kind != WIRE_IDLE) return true;
    assert_in_range(m->step, 0, f->sent);
    f->resting = true;
    if (m->step < f->sent) wake_ranks(f);
    return false;
}

/* The next news of anybody; fails after limit_ms unless `may_fail`. */
static bool next_news(struct fake *f, uint64_t deadline_ns, struct wire_message *m) {
    do {
        for (int i = -1; i < f->size; i++) {
            struct fake_peer *p = i < 0 ? &f->link : &f->lifelines[i];
            while (take_message(f, p, m)) {
                if (is_news(f, p, m)) return true;
            }
        }
    } while (read_all(f, deadline_ns));
    return false;
}

struct wire_message fake_hear(struct fake *f) {
    struct wire_message m;
    if (!next_news(f, after_ms(ANSWER_MS), &m)) fail_msg("the ranks did not answer");
    if (m.kind == WIRE_ERROR) print_message("rank %u: %s\n", m.error.rank, m.error.message);
    return m;
}

struct wire_error fake_hear_error(struct fake *f) {
    struct wire_message m;
    do {
        if (!next_news(f, after_ms(ANSWER_MS), &m)) fail_msg("no rank reported an error");
    } while (m.kind != WIRE_ERROR);
    return m.error;
}

void fake_listen(struct fake *f, int ms) {
    struct wire_message m;
    if (next_news(f, after_ms(ms), &m)) fail_msg("unexpected %s", wire_kind_name(m.kind));
}

/* ---- meeting ---- */

static void remember(struct fake_peer *p, const struct wire_hello *h) {
    p->pid = (pid_t)h->pid;
    for (uint32_t i = 0; i < h->n_shm_files && p->n_shm < FAKE_MAX_SHM; i++)
        snprintf(p->shm[p->n_shm++], sizeof *p->shm, "%s", h->shm_files[i]);
}

static void expect_hello(const struct fake *f, const struct wire_hello *h) {
    assert_int_equal(h->protocol, WIRE_PROTOCOL_VERSION);
    assert_string_equal(h->build_id, wire_build_id());
    assert_string_equal(h->secret, FAKE_SECRET);
    assert_int_equal(h->epoch, FAKE_EPOCH);
    assert_int_equal(h->size, f->size);
    assert_in_range(h->rank, 0, f->size - 1);
    assert_int_equal(h->local_rank, h->rank);
    assert_int_equal(h->local_size, f->size);
    assert_true(h->threads >= 1 && h->cpus[0] && h->isa[0] && h->transport[0] && h->host[0]);
    assert_true(strncmp(h->mpi, "Open MPI v", 10) == 0);
    assert_true(h->memory_available_bytes > 1000000);
    assert_in_range(h->n_shm_files, f->size > 1 ? 1 : 0,
                    FAKE_MAX_SHM); // ranks of one host share it
}

/* The next connection's hello, put where it belongs. */
static struct fake_peer *accept_peer(struct fake *f, uint32_t *rank) {
    struct pollfd p = {.fd = f->listener, .events = POLLIN};
    struct wire_message m;
    struct fake_peer stranger;
    if (poll(&p, 1, ANSWER_MS) != 1) fail_msg("a rank did not connect");
    init_peer(&stranger);
    stranger.fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(stranger.fd >= 0);
    while (!take_message(f, &stranger, &m)) {
        struct pollfd q = {.fd = stranger.fd, .events = POLLIN};
        if (poll(&q, 1, ANSWER_MS) != 1) fail_msg("a rank does not say hello");
        read_some(&stranger);
    }
    assert_int_equal(m.kind, WIRE_HELLO);
    expect_hello(f, &m.hello);
    struct fake_peer *peer = m.hello.is_link ? &f->link : &f->lifelines[m.hello.rank];
    assert_int_equal(peer->fd, -1);
    if (m.hello.is_link) assert_int_equal(m.hello.rank, 0);
    buf_deinit(&peer->in);
    *peer = stranger;
    remember(peer, &m.hello);
    *rank = m.hello.rank;
    return peer;
}

void fake_welcome(struct fake *f) {
    struct wire_message m = {.kind = WIRE_WELCOME};
    for (int i = 0; i < f->size + 1; i++) {
        uint32_t rank;
        send_to(f, accept_peer(f, &rank), &m);
    }
    assert_true(f->link.fd >= 0);
}

void fake_refuse(struct fake *f, int rank, err code, const char *message) {
    struct wire_message yes = {.kind = WIRE_WELCOME};
    struct wire_message no = {.kind = WIRE_ERROR, .error = {.code = code, .message = message}};
    for (int i = 0; i < f->size; i++) {
        uint32_t who;
        struct fake_peer *p = accept_peer(f, &who);
        send_to(f, p, (int)who == rank ? &no : &yes);
    }
}

/* ---- the end ---- */

int fake_exit_code(struct fake *f, int limit_ms) {
    uint64_t deadline_ns = after_ms(limit_ms);
    for (;;) {
        int status = 0;
        if (waitpid(f->mpirun, &status, WNOHANG) == f->mpirun) {
            f->mpirun = 0;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        if (clock_ns() > deadline_ns) fail_msg("mpirun has not ended after %d ms", limit_ms);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
}

/* A process that has ended but whose parent has not asked for it yet (a zombie) counts as gone. */
static bool lives(pid_t pid) {
    char path[64], state = 'X';
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f) return false;
    if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1) state = 'X';
    fclose(f);
    return state != 'X' && state != 'Z';
}

void fake_expect_nothing_left(struct fake *f, int limit_ms) {
    uint64_t deadline_ns = after_ms(limit_ms);
    for (int r = 0; r < f->size; r++) {
        const struct fake_peer *p = &f->lifelines[r];
        while (p->pid > 0 && lives(p->pid)) {
            if (clock_ns() > deadline_ns) fail_msg("rank %d lives after %d ms", r, limit_ms);
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        }
        for (uint32_t i = 0; i < p->n_shm; i++) {
            if (access(p->shm[i], F_OK) == 0) fail_msg("%s is left", p->shm[i]);
        }
    }
}

void fake_hang_up(struct fake *f) {
    for (int i = -1; i < f->size; i++) {
        struct fake_peer *p = i < 0 ? &f->link : &f->lifelines[i];
        if (p->fd >= 0) close(p->fd);
        p->fd = -1;
    }
}

void fake_free(struct fake *f) {
    fake_hang_up(f);
    if (f->mpirun > 0) {
        kill(f->mpirun, SIGTERM);
        waitpid(f->mpirun, NULL, 0);
    }
    buf_deinit(&f->link.in);
    for (int r = 0; r < FAKE_MAX_RANKS; r++) buf_deinit(&f->lifelines[r].in);
    close(f->listener);
    unlink(f->socket_path);
    rmdir(f->directory);
    arena_deinit(&f->arena);
    arena_deinit(&f->scratch);
}

static struct range part(uint32_t total, uint32_t r, uint32_t n) {
    return (struct range){total * r / n, total * (r + 1) / n};
}

void fake_plan(struct plan *p, const struct model_shape *s, uint32_t n) {
    uint32_t group = s->n_heads / s->n_kv_heads;
    plan_init(p, n);
    for (uint32_t r = 0; r < n; r++) {
        struct range heads = part(s->n_heads, r, n);
        p->ranks[r] = (struct plan_rank){
            .heads = heads,
            .kv_heads = {heads.begin / group, (heads.end - 1) / group + 1},
            .ffn = part(s->n_ff, r, n),
            .vocab = part(s->n_vocab, r, n),
        };
    }
}
