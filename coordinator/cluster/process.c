// SPDX-License-Identifier: MIT
/* process.c: see process.h.  Read from /proc/PID/stat:
 *   pid (name) state ppid pgrp session … start time is field 22
 * The name may hold spaces and brackets, so fields are counted from its last ')'; and it is not
 * asked for what the program is, since anybody can change it: that is where /proc/PID/exe leads. */

#include "coordinator/cluster/process.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct stat_line {
    char state;
    pid_t session;
    uint64_t start_ticks;
};

static bool read_stat(struct stat_line *out, pid_t pid) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *bracket = strrchr(text, ')');
    if (!bracket) return false;
    int session;
    if (sscanf(bracket + 1,
               " %c %*d %*d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
               "%" SCNu64,
               &out->state, &session, &out->start_ticks) != 3)
        return false;
    out->session = session;
    return out->state != 'Z' && out->state != 'X';
}

/* Is the program's file called `name`?  The file may have been replaced since it was started. */
static bool runs_program(pid_t pid, const char *name) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/%d/exe", (int)pid);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return false;
    path[n] = '\0';
    char *deleted = strstr(path, " (deleted)");
    if (deleted) *deleted = '\0';
    const char *slash = strrchr(path, '/');
    return slash && strcmp(slash + 1, name) == 0;
}

bool process_find(struct process *out, pid_t pid, const char *program) {
    struct stat_line line;
    if (pid <= 1 || !runs_program(pid, program) || !read_stat(&line, pid)) return false;
    *out = (struct process){.pid = pid, .start_ticks = line.start_ticks};
    return true;
}

bool process_is_alive(const struct process *p) {
    struct stat_line line;
    return read_stat(&line, p->pid) && line.start_ticks == p->start_ticks;
}

void process_signal(const struct process *p, int signal) {
    if (process_is_alive(p)) kill(p->pid, signal);
}

size_t process_signal_session(pid_t session, int signal) {
    DIR *d = opendir("/proc");
    if (!d) return 0;
    size_t n = 0;
    for (const struct dirent *entry; (entry = readdir(d));) {
        if (!isdigit((unsigned char)entry->d_name[0])) continue;
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        struct stat_line line;
        if (pid == getpid() || !read_stat(&line, pid) || line.session != session) continue;
        if (signal) kill(pid, signal);
        n++;
    }
    closedir(d);
    return n;
}
