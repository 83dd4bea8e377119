// SPDX-License-Identifier: MIT
/* test_machine.c: the facts of a host, from a small copy of /proc and /sys. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "coordinator/bench/machine.h"

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
    strcpy(root, "/tmp/lockstep-machine-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

static json_t *at(json_t *j, const char *path) {
    char copy[128], *rest;
    snprintf(copy, sizeof copy, "%s", path);
    for (char *key = strtok_r(copy, ".", &rest); key; key = strtok_r(NULL, ".", &rest))
        j = json_object_get(j, key);
    assert_non_null(j);
    return j;
}

static void test_facts(void **state) {
    (void)state;
    put("/proc/cpuinfo",
        "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\n"
        "model name\t: AMD EPYC 9B45\nstepping\t: 1\nflags\t\t: fpu avx512_vnni\n");
    put("/proc/meminfo", "MemTotal:       100 kB\nMemAvailable:    50 kB\n");
    put("/proc/loadavg", "0.50 1.25 2.00 1/200 4711\n");
    put("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    put("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n");
    put("/sys/devices/system/cpu/cpu0/cache/index0/level", "1\n");
    put("/sys/devices/system/cpu/cpu0/cache/index0/size", "48K\n");
    json_t *j = machine_host_json(root);
    assert_string_equal(json_string_value(at(j, "cpu.model")), "AMD EPYC 9B45");
    assert_int_equal(json_integer_value(at(j, "cpu.family")), 26);
    assert_int_equal(json_integer_value(at(j, "cpu.model_number")), 2);
    assert_int_equal(json_integer_value(at(j, "cpu.stepping")), 1);
    assert_string_equal(json_string_value(at(j, "cpu.flags")), "fpu avx512_vnni");
    assert_string_equal(json_string_value(at(j, "cpu.governor")), "performance");
    assert_true(json_is_null(at(j, "cpu.microcode")));
    assert_int_equal(json_array_size(at(j, "cpu.caches")), 1);
    assert_string_equal(json_string_value(at(json_array_get(at(j, "cpu.caches"), 0), "size")),
                        "48K");
    assert_int_equal(json_integer_value(at(j, "memory.total_bytes")), 102400);
    assert_string_equal(json_string_value(at(j, "memory.transparent_huge_pages")),
                        "always [madvise] never");
    assert_true(json_real_value(json_array_get(at(j, "load_average"), 1)) == 1.25);
    assert_string_equal(json_string_value(at(j, "kernel.name")), "Linux");
    json_decref(j);
}

/* A machine that says nothing: null, never a guess. */
static void test_nothing(void **state) {
    (void)state;
    json_t *j = machine_host_json(root);
    static const char *const unknown[] = {"cpu.model",
                                          "cpu.family",
                                          "cpu.governor",
                                          "memory.total_bytes",
                                          "memory.numa_nodes",
                                          "load_average",
                                          "memory.transparent_huge_pages"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_true(json_is_null(at(j, unknown[i])));
    assert_int_equal(json_array_size(at(j, "cpu.caches")), 0);
    json_decref(j);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_facts, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_nothing, make_root, remove_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
