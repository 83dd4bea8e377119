/* tpl_tests.h: the table of tests: `x is odd`.  Local. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TPL_TESTS_H
#define COORDINATOR_TPL_TESTS_H

#include "coordinator/template/tpl_value.h"

/* ERR_REQUEST when there is no such test, or it refuses. */
MUST_USE err tpl_tests_apply(struct run *r, struct text name, const struct value *operand,
                             const struct args *a, bool *out);
/* True for tests that may be followed by an argument without brackets: `is divisibleby 3`. */
bool tpl_tests_takes_argument(struct text name);

#endif
