/* config.h: options from an ini file (configs/lockstep.ini documents every key).
 *
 * Keys are those of the option table, "section.key".  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_CONFIG_H
#define COORDINATOR_CONFIG_H

#include "common/error.h"
#include "coordinator/cli/options.h"

/* Reads `path` into the options that `command` (a bit of option_table.h) takes; values of other
 * commands' options are checked and left.  Strings go to o->storage.  ERR_USAGE names the file, the
 * line, the key and what is wrong. */
MUST_USE err config_load(struct options *o, unsigned command, const char *path);
/* Releases o->storage (NULL is accepted). */
void config_free(void *storage);

#endif
