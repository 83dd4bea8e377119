/* tpl_case.h: upper and lower case of any text, as JavaScript's toUpperCase and toLowerCase. Local.
 */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TPL_CASE_H
#define COORDINATOR_TPL_CASE_H

#include "coordinator/template/tpl_value.h"

/* *out is a string; the text itself when nothing changes. */
MUST_USE err tpl_case_upper(struct run *r, struct text t, struct value *out);
MUST_USE err tpl_case_lower(struct run *r, struct text t, struct value *out);
/* The first character in upper case. */
MUST_USE err tpl_case_capitalize(struct run *r, struct text t, struct value *out);
/* ASCII letters at the beginning of ASCII words in upper case. */
MUST_USE err tpl_case_title(struct run *r, struct text t, struct value *out);

/* ---- the tables, ordered by code point ---- */

struct tpl_case_range {
    uint32_t first, last, step;
    int32_t delta;
};
struct tpl_case_table {
    const struct tpl_case_range *rows;
    size_t count;
};
/* What becomes more than one code point in upper case; unused places of `mapped` are 0. */
struct tpl_case_special {
    uint32_t code_point, mapped[3];
};
extern const struct tpl_case_table tpl_case__upper, tpl_case__lower;
extern const struct tpl_case_special *const tpl_case__specials;
extern const size_t tpl_case__special_count;

#endif
