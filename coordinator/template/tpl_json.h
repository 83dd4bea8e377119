/* tpl_json.h: JSON → values, and values → text: as JSON, and as a template shows them.  Local. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TPL_JSON_H
#define COORDINATOR_TPL_JSON_H

#include <jansson.h>

#include "coordinator/template/tpl_value.h"

/* Strings stay where they are in `json`, which must outlive the run.  A whole number is an integer
 * even when it is written 1.0; members whose names are array indices come first in ascending order:
 * both as JavaScript reads JSON. */
MUST_USE err tpl_json_read(struct run *r, const json_t *json, struct value *out);

struct tpl_json_style {
    uint32_t indent; // spaces per level, 0: one line
    bool ascii;      // \uXXXX for what is not ASCII
    bool sort_keys;
    bool undefined_is_null; // else it shows as undefined
    struct text item_separator, key_separator;
};
struct tpl_json_style tpl_json_plain_style(void);
/* Appends v as JSON.  ERR_REQUEST for functions. */
MUST_USE err tpl_json_put(struct builder *b, const struct value *v,
                          const struct tpl_json_style *style);

/* As {{ v }} shows a value: 2.0, true, [1, "a"]; null and undefined by name. */
MUST_USE err tpl_json_put_shown(struct builder *b, const struct value *v);
/* As ~ and + and join see it: JavaScript's String() of what the value holds: 2.0 is "2", a list is
 * its items as shown (none as undefined), with commas, a dict is "[object Map]". */
MUST_USE err tpl_json_put_raw(struct builder *b, const struct value *v);
MUST_USE err tpl_json_raw_string(struct run *r, const struct value *v, struct value *out);

#endif
