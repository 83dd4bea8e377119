// SPDX-License-Identifier: MIT
/* help.c: the help texts, made from the option table. */

#include <stdio.h>
#include <string.h>

#include "coordinator/cli/option_table.h"
#include "coordinator/cli/options.h"

#define HELP_COLUMN 28

static void print_overview(void) {
    size_t count;
    const struct command_row *rows = command_table(&count);
    puts("lockstep: one language model served from many machines\n\n"
         "usage: lockstep COMMAND [options]\n"
         "       mpirun -n N lockstep COMMAND [options]\n\ncommands:");
    for (size_t i = 0; i < count; i++) printf("  %-10s %s\n", rows[i].name, rows[i].summary);
    puts("\nlockstep COMMAND --help shows the options of a command, lockstep --version the "
         "version.");
}

static void print_option(const struct option_row *row) {
    char left[64];
    snprintf(left, sizeof left, "  %c%c%s--%s%s%s", row->letter ? '-' : ' ',
             row->letter ? row->letter : ' ', row->letter ? ", " : "  ", row->name,
             row->argument ? " " : "", row->argument ? row->argument : "");
    bool own_line = strlen(left) + 2 > HELP_COLUMN;
    if (own_line)
        printf("%s\n%*s", left, HELP_COLUMN, "");
    else
        printf("%-*s", HELP_COLUMN, left);
    // "0" is explained in the text where it means more than zero
    bool show = row->standard && strcmp(row->standard, "0") != 0;
    if (show)
        printf("%s (default: %s)\n", row->help, row->standard);
    else
        printf("%s\n", row->help);
}

void options_print_help(const char *command) {
    const struct command_row *c = command ? command_find(command) : NULL;
    if (!c) {
        print_overview();
        return;
    }
    printf("lockstep %s: %s\n\nusage: lockstep %s %s\n\noptions:\n", c->name, c->summary, c->name,
           c->usage);
    for (size_t i = 0; i < option_count(); i++)
        if (option_at(i)->commands & c->bit) print_option(option_at(i));
    if (c->notes) printf("\n%s\n", c->notes);
    puts("\nFlags can be turned off again with --no-NAME, e.g. when a configuration file sets "
         "them.");
}
