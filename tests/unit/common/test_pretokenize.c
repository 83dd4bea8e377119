// SPDX-License-Identifier: MIT
/* test_pretokenize.c: the hand-written scanners against the regular expressions they stand for, run
 * by PCRE2 on short random texts, and the class table against PCRE2's Unicode properties. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "common/mem.h"
#include "common/pretokenize.h"
#include "common/unicode_class.h"
#include "common/utf8.h"

#define GPT2_RULES                                                                                 \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\p{White_Space}\\p{L}\\p{N}]+|"              \
    "\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+"
#define LLAMA3_RULES(numbers)                                                                      \
    "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"      \
    "|" numbers "| ?[^\\p{White_Space}\\p{L}\\p{N}]+[\\r\\n]*|\\p{White_Space}*[\\r\\n]+|"         \
    "\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+"

/* Each expression cuts what the one before left; what it does not match is a word too. */
static const struct reference {
    const char *name;
    const char *rules[5];
} references[] = {
    {"gpt-2", {GPT2_RULES}},
    {"llama-bpe", {LLAMA3_RULES("\\p{N}{1,3}")}},
    {"qwen2", {LLAMA3_RULES("\\p{N}")}},
    {"default", {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2_RULES, "\\p{N}+", "[0-9][0-9][0-9]"}},
};

static pcre2_code *compile(const char *pattern) {
    int code;
    PCRE2_SIZE offset;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                   PCRE2_UTF | PCRE2_UCP, &code, &offset, NULL);
    assert_non_null(re);
    return re;
}

/* Marks in ends[0..n] where words end, by cutting [begin, end) with one expression. */
static void cut(pcre2_code *re, const char *text, size_t begin, size_t end, bool *ends) {
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(re, NULL);
    size_t at = 0;
    while (pcre2_match(re, (PCRE2_SPTR)text + begin, end - begin, at, 0, match, NULL) > 0) {
        const PCRE2_SIZE *found = pcre2_get_ovector_pointer(match);
        ends[begin + found[0]] = ends[begin + found[1]] = true;
        at = found[1];
    }
    pcre2_match_data_free(match);
}

static void reference_ends(pcre2_code *const *rules, const char *text, size_t n, bool *ends) {
    memset(ends, 0, n + 1);
    ends[0] = ends[n] = true;
    for (; *rules; rules++) {
        bool before[512];
        memcpy(before, ends, n + 1);
        for (size_t begin = 0; begin < n;) {
            size_t end = begin + 1;
            while (!before[end]) end++;
            cut(*rules, text, begin, end, ends);
            begin = end;
        }
    }
}

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* Parts that meet the corners of the rules more often than chance would. */
static const char *const parts[] = {
    "a",      "B",      "é",      "中",       "文", "ا",   "ſ",   "'s",   "'S",     "'re",
    "'LL",    "'d",     "'",      " ",        " ",  "  ",  "\t",  "\n",   "\r",     "\n\n",
    " \n",    "\u00a0", "\u2003", "\xC2\x85", "1",  "23",  "456", "½",    "Ⅷ",      "١",
    "!",      "...",    "$+",     "<|",       "~",  "_",   "©",   "🙂", "\u0301", "\u200b",
    "\u180e", "\u2028", "ª",      "«",        "‰",  "\x01"};

static size_t random_text(uint64_t *state, char *text, size_t size) {
    size_t n = 0, count = 1 + next_random(state) % 16;
    for (size_t i = 0; i < count && n + 8 < size; i++) {
        const char *part = parts[next_random(state) % (sizeof parts / sizeof parts[0])];
        memcpy(text + n, part, strlen(part));
        n += strlen(part);
    }
    return n;
}

static void check_words(const struct reference *r, const char *text, size_t n, const bool *ends) {
    const struct pretokenizer *p = pretokenize_find(r->name, strlen(r->name));
    uint8_t classes[512];
    bool ours[512] = {true};
    assert_non_null(p);
    pretokenize_classify(text, n, classes);
    const struct pretokenize_text scanned = {.bytes = text, .classes = classes};
    for (size_t at = 0; at < n;) {
        size_t end = p->next(p, &scanned, at, n);
        assert_true(end > at && end <= n);
        ours[end] = true;
        at = end;
    }
    for (size_t i = 0; i <= n; i++) {
        if (ours[i] == ends[i]) continue;
        fail_msg("%s: byte %zu of \"%.*s\": a word ends there %s", r->name, i, (int)n, text,
                 ours[i] ? "only for us" : "only for PCRE2");
    }
}

static void test_rules_are_the_expressions(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof references / sizeof references[0]; k++) {
        const struct reference *r = &references[k];
        pcre2_code *rules[5] = {0};
        for (size_t i = 0; r->rules[i]; i++) rules[i] = compile(r->rules[i]);
        uint64_t seed = 7;
        for (int round = 0; round < 20000; round++) {
            char text[256];
            bool ends[512];
            size_t n = random_text(&seed, text, sizeof text);
            reference_ends(rules, text, n, ends);
            check_words(r, text, n, ends);
        }
        for (size_t i = 0; rules[i]; i++) pcre2_code_free(rules[i]);
    }
}

static bool has(pcre2_code *re, const char *text, size_t n, pcre2_match_data *match) {
    return pcre2_match(re, (PCRE2_SPTR)text, n, 0, PCRE2_NO_UTF_CHECK, match, NULL) > 0;
}

/* The library knows an older Unicode than the table: what it does not know, and the few code
 * points that have changed their category since, are passed over and counted. */
static void test_classes_are_unicodes(void **state) {
    (void)state;
    pcre2_code *letter = compile("\\p{L}"), *number = compile("\\p{N}"),
               *space = compile("\\p{White_Space}"), *mark = compile("\\p{P}"),
               *unassigned = compile("\\p{Cn}");
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    size_t checked = 0, changed = 0;
    for (uint32_t cp = 0; cp <= 0x10FFFF; cp++) {
        if (cp >= 0xD800 && cp <= 0xDFFF) continue;
        char text[4];
        size_t n = utf8_encode(cp, text);
        if (has(unassigned, text, n, match)) continue;
        uint8_t expected = has(letter, text, n, match)   ? UNICODE_LETTER
                           : has(number, text, n, match) ? UNICODE_NUMBER
                           : has(space, text, n, match)  ? UNICODE_SPACE
                           : has(mark, text, n, match)   ? UNICODE_OTHER | UNICODE_PUNCTUATION
                                                         : UNICODE_OTHER;
        checked++;
        if (unicode_class_of(cp) == expected) continue;
        changed++;
        print_message("U+%04X: %d here, %d in PCRE2\n", cp, unicode_class_of(cp), expected);
    }
    assert_true(checked > 250000);
    assert_true(changed <= 8);
    pcre2_match_data_free(match);
    pcre2_code_free(letter);
    pcre2_code_free(number);
    pcre2_code_free(space);
    pcre2_code_free(mark);
    pcre2_code_free(unassigned);
}

static void test_invalid_bytes_are_characters(void **state) {
    (void)state;
    const char text[] = "a\xFF\xC3\xA9\xE4\xB8 ";
    uint8_t classes[sizeof text - 1];
    pretokenize_classify(text, sizeof classes, classes);
    const uint8_t expected[] = {
        UNICODE_LETTER | PRETOKENIZE_START, UNICODE_OTHER | PRETOKENIZE_START,
        UNICODE_LETTER | PRETOKENIZE_START, UNICODE_LETTER,
        UNICODE_OTHER | PRETOKENIZE_START,  UNICODE_OTHER | PRETOKENIZE_START,
        UNICODE_SPACE | PRETOKENIZE_START};
    for (size_t i = 0; i < sizeof expected; i++) assert_int_equal(classes[i], expected[i]);
}

static double cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* CPU time to cut `n` bytes of a repeated pattern. */
static double scan_seconds(const struct pretokenizer *p, const char *pattern, size_t n) {
    char *text = mem_alloc(n);
    uint8_t *classes = mem_alloc(n);
    for (size_t i = 0; i < n; i++) text[i] = pattern[i % strlen(pattern)];
    double start = cpu_seconds();
    pretokenize_classify(text, n, classes);
    const struct pretokenize_text scanned = {.bytes = text, .classes = classes};
    for (size_t at = 0; at < n;) at = p->next(p, &scanned, at, n);
    double took = cpu_seconds() - start;
    mem_free(text);
    mem_free(classes);
    return took;
}

/* Four times the text must not take eight times as long; a busy machine gets five tries. */
static void check_linear(const char *name, const char *pattern) {
    const struct pretokenizer *p = pretokenize_find(name, strlen(name));
    double quarter = 0, whole = 0;
    for (int round = 0; round < 5; round++) {
        quarter = scan_seconds(p, pattern, 250000);
        whole = scan_seconds(p, pattern, 1000000);
        if (whole < 8 * quarter) return;
    }
    fail_msg("%s: \"%s\": %f s for 250 kB, %f s for 1 MB", name, pattern, quarter, whole);
}

static void test_time_is_linear(void **state) {
    (void)state;
    static const char *const patterns[] = {"a",  " ",  "\n", " \n", "1",  "1\u0661", "!",
                                           "a ", "©!", "©",  "'",   "中", "\u0301",  " \t"};
    for (size_t k = 0; k < sizeof references / sizeof references[0]; k++) {
        for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
            check_linear(references[k].name, patterns[i]);
        }
    }
}

static void test_names(void **state) {
    (void)state;
    assert_ptr_equal(pretokenize_find("llama3", 6), pretokenize_find("llama-bpe", 9));
    assert_ptr_equal(pretokenize_find("deepseek-r1-qwen", 16), pretokenize_find("qwen2", 5));
    assert_null(pretokenize_find("qwen", 4));
    assert_null(pretokenize_find("", 0));
    struct buf names;
    buf_init(&names, 0);
    pretokenize_list_names(&names);
    assert_non_null(strstr(names.data, "gpt-2"));
    assert_non_null(strstr(names.data, ", qwen2"));
    buf_deinit(&names);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules_are_the_expressions),
        cmocka_unit_test(test_classes_are_unicodes),
        cmocka_unit_test(test_invalid_bytes_are_characters),
        cmocka_unit_test(test_time_is_linear),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
