// SPDX-License-Identifier: MIT
/* target.c: see target.h.  People give the base of an API with and without "/v1" and slashes at the
 * end; all of them mean the same server. */

#include "coordinator/load/target.h"

#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static err bad_url(const char *url, const char *why) {
    return FAIL(ERR_USAGE, "--url %.200s: %s; it looks like http://HOST:PORT", url, why);
}

/* The port behind ':', or 80; text[0..n) is all of it. */
static bool parse_port(const char *text, size_t n, uint16_t *out) {
    *out = 80;
    if (n == 0) return true;
    if (text[0] != ':' || n < 2 || n > 6) return false;
    unsigned port = 0;
    for (size_t i = 1; i < n; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    *out = (uint16_t)port;
    return port >= 1 && port <= 65535;
}

/* text[0..n) is HOST, HOST:PORT, [V6] or [V6]:PORT. */
static const char *parse_authority(struct target *t, const char *text, size_t n) {
    bool bracketed = n > 0 && text[0] == '[';
    const char *host = text + bracketed;
    const char *end = memchr(host, bracketed ? ']' : ':', n - bracketed);
    if (bracketed && !end) return "there is no ']'";
    size_t host_bytes = end ? (size_t)(end - host) : n - bracketed;
    if (host_bytes == 0) return "there is no host in it";
    if (host_bytes >= sizeof t->host) return "the host's name is too long";
    size_t behind = bracketed ? host_bytes + 2 : host_bytes;
    if (!parse_port(text + behind, n - behind, &t->port)) return "the port is none from 1 to 65535";
    for (size_t i = 0; i < host_bytes; i++) {
        if (host[i] <= ' ' || host[i] >= 0x7f || host[i] == '@') return "the host's name is odd";
    }
    memcpy(t->host, host, host_bytes);
    t->host[host_bytes] = '\0';
    snprintf(t->authority, sizeof t->authority, bracketed ? "[%s]:%u" : "%s:%u", t->host, t->port);
    return NULL;
}

static const char *parse_prefix(struct target *t, const char *path) {
    size_t n = strlen(path);
    if (n >= sizeof t->prefix) return "the path is too long";
    for (size_t i = 0; i < n; i++) {
        if (path[i] <= ' ' || path[i] >= 0x7f) return "the path has bytes that no path may have";
        if (path[i] == '?' || path[i] == '#') return "a query or fragment has no place in it";
    }
    while (n > 0 && path[n - 1] == '/') n--;
    if (n >= 3 && memcmp(path + n - 3, "/v1", 3) == 0) n -= 3;
    while (n > 0 && path[n - 1] == '/') n--;
    memcpy(t->prefix, path, n);
    t->prefix[n] = '\0';
    return NULL;
}

err target_parse(struct target *t, const char *url) {
    *t = (struct target){0};
    if (strncasecmp(url, "https://", 8) == 0)
        return bad_url(url, "TLS is not spoken here, ask the server behind the proxy");
    if (strncasecmp(url, "http://", 7) != 0) return bad_url(url, "it does not begin with http://");
    const char *authority = url + 7;
    size_t n = strcspn(authority, "/?#");
    const char *why = parse_authority(t, authority, n);
    if (!why) why = parse_prefix(t, authority + n);
    return why ? bad_url(url, why) : ERR_OK;
}

err target_resolve(struct target *t) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    char port[8];
    snprintf(port, sizeof port, "%u", t->port);
    int status = getaddrinfo(t->host, port, &hints, &found);
    if (status) return FAIL(ERR_ADDRESS, "the host '%s': %s", t->host, gai_strerror(status));
    t->n_addresses = t->preferred = 0;
    for (const struct addrinfo *a = found; a && t->n_addresses < TARGET_MAX_ADDRESSES;
         a = a->ai_next)
        memcpy(&t->addresses[t->n_addresses++], a->ai_addr, a->ai_addrlen);
    freeaddrinfo(found);
    return ERR_OK;
}
