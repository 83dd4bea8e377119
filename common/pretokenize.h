/* pretokenize.h: cuts text into the words within which byte-level BPE may merge.
 *
 * The published definitions are regular expressions (they stand beside the table in pretokenize.c).
 * Here each is a hand-written scanner over the classes of the bytes: every word is found by
 * walking over it a constant number of times, so that any text takes linear time and a flat stack,
 * which a backtracking matcher does not promise.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COMMON_PRETOKENIZE_H
#define COMMON_PRETOKENIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

/* What is known of each byte: the unicode_class of its character, and: */
enum {
    PRETOKENIZE_NEWLINE = 32, // \r or \n (also a UNICODE_SPACE)
    PRETOKENIZE_START = 64    // the first byte of its character
};

struct pretokenize_text {
    const char *bytes;
    const uint8_t *classes; // [length], from pretokenize_classify
};

struct pretokenizer {
    const char *names[10]; // [0] is the usual one, the others are the same rules; ends with NULL
    /* The end of the word that begins at `begin` (begin < end; the result is > begin). */
    size_t (*next)(const struct pretokenizer *p, const struct pretokenize_text *t, size_t begin,
                   size_t end);
    size_t max_digits; // longest word of numbers (the rules of Llama 3 and Qwen 2)
    bool whole_words;  // a word that is a token is taken as it is, merges or not
    bool adds_bos;     // when the file does not say
};

/* The rules of that name, NULL when there are none. */
const struct pretokenizer *pretokenize_find(const char *name, size_t length);
/* Appends all names, separated by ", ". */
void pretokenize_list_names(struct buf *out);
/* Writes the class of each byte of text[0..n).  A byte that is not part of valid UTF-8 is a
 * character of its own, of class other. */
void pretokenize_classify(const char *text, size_t n, uint8_t *classes);

#endif
