// SPDX-License-Identifier: MIT
/* hostinfo.c: see hostinfo.h.
 *
 * Any thread.  A control group's limit holds for all groups below it, so the tightest one on the
 * way from our group to the root counts.  Inside a container the path in /proc/self/cgroup may not
 * exist below the mount: the walk upwards then finds the container's own group at the root.  Page
 * cache counts as usage there though it gives way, so it is taken off again: a model file that was
 * read once must not look like memory that is gone. */

#include "worker/job/hostinfo.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES   1024
#define NO_LIMIT     (UINT64_C(1) << 62) // version 1 writes "none" as almost 2^63
#define SHM_FOLDER   "/dev/shm/"
#define DELETED_MARK " (deleted)"

/* ---- small files ---- */

/* The first number in a file; false when there is none ("max"). */
static bool read_number(const char *folder, const char *name, uint64_t *out) {
    char path[PATH_BYTES + 64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "re");
    if (!f) return false;
    bool found = fscanf(f, "%" SCNu64, out) == 1;
    fclose(f);
    return found;
}

/* The value of a line "key value…" or "key: value…"; 0 when there is no such line. */
static uint64_t read_keyed(const char *folder, const char *name, const char *key) {
    char path[PATH_BYTES + 64], line[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "re");
    if (!f) return 0;
    size_t length = strlen(key);
    uint64_t value = 0;
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, key, length) == 0 && (line[length] == ' ' || line[length] == ':')) {
            value = strtoull(line + length + 1, NULL, 10);
            break;
        }
    }
    fclose(f);
    return value;
}

/* ---- control groups ---- */

static bool lists_controller(const char *list, const char *controller) {
    size_t length = strlen(controller);
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, controller, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return true;
    }
    return false;
}

/* The path of our group for a controller of version 1, or of version 2 (controller ""). */
static bool group_path(const char *root, const char *controller, char out[PATH_BYTES]) {
    char path[PATH_BYTES], line[PATH_BYTES + 128];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) { // "4:cpu,cpuacct:/a/b"
        line[strcspn(line, "\n")] = '\0';
        char *list = strchr(line, ':');
        char *group = list ? strchr(list + 1, ':') : NULL;
        if (!group) continue;
        *group++ = '\0';
        list++;
        found = controller[0] ? lists_controller(list, controller) : list[0] == '\0';
        if (found) snprintf(out, PATH_BYTES, "%.*s", PATH_BYTES - 1, group);
    }
    if (f) fclose(f);
    return found;
}

/* Calls visit for the folder of our group and of every group above it, up to the mount itself. */
static void walk_groups(const char *root, const char *mount, const char *controller,
                        void (*visit)(const char *folder, void *ctx), void *ctx) {
    char group[PATH_BYTES], folder[2 * PATH_BYTES];
    if (!group_path(root, controller, group)) return;
    for (;;) {
        if (strcmp(group, "/") == 0) group[0] = '\0';
        int n = snprintf(folder, sizeof folder, "%s%s%s", root, mount, group);
        if (n > 0 && n < PATH_BYTES) visit(folder, ctx);
        char *slash = strrchr(group, '/');
        if (!slash) return;
        *slash = '\0';
    }
}

static void tighten(uint64_t *left, uint64_t limit, uint64_t usage, uint64_t reclaimable) {
    if (limit >= NO_LIMIT) return;
    uint64_t used = usage > reclaimable ? usage - reclaimable : 0;
    uint64_t here = limit > used ? limit - used : 0;
    if (here < *left) *left = here;
}

static void visit_memory_v1(const char *folder, void *ctx) {
    uint64_t limit, usage;
    if (!read_number(folder, "memory.limit_in_bytes", &limit) ||
        !read_number(folder, "memory.usage_in_bytes", &usage))
        return;
    tighten(ctx, limit, usage,
            read_keyed(folder, "memory.stat", "total_inactive_file") +
                read_keyed(folder, "memory.stat", "total_active_file"));
}

static void visit_memory_v2(const char *folder, void *ctx) {
    uint64_t limit, usage;
    if (!read_number(folder, "memory.max", &limit) ||
        !read_number(folder, "memory.current", &usage))
        return;
    tighten(ctx, limit, usage,
            read_keyed(folder, "memory.stat", "inactive_file") +
                read_keyed(folder, "memory.stat", "active_file") +
                read_keyed(folder, "memory.stat", "slab_reclaimable"));
}

static uint64_t hash_text(uint64_t h, const char *s) { // FNV-1a
    for (; *s; s++) h = (h ^ (uint8_t)*s) * UINT64_C(0x100000001b3);
    return h;
}

struct hostinfo_memory hostinfo_memory(const char *root) {
    struct hostinfo_memory m = {.cgroup_bytes = UINT64_MAX,
                                .cgroup_id = UINT64_C(0xcbf29ce484222325)};
    char proc[PATH_BYTES], group[PATH_BYTES];
    snprintf(proc, sizeof proc, "%s/proc", root);
    m.host_bytes = read_keyed(proc, "meminfo", "MemAvailable") * 1024;
    walk_groups(root, "/sys/fs/cgroup/memory", "memory", visit_memory_v1, &m.cgroup_bytes);
    walk_groups(root, "/sys/fs/cgroup", "", visit_memory_v2, &m.cgroup_bytes);
    if (group_path(root, "memory", group)) m.cgroup_id = hash_text(m.cgroup_id, group);
    if (group_path(root, "", group)) m.cgroup_id = hash_text(m.cgroup_id, group);
    return m;
}

uint64_t hostinfo_memory_available(const struct hostinfo_memory *m) {
    return m->host_bytes < m->cgroup_bytes ? m->host_bytes : m->cgroup_bytes;
}

static void tighten_cpus(double *cpus, double quota, double period) {
    if (quota <= 0 || period <= 0) return;
    if (*cpus == 0 || quota / period < *cpus) *cpus = quota / period;
}

static void visit_cpu_v1(const char *folder, void *ctx) {
    uint64_t quota, period; // a quota of -1 reads as almost 2^64
    if (read_number(folder, "cpu.cfs_quota_us", &quota) && quota < NO_LIMIT &&
        read_number(folder, "cpu.cfs_period_us", &period))
        tighten_cpus(ctx, (double)quota, (double)period);
}

static void visit_cpu_v2(const char *folder, void *ctx) {
    char path[PATH_BYTES + 64];
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    FILE *f = fopen(path, "re"); // "200000 100000" or "max 100000"
    if (!f) return;
    double quota, period;
    if (fscanf(f, "%lf %lf", &quota, &period) == 2) tighten_cpus(ctx, quota, period);
    fclose(f);
}

double hostinfo_cpu_quota(const char *root) {
    double cpus = 0;
    walk_groups(root, "/sys/fs/cgroup/cpu", "cpu", visit_cpu_v1, &cpus);
    walk_groups(root, "/sys/fs/cgroup", "", visit_cpu_v2, &cpus);
    return cpus;
}

/* ---- this process and its CPU ---- */

uint64_t hostinfo_resident_bytes(void) {
    uint64_t total, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%" SCNu64 " %" SCNu64, &total, &resident) != 2) resident = 0;
    if (f) fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The mapping's first line is "7f…000-7f…000 rw-p …", then one line for each of its numbers.  It
 * may have grown together with a neighbour. */
uint64_t hostinfo_huge_bytes(const void *p, uint64_t bytes) {
    char line[512];
    uint64_t begin, end, kib, huge = 0;
    bool inside = false;
    FILE *f = fopen("/proc/self/smaps", "re");
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &begin, &end) == 2)
            inside = (uintptr_t)p >= begin && (uintptr_t)p < end;
        else if (inside && sscanf(line, "AnonHugePages: %" SCNu64, &kib) == 1)
            huge = kib * 1024;
    }
    if (f) fclose(f);
    return huge < bytes ? huge : bytes;
}

void hostinfo_cpu_name(const char *root, char *out, size_t n) {
    char path[PATH_BYTES], line[256];
    out[0] = '\0';
    snprintf(path, sizeof path, "%s/proc/cpuinfo", root);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (!colon || strncmp(line, "model name", strlen("model name")) != 0) continue;
        snprintf(out, n, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (f) fclose(f);
}

/* ---- shared memory of MPI ---- */

/* Only files that Open MPI makes: something else below /dev/shm is not ours to remove. */
static bool is_mpi_segment(const char *name) {
    static const char *const prefixes[] = {"vader_segment.", "sm_segment.", "osc_sm.", "open_mpi."};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) return true;
    }
    return false;
}

/* One line of /proc/self/maps: "7f… rw-s 00000000 00:19 2  /dev/shm/vader_segment.host.0.1.0" */
static void visit_mapping(char *line, void (*visit)(const char *path, void *ctx), void *ctx) {
    char *path = strchr(line, '/');
    if (!path || strncmp(path, SHM_FOLDER, strlen(SHM_FOLDER)) != 0) return;
    if (strstr(path, DELETED_MARK) || strlen(path) >= HOSTINFO_SHM_PATH_MAX) return;
    if (is_mpi_segment(path + strlen(SHM_FOLDER))) visit(path, ctx);
}

/* Calls visit for every mapped segment, with nothing but open, read and close: a signal handler
 * comes through here. */
static void each_segment(void (*visit)(const char *path, void *ctx), void *ctx) {
    char text[4096 + PATH_MAX];
    size_t have = 0;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    for (ssize_t n; (n = read(fd, text + have, sizeof text - 1 - have)) > 0;) {
        have += (size_t)n;
        char *line = text, *end;
        while ((end = memchr(line, '\n', (size_t)(text + have - line))) != NULL) {
            *end = '\0';
            visit_mapping(line, visit, ctx);
            line = end + 1;
        }
        have = (size_t)(text + have - line);
        if (have == sizeof text - 1) have = 0; // a line longer than any path
        memmove(text, line, have);
    }
    close(fd);
}

struct segment_list {
    char (*paths)[HOSTINFO_SHM_PATH_MAX];
    size_t n, max;
};

static void remember_segment(const char *path, void *ctx) {
    struct segment_list *list = ctx;
    for (size_t i = 0; i < list->n; i++) {
        if (strcmp(list->paths[i], path) == 0) return;
    }
    if (list->n < list->max) strcpy(list->paths[list->n++], path);
}

static void unlink_segment(const char *path, void *ctx) {
    (void)ctx;
    unlink(path);
}

size_t hostinfo_shm_files(char (*paths)[HOSTINFO_SHM_PATH_MAX], size_t max) {
    struct segment_list list = {.paths = paths, .max = max};
    each_segment(remember_segment, &list);
    return list.n;
}

void hostinfo_unlink_shm_files(void) {
    each_segment(unlink_segment, NULL);
}
