// SPDX-License-Identifier: MIT
/* bootstrap.c: see bootstrap.h.
 *
 * Rank 0, main thread, once.  The line is read byte by byte: standard input may go on with
 * something that is not ours.  No error here prints the line, since the secret is in it. */

#include "worker/job/bootstrap.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"

static const char separators[] = " \t\r";

static err check_secret(const char *secret) {
    size_t n = strlen(secret);
    size_t hex = strspn(secret, "0123456789abcdefABCDEF");
    if (hex != n || n < BOOTSTRAP_SECRET_MIN || n > BOOTSTRAP_SECRET_MAX)
        return FAIL(ERR_PROTOCOL, "the secret must be %d to %d hex digits, this one has %zu%s",
                    BOOTSTRAP_SECRET_MIN, BOOTSTRAP_SECRET_MAX, n,
                    hex != n ? " characters and not all are hex digits" : "");
    return ERR_OK;
}

static err add_address(struct bootstrap *b, const char *address) {
    if (b->n_addresses == BOOTSTRAP_ADDRESSES_MAX)
        return FAIL(ERR_PROTOCOL, "the start line names more than %d addresses",
                    BOOTSTRAP_ADDRESSES_MAX);
    if (strlen(address) >= BOOTSTRAP_ADDRESS_BYTES)
        return FAIL(ERR_PROTOCOL, "an address of %zu bytes is too long", strlen(address));
    if (strncmp(address, "unix:/", 6) != 0 && strncmp(address, "tcp:", 4) != 0)
        return FAIL(ERR_PROTOCOL, "the address '%s' is neither unix:/path nor tcp:HOST:PORT",
                    address);
    if (address[0] == 't' && !strrchr(address + 4, ':'))
        return FAIL(ERR_PROTOCOL, "the address '%s' has no port", address);
    strcpy(b->addresses[b->n_addresses++], address);
    return ERR_OK;
}

static err parse_epoch(const char *text, uint64_t *out) {
    char *end = NULL;
    errno = 0;
    unsigned long long value =
        text && isdigit((unsigned char)text[0]) ? strtoull(text, &end, 10) : 0;
    if (errno || value == 0 || *end)
        return FAIL(ERR_PROTOCOL, "the start line has no epoch of 1 or more");
    *out = value;
    return ERR_OK;
}

err bootstrap_parse(struct bootstrap *b, const char *line) {
    char text[BOOTSTRAP_LINE_MAX];
    *b = (struct bootstrap){.epoch = 0};
    if (strlen(line) >= sizeof text)
        return FAIL(ERR_PROTOCOL, "the start line is longer than %d bytes", BOOTSTRAP_LINE_MAX);
    strcpy(text, line);
    char *rest = NULL;
    const char *word = strtok_r(text, separators, &rest);
    if (!word || strcmp(word, "LOCKSTEP1") != 0)
        return FAIL(ERR_PROTOCOL, "the start line does not begin with LOCKSTEP1: this program is "
                                  "started by 'lockstep', or joins one with --coordinator");
    TRY(parse_epoch(strtok_r(NULL, separators, &rest), &b->epoch));
    const char *secret = strtok_r(NULL, separators, &rest);
    TRY(check_secret(secret ? secret : ""));
    strcpy(b->secret, secret);
    while ((word = strtok_r(NULL, separators, &rest)) != NULL) TRY(add_address(b, word));
    if (b->n_addresses == 0) return FAIL(ERR_PROTOCOL, "the start line names no address");
    return ERR_OK;
}

/* One byte; 0 at the end or when the time is over, with errno 0 or ETIMEDOUT. */
static ssize_t read_byte(int fd, char *c, uint64_t deadline_ns) {
    for (;;) {
        uint64_t now = clock_ns();
        int left_ms = now < deadline_ns ? (int)((deadline_ns - now) / 1000000u) + 1 : 0;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = poll(&p, 1, left_ms);
        if (ready == 0) {
            errno = ETIMEDOUT;
            return 0;
        }
        if (ready < 0 && errno != EINTR) return -1;
        if (ready < 0) continue;
        errno = 0;
        ssize_t n = read(fd, c, 1);
        if (n >= 0 || (errno != EINTR && errno != EAGAIN)) return n;
    }
}

err bootstrap_read(struct bootstrap *b, int fd, int timeout_ms) {
    char line[BOOTSTRAP_LINE_MAX];
    uint64_t deadline_ns = clock_ns() + (uint64_t)timeout_ms * 1000000u;
    for (size_t n = 0; n < sizeof line; n++) {
        ssize_t got = read_byte(fd, &line[n], deadline_ns);
        if (got < 0)
            return FAIL(ERR_LAUNCH, "the start line could not be read: %s", strerror(errno));
        if (got == 0 && errno == ETIMEDOUT)
            return FAIL(ERR_LAUNCH,
                        "no start line came within %d s: this program is started by 'lockstep', "
                        "or joins one with --coordinator HOST:PORT",
                        timeout_ms / 1000);
        if (got == 0)
            return FAIL(ERR_LAUNCH,
                        "the input ended before a start line came: this program is started by "
                        "'lockstep', or joins one with --coordinator HOST:PORT");
        if (line[n] == '\0') return FAIL(ERR_PROTOCOL, "the start line holds a NUL byte");
        if (line[n] == '\n') {
            line[n] = '\0';
            return bootstrap_parse(b, line);
        }
    }
    return FAIL(ERR_PROTOCOL, "the start line is longer than %d bytes", BOOTSTRAP_LINE_MAX);
}

static err read_secret_file(const char *path, char *out, size_t n) {
    FILE *f = fopen(path, "re");
    if (!f)
        return FAIL(ERR_USAGE, "the secret file '%s' cannot be read: %s", path, strerror(errno));
    bool got = fgets(out, (int)n, f) != NULL;
    fclose(f);
    if (!got) return FAIL(ERR_USAGE, "the secret file '%s' is empty", path);
    out[strcspn(out, " \t\r\n")] = '\0';
    return ERR_OK;
}

err bootstrap_join(struct bootstrap *b, const char *host_port, const char *secret_file) {
    char address[BOOTSTRAP_ADDRESS_BYTES + 8], secret[BOOTSTRAP_SECRET_MAX + 64];
    *b = (struct bootstrap){.epoch = 1, .joins = true};
    bool has_scheme = strncmp(host_port, "tcp:", 4) == 0 || strncmp(host_port, "unix:", 5) == 0;
    int n = snprintf(address, sizeof address, "%s%s", has_scheme ? "" : "tcp:", host_port);
    if (n < 0 || (size_t)n >= sizeof address || add_address(b, address) != ERR_OK)
        return FAIL(ERR_USAGE, "--coordinator wants HOST:PORT, not '%.200s'", host_port);
    if (secret_file) {
        TRY(read_secret_file(secret_file, secret, sizeof secret));
    } else {
        const char *given = getenv("LOCKSTEP_SECRET");
        if (!given)
            return FAIL(ERR_USAGE, "to join a coordinator give its secret, by --secret-file FILE "
                                   "or in the environment variable LOCKSTEP_SECRET");
        snprintf(secret, sizeof secret, "%s", given);
    }
    if (check_secret(secret) != ERR_OK) return FAIL(ERR_USAGE, "%s", error_message());
    strcpy(b->secret, secret);
    return ERR_OK;
}
