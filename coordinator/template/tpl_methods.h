/* tpl_methods.h: the table of methods.  Local. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TPL_METHODS_H
#define COORDINATOR_TPL_METHODS_H

#include "coordinator/template/tpl_value.h"

/* object.name where the object holds no such member: a method, or the length of a string or list.
 * Undefined when there is none. */
MUST_USE err tpl_methods_get(struct run *r, const struct value *object, struct text name,
                             struct value *out);
/* The methods that only a call finds: for templates that ask whether an attribute is defined they
 * do not exist, as in the reference. */
MUST_USE err tpl_methods_get_hidden(struct run *r, const struct value *object, struct text name,
                                    struct value *out);

#endif
