// SPDX-License-Identifier: MIT
/* api_body.c: see api_body.h. */

#include "coordinator/gateway/api_body.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

bool api_refuse(struct api_error *e, const char *param, const char *fmt, ...) {
    *e = (struct api_error){.status = 400};
    snprintf(e->param, sizeof e->param, "%s", param ? param : "");
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->message, sizeof e->message, fmt, ap);
    va_end(ap);
    return false;
}

static bool is_type(const char *type, const char *wanted) {
    size_t n = strcspn(type, "; \t");
    return n == strlen(wanted) && strncasecmp(type, wanted, n) == 0;
}

/* People try an API with curl's bare `-d`, or name no type at all.  Pages may not: for these types
 * a browser does not ask first, so a page of any origin could have a server on its reader's machine
 * work for it.  Browsers say where a page is from with every POST. */
bool api_body_is_json(const struct http_request *request) {
    const char *type = request->content_type.length ? request->content_type.data : "";
    if (is_type(type, "application/json")) return true;
    if (request->origin.length) return false;
    return !*type || is_type(type, "application/x-www-form-urlencoded");
}

/* Where the string ends that begins at `at`, behind its quotation mark: at the other one, or not
 * before n. */
static size_t end_of_string(const char *body, size_t at, size_t n) {
    while (at < n && body[at] != '"') at += body[at] == '\\' ? 2 : 1;
    return at;
}

/* A value of two bytes becomes one of a hundred when it is an array, of three hundred when it is an
 * object: what a body may cost is decided before it is parsed.  Returns where there is one too
 * many, or n. */
static size_t find_excess(const char *body, size_t n) {
    size_t n_values = 1, n_nests = 0;
    for (size_t i = 0; i < n; i++) {
        if (body[i] == '"') {
            i = end_of_string(body, i + 1, n);
            continue;
        }
        bool nest = body[i] == '{' || body[i] == '[';
        n_nests += nest;
        n_values += nest || body[i] == ',';
        if (n_nests > API_BODY_MAX_NESTS || n_values > API_BODY_MAX_VALUES) return i;
    }
    return n;
}

/* The member of the outermost object whose value holds byte `end`: its name as it is written, or ""
 * where there is none or its name is longer than any that we know. */
static void name_member_at(const char *body, size_t end, char *name, size_t size) {
    size_t depth = 0, begin = 0, length = 0; // of the last string
    *name = '\0';
    for (size_t i = 0; i < end; i++) {
        if (body[i] == '"') {
            begin = i + 1;
            i = end_of_string(body, begin, end);
            length = i - begin;
        } else if (body[i] == '{' || body[i] == '[') {
            depth++;
        } else if (body[i] == '}' || body[i] == ']') {
            depth -= depth > 0;
            if (depth == 0) *name = '\0';
        } else if (body[i] == ',' && depth == 1) {
            *name = '\0';
        } else if (body[i] == ':' && depth == 1 && length < size) {
            memcpy(name, body + begin, length);
            name[length] = '\0';
        }
    }
}

static bool is_bounded(const char *body, size_t n, struct api_error *e) {
    char name[sizeof e->param];
    size_t at = find_excess(body, n);
    if (at == n) return true;
    name_member_at(body, at, name, sizeof name);
    return api_refuse(e, *name ? name : NULL,
                      "the body has more than %d values, or %d arrays and objects%s%s",
                      API_BODY_MAX_VALUES, API_BODY_MAX_NESTS, *name ? ", in " : "", name);
}

json_t *api_body_parse(const char *body, size_t n, struct api_error *e) {
    json_error_t where;
    if (!is_bounded(body, n, e)) return NULL;
    json_t *root = json_loadb(n ? body : "", n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &where);
    if (json_is_object(root)) return root;
    if (root) {
        api_refuse(e, NULL, "the body must be a JSON object");
        json_decref(root);
        return NULL;
    }
    char name[sizeof e->param] = "";
    size_t end = where.position > 0 ? (size_t)where.position : 0;
    if (json_error_code(&where) != json_error_premature_end_of_input)
        name_member_at(body, end < n ? end : n, name, sizeof name);
    api_refuse(e, *name ? name : NULL, "the body is not valid JSON: %s at line %d, column %d%s%s",
               where.text, where.line, where.column, *name ? ", in " : "", name);
    return NULL;
}

bool api_body_flag(const json_t *root, const char *name, bool *value, struct api_error *e) {
    const json_t *v = json_object_get(root, name);
    if (!v || json_is_null(v)) return true;
    if (!json_is_boolean(v)) return api_refuse(e, name, "%s must be true or false", name);
    *value = json_is_true(v);
    return true;
}
