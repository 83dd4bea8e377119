/* commands.h: one function per command of `lockstep`, each in its own cmd_*.c.
 *
 * A command prints its result to standard output, everything else to standard error, and returns
 * the error that main.c turns into the exit code.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_COMMANDS_H
#define COORDINATOR_COMMANDS_H

#include "common/error.h"
#include "coordinator/cli/options.h"

MUST_USE err cmd_run(const struct options *o);
MUST_USE err cmd_serve(const struct options *o);
MUST_USE err cmd_eval(const struct options *o);
MUST_USE err cmd_plan(const struct options *o);
MUST_USE err cmd_inspect(const struct options *o);
MUST_USE err cmd_tokenize(const struct options *o);
MUST_USE err cmd_bench(const struct options *o);
MUST_USE err cmd_load(const struct options *o);

#endif
