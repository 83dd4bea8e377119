// SPDX-License-Identifier: MIT
/* test_long_bodies.c: bodies that are read beside the loop, in an order of our own: the hook keeps
 * the work until the test has it done. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "tests/unit/coordinator/gateway/fake_client.h"
#include "tests/unit/coordinator/gateway/fake_engine.h"
#include "tests/unit/coordinator/gateway/group_tokenizer.h"

#define TEXT  "/v1/completions"
#define CHAT  "/v1/chat/completions"
#define SPACE "                                                                "

static struct buf long_body;

struct world {
    struct engine engine;
    struct gateway gateway;
};

static void keep(struct side_line *l, struct side_work *w) {
    (void)l, (void)w;
}

static void open_world(struct world *w) {
    *w = (struct world){.gateway = {.engine = &w->engine, .model_id = "demo", .side.run = keep}};
    fake_engine_init(&w->engine, tokenizer);
}

static void close_world(struct world *w) {
    assert_null(w->gateway.side.running);
    assert_int_equal(w->gateway.side.n_waiting, 0);
    fake_engine_deinit(&w->engine);
}

/* The thread does what it was given; then the loop hears of it. */
static void work(struct world *w) {
    w->gateway.side.running->work(w->gateway.side.running);
}

static void finish(struct world *w) {
    side_line_finished(&w->gateway.side);
}

/* JSON with so many blanks in it that it is long. */
static void post(struct world *w, struct fake_client *c, const char *path, const char *json) {
    buf_clear(&long_body);
    buf_puts(&long_body, json);
    while (long_body.length <= SIDE_WORK_MIN_BYTES) buf_puts(&long_body, SPACE);
    fake_client_send(c, &w->gateway, HTTP_METHOD_POST, path, long_body.data);
}

static void expect_error(struct fake_client *c, int status, const char *code) {
    json_t *root = fake_client_json(c), *error = json_object_get(root, "error");
    const char *got = json_string_value(json_object_get(error, "code"));
    assert_int_equal(c->status, status);
    assert_string_equal(got ? got : "(none)", code ? code : "(none)");
    json_decref(root);
}

static void a_long_completion_is_read_aside(void **state) {
    (void)state;
    static const char *const bodies[][2] = {
        {TEXT, "{\"prompt\":\"Call me\"}"},
        {CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"}};
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        struct fake_client c;
        open_world(&w);
        post(&w, &c, bodies[i][0], bodies[i][1]);
        assert_non_null(c.exchange);
        assert_int_equal(exchange_tick(c.exchange, UINT64_MAX / 2), UINT64_MAX); // no ping yet
        struct access_line line = {0};
        exchange_describe(c.exchange, &line);
        assert_null(line.id); // there is nothing to say of it
        work(&w);
        assert_int_equal(w.engine.n_requests, 0); // that is the loop's
        finish(&w);
        assert_int_equal(w.engine.n_requests, 1);
        fake_text(&w.engine, 0, 0, " Ishmael.");
        fake_finish(&w.engine, 0, 0, FINISH_STOP);
        exchange_describe(c.exchange, &line);
        assert_non_null(line.id);
        fake_end(&w.engine, 0, ERR_OK, "");
        assert_int_equal(c.status, 200);
        assert_non_null(strstr(c.body.data, " Ishmael."));
        fake_client_close(&c);
        close_world(&w);
    }
}

static void short_bodies_overtake(void **state) {
    (void)state;
    struct world w;
    struct fake_client slow, quick;
    open_world(&w);
    post(&w, &slow, TEXT, "{\"prompt\":\"long\"}");
    fake_client_send(&quick, &w.gateway, HTTP_METHOD_POST, TEXT, "{\"prompt\":\"short\"}");
    assert_int_equal(w.engine.n_requests, 1);
    fake_client_leave(&quick);
    work(&w);
    finish(&w);
    assert_int_equal(w.engine.n_requests, 2);
    fake_client_leave(&slow);
    assert_true(w.engine.requests[1].abandoned);
    fake_client_close(&quick);
    fake_client_close(&slow);
    close_world(&w);
}

/* While it runs, before and after the thread was there; and while it waits for its turn. */
static void clients_leave_meanwhile(void **state) {
    (void)state;
    static const char *const paths[] = {TEXT, "/tokenize"};
    for (int i = 0; i < 4; i++) {
        struct world w;
        struct fake_client first, second;
        open_world(&w);
        const char *json = "{\"prompt\":\"x\",\"content\":\"x\"}";
        post(&w, &first, paths[i / 2], json);
        post(&w, &second, paths[i / 2], json);
        assert_int_equal(w.gateway.side.n_waiting, 1);
        fake_client_leave(&second); // nothing of it is left
        assert_int_equal(w.gateway.side.n_waiting, 0);
        if (i % 2) work(&w);
        fake_client_leave(&first);
        if (i % 2 == 0) work(&w); // with what it was given
        finish(&w);
        assert_int_equal(w.engine.n_requests, 0);
        fake_client_close(&first);
        fake_client_close(&second);
        close_world(&w);
    }
}

static void refusals_come_afterwards(void **state) {
    (void)state;
    static const struct {
        const char *path, *json, *code;
        int status;
    } cases[] = {{TEXT, "not JSON", NULL, 400},
                 {TEXT, "{\"prompt\":\"x\",\"model\":\"y\"}", "model_not_found", 404},
                 {CHAT, "[]", NULL, 400},
                 {"/tokenize", "{\"content\":1}", NULL, 400},
                 {"/detokenize", "{\"tokens\":[-1]}", NULL, 400},
                 {"/apply-template", "{\"messages\":1}", NULL, 400}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world w;
        struct fake_client c;
        open_world(&w);
        post(&w, &c, cases[i].path, cases[i].json);
        assert_non_null(c.exchange);
        work(&w);
        assert_int_equal(c.status, 0);
        finish(&w);
        expect_error(&c, cases[i].status, cases[i].code);
        fake_client_close(&c);
        close_world(&w);
    }
}

/* What was ready when the request came may not be any more. */
static void the_engine_may_change_meanwhile(void **state) {
    (void)state;
    struct world w;
    struct fake_client c;
    open_world(&w);
    post(&w, &c, TEXT, "{\"prompt\":\"x\"}");
    work(&w);
    w.gateway.draining = true;
    finish(&w);
    expect_error(&c, 503, "draining");
    fake_client_close(&c);

    w.gateway.draining = false;
    post(&w, &c, TEXT, "{\"prompt\":\"x\"}");
    work(&w);
    w.engine.state = ENGINE_FAILED;
    finish(&w);
    expect_error(&c, 503, "engine_lost");
    fake_client_close(&c);

    w.engine.state = ENGINE_READY;
    w.engine.refuse_at = 1;
    w.engine.refuse_with = ERR_CONTEXT;
    post(&w, &c, TEXT, "{\"prompt\":\"x\"}");
    work(&w);
    finish(&w);
    expect_error(&c, 400, "context_length_exceeded");
    fake_client_close(&c);
    close_world(&w);
}

static void too_many_are_sent_away(void **state) {
    (void)state;
    static struct fake_client clients[SIDE_WORK_MAX_WAITING + 1];
    struct world w;
    struct fake_client c;
    open_world(&w);
    for (size_t i = 0; i <= SIDE_WORK_MAX_WAITING; i++)
        post(&w, &clients[i], i % 2 ? TEXT : "/tokenize", "{\"content\":\"x\",\"prompt\":\"x\"}");
    w.engine.retry_s = 3;
    static const char *const paths[] = {TEXT, "/tokenize"};
    for (size_t i = 0; i < 2; i++) {
        post(&w, &c, paths[i], "{\"content\":\"x\",\"prompt\":\"x\"}");
        expect_error(&c, 429, "queue_full");
        assert_string_equal(c.extra.data, "Retry-After: 3\r\n");
        fake_client_close(&c);
    }
    for (size_t i = SIDE_WORK_MAX_WAITING + 1; i-- > 0;) {
        fake_client_leave(&clients[i]);
        fake_client_close(&clients[i]);
    }
    finish(&w);
    close_world(&w);
}

static void long_texts_become_tokens(void **state) {
    (void)state;
    struct world w;
    struct fake_client aside, at_once;
    open_world(&w);
    post(&w, &aside, "/tokenize", "{\"content\":\"Call me\",\"with_pieces\":true}");
    work(&w);
    finish(&w);
    fake_client_send(&at_once, &w.gateway, HTTP_METHOD_POST, "/tokenize",
                     "{\"content\":\"Call me\",\"with_pieces\":true}");
    assert_int_equal(aside.status, 200);
    assert_string_equal(aside.body.data, at_once.body.data);
    fake_client_close(&aside);
    fake_client_close(&at_once);
    close_world(&w);
}

static int setup(void **state) {
    buf_init(&long_body, 0);
    return open_tokenizer(state);
}

static int teardown(void **state) {
    buf_deinit(&long_body);
    return close_tokenizer(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_completion_is_read_aside),
        cmocka_unit_test(short_bodies_overtake),
        cmocka_unit_test(clients_leave_meanwhile),
        cmocka_unit_test(refusals_come_afterwards),
        cmocka_unit_test(the_engine_may_change_meanwhile),
        cmocka_unit_test(too_many_are_sent_away),
        cmocka_unit_test(long_texts_become_tokens),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
