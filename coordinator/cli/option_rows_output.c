// SPDX-License-Identifier: MIT
/* option_rows_output.c: what every command prints, and where it logs. */

#include "coordinator/cli/option_rows.h"

static const char *const level_words[] = {
    [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug", NULL};

static const struct option_row rows[] = {
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = AT(json),
     .commands = COMMAND_ALL & ~(unsigned)COMMAND_SERVE,
     .help = "print JSON"},
    {.name = "json-out",
     .argument = "FILE",
     .type = OPTION_TEXT,
     .offset = AT(json_out),
     .min = 1,
     .max = 4095,
     .commands = COMMAND_ALL & ~(unsigned)COMMAND_SERVE,
     .help = "write the JSON to a file"},
    {.name = "log-level",
     .key = "log.level",
     .argument = "LEVEL",
     .type = OPTION_WORD,
     .offset = AT(log_level),
     .words = level_words,
     .standard = "info",
     .commands = COMMAND_ALL,
     .help = "error, warn, info or debug"},
    {.name = "log-all-ranks",
     .key = "log.all-ranks",
     .type = OPTION_FLAG,
     .offset = AT(log_all_ranks),
     .commands = COMMAND_ENGINE,
     .help = "log lines of every rank, not only of rank 0"},
    {.name = "config",
     .argument = "FILE",
     .type = OPTION_TEXT,
     .offset = AT(config),
     .min = 1,
     .max = 4095,
     .commands = COMMAND_ALL,
     .help = "read options from an ini file; the command line goes first"},
    {.name = "help",
     .letter = 'h',
     .type = OPTION_FLAG,
     .offset = AT(help),
     .commands = COMMAND_ALL,
     .help = "show this help"},
    {.name = "version",
     .type = OPTION_FLAG,
     .offset = AT(version),
     .commands = COMMAND_ALL,
     .help = "show the version"},
};

const struct option_group option_group_output = {rows, sizeof rows / sizeof *rows};
