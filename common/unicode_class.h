/* unicode_class.h: which Unicode class a code point belongs to, for the pre-tokenizers.
 *
 * Letters, numbers and punctuation are the general categories L*, N* and P*; spaces are the
 * property White_Space; everything else (marks, symbols, controls, what is not assigned) is other.
 * Unicode 17.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COMMON_UNICODE_CLASS_H
#define COMMON_UNICODE_CLASS_H

#include <stdint.h>

enum unicode_class {
    UNICODE_LETTER = 1,
    UNICODE_NUMBER = 2,
    UNICODE_SPACE = 4,
    UNICODE_OTHER = 8,       // none of the three above
    UNICODE_PUNCTUATION = 16 // only together with UNICODE_OTHER
};

/* The classes of a code point: one of the first four, perhaps with UNICODE_PUNCTUATION. */
uint8_t unicode_class_of(uint32_t code_point);

#endif
