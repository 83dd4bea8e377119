/* tpl_filters.h: the table of filters.  Local. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TPL_FILTERS_H
#define COORDINATOR_TPL_FILTERS_H

#include "coordinator/template/tpl_value.h"

/* operand | name(args).  ERR_REQUEST when there is no such filter, or it refuses. */
MUST_USE err tpl_filters_apply(struct run *r, struct text name, const struct value *operand,
                               const struct args *a, struct value *out);

#endif
