// SPDX-License-Identifier: MIT
/* address.c: see address.h.  The kernel's routing table is asked which of our addresses another
 * host can answer to: a UDP socket that is connected picks a source address and sends nothing. */

#include "coordinator/cluster/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static err bad_address(const char *text) {
    return FAIL(ERR_USAGE,
                "control address '%.80s': HOST, HOST:PORT with a port up to 65535, "
                "[V6]:PORT or the path of a Unix socket (at most 103 bytes) is needed",
                text);
}

static bool parse_port(const char *text, uint16_t *out) {
    char *end;
    unsigned long v = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || v > 65535) return false;
    *out = (uint16_t)v;
    return true;
}

err address_parse(struct address *out, const char *text) {
    *out = (struct address){0};
    if (strchr(text, '/')) {
        if (strlen(text) >= sizeof out->path) return bad_address(text);
        out->is_unix = true;
        strcpy(out->path, text);
        return ERR_OK;
    }
    const char *host = text, *end, *port = NULL;
    if (*text == '[') {
        host = text + 1;
        end = strchr(host, ']');
        if (!end || (end[1] && end[1] != ':')) return bad_address(text);
        if (end[1]) port = end + 2;
    } else {
        end = strchr(text, ':');
        if (end && strchr(end + 1, ':')) end = NULL; // a bare IPv6 number has no port
        if (end)
            port = end + 1;
        else
            end = text + strlen(text);
    }
    size_t n = (size_t)(end - host);
    if (n == 0 || n >= sizeof out->host || (port && !parse_port(port, &out->port)))
        return bad_address(text);
    memcpy(out->host, host, n);
    return ERR_OK;
}

void address_format(const struct address *a, char *out) {
    const char *form = strchr(a->host, ':') ? "tcp:[%s]:%u" : "tcp:%s:%u";
    if (a->is_unix)
        snprintf(out, ADDRESS_TEXT_BYTES, "unix:%s", a->path);
    else
        snprintf(out, ADDRESS_TEXT_BYTES, form, a->host, a->port);
}

err address_resolve(const struct address *a, struct sockaddr_storage *out) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    char port[8];
    snprintf(port, sizeof port, "%u", a->port);
    int status = getaddrinfo(a->host, port, &hints, &found);
    if (status) return FAIL(ERR_ADDRESS, "the host '%s': %s", a->host, gai_strerror(status));
    memcpy(out, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return ERR_OK;
}

static bool number_of(const struct sockaddr *a, char *out, size_t size) {
    const void *bytes = a->sa_family == AF_INET
                            ? (const void *)&((const struct sockaddr_in *)a)->sin_addr
                            : (const void *)&((const struct sockaddr_in6 *)a)->sin6_addr;
    return inet_ntop(a->sa_family, bytes, out, (socklen_t)size) != NULL;
}

bool address_toward(const char *host, char *out, size_t size) {
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found;
    if (getaddrinfo(host, "9", &hints, &found) != 0) return false;
    bool ok = false;
    int fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        struct sockaddr_storage own;
        socklen_t n = sizeof own;
        ok = connect(fd, found->ai_addr, found->ai_addrlen) == 0 &&
             getsockname(fd, (struct sockaddr *)&own, &n) == 0 &&
             number_of((struct sockaddr *)&own, out, size);
        close(fd);
    }
    freeaddrinfo(found);
    return ok;
}

bool address_of_this_host(char *out, size_t size) {
    struct ifaddrs *all;
    if (getifaddrs(&all) != 0) return false;
    bool ok = false;
    static const int families[] = {AF_INET, AF_INET6};
    for (size_t f = 0; f < 2 && !ok; f++) {
        for (const struct ifaddrs *i = all; i && !ok; i = i->ifa_next) {
            if (!i->ifa_addr || i->ifa_addr->sa_family != families[f]) continue;
            if (!(i->ifa_flags & IFF_UP) || (i->ifa_flags & IFF_LOOPBACK)) continue;
            const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)i->ifa_addr;
            if (families[f] == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr)) continue;
            ok = number_of(i->ifa_addr, out, size);
        }
    }
    freeifaddrs(all);
    return ok;
}

err address_first_remote(const char *path, const char *self, char *out, size_t size) {
    FILE *f = fopen(path, "re");
    if (!f) return FAIL(ERR_USAGE, "the hostfile '%s': %s", path, strerror(errno));
    char line[1024];
    size_t hosts = 0;
    *out = '\0';
    while (!*out && fgets(line, sizeof line, f)) {
        line[strcspn(line, "#\r\n")] = '\0';
        char *rest, *host = strtok_r(line, " \t", &rest);
        if (!host) continue;
        hosts++;
        char *at = strchr(host, '@'); // user@host
        if (at) host = at + 1;
        if (strcmp(host, self) == 0 || strncmp(host, "localhost", 9) == 0 ||
            strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0)
            continue;
        snprintf(out, size, "%s", host);
    }
    fclose(f);
    if (hosts == 0) return FAIL(ERR_USAGE, "the hostfile '%s' names no host", path);
    return ERR_OK;
}
