/* load_report.h: a load test as a table for people and as JSON for programs.
 *
 * Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_LOAD_REPORT_H
#define COORDINATOR_LOAD_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "coordinator/load/load.h"

/* What is asked of whom, and the table's head. */
void load_report_print_head(FILE *f, const struct load_plan *p, const struct load_facts *facts);
/* A line of the table, and one below it for each kind of error. */
void load_report_print_level(FILE *f, struct tally *t);

/* The same as objects; the caller owns them.  The head has an empty array "levels". */
json_t *load_report_head_json(const struct load_plan *p, const struct load_facts *facts);
json_t *load_report_level_json(struct tally *t);

#endif
