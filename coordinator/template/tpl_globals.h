/* tpl_globals.h: the functions and constants that every template knows.  Local. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TPL_GLOBALS_H
#define COORDINATOR_TPL_GLOBALS_H

#include "coordinator/template/tpl_value.h"

MUST_USE err tpl_globals_add(struct run *r, struct scope *s);

#endif
