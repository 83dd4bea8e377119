/* tpl_format.h: "%s is %d" % values, as Python formats; see tpl_builtins.h for format().  Local. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TPL_FORMAT_H
#define COORDINATOR_TPL_FORMAT_H

#include "coordinator/template/tpl_value.h"

/* `values` is a list or tuple of the values, a dict for %(name)s, or the only value. */
MUST_USE err tpl_format_percent(struct run *r, struct text format, const struct value *values,
                                struct value *out);

#endif
