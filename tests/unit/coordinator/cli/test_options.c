// SPDX-License-Identifier: MIT
/* test_options.c: the command line: values, ranges, the sentences of refusals, precedence. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "coordinator/cli/option_table.h"
#include "coordinator/cli/options.h"

#define MAX_WORDS 40

/* Splits at blanks; the words live until the next call. */
static err parse(struct options *o, const char *line) {
    static char text[1024];
    static char *argv[MAX_WORDS + 1];
    int argc = 0;
    char *rest;
    snprintf(text, sizeof text, "lockstep %s", line);
    for (char *w = strtok_r(text, " ", &rest); w && argc < MAX_WORDS;
         w = strtok_r(NULL, " ", &rest))
        argv[argc++] = w;
    argv[argc] = NULL;
    return options_parse(o, argc, argv);
}

static void test_defaults(void **state) {
    (void)state;
    struct options o;
    assert_int_equal(parse(&o, "serve"), ERR_OK);
    assert_string_equal(o.command, "serve");
    assert_int_equal(o.ranks, 2);
    assert_false(o.ranks_given);
    assert_int_equal(o.max_batch, 16);
    assert_int_equal(o.port, 8080);
    assert_string_equal(o.host, "127.0.0.1");
    assert_int_equal(o.log_level, LOG_INFO);
    assert_int_equal(o.bootstrap_fd, -1);
    assert_non_null(strstr(o.model, "demo-q8_0.gguf"));
    assert_int_equal(parse(&o, "eval"), ERR_OK);
    assert_int_equal(o.logprobs, 8); // eval's own default of --top
    assert_int_equal(parse(&o, "run"), ERR_OK);
    assert_int_equal(o.logprobs, 0);
    assert_true(o.top_p == 1.0);
    assert_false(o.seed_given);
    assert_false(o.max_tokens_given);
    assert_int_equal(parse(&o, "load"), ERR_OK);
    assert_null(o.model); // it reads none
    assert_int_equal(o.max_tokens, 64);
    assert_int_equal(parse(&o, "load --model name"), ERR_OK);
    assert_null(o.model);
    assert_string_equal(o.model_name, "name");
}

static void test_values(void **state) {
    (void)state;
    struct options o;
    assert_int_equal(parse(&o, "run -n 5 -t3 --model=/m.gguf --ctx 4K --kv-memory 3g --kv-type f32 "
                               "--prompt hi --seed 18446744073709551615 --temperature 0.75 "
                               "--stop A --stop B --max-tokens 0 --json --launcher-arg -H "
                               "--launcher-arg a,b"),
                     ERR_OK);
    assert_int_equal(o.ranks, 5);
    assert_true(o.ranks_given);
    assert_int_equal(o.threads, 3);
    assert_string_equal(o.model, "/m.gguf");
    assert_int_equal(o.ctx, 4096);
    assert_true(o.kv_memory == (uint64_t)3 << 30);
    assert_int_equal(o.kv_type, KV_F32);
    assert_string_equal(o.prompt, "hi");
    assert_true(o.seed_given && o.seed == UINT64_MAX);
    assert_true(o.temperature == 0.75);
    assert_int_equal(o.n_stop, 2);
    assert_string_equal(o.stop[1], "B");
    assert_true(o.max_tokens_given && o.max_tokens == 0);
    assert_true(o.json);
    assert_int_equal(o.n_launcher_args, 2);
    assert_string_equal(o.launcher_args[0], "-H");
    assert_int_equal(parse(&o, "run --json --no-json --prompt x"), ERR_OK);
    assert_false(o.json);
}

/* A blank is no unit: it was the one behind T. */
static void test_blank_behind_a_size(void **state) {
    (void)state;
    struct options o;
    char *argv[] = {"lockstep", "run", "--kv-memory", "1 ", NULL};
    assert_int_equal(options_parse(&o, 4, argv), ERR_USAGE);
    assert_non_null(strstr(error_message(), "--kv-memory 1 "));
    options_deinit(&o);
}

static void test_lists_of_numbers(void **state) {
    (void)state;
    struct options o;
    assert_int_equal(parse(&o, "bench"), ERR_OK);
    assert_int_equal(o.bench_ranks.n, 1);
    assert_int_equal(o.ranks, 1);
    assert_false(o.ranks_given);
    assert_int_equal(o.prefill.v[0], 128);
    assert_int_equal(o.reps, 5);
    assert_true(o.read_memory == (uint64_t)1 << 30);
    assert_int_equal(parse(&o, "bench -n 2,1,4 -t 1 --ctx-depth 0,4K --batch 1,8,32 --decode 7"),
                     ERR_OK);
    assert_int_equal(o.bench_ranks.n, 3);
    assert_int_equal(o.bench_ranks.v[2], 4);
    assert_int_equal(o.ranks, 2);
    assert_true(o.ranks_given);
    assert_int_equal(o.bench_threads.v[0], 1);
    assert_int_equal(o.ctx_depth.v[1], 4096);
    assert_int_equal(o.batch.n, 3);
    assert_int_equal(o.generate.v[0], 7);
    assert_null(o.decode); // tokenize's
    assert_int_equal(parse(&o, "serve"), ERR_OK);
    assert_int_equal(o.bench_ranks.n, 0);
}

static void test_arguments(void **state) {
    (void)state;
    struct options o;
    assert_int_equal(parse(&o, "tokenize --json text"), ERR_OK);
    assert_int_equal(o.n_args, 1);
    assert_string_equal(o.args[0], "text");
    assert_int_equal(parse(&o, "tokenize -- --json"), ERR_OK);
    assert_string_equal(o.args[0], "--json");
    assert_false(o.json);
    assert_int_equal(parse(&o, "tokenize -"), ERR_OK);
    assert_string_equal(o.args[0], "-");
}

static void test_help_and_version(void **state) {
    (void)state;
    struct options o;
    assert_int_equal(parse(&o, "--help"), ERR_OK);
    assert_true(o.help);
    assert_null(o.command);
    assert_int_equal(parse(&o, "run --nonsense -h"), ERR_USAGE);
    assert_int_equal(parse(&o, "run -h"), ERR_OK);
    assert_true(o.help);
    assert_string_equal(o.command, "run");
    assert_int_equal(parse(&o, "--version"), ERR_OK);
    assert_true(o.version);
    assert_int_equal(parse(&o, "help serve"), ERR_OK);
    assert_string_equal(o.command, "serve");
}

/* What is typed, and what the sentence must say about it. */
static const struct {
    const char *line, *says[3];
} refusals[] = {
    {"", {"a command is missing"}},
    {"dance", {"unknown command 'dance'"}},
    {"run --nonsense", {"unknown option --nonsense"}},
    {"run -z", {"unknown option -z"}},
    {"run --port 1", {"--port is an option of serve, not of run"}},
    {"plan --threads=2", {"--threads is an option of run, serve, eval, bench, not of plan"}},
    {"serve --model-name x --max-tokens 1", {"unknown option --model-name"}},
    {"serve --max-tokens 1", {"--max-tokens is an option of run, load, not of serve"}},
    {"load --ranks 2", {"--ranks is an option of run, serve, eval, plan, bench, not of load"}},
    {"load --timeout 0", {"--timeout 0", "from 0.001"}},
    {"run --model", {"--model needs a value"}},
    {"run -n", {"-n needs a value"}},
    {"run --json=yes", {"--json=yes", "takes no value"}},
    {"run -n 0", {"-n 0", "from 1 to 1024"}},
    {"run -n 1025", {"-n 1025", "from 1 to 1024"}},
    {"run -n -1", {"-n -1", "whole number"}},
    {"run -n 2x", {"-n 2x"}},
    {"run --ranks 0x2", {"--ranks 0x2"}},
    {"run --ctx 20M", {"--ctx 20M", "16777216", "K, M, G"}},
    {"run --kv-memory 1Q", {"--kv-memory 1Q"}},
    {"run --kv-memory 99999999999999999999", {"--kv-memory 9999"}},
    {"run --kv-memory 18014398509481985K", {"--kv-memory"}}, // the product wraps
    {"run --seed 18446744073709551616", {"--seed 18446744073709551616"}},
    {"run --temperature 2.5", {"--temperature 2.5", "from 0 to 2"}},
    {"run --temperature nan", {"--temperature nan"}},
    {"run --top-p 1e999", {"--top-p 1e999"}},
    {"run --top-p=", {"--top-p"}},
    {"run --kv-type f8", {"--kv-type f8", "f16, f32"}},
    {"serve --log-level loud", {"--log-level loud", "error, warn, info, debug"}},
    {"serve --port 65536", {"--port 65536", "65535"}},
    {"serve --host=", {"--host", "must not be empty"}},
    {"run --stop a --stop b --stop c --stop d --stop e", {"--stop e", "at most 4"}},
    {"run text", {"unexpected argument 'text'"}},
    {"tokenize two words", {"unexpected argument 'words'", "quotes"}},
    {"run --prompt a --prompt-file b", {"exclude each other"}},
    {"run --kv-memory 1G --kv-tokens 1K", {"exclude each other"}},
    {"serve --wait", {"--wait needs --control-addr"}},
    {"serve --wait --control-addr h:1 --hostfile f", {"excludes --hostfile"}},
    {"serve --secret-file f", {"--secret-file is for --wait"}},
    {"bench --prefill 1,2,1", {"--prefill 1,2,1", "1 stands there twice"}},
    {"bench --prefill 128,", {"--prefill 128,", "whole numbers with commas"}},
    {"bench --prefill 0", {"--prefill 0", "from 1 to 16777216"}},
    {"bench --batch 8,257", {"--batch 8,257", "from 1 to 256"}},
    {"bench -n 1;2", {"-n 1;2"}},
    {"bench --ctx-depth 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", {"at most 16 numbers"}},
    {"bench --reps 0", {"--reps 0", "from 1 to 1000"}},
    {"bench --read-memory 4K", {"--read-memory 4K", "from 1048576"}},
    {"bench --kernels --collectives", {"exclude each other"}},
    {"bench --kernels --alternate", {"--alternate is for rows"}},
    {"bench --max-batch 8", {"--max-batch is an option of run, serve, eval, not of bench"}},
    {"run --config /nonexistent.ini", {"--config /nonexistent.ini"}},
};

static void test_refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct options o;
        if (parse(&o, refusals[i].line) != ERR_USAGE)
            fail_msg("'lockstep %s' was not refused", refusals[i].line);
        for (size_t k = 0; k < 3 && refusals[i].says[k]; k++)
            if (!strstr(error_message(), refusals[i].says[k]))
                fail_msg("'lockstep %s': '%s' does not say '%s'", refusals[i].line, error_message(),
                         refusals[i].says[k]);
        options_deinit(&o);
    }
}

static void test_table(void **state) {
    (void)state;
    for (size_t i = 0; i < option_count(); i++) {
        const struct option_row *row = option_at(i);
        assert_true(row->commands != 0);
        assert_true(strlen(row->help) > 0);
        assert_true(row->type == OPTION_FLAG || row->argument);
        assert_true(row->type == OPTION_FLAG || row->type == OPTION_WORD || row->max > 0);
        for (size_t k = 0; k < i; k++)
            if (strcmp(row->name, option_at(k)->name) == 0 &&
                row->commands & option_at(k)->commands)
                fail_msg("--%s twice for one command", row->name);
    }
    assert_true(option_count() > 50);
    assert_null(option_at(option_count()));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_help_and_version),
        cmocka_unit_test(test_blank_behind_a_size),
        cmocka_unit_test(test_lists_of_numbers),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
