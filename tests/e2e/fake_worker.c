// SPDX-License-Identifier: MIT
/* fake_worker.c: a worker that says hello with values of a test's choice.
 *
 * One process, one connection, no MPI: it introduces itself to a coordinator as a rank that differs
 * from a good one in what the command line names, prints the answer on standard output in one line,
 * and leaves.  Build id and protocol are those of this build unless told, so each test changes one
 * value.
 *
 *   welcome                     it was let in
 *   refused CODE MESSAGE        with the error's name and sentence
 *   closed                      without a word */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/frame.h"
#include "common/wire.h"

#define READ_BYTES ((size_t)4096)

static err set_value(struct wire_hello *h, const char *name, const char *value) {
    if (strcmp(name, "secret") == 0)
        h->secret = value;
    else if (strcmp(name, "build-id") == 0)
        h->build_id = value;
    else if (strcmp(name, "mpi") == 0)
        h->mpi = value;
    else if (strcmp(name, "protocol") == 0)
        h->protocol = (uint32_t)strtoul(value, NULL, 10);
    else if (strcmp(name, "epoch") == 0)
        h->epoch = strtoull(value, NULL, 10);
    else if (strcmp(name, "rank") == 0)
        h->rank = (uint32_t)strtoul(value, NULL, 10);
    else if (strcmp(name, "size") == 0)
        h->size = (uint32_t)strtoul(value, NULL, 10);
    else
        return FAIL(ERR_USAGE, "a hello has no '%s'", name);
    return ERR_OK;
}

static err connect_port(int *fd, const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *fd = socket(AF_INET, SOCK_STREAM, 0);
    if (*fd < 0 || connect(*fd, (const struct sockaddr *)&address, sizeof address) != 0)
        return FAIL(ERR_ADDRESS, "nobody listens on port %s", port);
    return ERR_OK;
}

static err say_hello(int fd, const struct wire_hello *h, struct arena *arena) {
    struct wire_message m = {.kind = WIRE_HELLO, .hello = *h};
    struct buf out;
    buf_init(&out, 0);
    err e = wire_encode(&out, &m, arena);
    if (e == ERR_OK && send(fd, out.data, out.length, MSG_NOSIGNAL) != (ssize_t)out.length)
        e = FAIL(ERR_IO, "hello was not taken");
    buf_deinit(&out);
    return e;
}

/* The first frame that comes; *payload is NULL when the connection ends before one. */
static err hear(int fd, struct buf *in, const uint8_t **payload, size_t *n) {
    size_t used;
    char bytes[READ_BYTES];
    for (;;) {
        TRY(frame_next(in->data, in->length, FRAME_MAX_BYTES, payload, n, &used));
        if (*payload) return ERR_OK;
        ssize_t got = recv(fd, bytes, sizeof bytes, 0);
        if (got <= 0) return ERR_OK;
        buf_append(in, bytes, (size_t)got);
    }
}

static err print_answer(int fd, struct arena *arena) {
    struct buf in;
    const uint8_t *payload = NULL;
    size_t n = 0;
    struct wire_message m;
    buf_init(&in, 0);
    err e = hear(fd, &in, &payload, &n);
    if (e == ERR_OK && payload) e = wire_decode(&m, payload, n, arena);
    if (e == ERR_OK) {
        if (!payload)
            puts("closed");
        else if (m.kind == WIRE_ERROR)
            printf("refused %s %s\n", error_name(m.error.code), m.error.message);
        else
            puts(m.kind == WIRE_WELCOME ? "welcome" : wire_kind_name(m.kind));
    }
    buf_deinit(&in);
    return e;
}

static err run(int argc, char **argv) {
    struct wire_hello h = {.protocol = WIRE_PROTOCOL_VERSION,
                           .build_id = wire_build_id(),
                           .secret = "",
                           .epoch = 1,
                           .size = 1,
                           .host = "elsewhere",
                           .pid = getpid(),
                           .isa = "reference",
                           .mpi = "no MPI",
                           .transport = "none",
                           .threads = 1,
                           .cpus = "0",
                           .local_size = 1,
                           .memory_available_bytes = (uint64_t)1 << 30};
    if (argc < 2 || argc % 2) return FAIL(ERR_USAGE, "fake_worker PORT [NAME VALUE]…");
    for (int i = 2; i < argc; i += 2) TRY(set_value(&h, argv[i], argv[i + 1]));

    struct arena arena;
    int fd = -1;
    arena_init(&arena, WIRE_ARENA_BYTES);
    err e = connect_port(&fd, argv[1]);
    if (e == ERR_OK) e = say_hello(fd, &h, &arena);
    arena_reset(&arena);
    if (e == ERR_OK) e = print_answer(fd, &arena);
    if (fd >= 0) close(fd);
    arena_deinit(&arena);
    return e;
}

int main(int argc, char **argv) {
    err e = run(argc, argv);
    if (e != ERR_OK) fprintf(stderr, "fake_worker: %s\n", error_message());
    return error_exit_code(e);
}
