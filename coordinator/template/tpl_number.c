// SPDX-License-Identifier: MIT
/* tpl_number.c: see tpl_number.h.  printf and strtod round correctly; what is left is to find how
 * many digits are enough, and where JavaScript puts the point. */

#include "coordinator/template/tpl_number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

/* ---- writing ---- */

static uint32_t put(char *out, const char *s) {
    size_t n = strlen(s);
    memcpy(out, s, n);
    return (uint32_t)n;
}

/* The fewest digits that read back as v > 0: digits[n] without a point, v = 0.digits * 10^*point.
 */
static int shortest_digits(double v, char digits[20], int *point) {
    char text[40];
    int n = 0;
    for (int precision = 0; precision < 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, v);
        n = precision + 1;
        if (strtod(text, NULL) == v) break;
    }
    digits[0] = text[0];
    if (n > 1) memcpy(digits + 1, text + 2, (size_t)n - 1);
    *point = atoi(strchr(text, 'e') + 1) + 1;
    return n;
}

uint32_t tpl_number_put(char out[TPL_NUMBER_BYTES], double v) {
    if (isnan(v)) return put(out, "NaN");
    if (v == 0) return put(out, "0");
    uint32_t at = 0;
    if (v < 0) out[at++] = '-';
    v = fabs(v);
    if (isinf(v)) return at + put(out + at, "Infinity");
    if (v < 9007199254740992.0 && v == floor(v))
        return at + (uint32_t)snprintf(out + at, TPL_NUMBER_BYTES - 1, "%.0f", v);
    char digits[20];
    int point, n = shortest_digits(v, digits, &point);
    if (point > 21 || point < -5) {
        out[at++] = digits[0];
        if (n > 1) {
            out[at++] = '.';
            memcpy(out + at, digits + 1, (size_t)n - 1);
            at += (uint32_t)n - 1;
        }
        return at + (uint32_t)snprintf(out + at, 8, "e%c%d", point > 0 ? '+' : '-', abs(point - 1));
    }
    if (point <= 0) at += put(out + at, "0.");
    for (int i = point < 0 ? point : 0; i < (n > point ? n : point); i++) {
        if (i == point && point > 0) out[at++] = '.';
        out[at++] = i < 0 || i >= n ? '0' : digits[i];
    }
    return at;
}

uint32_t tpl_number_put_float(char out[TPL_NUMBER_BYTES], double v) {
    if (v == 0) return put(out, signbit(v) ? "-0.0" : "0.0");
    if (v == floor(v) && fabs(v) < 1e21)
        return (uint32_t)snprintf(out, TPL_NUMBER_BYTES, "%.1f", v);
    return tpl_number_put(out, v);
}

/* ---- reading ---- */

static bool is_digit(struct text t, uint32_t at) {
    return at < t.length && t.bytes[at] >= '0' && t.bytes[at] <= '9';
}

static uint32_t skip_digits(struct text t, uint32_t at) {
    while (is_digit(t, at)) at++;
    return at;
}

static uint32_t skip_sign(struct text t, uint32_t at) {
    return at < t.length && (t.bytes[at] == '+' || t.bytes[at] == '-') ? at + 1 : at;
}

static double convert(struct text t) {
    char small[64], *s = t.length < sizeof small ? small : mem_alloc((size_t)t.length + 1);
    memcpy(s, t.bytes, t.length);
    s[t.length] = '\0';
    double v = strtod(s, NULL);
    if (s != small) mem_free(s);
    return v;
}

double tpl_number_parse_int(struct text t) {
    t = tpl_text_trim(t, true, false);
    uint32_t begin = skip_sign(t, 0), end = skip_digits(t, begin);
    return end == begin ? NAN : convert(tpl_text_part(t, 0, end));
}

/* Bytes of the decimal literal that t begins with, 0 when it begins with none. */
static uint32_t literal_length(struct text t) {
    uint32_t begin = skip_sign(t, 0);
    if (tpl_text_begins(tpl_text_part(t, begin, t.length), TEXT("Infinity"))) return begin + 8;
    uint32_t at = skip_digits(t, begin), digits = at - begin;
    if (at < t.length && t.bytes[at] == '.') {
        uint32_t end = skip_digits(t, at + 1);
        digits += end - at - 1;
        if (digits) at = end;
    }
    if (digits == 0) return 0;
    if (at < t.length && (t.bytes[at] | 0x20) == 'e') {
        uint32_t exponent = skip_sign(t, at + 1), end = skip_digits(t, exponent);
        if (end > exponent) at = end;
    }
    return at;
}

double tpl_number_parse_float(struct text t) {
    t = tpl_text_trim(t, true, false);
    uint32_t n = literal_length(t);
    return n ? convert(tpl_text_part(t, 0, n)) : NAN;
}

double tpl_number_of(struct text t) {
    t = tpl_text_trim(t, true, true);
    if (t.length == 0) return 0;
    if (literal_length(t) == t.length) return convert(t);
    int base = t.length < 3 || t.bytes[0] != '0' ? 0
               : (t.bytes[1] | 0x20) == 'x'      ? 16
               : (t.bytes[1] | 0x20) == 'o'      ? 8
               : (t.bytes[1] | 0x20) == 'b'      ? 2
                                                 : 0;
    double v = 0;
    for (uint32_t i = 2; i < t.length; i++) {
        char c = t.bytes[i] | 0x20;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
        if (digit >= base) return NAN;
        v = v * base + digit;
    }
    return base ? v : NAN;
}
