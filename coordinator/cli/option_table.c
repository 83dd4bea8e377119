// SPDX-License-Identifier: MIT
/* option_table.c: see option_table.h.
 *
 * The commands, and the options as groups in the order of the help; the rows of a group are in
 * option_rows_*.c, by subject. */

#include "coordinator/cli/option_table.h"

#include <string.h>

#include "coordinator/cli/option_rows.h"

static const char bench_notes[] =
    "A row is a combination of ranks, threads, batch, depth, prompt and decoded tokens:\n"
    "  prefill    one sequence, whatever the batch: from tokens that may be computed to its first\n"
    "             new token; gops = 2 x weights of the matrices, the head for one token, per "
    "second\n"
    "  decode     one token of each of the batch's sequences per step, all of them together;\n"
    "             gb_per_s = all matrices once and the K and V of every sequence, per second\n"
    "  limits     measured in the ranks with their threads, just before and after each sample, "
    "all\n"
    "             ranks together; samples between which they moved by over 10 % are dropped\n"
    "  step times of the slowest rank (most compute), per step of decode\n"
    "  speedup    decoded tokens/s over those of the row with the fewest ranks x threads and else\n"
    "             the same numbers; efficiency = speedup / ratio of ranks x threads";

static const struct command_row commands[] = {
    {"run", COMMAND_RUN, "--prompt TEXT [options]", "continue one prompt on the terminal", 0, NULL},
    {"serve", COMMAND_SERVE, "[options]", "answer HTTP requests", 0, NULL},
    {"eval", COMMAND_EVAL, "--prompt TEXT [options]",
     "log-probabilities of a text, and its perplexity", 0, NULL},
    {"plan", COMMAND_PLAN, "[options]", "show how a model would be cut, without loading it", 0,
     NULL},
    {"inspect", COMMAND_INSPECT, "[options]", "show what is in a model file", 0, NULL},
    {"tokenize", COMMAND_TOKENIZE, "[options] [TEXT|-]", "turn text into token ids, or back", 1,
     NULL},
    {"bench", COMMAND_BENCH, "[options]", "measure speed, and how far the machine's limits are", 0,
     bench_notes},
    {"load", COMMAND_LOAD, "--url http://HOST:PORT [options]", "measure a server under load", 0,
     NULL},
};

static const struct option_group *const groups[] = {
    &option_group_cluster, &option_group_text, &option_group_serve,  &option_group_limits,
    &option_group_bench,   &option_group_load, &option_group_output,
};

const struct command_row *command_table(size_t *count) {
    *count = sizeof commands / sizeof *commands;
    return commands;
}

const struct command_row *command_find(const char *name) {
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    return NULL;
}

size_t option_count(void) {
    size_t n = 0;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) n += groups[i]->n;
    return n;
}

const struct option_row *option_at(size_t index) {
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        if (index < groups[i]->n) return &groups[i]->rows[index];
        index -= groups[i]->n;
    }
    return NULL;
}
