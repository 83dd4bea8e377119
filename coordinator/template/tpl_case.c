// SPDX-License-Identifier: MIT
/* tpl_case.c: see tpl_case.h. */

#include "coordinator/template/tpl_case.h"

#include "common/unicode_class.h"

#define SIGMA       0x3A3u
#define FINAL_SIGMA 0x3C2u
#define DOTTED_I    0x130u

static uint32_t map_range(const struct tpl_case_table *table, uint32_t c) {
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct tpl_case_range *row = &table->rows[middle];
        if (c > row->last) {
            low = middle + 1;
        } else if (c < row->first) {
            high = middle;
        } else {
            return (c - row->first) % row->step == 0 ? c + (uint32_t)row->delta : c;
        }
    }
    return c;
}

static const struct tpl_case_special *find_special(uint32_t c) {
    size_t low = 0, high = tpl_case__special_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct tpl_case_special *row = &tpl_case__specials[middle];
        if (c == row->code_point) return row;
        if (c > row->code_point)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Up to three code points in out; returns how many. */
static uint32_t upper_of(uint32_t c, uint32_t out[3]) {
    out[0] = c;
    if (c < 0x80) {
        if (c >= 'a' && c <= 'z') out[0] = c - 0x20;
        return 1;
    }
    const struct tpl_case_special *special = find_special(c);
    if (!special) {
        out[0] = map_range(&tpl_case__upper, c);
        return 1;
    }
    uint32_t n = 0;
    for (; n < 3 && special->mapped[n]; n++) out[n] = special->mapped[n];
    return n;
}

static bool is_letter(struct text t, uint32_t at) {
    uint32_t n;
    return at < t.length && (unicode_class_of(tpl_text_point(t, at, &n)) & UNICODE_LETTER);
}

/* A sigma that ends a word has its own form. */
static bool ends_word(struct text t, uint32_t at) {
    uint32_t before = at;
    while (before > 0 && ((uint8_t)t.bytes[--before] & 0xC0) == 0x80) {
    }
    return at > 0 && is_letter(t, before) && !is_letter(t, at + 2);
}

static uint32_t lower_of(struct text t, uint32_t at, uint32_t c, uint32_t out[3]) {
    out[0] = c;
    if (c < 0x80) {
        if (c >= 'A' && c <= 'Z') out[0] = c + 0x20;
        return 1;
    }
    if (c == DOTTED_I) {
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    out[0] = c == SIGMA && ends_word(t, at) ? FINAL_SIGMA : map_range(&tpl_case__lower, c);
    return 1;
}

static err convert(struct run *r, struct text t, bool upper, struct value *out) {
    struct builder b;
    uint32_t done = 0, n, mapped[3];
    tpl_builder_init(&b, r);
    TRY(tpl_run_spend(r, t.length / 16));
    for (uint32_t at = 0; at < t.length; at += n) {
        uint32_t c = tpl_text_point(t, at, &n);
        uint32_t count = upper ? upper_of(c, mapped) : lower_of(t, at, c, mapped);
        if (count == 1 && mapped[0] == c) continue;
        tpl_builder_put(&b, tpl_text_part(t, done, at));
        for (uint32_t i = 0; i < count; i++) {
            char bytes[4];
            tpl_builder_put(&b, (struct text){bytes, tpl_text_encode(mapped[i], bytes)});
        }
        done = at + n;
    }
    if (done == 0) {
        *out = tpl_string(t);
        return ERR_OK;
    }
    tpl_builder_put(&b, tpl_text_part(t, done, t.length));
    return tpl_builder_finish(&b, out);
}

err tpl_case_upper(struct run *r, struct text t, struct value *out) {
    return convert(r, t, true, out);
}

err tpl_case_lower(struct run *r, struct text t, struct value *out) {
    return convert(r, t, false, out);
}

err tpl_case_capitalize(struct run *r, struct text t, struct value *out) {
    uint32_t first = tpl_text_skip_points(t, 0, 1), n;
    // The reference looks at a code unit: half of a surrogate pair has no case.
    if (first == 0 || tpl_text_point(t, 0, &n) >= 0x10000) {
        *out = tpl_string(t);
        return ERR_OK;
    }
    struct builder b;
    struct value head;
    TRY(tpl_case_upper(r, tpl_text_part(t, 0, first), &head));
    tpl_builder_init_with(&b, r, tpl_text(&head));
    tpl_builder_put(&b, tpl_text_part(t, first, t.length));
    return tpl_builder_finish(&b, out);
}

static bool is_word(char c) {
    return (c >= '0' && c <= '9') || c == '_' || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

err tpl_case_title(struct run *r, struct text t, struct value *out) {
    struct builder b;
    tpl_builder_init(&b, r);
    tpl_builder_put(&b, t);
    TRY(tpl_builder_finish(&b, out));
    for (uint32_t i = 0; i < t.length; i++) {
        bool begins = i == 0 || !is_word(t.bytes[i - 1]);
        if (begins && t.bytes[i] >= 'a' && t.bytes[i] <= 'z')
            b.bytes[i] = (char)(t.bytes[i] - 0x20);
    }
    return ERR_OK;
}
