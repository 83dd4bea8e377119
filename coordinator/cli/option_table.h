/* option_table.h: the options and commands of `lockstep`, as data.
 *
 * One row describes an option once; the parser (options.c), the configuration file (config.c) and
 * the help (help.c) read the same row, so they cannot disagree.  Constant data.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_OPTION_TABLE_H
#define COORDINATOR_OPTION_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "coordinator/cli/options.h"

/* Commands, as bits of option_row.commands. */
enum {
    COMMAND_RUN = 1,
    COMMAND_SERVE = 2,
    COMMAND_EVAL = 4,
    COMMAND_PLAN = 8,
    COMMAND_INSPECT = 16,
    COMMAND_TOKENIZE = 32,
    COMMAND_BENCH = 64,
    COMMAND_LOAD = 128,
};
#define COMMAND_ALL    255u
#define COMMAND_MODEL  127u // those that read a model file
#define COMMAND_ANSWER 7u   // those that answer somebody: run, serve, eval
#define COMMAND_ENGINE 71u  // those that start ranks: the same and bench

struct command_row {
    const char *name;
    unsigned bit;
    const char *usage;   // what follows the name
    const char *summary; // one line of the overview
    size_t max_args;     // positional arguments
    const char *notes;   // what the help says after the options, or NULL
};

enum option_type {
    OPTION_FLAG, // bool; no argument; --no-NAME turns it off
    OPTION_TEXT, // const char *
    OPTION_LIST, // const char *[], not empty; may be repeated
    OPTION_WORD, // an enum: one of `words`
    OPTION_U16,  // whole numbers…
    OPTION_U32,
    OPTION_U64,
    OPTION_SIZE32, // … and with a suffix K, M, G or T (powers of 1024)
    OPTION_SIZE64,
    OPTION_REAL,    // double
    OPTION_NUMBERS, // struct number_list: different whole numbers, "1,2,4K"
};

/* Two commands may have options of the same name that are rows of their own. */
struct option_row {
    const char *name;     // --name
    char letter;          // -n, or 0
    const char *key;      // "section.key" in the configuration file, or NULL
    const char *argument; // its name in the help
    enum option_type type;
    size_t offset;            // of the value in struct options
    size_t given_offset;      // of a bool set when the option is given (0: none), or a list's count
    double min, max;          // of numbers, both allowed; bytes of texts; entries of text lists
    const char *const *words; // of OPTION_WORD, NULL-terminated, in the enum's order
    const char *standard;     // the default, as it would be written; NULL: zero
    unsigned commands;
    const char *help;
};

const struct command_row *command_table(size_t *count);
/* NULL when there is no such command. */
const struct command_row *command_find(const char *name);

/* All options, in the order of the help. */
size_t option_count(void);
/* NULL behind the last one. */
const struct option_row *option_at(size_t index);

/* Stores the value written as `text` (NULL for a flag that is turned on).  `shown` is how the user
 * wrote the option, for the message.  Keeps the pointer for texts.  ERR_USAGE names option, value
 * and what is allowed. */
MUST_USE err option_set(struct options *o, const struct option_row *row, const char *shown,
                        const char *text);

#endif
