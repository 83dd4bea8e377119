// SPDX-License-Identifier: MIT
/* rundir.c: see rundir.h. */

#include "coordinator/cluster/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

#define PREFIX "lockstep-"

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    remove(path); // what cannot be removed stays; there is nothing better to do
    return 0;
}

void rundir_remove(const char *path) {
    if (*path) nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static bool is_mine(const char *path, mode_t kind) {
    struct stat st;
    return lstat(path, &st) == 0 && (st.st_mode & S_IFMT) == kind && st.st_uid == geteuid();
}

static void remove_stale(const char *base) {
    DIR *d = opendir(base);
    if (!d) return;
    for (const struct dirent *entry; (entry = readdir(d));) {
        char *end, path[4096];
        if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0) continue;
        long pid = strtol(entry->d_name + strlen(PREFIX), &end, 10);
        if (pid <= 1 || *end != '-' || strlen(end) != 7) continue;
        if (kill((pid_t)pid, 0) == 0 || errno != ESRCH) continue;
        snprintf(path, sizeof path, "%s/%s", base, entry->d_name);
        if (!is_mine(path, S_IFDIR)) continue;
        log_debug("removing %s, left by a coordinator that is gone", path);
        rundir_remove(path);
    }
    closedir(d);
}

static bool make_in(const char *base, char out[RUNDIR_BYTES]) {
    int n = snprintf(out, RUNDIR_BYTES, "%s/" PREFIX "%d-XXXXXX", base, (int)getpid());
    return n > 0 && n < RUNDIR_BYTES && mkdtemp(out);
}

err rundir_create(char out[RUNDIR_BYTES]) {
    const char *base = getenv("XDG_RUNTIME_DIR");
    if (!base || !*base || !make_in(base, out)) {
        base = "/tmp";
        if (!make_in(base, out)) {
            *out = '\0';
            return FAIL(ERR_IO, "no folder can be made in /tmp: %s", strerror(errno));
        }
    }
    remove_stale(base);
    return ERR_OK;
}

void rundir_remove_shared_memory(const char *path) {
    static const char *const kinds[] = {"/dev/shm/vader_segment.", "/dev/shm/osc_sm."};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t n = strlen(kinds[i]);
        if (strncmp(path, kinds[i], n) != 0 || strchr(path + n, '/')) continue;
        if (is_mine(path, S_IFREG)) unlink(path);
    }
}

void rundir_remove_mpi_session(pid_t mpirun) {
    char host[256], path[1024];
    const char *base = getenv("TMPDIR");
    if (gethostname(host, sizeof host) != 0) return;
    host[sizeof host - 1] = '\0';
    int n = snprintf(path, sizeof path, "%s/ompi.%s.%d/pid.%d", base && *base ? base : "/tmp", host,
                     (int)geteuid(), (int)mpirun);
    if (n > 0 && (size_t)n < sizeof path && is_mine(path, S_IFDIR)) rundir_remove(path);
}
