// SPDX-License-Identifier: MIT
/* client_limits.c: see client_limits.h. */

#include "coordinator/gateway/client_limits.h"

#include <dirent.h>
#include <sys/resource.h>

#include "common/log.h"

#define NS_PER_S 1e9

static uint64_t ns(double seconds) {
    return (uint64_t)(seconds * NS_PER_S);
}

struct client_limits client_limits_from_options(const struct options *o) {
    return (struct client_limits){.head_bytes = o->max_header_bytes,
                                  .headers = o->max_headers,
                                  .body_bytes = o->max_body_bytes,
                                  .unread_bytes = o->max_unread_bytes,
                                  .connections = o->max_connections,
                                  .head_ns = ns(o->header_timeout),
                                  .body_ns = ns(o->body_timeout),
                                  .idle_ns = ns(o->idle_timeout),
                                  .write_ns = ns(o->write_timeout),
                                  .ping_ns = ns(o->ping_interval)};
}

static uint64_t count_open(void) {
    uint64_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    if (!d) return 64;
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

uint32_t client_limits_make_room(uint32_t wanted, uint32_t reserved) {
    struct rlimit files;
    uint64_t others = count_open() + reserved, need = others + wanted;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) return wanted;
    if (files.rlim_cur < need && files.rlim_cur < files.rlim_max) {
        struct rlimit raised = {.rlim_cur = need < files.rlim_max ? need : files.rlim_max,
                                .rlim_max = files.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) files = raised;
    }
    if (files.rlim_cur >= need) return wanted;
    uint32_t room = files.rlim_cur > others ? (uint32_t)(files.rlim_cur - others) : 1;
    log_warn("%u connections at once instead of %u: this process may open %llu files (ulimit -n)",
             room, wanted, (unsigned long long)files.rlim_cur);
    return room;
}
