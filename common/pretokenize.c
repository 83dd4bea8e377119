// SPDX-License-Identifier: MIT
/* pretokenize.c: see pretokenize.h.
 *
 * All bytes of a character carry its class, so that "a run of letters" is a run of bytes and the
 * scanners need no decoding; only where a rule counts characters they look at PRETOKENIZE_START. */

#include "common/pretokenize.h"

#include <string.h>

#include "common/unicode_class.h"
#include "common/utf8.h"

void pretokenize_classify(const char *text, size_t n, uint8_t *classes) {
    for (size_t i = 0; i < n;) {
        uint32_t code_point = 0;
        size_t width = utf8_sequence(text + i, n - i, &code_point);
        uint8_t class = width > 0 ? unicode_class_of(code_point) : UNICODE_OTHER;
        if (text[i] == '\n' || text[i] == '\r') class |= PRETOKENIZE_NEWLINE;
        if (width == 0) width = 1;
        memset(classes + i, class, width);
        classes[i] |= PRETOKENIZE_START;
        i += width;
    }
}

static size_t run_end(const struct pretokenize_text *t, size_t i, size_t end, uint8_t mask) {
    while (i < end && t->classes[i] & mask) i++;
    return i;
}

static size_t character_end(const struct pretokenize_text *t, size_t i, size_t end) {
    do i++;
    while (i < end && !(t->classes[i] & PRETOKENIZE_START));
    return i;
}

/* 's 't 'm 'd 're 've 'll: the length at `i`, 0 for none.  `fold`: capitals too. */
static size_t contraction(const struct pretokenize_text *t, size_t i, size_t end, bool fold) {
    static const char endings[][3] = {"s", "t", "m", "d", "re", "ve", "ll"};
    if (t->bytes[i] != '\'') return 0;
    for (size_t k = 0; k < sizeof endings / sizeof endings[0]; k++) {
        size_t length = strlen(endings[k]), same = 0;
        if (length >= end - i) continue;
        while (same < length) {
            char c = t->bytes[i + 1 + same];
            if (fold && c >= 'A' && c <= 'Z') c = (char)(c + ('a' - 'A'));
            if (c != endings[k][same]) break;
            same++;
        }
        if (same == length) return 1 + length;
    }
    return 0;
}

/* \s+(?!\S)|\s+ : white space up to the end of the text or, when a word follows, all but the last
 * character of it, which that word may want. */
static size_t space_end(const struct pretokenize_text *t, size_t i, size_t end) {
    size_t stop = run_end(t, i, end, UNICODE_SPACE);
    if (stop == end) return stop;
    size_t last = stop - 1;
    while (!(t->classes[last] & PRETOKENIZE_START)) last--;
    return last > i ? last : stop;
}

/* " ?" before something: where that something would begin. */
static size_t after_space(const struct pretokenize_text *t, size_t i, size_t end) {
    return t->bytes[i] == ' ' && i + 1 < end ? i + 1 : i;
}

/* GPT-2: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t next_gpt2(const struct pretokenizer *p, const struct pretokenize_text *t, size_t i,
                        size_t end) {
    (void)p;
    size_t short_form = contraction(t, i, end, false);
    if (short_form > 0) return i + short_form;
    size_t word = after_space(t, i, end);
    uint8_t kind = t->classes[word] & (UNICODE_LETTER | UNICODE_NUMBER | UNICODE_OTHER);
    return kind ? run_end(t, word, end, kind) : space_end(t, i, end);
}

/* Llama 3: (?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|
 *          \p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 * Qwen 2:  the same with \p{N} for \p{N}{1,3}. */
static size_t next_llama3(const struct pretokenizer *p, const struct pretokenize_text *t, size_t i,
                          size_t end) {
    size_t short_form = contraction(t, i, end, true);
    if (short_form > 0) return i + short_form;

    uint8_t class = t->classes[i];
    size_t second = character_end(t, i, end);
    if (class & UNICODE_LETTER) return run_end(t, i, end, UNICODE_LETTER);
    if (!(class & (UNICODE_NUMBER | PRETOKENIZE_NEWLINE)) && second < end &&
        t->classes[second] & UNICODE_LETTER) {
        return run_end(t, second, end, UNICODE_LETTER);
    }
    if (class & UNICODE_NUMBER) {
        size_t stop = second;
        for (size_t digits = 1; digits < p->max_digits && stop < end; digits++) {
            if (!(t->classes[stop] & UNICODE_NUMBER)) break;
            stop = character_end(t, stop, end);
        }
        return stop;
    }
    size_t word = after_space(t, i, end);
    if (t->classes[word] & UNICODE_OTHER) {
        return run_end(t, run_end(t, word, end, UNICODE_OTHER), end, PRETOKENIZE_NEWLINE);
    }
    for (size_t k = run_end(t, i, end, UNICODE_SPACE); k > i; k--) { // \s*[\r\n]+
        if (t->classes[k - 1] & PRETOKENIZE_NEWLINE) return k;
    }
    return space_end(t, i, end);
}

static bool is_mark(const struct pretokenize_text *t, size_t i) {
    return t->classes[i] & UNICODE_PUNCTUATION || (t->bytes[i] && strchr("$+<=>^~|", t->bytes[i]));
}

static bool is_ascii_triple(const struct pretokenize_text *t, size_t i, size_t end) {
    if (end - i < 3) return false;
    for (size_t k = i; k < i + 3; k++) {
        if (t->bytes[k] < '0' || t->bytes[k] > '9') return false;
    }
    return true;
}

/* Default: four expressions, each cutting further what the one before left:
 *   [\p{P}\$\+<=>\^~\|]+    GPT-2's    \p{N}+    [0-9][0-9][0-9]
 * For GPT-2's a mark is the end of the text.  Runs are followed only as far as they are used: a
 * million digits make a third of a million words. */
static size_t next_default(const struct pretokenizer *p, const struct pretokenize_text *t, size_t i,
                           size_t end) {
    (void)p;
    size_t stop = i;
    while (stop < end && is_mark(t, stop)) stop++;
    if (stop > i) return stop;

    size_t word = after_space(t, i, end);
    if (is_mark(t, word)) return word;
    switch (t->classes[word] & (UNICODE_LETTER | UNICODE_NUMBER | UNICODE_OTHER)) {
    case UNICODE_LETTER: return run_end(t, word, end, UNICODE_LETTER);
    case UNICODE_NUMBER:
        if (word > i) return word;
        if (is_ascii_triple(t, i, end)) return i + 3;
        stop = character_end(t, i, end);
        while (stop < end && t->classes[stop] & UNICODE_NUMBER && !is_ascii_triple(t, stop, end)) {
            stop = character_end(t, stop, end);
        }
        return stop;
    case UNICODE_OTHER:
        stop = word;
        while (stop < end && t->classes[stop] & UNICODE_OTHER && !is_mark(t, stop)) stop++;
        return stop;
    default:
        stop = run_end(t, i, end, UNICODE_SPACE);
        return stop < end && is_mark(t, stop) ? stop : space_end(t, i, end);
    }
}

/* The names are those that GGUF converters write to tokenizer.ggml.pre. */
static const struct pretokenizer pretokenizers[] = {
    {.names = {"default"}, .next = next_default},
    {.names = {"gpt-2", "phi-2", "gigachat", "mellum", "exaone4"}, .next = next_gpt2},
    {.names = {"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0",
               "lfm2"},
     .next = next_llama3,
     .max_digits = 3,
     .whole_words = true,
     .adds_bos = true},
    {.names = {"qwen2", "deepseek-r1-qwen", "megrez", "stablelm2"},
     .next = next_llama3,
     .max_digits = 1},
};

const struct pretokenizer *pretokenize_find(const char *name, size_t length) {
    for (size_t i = 0; i < sizeof pretokenizers / sizeof pretokenizers[0]; i++) {
        for (const char *const *n = pretokenizers[i].names; *n; n++) {
            if (strlen(*n) == length && memcmp(*n, name, length) == 0) return &pretokenizers[i];
        }
    }
    return NULL;
}

void pretokenize_list_names(struct buf *out) {
    for (size_t i = 0; i < sizeof pretokenizers / sizeof pretokenizers[0]; i++) {
        for (const char *const *n = pretokenizers[i].names; *n; n++) {
            if (i > 0 || n != pretokenizers[i].names) buf_puts(out, ", ");
            buf_puts(out, *n);
        }
    }
}
