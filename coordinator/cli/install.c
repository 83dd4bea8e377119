// SPDX-License-Identifier: MIT
/* install.c: see install.h.  /proc/self/exe is asked, not argv[0], which may be anything. */

#include "coordinator/cli/install.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void beside_program(char *out, size_t size, const char *relative) {
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash) *slash = '\0';
    snprintf(out, size, "%s/%s", slash ? self : ".", relative);
}

const char *install_worker(void) {
    static char path[PATH_MAX + 32];
    if (!path[0]) beside_program(path, sizeof path, "lockstep-worker");
    return path;
}

const char *install_demo_model(void) {
    static char path[PATH_MAX + 64];
    if (path[0]) return path;
    beside_program(path, sizeof path, "../share/lockstep/demo-q8_0.gguf");
    if (access(path, R_OK) != 0) snprintf(path, sizeof path, "%s", LOCKSTEP_DEMO_MODEL);
    return path;
}
