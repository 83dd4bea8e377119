// SPDX-License-Identifier: MIT
/* secret.c: see secret.h. */

#include "coordinator/cluster/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/log.h"

err secret_make(char *out) {
    uint8_t bytes[SECRET_RANDOM_BYTES];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return FAIL(ERR_INTERNAL, "getrandom: %s", strerror(errno));
    for (size_t i = 0; i < sizeof bytes; i++) snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    return ERR_OK;
}

static err check_secret(const char *secret, const char *where) {
    size_t n = strlen(secret);
    if (n < SECRET_MIN_BYTES || n > SECRET_MAX_BYTES ||
        strspn(secret, "0123456789abcdefABCDEF") != n)
        return FAIL(ERR_USAGE,
                    "the secret in %s must be %d to %d hex digits (head -c 32 "
                    "/dev/urandom | od -An -tx1 | tr -d ' \\n' makes one)",
                    where, SECRET_MIN_BYTES, SECRET_MAX_BYTES);
    return ERR_OK;
}

/* O_EXCL: two coordinators with one file cannot each believe that theirs is in it. */
static err create_secret_file(char *out, const char *path) {
    TRY(secret_make(out));
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return FAIL(ERR_IO, "the secret file '%s': %s", path, strerror(errno));
    size_t n = strlen(out);
    bool ok = write(fd, out, n) == (ssize_t)n && write(fd, "\n", 1) == 1;
    if (close(fd) != 0 || !ok) {
        unlink(path);
        return FAIL(ERR_IO, "the secret file '%s' cannot be written: %s", path, strerror(errno));
    }
    log_info("a new secret was written to %s", path);
    return ERR_OK;
}

err secret_read(char *out, const char *path) {
    if (!path) {
        const char *value = getenv("LOCKSTEP_SECRET");
        if (!value)
            return FAIL(ERR_USAGE, "--wait needs a secret that the workers know too: give "
                                   "--secret-file FILE or set LOCKSTEP_SECRET");
        TRY(check_secret(value, "LOCKSTEP_SECRET"));
        strcpy(out, value);
        return ERR_OK;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return create_secret_file(out, path);
    if (fd < 0) return FAIL(ERR_USAGE, "the secret file '%s': %s", path, strerror(errno));
    char text[SECRET_MAX_BYTES + 2];
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n < 0) return FAIL(ERR_IO, "the secret file '%s': %s", path, strerror(errno));
    text[n] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    TRY(check_secret(text, path));
    strcpy(out, text);
    return ERR_OK;
}

bool secret_equal(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    volatile unsigned char difference = (unsigned char)(n != m);
    for (size_t i = 0; i < m; i++) difference |= (unsigned char)(b[i] ^ a[n ? i % n : 0]);
    return difference == 0;
}

size_t secret_format_line(char out[SECRET_LINE_BYTES], uint64_t epoch, const char *secret,
                          const struct address *a) {
    char where[ADDRESS_TEXT_BYTES];
    address_format(a, where);
    int n = snprintf(out, SECRET_LINE_BYTES, "LOCKSTEP1 %" PRIu64 " %s %s\n", epoch, secret, where);
    CHECK(n > 0 && n < SECRET_LINE_BYTES);
    return (size_t)n;
}
