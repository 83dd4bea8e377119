/* utf8.h: strict UTF-8 (RFC 3629): no overlong forms, no surrogates, at most U+10FFFF.  Any thread.
 */
// SPDX-License-Identifier: MIT
#ifndef COMMON_UTF8_H
#define COMMON_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length (1..4) of the valid sequence at s[0..n), 0 when it is invalid or cut off.  *code_point may
 * be NULL. */
size_t utf8_sequence(const char *s, size_t n, uint32_t *code_point);
bool utf8_valid(const char *s, size_t n);
/* How many bytes at the end of s[0..n) are a proper beginning of a sequence that more bytes could
 * complete (0..3): what a stream must hold back. */
size_t utf8_incomplete_tail(const char *s, size_t n);
/* Writes a code point, returns its length (1..4); code points that do not exist become U+FFFD. */
size_t utf8_encode(uint32_t code_point, char out[4]);

#endif
