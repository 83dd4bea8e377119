// SPDX-License-Identifier: MIT
/* api_page.c: GET /: the built-in page, one document that asks nobody else for anything.
 *
 * A browser keeps it and asks each time whether it is still the same: a new build is seen at once,
 * and otherwise the answer is a 304 without a body. */

#include <stdio.h>
#include <string.h>

#include "coordinator/gateway/router.h"
#include "coordinator/page/page_document.h"

/* RFC 9110, 13.1.2: "*", or a list of tags, weak ones alike. */
static bool has_tag(const char *list) {
    return strcmp(list, "*") == 0 || strstr(list, page_tag) != NULL;
}

void api_page(struct gateway *g, const struct http_request *request, const char *rest,
              const struct responder *responder, void *conn, struct exchange **x) {
    (void)rest, (void)x;
    if (!g->page) {
        gateway_reply_error(responder, conn, 404, "invalid_request_error", NULL, "not_found",
                            "there is nothing at /: this server was started with --no-page");
        return;
    }
    char extra[1024];
    CHECK(snprintf(extra, sizeof extra,
                   "Cache-Control: no-cache\r\nETag: %s\r\nContent-Security-Policy: %s\r\n"
                   "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n",
                   page_tag, page_policy) < (int)sizeof extra);
    bool same = request->if_none_match.length && has_tag(request->if_none_match.data);
    responder->head(conn, same ? 304 : 200, "text/html; charset=utf-8", extra,
                    (int64_t)page_document_bytes);
    if (!same) responder->body(conn, page_document, page_document_bytes);
    responder->done(conn);
}
