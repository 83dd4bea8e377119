// SPDX-License-Identifier: MIT
/* test_hostinfo.c: limits of control groups, from small copies of /proc and /sys. */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker/job/hostinfo.h"

#define MIB ((uint64_t)1 << 20)

static char root[64];

/* Writes root/path, making the folders on the way. */
static void put(const char *path, const char *text) {
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int make_root(void **state) {
    (void)state;
    strcpy(root, "/tmp/lockstep-hostinfo-XXXXXX");
    if (!mkdtemp(root)) return -1;
    put("/proc/meminfo", "MemTotal:  8000 kB\nMemFree:  1 kB\nMemAvailable:  4194304 kB\n");
    return 0;
}

static int remove_root(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

static void no_groups(void **state) {
    (void)state;
    struct hostinfo_memory m = hostinfo_memory(root);
    assert_int_equal(m.host_bytes, 4096 * MIB);
    assert_true(m.cgroup_bytes == UINT64_MAX);
    assert_int_equal(hostinfo_memory_available(&m), 4096 * MIB);
    assert_true(hostinfo_cpu_quota(root) == 0);
}

/* The limit is two levels up; page cache gives way, so 300 - (200 - 150) are left. */
static void version2_limit_of_an_ancestor(void **state) {
    (void)state;
    put("/proc/self/cgroup", "0::/job/step/task\n");
    put("/sys/fs/cgroup/job/step/task/memory.max", "max\n");
    put("/sys/fs/cgroup/job/step/task/memory.current", "104857600\n");
    put("/sys/fs/cgroup/job/memory.max", "314572800\n");
    put("/sys/fs/cgroup/job/memory.current", "209715200\n");
    put("/sys/fs/cgroup/job/memory.stat",
        "anon 1\ninactive_file 104857600\nactive_file 52428800\nslab_reclaimable 0\n");
    put("/sys/fs/cgroup/job/step/cpu.max", "250000 100000\n");
    put("/sys/fs/cgroup/job/cpu.max", "max 100000\n");
    struct hostinfo_memory m = hostinfo_memory(root);
    assert_int_equal(m.cgroup_bytes, 250 * MIB);
    assert_int_equal(hostinfo_memory_available(&m), 250 * MIB);
    assert_true(hostinfo_cpu_quota(root) == 2.5);
}

static void version1_with_joined_controllers(void **state) {
    (void)state;
    put("/proc/self/cgroup", "5:cpuset:/\n4:cpu,cpuacct:/a\n3:memory:/a/b\n0::/\n");
    put("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/a/b/memory.usage_in_bytes", "1048576\n");
    put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "104857600\n");
    put("/sys/fs/cgroup/memory/a/memory.usage_in_bytes", "41943040\n");
    put("/sys/fs/cgroup/memory/a/memory.stat",
        "inactive_file 5\ntotal_inactive_file 10485760\ntotal_active_file 10485760\n");
    put("/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "150000\n");
    put("/sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    struct hostinfo_memory m = hostinfo_memory(root);
    assert_int_equal(m.cgroup_bytes, 80 * MIB);
    assert_true(hostinfo_cpu_quota(root) == 1.5);
}

/* Inside a container the path is the host's; what is mounted is the container's own group. */
static void path_outside_the_container(void **state) {
    (void)state;
    put("/proc/self/cgroup", "0::/system.slice/docker-1234.scope\n");
    put("/sys/fs/cgroup/memory.max", "67108864\n");
    put("/sys/fs/cgroup/memory.current", "134217728\n");
    struct hostinfo_memory m = hostinfo_memory(root);
    assert_int_equal(m.cgroup_bytes, 0); // over its limit already, not a wrapped number
}

static void groups_are_told_apart(void **state) {
    (void)state;
    put("/proc/self/cgroup", "0::/a\n");
    uint64_t a = hostinfo_memory(root).cgroup_id, again = hostinfo_memory(root).cgroup_id;
    put("/proc/self/cgroup", "0::/b\n");
    uint64_t b = hostinfo_memory(root).cgroup_id;
    assert_true(a == again);
    assert_true(a != b);
}

/* A segment named as Open MPI's is seen and removed; another shared file is left alone. */
static void segments_of_mpi_only(void **state) {
    (void)state;
    char ours[96], other[96], found[HOSTINFO_SHM_MAX][HOSTINFO_SHM_PATH_MAX];
    snprintf(ours, sizeof ours, "/dev/shm/vader_segment.test.%d", (int)getpid());
    snprintf(other, sizeof other, "/dev/shm/lockstep-test.%d", (int)getpid());
    const char *paths[] = {ours, other};
    for (int i = 0; i < 2; i++) {
        int fd = open(paths[i], O_RDWR | O_CREAT, 0600);
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, 4096), 0);
        assert_true(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED);
        close(fd);
    }
    assert_int_equal(hostinfo_shm_files(found, HOSTINFO_SHM_MAX), 1);
    assert_string_equal(found[0], ours);
    assert_int_equal(hostinfo_shm_files(found, 0), 0);
    hostinfo_unlink_shm_files();
    assert_int_equal(access(ours, F_OK), -1);
    assert_int_equal(access(other, F_OK), 0);
    assert_int_equal(hostinfo_shm_files(found, HOSTINFO_SHM_MAX), 0);
    unlink(other);
}

static void name_of_the_cpu(void **state) {
    (void)state;
    char name[16];
    hostinfo_cpu_name(root, name, sizeof name);
    assert_string_equal(name, "");
    put("/proc/cpuinfo",
        "processor\t: 0\nmodel\t\t: 17\nmodel name\t: A very long name of a CPU\n");
    hostinfo_cpu_name(root, name, sizeof name);
    assert_string_equal(name, "A very long nam");
}

static void resident_and_huge(void **state) {
    (void)state;
    const size_t bytes = 64 * MIB;
    uint64_t before = hostinfo_resident_bytes();
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED && before > 0);
    madvise(p, bytes, MADV_HUGEPAGE);
    memset(p, 1, bytes);
    assert_true(hostinfo_resident_bytes() >= before + bytes * 9 / 10);
    assert_true(hostinfo_huge_bytes(p, bytes) <= bytes); // none where the machine gives none
    munmap(p, bytes);
}

#define IN_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_ROOT(no_groups),
        IN_ROOT(version2_limit_of_an_ancestor),
        IN_ROOT(version1_with_joined_controllers),
        IN_ROOT(path_outside_the_container),
        IN_ROOT(groups_are_told_apart),
        IN_ROOT(name_of_the_cpu),
        cmocka_unit_test(resident_and_huge),
        cmocka_unit_test(segments_of_mpi_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
