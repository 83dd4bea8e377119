// SPDX-License-Identifier: MIT
/* tpl_source.c: white space that belongs to tags, taken out of a source before it is read.
 *
 * trim_blocks: the newline after a tag; lstrip_blocks: the blanks between the beginning of a line
 * and a tag; a newline at the very end; the tags {% generation %} and {% endgeneration %}, which
 * only mark text for training.  {%+ and +%} keep what the first two would take. */

#include "coordinator/template/tpl_lexer.h"

#include <string.h>

static void keep(struct tpl_source *out, char c, uint32_t line) {
    out->bytes[out->length] = c;
    out->lines[out->length++] = line;
}

static bool is_tag_mark(char c) {
    return c == '#' || c == '%' || c == '-';
}

static bool begins_tag(struct text t, uint32_t at) {
    if (at + 1 >= t.length || t.bytes[at] != '{' || !is_tag_mark(t.bytes[at + 1])) return false;
    return t.bytes[at + 1] != '%' || at + 2 >= t.length || t.bytes[at + 2] != '+';
}

static bool ends_tag(struct text t, uint32_t newline) {
    if (newline < 2 || t.bytes[newline - 1] != '}' || !is_tag_mark(t.bytes[newline - 2]))
        return false;
    return t.bytes[newline - 2] != '%' || newline < 3 || t.bytes[newline - 3] != '+';
}

/* Bytes of the line end at t[at], as JavaScript's ^ knows them. */
static uint32_t line_end_at(struct text t, uint32_t at) {
    if (t.bytes[at] == '\n' || t.bytes[at] == '\r') return 1;
    bool separator = t.length - at >= 3 && (memcmp(t.bytes + at, "\u2028", 3) == 0 ||
                                            memcmp(t.bytes + at, "\u2029", 3) == 0);
    return separator ? 3 : 0;
}

static void strip_lines(struct tpl_source *out, struct text t) {
    uint32_t line = 1;
    bool at_begin = true;
    for (uint32_t i = 0; i < t.length;) {
        if (at_begin) {
            uint32_t end = i;
            while (end < t.length && (t.bytes[end] == ' ' || t.bytes[end] == '\t')) end++;
            if (begins_tag(t, end)) i = end;
            at_begin = false;
            if (i == t.length) break;
        }
        uint32_t n = line_end_at(t, i);
        at_begin = n > 0;
        if (n == 0) n = 1;
        bool cut = t.bytes[i] == '\n' && ends_tag(t, i);
        for (uint32_t k = 0; k < n && !cut; k++) keep(out, t.bytes[i + k], line);
        if (t.bytes[i] == '\n') line++;
        i += n;
    }
}

/* Bytes of a generation tag at t[at], 0 when there is none there. */
static uint32_t generation_tag(struct text t, uint32_t at, bool *strip_before, bool *strip_after) {
    static const char *const names[] = {"generation", "endgeneration"};
    uint32_t i = at + 2, n;
    if (!tpl_text_begins(tpl_text_part(t, at, t.length), TEXT("{%"))) return 0;
    *strip_before = i < t.length && t.bytes[i] == '-';
    i += *strip_before;
    while ((n = tpl_text_space_at(t, i)) > 0) i += n;
    struct text rest = tpl_text_part(t, i, t.length);
    for (int k = 0; k < 2; k++) {
        struct text name = tpl_text_of(names[k]);
        if (!tpl_text_begins(rest, name)) continue;
        i += name.length;
        while ((n = tpl_text_space_at(t, i)) > 0) i += n;
        *strip_after = i < t.length && t.bytes[i] == '-';
        i += *strip_after;
        return tpl_text_begins(tpl_text_part(t, i, t.length), TEXT("%}")) ? i + 2 - at : 0;
    }
    return 0;
}

/* In place: what is kept never overtakes what is read. */
static void cut_generation_tags(struct tpl_source *s) {
    struct text t = {s->bytes, s->length};
    uint32_t taken = 0; // up to here the white space belongs to the tag before
    s->length = 0;
    for (uint32_t i = 0; i < t.length;) {
        bool before = false, after = false;
        uint32_t n = t.bytes[i] == '{' ? generation_tag(t, i, &before, &after) : 0;
        if (n == 0) {
            keep(s, t.bytes[i], s->lines[i]);
            i++;
            continue;
        }
        struct text kept = {s->bytes, s->length};
        while (before && s->length > taken && (n = tpl_text_space_before(kept, s->length)) > 0)
            s->length -= n;
        i += generation_tag(t, i, &before, &after);
        while ((n = tpl_text_space_at(t, i)) > 0) {
            for (uint32_t k = 0; k < n && !after; k++) keep(s, t.bytes[i + k], s->lines[i + k]);
            i += n;
        }
        taken = s->length;
    }
}

err tpl_source_prepare(struct tpl_source *out, struct tpl_arena *a, const char *source, size_t n) {
    *out = (struct tpl_source){.bytes = tpl_arena_alloc(a, n + 1, 1),
                               .lines = tpl_arena_alloc(a, n + 1, sizeof *out->lines)};
    if (!out->bytes || !out->lines)
        return FAIL(ERR_MEMORY, "there is no memory for a template of %zu bytes", n);
    struct text t = {source, (uint32_t)n};
    if (t.length && t.bytes[t.length - 1] == '\n') t.length--;
    strip_lines(out, t);
    cut_generation_tags(out);
    return ERR_OK;
}
