// SPDX-License-Identifier: MIT
/* supervisor.c: see supervisor.h.
 *
 *   supervisor_end ──grace──► SIGTERM ──1 s──► SIGKILL, again and again ──► ended
 *        └── looks every 20 ms: launcher reaped, its session empty, ranks gone ──┘
 *
 * The launcher leads a session; mpirun's children stay in it, even those that have not said HELLO
 * yet, so the session is what is counted and killed, not only the pids we were told. */

#include "coordinator/cluster/supervisor.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/log.h"
#include "common/mem.h"
#include "coordinator/cluster/process.h"
#include "coordinator/cluster/rundir.h"

#define LOOK_MS         20
#define TERM_TO_KILL_MS 1000
#define LAST_WORDS_MS   100 // between the launcher's end and the end of its output
#define LINE_BYTES      8192

enum { PIPE_OUT, PIPE_ERR, PIPE_COUNT };

struct watched {
    struct process process;
    uint32_t rank;
    bool spared;
};

struct output_pipe {
    uv_pipe_t pipe;
    struct buf line;
    struct supervisor *supervisor;
    bool open;
};

struct supervisor {
    uv_loop_t *loop;
    const struct supervisor_events *events;
    void *ctx;
    struct supervisor_launcher launcher;
    uv_process_t process;
    uv_pipe_t in;
    uv_write_t line_request;
    char *line; // for the launcher's standard input
    char *name;
    struct output_pipe outputs[PIPE_COUNT];
    uv_timer_t timer;
    size_t n_handles;
    struct watched *watched;
    size_t n_watched;
    char **shm_files;
    size_t n_shm_files;
    char folder[RUNDIR_BYTES];
    bool told_end, ending, termed, session_empty;
    uint64_t end_ms, term_at_ms; // loop time
    char read_buffer[4096];
};

/* ---- the launcher's output ---- */

static void emit_line(struct supervisor *s, const char *line) {
    enum launcher_line kind = launcher_output_take(&s->launcher.output, line);
    // What ranks log while they are being ended is about that only.
    if (kind == LINE_LAUNCHER || (kind == LINE_RANK_LOG && s->ending)) {
        log_debug("%s: %s", s->launcher.name, line);
        return;
    }
    char text[LINE_BYTES + 2];
    int n = snprintf(text, sizeof text, "%s\n", line);
    if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0) return; // nobody listens
}

static void take_output(struct output_pipe *o, const char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != '\n' && o->line.length < LINE_BYTES - 1) {
            buf_putc(&o->line, bytes[i] ? bytes[i] : ' ');
            continue;
        }
        if (bytes[i] == '\n' || o->line.length)
            emit_line(o->supervisor, o->line.length ? o->line.data : "");
        buf_clear(&o->line);
        if (bytes[i] != '\n') buf_putc(&o->line, bytes[i]);
    }
}

static bool output_is_read(const struct supervisor *s) {
    return !s->outputs[PIPE_OUT].open && !s->outputs[PIPE_ERR].open;
}

static void tell_launcher_end(struct supervisor *s) {
    if (s->told_end || s->ending) return;
    s->told_end = true;
    s->events->launcher_ended(s->ctx);
}

static void on_output_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out) {
    (void)suggested;
    struct output_pipe *o = handle->data;
    *out = uv_buf_init(o->supervisor->read_buffer, sizeof o->supervisor->read_buffer);
}

static void on_output(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes) {
    struct output_pipe *o = stream->data;
    struct supervisor *s = o->supervisor;
    if (n > 0) take_output(o, bytes->base, (size_t)n);
    if (n >= 0) return;
    if (o->line.length) take_output(o, "\n", 1);
    o->open = false;
    uv_read_stop(stream);
    if (s->launcher.ended && output_is_read(s)) tell_launcher_end(s);
}

/* ---- starting ---- */

struct supervisor *supervisor_create(uv_loop_t *loop, const struct supervisor_events *events,
                                     void *ctx) {
    struct supervisor *s = mem_zalloc(sizeof *s);
    s->loop = loop;
    s->events = events;
    s->ctx = ctx;
    launcher_output_init(&s->launcher.output);
    CHECK(uv_timer_init(loop, &s->timer) == 0);
    s->timer.data = s;
    s->n_handles = 1;
    return s;
}

void supervisor_own_folder(struct supervisor *s, const char *path) {
    snprintf(s->folder, sizeof s->folder, "%s", path);
}

static void on_last_words(uv_timer_t *timer) {
    tell_launcher_end(timer->data);
}

static void on_launcher_exit(uv_process_t *process, int64_t status, int signal) {
    struct supervisor *s = process->data;
    s->launcher.ended = true;
    s->launcher.exit_code = (int)status;
    s->launcher.signal = signal;
    log_debug("%s (pid %d) ended: exit code %d, signal %d", s->launcher.name, s->launcher.pid,
              s->launcher.exit_code, signal);
    if (s->ending) return;
    // Somebody who inherited its output may hold it open for ever.
    if (output_is_read(s))
        tell_launcher_end(s);
    else
        uv_timer_start(&s->timer, on_last_words, LAST_WORDS_MS, 0);
}

static void on_line_written(uv_write_t *request, int status) {
    (void)status; // a launcher that does not read is about to end, and says why
    struct supervisor *s = request->data;
    mem_free(s->line);
    s->line = NULL;
}

static void init_pipe(struct supervisor *s, uv_pipe_t *pipe, void *data) {
    CHECK(uv_pipe_init(s->loop, pipe, 0) == 0);
    pipe->data = data;
    s->n_handles++;
}

static err explain_spawn(const char *program, int status) {
    if (status != UV_ENOENT)
        return FAIL(ERR_LAUNCH, "%s could not be started: %s", program, uv_strerror(status));
    if (strcmp(program, "mpirun") == 0)
        return FAIL(ERR_LAUNCH, "mpirun was not found: install the package openmpi-bin, or name "
                                "another launcher with --launcher");
    return FAIL(ERR_LAUNCH, "the launcher '%s' was not found", program);
}

err supervisor_launch(struct supervisor *s, char **argv, const char *line) {
    init_pipe(s, &s->in, s);
    for (int i = 0; i < PIPE_COUNT; i++) {
        init_pipe(s, &s->outputs[i].pipe, &s->outputs[i]);
        s->outputs[i].supervisor = s;
        buf_init(&s->outputs[i].line, LINE_BYTES);
    }
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&s->in},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
         .data.stream = (uv_stream_t *)&s->outputs[PIPE_OUT].pipe},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
         .data.stream = (uv_stream_t *)&s->outputs[PIPE_ERR].pipe},
    };
    uv_process_options_t options = {.exit_cb = on_launcher_exit,
                                    .file = argv[0],
                                    .args = argv,
                                    .flags = UV_PROCESS_DETACHED, // setsid
                                    .stdio_count = 3,
                                    .stdio = stdio};
    s->name = mem_strdup(argv[0]);
    int status = uv_spawn(s->loop, &s->process, &options);
    s->process.data = s;
    s->n_handles++;
    if (status != 0) return explain_spawn(argv[0], status);
    s->launcher.pid = s->process.pid;
    s->launcher.name = s->name;
    for (int i = 0; i < PIPE_COUNT; i++) {
        s->outputs[i].open = true;
        uv_read_start((uv_stream_t *)&s->outputs[i].pipe, on_output_alloc, on_output);
    }
    s->line = mem_strdup(line);
    s->line_request.data = s;
    uv_buf_t piece = uv_buf_init(s->line, (unsigned)strlen(line));
    status = uv_write(&s->line_request, (uv_stream_t *)&s->in, &piece, 1, on_line_written);
    if (status != 0) return FAIL(ERR_LAUNCH, "%s: %s", argv[0], uv_strerror(status));
    return ERR_OK;
}

void supervisor_watch(struct supervisor *s, uint32_t rank, pid_t pid, bool spared,
                      const char *const *shm_files, uint32_t n_shm_files) {
    struct process p;
    if (!process_find(&p, pid, "lockstep-worker")) return;
    s->watched = mem_realloc(s->watched, (s->n_watched + 1) * sizeof *s->watched);
    s->watched[s->n_watched++] = (struct watched){.process = p, .rank = rank, .spared = spared};
    size_t n = s->n_shm_files + n_shm_files;
    if (n) s->shm_files = mem_realloc(s->shm_files, n * sizeof *s->shm_files);
    for (uint32_t i = 0; i < n_shm_files; i++)
        s->shm_files[s->n_shm_files++] = mem_strdup(shm_files[i]);
}

const struct supervisor_launcher *supervisor_launcher(const struct supervisor *s) {
    return &s->launcher;
}

/* ---- ending ---- */

void supervisor_kill(struct supervisor *s, uint32_t rank) {
    for (size_t i = 0; i < s->n_watched; i++)
        if (s->watched[i].rank == rank) process_signal(&s->watched[i].process, SIGKILL);
}

/* What the launcher's session still holds.  Once it is empty its number may come to mean another.
 */
static size_t signal_session(struct supervisor *s, int signal) {
    if (s->launcher.pid <= 0 || s->session_empty) return 0;
    if (!s->launcher.ended) {
        if (signal == SIGKILL)
            process_signal_session(s->launcher.pid, signal);
        else if (signal)
            kill(s->launcher.pid, signal);
        return 1;
    }
    size_t n = process_signal_session(s->launcher.pid, signal);
    s->session_empty = n == 0;
    return n;
}

/* Sends `signal` (0: none) to what is left; how much that is. */
static size_t signal_rest(struct supervisor *s, int signal) {
    size_t n = signal_session(s, signal);
    for (size_t i = 0; i < s->n_watched; i++) {
        if (s->watched[i].spared || !process_is_alive(&s->watched[i].process)) continue;
        if (signal) process_signal(&s->watched[i].process, signal);
        n++;
    }
    return n;
}

static void on_handle_closed(uv_handle_t *handle) {
    struct supervisor *s = handle->data;
    if (--s->n_handles == 0) s->events->ended(s->ctx);
}

static void close_handle(struct supervisor *s, void *handle) {
    ((uv_handle_t *)handle)->data = s;
    uv_close(handle, on_handle_closed);
}

static void finish(struct supervisor *s) {
    for (size_t i = 0; i < s->n_shm_files; i++) rundir_remove_shared_memory(s->shm_files[i]);
    rundir_remove(s->folder);
    if (s->launcher.pid > 0) rundir_remove_mpi_session(s->launcher.pid);
    if (s->n_handles > 1) {
        close_handle(s, &s->process);
        close_handle(s, &s->in);
        for (int i = 0; i < PIPE_COUNT; i++) close_handle(s, &s->outputs[i].pipe);
    }
    close_handle(s, &s->timer);
}

static void on_look(uv_timer_t *timer) {
    struct supervisor *s = timer->data;
    uint64_t now_ms = uv_now(s->loop);
    int signal = 0;
    if (now_ms >= s->term_at_ms && !s->termed) {
        signal = SIGTERM;
        s->termed = true;
    }
    if (now_ms >= s->term_at_ms + TERM_TO_KILL_MS) signal = SIGKILL;
    size_t rest = signal_rest(s, signal);
    if (rest == 0) {
        finish(s);
    } else if (now_ms >= s->term_at_ms + SUPERVISOR_LIMIT_MS) {
        log_error("%zu processes of this launch do not end; look for lockstep-worker", rest);
        finish(s);
    }
}

void supervisor_end(struct supervisor *s, unsigned grace_ms) {
    uv_update_time(s->loop);
    uint64_t term_at_ms = uv_now(s->loop) + grace_ms;
    if (s->ending && term_at_ms >= s->term_at_ms) return;
    s->term_at_ms = term_at_ms;
    if (s->ending) return;
    s->ending = true;
    uv_timer_start(&s->timer, on_look, 0, LOOK_MS);
}

void supervisor_free(struct supervisor *s) {
    if (!s) return;
    for (int i = 0; i < PIPE_COUNT; i++) buf_deinit(&s->outputs[i].line);
    for (size_t i = 0; i < s->n_shm_files; i++) mem_free(s->shm_files[i]);
    mem_free(s->shm_files);
    mem_free(s->watched);
    mem_free(s->line);
    mem_free(s->name);
    mem_free(s);
}
