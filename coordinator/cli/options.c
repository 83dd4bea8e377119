// SPDX-License-Identifier: MIT
/* options.c: from words and configuration lines to struct options.
 *
 * getopt_long walks the command line over arrays made from the option table, for the options of the
 * command at hand only; an option of another command is an error that says whose it is.  The file
 * named by --config is read between the defaults and the command line, so that a value is decided
 * by: command line, else file, else default. */

#include "coordinator/cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "coordinator/cli/config.h"
#include "coordinator/cli/install.h"
#include "coordinator/cli/option_table.h"

#define MAX_ROWS  128
#define NO_PREFIX 1000 // getopt values: row index plus one of these
#define PLAIN     (NO_PREFIX + MAX_ROWS)

/* What getopt_long is given: every option of the command, and --no-NAME for each flag. */
struct getopt_tables {
    struct option longs[2 * MAX_ROWS + 1];
    char shorts[2 * MAX_ROWS + 2];
    char negated[MAX_ROWS][32]; // "no-NAME"
};

/* ---- values ---- */

static void *field(struct options *o, size_t offset) {
    return (char *)o + offset;
}

static err bad_number(const struct option_row *row, const char *shown, const char *text) {
    const bool sized = row->type == OPTION_SIZE32 || row->type == OPTION_SIZE64;
    const char *kind = row->type == OPTION_REAL      ? "a number"
                       : row->type == OPTION_NUMBERS ? "whole numbers with commas,"
                                                     : "a whole number";
    const char *suffix = sized ? ", with K, M, G or T for powers of 1024 if you like" : "";
    if (row->max >= 9.2e18)
        return FAIL(ERR_USAGE, "%s %.80s: %s from %.0f is needed%s", shown, text, kind, row->min,
                    suffix);
    return FAIL(ERR_USAGE, "%s %.80s: %s from %.15g to %.15g is needed%s", shown, text, kind,
                row->min, row->max, suffix);
}

/* Digits only: strtoull alone would take signs, spaces and 0x. */
static bool parse_whole(const char *text, bool sized, uint64_t *out) {
    if (*text < '0' || *text > '9') return false;
    char *end;
    errno = 0;
    uint64_t v = strtoull(text, &end, 10);
    if (errno) return false;
    if (sized && *end) {
        const char *units = "KMGT", *unit = memchr(units, *end & ~0x20, 4);
        if (!unit) return false;
        size_t scaled;
        if (!mem_mul(v, (size_t)1 << (10 * (unit - units + 1)), &scaled)) return false;
        v = scaled;
        end++;
    }
    *out = v;
    return *end == '\0';
}

static err set_whole(struct options *o, const struct option_row *row, const char *shown,
                     const char *text) {
    uint64_t v;
    bool sized = row->type == OPTION_SIZE32 || row->type == OPTION_SIZE64;
    if (!parse_whole(text, sized, &v) || (double)v < row->min || (double)v > row->max)
        return bad_number(row, shown, text);
    void *p = field(o, row->offset);
    if (row->type == OPTION_U16)
        *(uint16_t *)p = (uint16_t)v;
    else if (row->type == OPTION_U32 || row->type == OPTION_SIZE32)
        *(uint32_t *)p = (uint32_t)v;
    else
        *(uint64_t *)p = v;
    return ERR_OK;
}

static err set_real(struct options *o, const struct option_row *row, const char *shown,
                    const char *text) {
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !isfinite(v) || v < row->min || v > row->max)
        return bad_number(row, shown, text);
    *(double *)field(o, row->offset) = v;
    return ERR_OK;
}

static err set_word(struct options *o, const struct option_row *row, const char *shown,
                    const char *text) {
    char allowed[128] = "";
    for (int i = 0; row->words[i]; i++) {
        if (strcmp(text, row->words[i]) == 0) {
            *(int *)field(o, row->offset) = i; // an enum without negative values
            return ERR_OK;
        }
        strcat(strcat(allowed, i ? ", " : ""), row->words[i]);
    }
    return FAIL(ERR_USAGE, "%s %.80s: allowed are %s", shown, text, allowed);
}

static err set_flag(struct options *o, const struct option_row *row, const char *shown,
                    const char *text) {
    static const char *const words[] = {"true", "yes", "on", "1", "false", "no", "off", "0"};
    size_t i = 0, n = sizeof words / sizeof *words;
    while (text && i < n && strcmp(text, words[i]) != 0) i++;
    if (i == n)
        return FAIL(ERR_USAGE, "%s %.80s: allowed are true, yes, on, 1, false, no, off, 0", shown,
                    text);
    *(bool *)field(o, row->offset) = !text || i < n / 2;
    return ERR_OK;
}

static err set_text(struct options *o, const struct option_row *row, const char *shown,
                    const char *text) {
    size_t n = strlen(text);
    if ((double)n < row->min) return FAIL(ERR_USAGE, "%s: the value must not be empty", shown);
    if ((double)n > row->max)
        return FAIL(ERR_USAGE, "%s: the value has %zu bytes, at most %.0f are allowed", shown, n,
                    row->max);
    *(const char **)field(o, row->offset) = text;
    return ERR_OK;
}

static err append_text(struct options *o, const struct option_row *row, const char *shown,
                       const char *text) {
    size_t *count = field(o, row->given_offset);
    if (!*text) return FAIL(ERR_USAGE, "%s: the value must not be empty", shown);
    if ((double)*count >= row->max)
        return FAIL(ERR_USAGE, "%s %.80s: at most %.0f of them are allowed", shown, text, row->max);
    ((const char **)field(o, row->offset))[(*count)++] = text;
    return ERR_OK;
}

/* "1,2,4K": every number once. */
static err set_numbers(struct options *o, const struct option_row *row, const char *shown,
                       const char *text) {
    struct number_list list = {0};
    const char *at = text;
    do {
        char word[24];
        uint64_t v;
        size_t n = strcspn(at, ",");
        if (n >= sizeof word) return bad_number(row, shown, text);
        memcpy(word, at, n);
        word[n] = '\0';
        at += n;
        if (!parse_whole(word, true, &v) || (double)v < row->min || (double)v > row->max)
            return bad_number(row, shown, text);
        if (list.n == OPTIONS_MAX_NUMBERS)
            return FAIL(ERR_USAGE, "%s %.80s: at most %d numbers are allowed", shown, text,
                        OPTIONS_MAX_NUMBERS);
        for (size_t i = 0; i < list.n; i++)
            if (list.v[i] == v)
                return FAIL(ERR_USAGE, "%s %.80s: %s stands there twice", shown, text, word);
        list.v[list.n++] = (uint32_t)v;
    } while (*at++ == ',');
    *(struct number_list *)field(o, row->offset) = list;
    return ERR_OK;
}

err option_set(struct options *o, const struct option_row *row, const char *shown,
               const char *text) {
    switch (row->type) {
    case OPTION_FLAG: return set_flag(o, row, shown, text);
    case OPTION_LIST: return append_text(o, row, shown, text);
    case OPTION_TEXT: TRY(set_text(o, row, shown, text)); break;
    case OPTION_WORD: TRY(set_word(o, row, shown, text)); break;
    case OPTION_REAL: TRY(set_real(o, row, shown, text)); break;
    case OPTION_NUMBERS: TRY(set_numbers(o, row, shown, text)); break;
    case OPTION_U16:
    case OPTION_U32:
    case OPTION_U64:
    case OPTION_SIZE32:
    case OPTION_SIZE64: TRY(set_whole(o, row, shown, text)); break;
    }
    if (row->given_offset) *(bool *)field(o, row->given_offset) = true;
    return ERR_OK;
}

/* ---- the command line ---- */

static void make_tables(struct getopt_tables *t, unsigned command) {
    size_t n = 0, s = 0;
    CHECK(option_count() <= MAX_ROWS);
    *t = (struct getopt_tables){0};
    t->shorts[s++] = ':'; // a missing argument is told apart from an unknown option
    for (size_t i = 0; i < option_count(); i++) {
        const struct option_row *row = option_at(i);
        if (!(row->commands & command)) continue;
        int has_arg = row->type == OPTION_FLAG ? no_argument : required_argument;
        t->longs[n++] = (struct option){row->name, has_arg, NULL, PLAIN + (int)i};
        if (row->letter) {
            t->shorts[s++] = row->letter;
            if (has_arg == required_argument) t->shorts[s++] = ':';
        }
        if (row->type == OPTION_FLAG) {
            strncat(strcpy(t->negated[i], "no-"), row->name, sizeof t->negated[i] - 4);
            t->longs[n++] = (struct option){t->negated[i], no_argument, NULL, NO_PREFIX + (int)i};
        }
    }
}

/* An option that the command does not take: does another one? */
static err unknown_option(const char *command, const char *word) {
    size_t n = strcspn(word, "=");
    unsigned bits = 0;
    for (size_t i = 0; i < option_count() && strncmp(word, "--", 2) == 0; i++) {
        const struct option_row *row = option_at(i);
        if (strlen(row->name) == n - 2 && strncmp(row->name, word + 2, n - 2) == 0)
            bits |= row->commands;
    }
    if (bits == 0)
        return FAIL(ERR_USAGE, "unknown option %.80s; see lockstep %s --help", word, command);
    size_t n_commands;
    const struct command_row *c = command_table(&n_commands);
    char takers[128] = "";
    for (size_t k = 0; k < n_commands; k++)
        if (bits & c[k].bit) strcat(strcat(takers, takers[0] ? ", " : ""), c[k].name);
    return FAIL(ERR_USAGE, "%.*s is an option of %s, not of %s", (int)n, word, takers, command);
}

/* '?' and ':' of getopt_long. */
static err refused_option(const char *command, char **argv, bool missing) {
    const char *word = argv[optind - 1];
    if (missing) return FAIL(ERR_USAGE, "%.80s needs a value", word);
    if (optopt >= NO_PREFIX) return FAIL(ERR_USAGE, "%.80s: this option takes no value", word);
    if (optopt && word[0] == '-' && word[1] == '-') word = argv[optind]; // inside -xyz
    if (optopt)
        return FAIL(ERR_USAGE, "unknown option -%c; see lockstep %s --help", optopt, command);
    return unknown_option(command, word);
}

static size_t index_of_letter(unsigned command, int letter) {
    size_t i = 0;
    while (option_at(i)->letter != letter || !(option_at(i)->commands & command)) i++;
    return i;
}

/* One option as getopt found it.  A list on the command line replaces the file's. */
static err take_option(struct options *o, unsigned command, int found, bool *list_begun) {
    size_t index = found < NO_PREFIX ? index_of_letter(command, found)
                   : found < PLAIN   ? (size_t)(found - NO_PREFIX)
                                     : (size_t)(found - PLAIN);
    const struct option_row *row = option_at(index);
    char shown[40];
    if (found < NO_PREFIX) {
        memcpy(shown, (char[]){'-', (char)found, '\0'}, 3);
    } else {
        strncat(strcpy(shown, "--"), row->name, sizeof shown - 3);
        if (found < PLAIN) return option_set(o, row, shown, "no");
    }
    if (row->type == OPTION_LIST && !list_begun[index]) {
        list_begun[index] = true;
        *(size_t *)field(o, row->given_offset) = 0;
    }
    return option_set(o, row, shown, optarg);
}

/* With `only_config` nothing is stored but --config, --help and --version. */
static err walk(struct options *o, const struct command_row *command, int argc, char **argv,
                bool only_config) {
    struct getopt_tables tables;
    bool list_begun[MAX_ROWS] = {false};
    make_tables(&tables, command->bit);
    struct options ignored = *o, *target = only_config ? &ignored : o;
    optind = 0; // glibc: start afresh
    opterr = 0;
    for (int found; (found = getopt_long(argc, argv, tables.shorts, tables.longs, NULL)) != -1;) {
        if (found == '?' || found == ':') return refused_option(command->name, argv, found == ':');
        TRY(take_option(target, command->bit, found, list_begun));
    }
    o->config = target->config;
    o->help |= target->help;
    o->version |= target->version;
    return ERR_OK;
}

static err take_defaults(struct options *o, const struct command_row *command) {
    *o = (struct options){.command = command->name, .bootstrap_fd = -1};
    for (size_t i = 0; i < option_count(); i++) {
        const struct option_row *row = option_at(i);
        if (!row->standard || !(row->commands & command->bit)) continue;
        TRY(option_set(o, row, row->name, row->standard));
        if (row->given_offset) *(bool *)field(o, row->given_offset) = false;
    }
    return ERR_OK;
}

/* What no single option can say. */
static err check_together(const struct options *o) {
    if (o->prompt && o->prompt_file)
        return FAIL(ERR_USAGE, "--prompt and the option for a prompt file exclude each other");
    if (o->kv_memory && o->kv_tokens)
        return FAIL(ERR_USAGE, "--kv-memory and --kv-tokens exclude each other");
    if (o->wait_for_ranks && !o->control_addr)
        return FAIL(ERR_USAGE, "--wait needs --control-addr HOST:PORT, where the ranks connect to");
    if (o->wait_for_ranks && (o->hostfile || o->launcher || o->n_launcher_args))
        return FAIL(ERR_USAGE, "--wait starts no ranks, so it excludes --hostfile, --launcher and "
                               "--launcher-arg");
    if (o->secret_file && !o->wait_for_ranks)
        return FAIL(ERR_USAGE, "--secret-file is for --wait; ranks that Lockstep starts get a "
                               "secret of their own");
    if (o->kernels && o->collectives)
        return FAIL(ERR_USAGE, "--kernels and --collectives exclude each other");
    if (o->alternate && (o->kernels || o->collectives))
        return FAIL(ERR_USAGE, "--alternate is for rows, not for --kernels and --collectives");
    return ERR_OK;
}

static err parse_command(struct options *o, const struct command_row *command, int argc,
                         char **argv) {
    TRY(walk(o, command, argc, argv, true));
    if (o->help || o->version) return ERR_OK;
    if (o->config) TRY(config_load(o, command->bit, o->config));
    TRY(walk(o, command, argc, argv, false));
    o->args = (const char **)argv + optind; // getopt_long moved them to the end
    o->n_args = (size_t)(argc - optind);
    if (o->n_args > command->max_args)
        return FAIL(ERR_USAGE, "unexpected argument '%.80s'%s", o->args[command->max_args],
                    command->max_args ? "; put the text in quotes" : "");
    if (o->bench_ranks.n) o->ranks = o->bench_ranks.v[0];
    return check_together(o);
}

err options_parse(struct options *o, int argc, char **argv) {
    *o = (struct options){
        .command = argc > 1 ? argv[1] : "", .bootstrap_fd = -1, .log_level = LOG_INFO};
    if (argc < 2) return FAIL(ERR_USAGE, "a command is missing; see lockstep --help");
    const char *word = argv[1];
    if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help")) {
        o->help = true;
        o->command = argc > 2 && command_find(argv[2]) ? argv[2] : NULL;
        return ERR_OK;
    }
    if (!strcmp(word, "--version") || !strcmp(word, "version")) {
        o->version = true;
        return ERR_OK;
    }
    const struct command_row *command = command_find(word);
    if (!command) return FAIL(ERR_USAGE, "unknown command '%.80s'; see lockstep --help", word);
    TRY(take_defaults(o, command));
    TRY(parse_command(o, command, argc - 1, argv + 1));
    bool reads_model = (command->bit & COMMAND_MODEL) && !o->help && !o->version;
    if (reads_model && !o->model) o->model = install_demo_model();
    return ERR_OK;
}

void options_deinit(struct options *o) {
    config_free(o->storage);
    o->storage = NULL;
}
