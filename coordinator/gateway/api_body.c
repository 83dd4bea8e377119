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

json_t *api_body_parse(const char *body, size_t n, struct api_error *e) {
    json_error_t where;
    json_t *root = json_loadb(n ? body : "", n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &where);
    if (json_is_object(root)) return root;
    if (root)
        api_refuse(e, NULL, "the body must be a JSON object");
    else
        api_refuse(e, NULL, "the body is not valid JSON: %s at line %d, column %d", where.text,
                   where.line, where.column);
    json_decref(root);
    return NULL;
}

bool api_body_flag(const json_t *root, const char *name, bool *value, struct api_error *e) {
    const json_t *v = json_object_get(root, name);
    if (!v || json_is_null(v)) return true;
    if (!json_is_boolean(v)) return api_refuse(e, name, "%s must be true or false", name);
    *value = json_is_true(v);
    return true;
}
