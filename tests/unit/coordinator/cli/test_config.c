// SPDX-License-Identifier: MIT
/* test_config.c: configuration files, and that configs/lockstep.ini documents the whole table. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "coordinator/cli/option_table.h"
#include "coordinator/cli/options.h"

static char path[] = "/tmp/lockstep-test-config-XXXXXX";

static int make_file(void **state) {
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state) {
    (void)state;
    return unlink(path);
}

static void write_file(const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* lockstep COMMAND --config PATH [extra…] */
static err parse(struct options *o, const char *command, const char *extra, const char *value) {
    static char *argv[8];
    argv[0] = (char *)"lockstep";
    argv[1] = (char *)command;
    argv[2] = (char *)"--config";
    argv[3] = path;
    argv[4] = (char *)extra;
    argv[5] = (char *)value;
    return options_parse(o, extra ? value ? 6 : 5 : 4, argv);
}

static void test_precedence(void **state) {
    (void)state;
    struct options o;
    write_file("[cluster]\nranks = 3 ; a comment\nlauncher-arg = --x\nlauncher-arg = --y z\n"
               "check-ranks = yes\n[run]\nseed = 7\n[log]\nlevel = debug\n");
    assert_int_equal(parse(&o, "run", NULL, NULL), ERR_OK);
    assert_int_equal(o.ranks, 3);
    assert_true(o.ranks_given);
    assert_true(o.check_ranks);
    assert_true(o.seed_given && o.seed == 7);
    assert_int_equal(o.log_level, LOG_DEBUG);
    assert_int_equal(o.n_launcher_args, 2);
    assert_string_equal(o.launcher_args[1], "--y z");
    assert_int_equal(o.max_batch, 16); // default
    options_deinit(&o);

    assert_int_equal(parse(&o, "run", "-n", "4"), ERR_OK);
    assert_int_equal(o.ranks, 4);
    options_deinit(&o);
    assert_int_equal(parse(&o, "run", "--launcher-arg", "--z"), ERR_OK);
    assert_int_equal(o.n_launcher_args, 1); // replaced, not added to
    assert_string_equal(o.launcher_args[0], "--z");
    options_deinit(&o);
    assert_int_equal(parse(&o, "run", "--no-check-ranks", NULL), ERR_OK);
    assert_false(o.check_ranks);
    options_deinit(&o);
}

static void test_other_commands(void **state) {
    (void)state;
    struct options o;
    write_file("[serve]\nport = 81\n[eval]\ntop = 3\n[run]\nlogprobs = 5\n");
    assert_int_equal(parse(&o, "run", NULL, NULL), ERR_OK);
    assert_int_equal(o.port, 0);     // serve's, not run's
    assert_int_equal(o.logprobs, 5); // not eval's 3
    options_deinit(&o);
    assert_int_equal(parse(&o, "eval", NULL, NULL), ERR_OK);
    assert_int_equal(o.logprobs, 3);
    options_deinit(&o);
    write_file("[serve]\nport = 99999\n"); // checked all the same
    assert_int_equal(parse(&o, "run", NULL, NULL), ERR_USAGE);
    options_deinit(&o);
}

static const struct {
    const char *text, *says;
} refusals[] = {
    {"[cluster]\nrank = 3\n", "unknown key 'rank' in section [cluster]"},
    {"ranks = 3\n", "unknown key 'ranks' in section []"},
    {"[cluster]\nranks = many\n", "cluster.ranks = many"},
    {"[cluster]\nranks = 3\nranks = 4\n", "cluster.ranks is given twice"},
    {"[cluster]\ncheck-ranks = maybe\n", "cluster.check-ranks = maybe"},
    {"[cluster]\nranks\n", ":2: "},
    {"[model]\npath =\n", "must not be empty"},
};

static void test_refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct options o;
        write_file(refusals[i].text);
        assert_int_equal(parse(&o, "run", NULL, NULL), ERR_USAGE);
        if (!strstr(error_message(), refusals[i].says) || !strstr(error_message(), path))
            fail_msg("%s: '%s' does not say '%s' and the file", refusals[i].text, error_message(),
                     refusals[i].says);
        options_deinit(&o);
    }
}

/* Every key of the table stands in the documented file with its section and its default, and every
 * line of the file, uncommented, is understood. */
static void test_documented_file(void **state) {
    (void)state;
    const char *source = getenv("LOCKSTEP_SOURCE");
    if (!source) {
        fprintf(stderr, "LOCKSTEP_SOURCE is not set: nothing to compare with\n");
        skip();
    }
    char name[4096], line[512], section[64] = "";
    bool seen[128] = {false};
    size_t count = option_count();
    snprintf(name, sizeof name, "%s/configs/lockstep.ini", source);
    FILE *documented = fopen(name, "r"), *uncommented = fopen(path, "w");
    assert_non_null(documented);
    while (fgets(line, sizeof line, documented)) {
        char key[64], value[256];
        if (sscanf(line, "[%60[a-z]]", section) == 1) fputs(line, uncommented);
        if (sscanf(line, ";%60[a-z-] = %250[^\n]", key, value) != 2) continue;
        bool unset_only = strstr("wait secret-file kv-tokens", key) != NULL;
        if (!unset_only) fputs(line + 1, uncommented);
        size_t i = 0;
        char full[128];
        snprintf(full, sizeof full, "%s.%s", section, key);
        while (i < count && !(option_at(i)->key && strcmp(option_at(i)->key, full) == 0)) i++;
        if (i == count) fail_msg("%s is documented, but no option", full);
        seen[i] = true;
        const char *standard = option_at(i)->standard;
        if (standard && strcmp(standard, value) != 0)
            fail_msg("%s: %s is documented, the default is %s", full, value, standard);
    }
    fclose(documented);
    fclose(uncommented);
    for (size_t i = 0; i < count; i++)
        if (option_at(i)->key && !seen[i])
            fail_msg("%s is not in configs/lockstep.ini", option_at(i)->key);
    struct options o;
    err e = parse(&o, "serve", NULL, NULL);
    if (e != ERR_OK) fail_msg("%s", error_message());
    options_deinit(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_other_commands),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_documented_file),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
