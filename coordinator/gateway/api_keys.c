// SPDX-License-Identifier: MIT
/* api_keys.c: see api_keys.h. */

#include "coordinator/gateway/api_keys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "common/log.h"
#include "common/mem.h"

static const char *const open_paths[] = {"/", "/health", "/ready"};

err api_keys_add(struct api_keys *k, const char *key, const char *where) {
    size_t n = strlen(key);
    if (n == 0 || n > API_KEY_MAX_BYTES)
        return FAIL(ERR_USAGE, "%s: a key has 1 to %d bytes, not %zu", where, API_KEY_MAX_BYTES, n);
    for (size_t i = 0; i < n; i++)
        if (key[i] <= ' ' || key[i] > '~')
            return FAIL(ERR_USAGE, "%s: byte %zu of a key is no visible ASCII character", where,
                        i + 1);
    k->keys = mem_realloc(k->keys, (k->n + 1) * sizeof *k->keys);
    k->keys[k->n++] = mem_strdup(key);
    return ERR_OK;
}

static void warn_when_shared(FILE *f, const char *path) {
    struct stat s;
    if (fstat(fileno(f), &s) == 0 && S_ISREG(s.st_mode) && (s.st_mode & S_IROTH))
        log_warn("every user of this host can read the keys in '%s': chmod o-r", path);
}

static err read_lines(struct api_keys *k, FILE *f, const char *path) {
    char line[API_KEY_MAX_BYTES + 3], where[300]; // with \r\n; longer ones are too long in parts
    size_t before = k->n;
    snprintf(where, sizeof where, "--api-key-file %.200s", path);
    while (fgets(line, sizeof line, f)) {
        size_t n = strcspn(line, "\r\n");
        if (line[n] == '\0' && !feof(f))
            return FAIL(ERR_USAGE, "%s: a key has 1 to %d bytes", where, API_KEY_MAX_BYTES);
        line[n] = '\0';
        if (n > 0 && line[0] != '#') TRY(api_keys_add(k, line, where));
    }
    if (ferror(f)) return FAIL(ERR_USAGE, "%s: it cannot be read", where);
    if (k->n == before)
        return FAIL(ERR_USAGE, "%s: it holds no key; write one on a line of its own", where);
    return ERR_OK;
}

err api_keys_read(struct api_keys *k, const char *path) {
    FILE *f = fopen(path, "re");
    if (!f) return FAIL(ERR_USAGE, "--api-key-file %s: %s", path, strerror(errno));
    warn_when_shared(f, path);
    err e = read_lines(k, f, path);
    fclose(f);
    return e;
}

void api_keys_deinit(struct api_keys *k) {
    for (size_t i = 0; i < k->n; i++) mem_free(k->keys[i]);
    mem_free(k->keys);
    *k = (struct api_keys){0};
}

/* The time depends on the length of what was sent only. */
static bool same(const char *sent, size_t n_sent, const char *key) {
    size_t n_key = strlen(key);
    unsigned differs = n_sent != n_key;
    for (size_t i = 0; i < n_sent; i++)
        differs |= (unsigned char)sent[i] ^ (unsigned char)key[i % n_key];
    return differs == 0;
}

enum api_keys_verdict api_keys_judge(const struct api_keys *k, const char *path,
                                     const char *authorization) {
    if (k->n == 0) return API_KEY_GOOD;
    for (size_t i = 0; i < sizeof open_paths / sizeof *open_paths; i++)
        if (strcmp(path, open_paths[i]) == 0) return API_KEY_GOOD;
    if (strncasecmp(authorization, "bearer ", 7) != 0) return API_KEY_MISSING;
    const char *sent = authorization + 7 + strspn(authorization + 7, " ");
    size_t n = strcspn(sent, " \t");
    bool good = false;
    for (size_t i = 0; i < k->n; i++) good |= same(sent, n, k->keys[i]);
    return good ? API_KEY_GOOD : n ? API_KEY_WRONG : API_KEY_MISSING;
}
