// SPDX-License-Identifier: MIT
/* test_api_page.c: GET /: the document, what a browser that has it is told, and its policy. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "coordinator/page/page_document.h"
#include "tests/unit/coordinator/gateway/fake_client.h"
#include "tests/unit/coordinator/gateway/fake_engine.h"

static void expect_headers(const struct fake_client *c) {
    char tag[100];
    snprintf(tag, sizeof tag, "\r\nETag: %s\r\n", page_tag);
    assert_non_null(strstr(c->extra.data, tag));
    assert_non_null(strstr(c->extra.data, "Cache-Control: no-cache\r\n"));
    assert_non_null(strstr(c->extra.data, "\r\nContent-Security-Policy: default-src 'none'; "));
    assert_null(strstr(c->extra.data, "unsafe"));
    assert_string_equal(c->content_type.data, "text/html; charset=utf-8");
    assert_int_equal(c->length, page_document_bytes);
}

static void the_document(void **state) {
    (void)state;
    struct gateway g = {.page = true};
    struct fake_client c;
    fake_client_send(&c, &g, HTTP_METHOD_GET, "/", NULL);
    assert_int_equal(c.status, 200);
    expect_headers(&c);
    assert_memory_equal(c.body.data, "<!doctype html>", 15);
    assert_string_equal(c.body.data + c.body.length - 8, "</html>\n");
    assert_null(strstr(c.body.data, "<!-- scripts -->"));
    assert_null(strstr(c.body.data, "<!-- styles -->"));
    assert_null(strstr(c.body.data, "\nimport "));
    fake_client_close(&c);
}

static void tags(void **state) {
    (void)state;
    static const struct {
        const char *tags; // %s: the page's
        int status;
    } rows[] = {{"%s", 304}, {"W/%s", 304}, {"\"other\", %s", 304}, {"*", 304}, {"\"other\"", 200},
                {"", 200},   {"**", 200}};
    struct gateway g = {.page = true};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char list[200];
        snprintf(list, sizeof list, rows[i].tags, page_tag);
        struct fake_client c;
        fake_client_send_tag(&c, &g, "/", list);
        assert_int_equal(c.status, rows[i].status);
        expect_headers(&c);
        assert_int_equal(c.body.length, c.status == 200 ? page_document_bytes : 0);
        fake_client_close(&c);
    }
}

static void without_a_page(void **state) {
    (void)state;
    struct gateway g = {.page = false};
    struct fake_client c;
    fake_client_send(&c, &g, HTTP_METHOD_GET, "/", NULL);
    assert_int_equal(c.status, 404);
    assert_non_null(strstr(c.body.data, "--no-page"));
    fake_client_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_document),
        cmocka_unit_test(tags),
        cmocka_unit_test(without_a_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
