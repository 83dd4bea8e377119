// SPDX-License-Identifier: MIT
/* pseudo_text.c: see pseudo_text.h. */

#include "coordinator/load/pseudo_text.h"

static const char *const words[128] = {
    "the",   "of",    "and",    "to",      "in",    "that",    "was",   "his",    "he",   "it",
    "with",  "is",    "for",    "as",      "had",   "you",     "not",   "be",     "on",   "at",
    "by",    "which", "have",   "or",      "from",  "this",    "but",   "all",    "she",  "they",
    "were",  "my",    "are",    "me",      "one",   "their",   "so",    "an",     "said", "them",
    "we",    "who",   "would",  "been",    "will",  "no",      "when",  "there",  "if",   "more",
    "out",   "up",    "into",   "do",      "any",   "your",    "what",  "has",    "man",  "could",
    "other", "than",  "our",    "some",    "very",  "time",    "upon",  "about",  "may",  "its",
    "only",  "now",   "like",   "little",  "then",  "can",     "made",  "should", "did",  "us",
    "such",  "great", "before", "must",    "two",   "these",   "see",   "know",   "over", "much",
    "down",  "after", "first",  "good",    "men",   "own",     "never", "most",   "old",  "shall",
    "day",   "where", "those",  "came",    "come",  "himself", "way",   "work",   "life", "without",
    "go",    "make",  "well",   "through", "being", "long",    "say",   "might",  "how",  "am",
    "too",   "even",  "under",  "again",   "many",  "back",    "here",  "think"};

/* The finaliser of splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t pseudo_text_seed(uint64_t run_seed, uint64_t i) {
    return mix(mix(run_seed) + i);
}

void pseudo_text_put(struct buf *out, uint64_t seed, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (i > 0) buf_putc(out, ' ');
        buf_puts(out, words[mix(seed + (i + 1) * 0x9e3779b97f4a7c15u) % 128]);
    }
}
