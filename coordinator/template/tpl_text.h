/* tpl_text.h: strings of the template language, with the measures of the reference.
 *
 * The reference counts in UTF-16: length and s[i] in code units, slices in code points.  Strings
 * here are UTF-8 in which half of a surrogate pair may stand alone (three bytes, ED A0 80 to
 * ED BF BF), because s[i] can cut a pair; tpl_text_put_clean makes proper UTF-8 of it.
 * White space is JavaScript's: White_Space and U+FEFF, without U+0085.  Bytes are not owned.  Any
 * thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TPL_TEXT_H
#define COORDINATOR_TPL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

struct text {
    const char *bytes;
    uint32_t length;
};

#define TEXT(literal)  ((struct text){literal, sizeof(literal) - 1})
#define TEXT_NOT_FOUND UINT32_MAX
/* For printf's %.*s in messages: at most 60 bytes. */
#define TEXT_SHOWN(t) (int)((t).length < 60 ? (t).length : 60), ((t).length ? (t).bytes : "")

struct text tpl_text_of(const char *s);
struct text tpl_text_part(struct text t, uint32_t begin, uint32_t end);
bool tpl_text_equal(struct text a, struct text b);
bool tpl_text_is(struct text t, const char *s);
bool tpl_text_begins(struct text t, struct text with);
bool tpl_text_ends(struct text t, struct text with);
/* Offset of the first (last) `part` in t at or after `from`, or TEXT_NOT_FOUND. */
uint32_t tpl_text_find(struct text t, struct text part, uint32_t from);
uint32_t tpl_text_find_last(struct text t, struct text part);
/* Order of the UTF-16 code units: -1, 0 or 1. */
int tpl_text_compare(struct text a, struct text b);

/* The code point at offset `at` < length, its bytes in *n. */
uint32_t tpl_text_point(struct text t, uint32_t at, uint32_t *n);
uint32_t tpl_text_count_points(struct text t);
uint32_t tpl_text_count_units(struct text t);
/* Offset of the index-th code point, from `from` on; the length when there are not so many. */
uint32_t tpl_text_skip_points(struct text t, uint32_t from, uint64_t index);
/* The index-th code unit, written to out[4]; its bytes, 0 when there are not so many. */
uint32_t tpl_text_unit(struct text t, uint64_t index, char out[4]);
/* Bytes of a code point written to out[4], surrogates too. */
uint32_t tpl_text_encode(uint32_t code_point, char out[4]);
/* True when a ends and b begins with halves of one surrogate pair: the pair is written to out. */
bool tpl_text_joins(struct text a, struct text b, char out[4]);

bool tpl_text_is_space(uint32_t code_point);
/* Bytes of the white space character at t[at] (before t[at]), 0 when there is none. */
uint32_t tpl_text_space_at(struct text t, uint32_t at);
uint32_t tpl_text_space_before(struct text t, uint32_t at);
struct text tpl_text_trim(struct text t, bool begin, bool end);

/* Appends t as proper UTF-8: pairs joined, halves as U+FFFD. */
void tpl_text_put_clean(struct buf *out, struct text t);

#endif
