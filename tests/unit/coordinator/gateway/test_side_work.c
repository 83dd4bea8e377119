// SPDX-License-Identifier: MIT
/* test_side_work.c: the line before side work: order, bound, and what is taken back. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "coordinator/gateway/side_work.h"

#define N (SIDE_WORK_MAX_WAITING + 2)

struct task {
    struct side_work work; // first
    char name;
};

static char story[1000]; // "a" for work, "A" for done

static void tell(char c) {
    size_t n = strlen(story);
    assert_true(n + 1 < sizeof story);
    story[n] = c;
    story[n + 1] = '\0';
}

static void do_work(struct side_work *w) {
    tell(((struct task *)(void *)w)->name);
}

static void be_done(struct side_work *w) {
    tell((char)(((struct task *)(void *)w)->name - 'a' + 'A'));
}

static void run(struct side_line *l, struct side_work *w) {
    assert_ptr_equal(l->running, w);
    w->work(w);
}

static struct task task(char name) {
    return (struct task){.work = {.work = do_work, .done = be_done}, .name = name};
}

static void one_at_a_time_in_order(void **state) {
    (void)state;
    struct side_line l = {.run = run};
    struct task a = task('a'), b = task('b'), c = task('c');
    *story = '\0';
    assert_int_equal(side_line_add(&l, &a.work), ERR_OK);
    assert_int_equal(side_line_add(&l, &b.work), ERR_OK);
    assert_int_equal(side_line_add(&l, &c.work), ERR_OK);
    assert_string_equal(story, "a");
    side_line_finished(&l);
    assert_string_equal(story, "abA"); // the next does not wait for what `done` does
    side_line_finished(&l);
    side_line_finished(&l);
    assert_string_equal(story, "abAcBC");
    assert_null(l.running);
    assert_int_equal(side_line_add(&l, &a.work), ERR_OK); // and the line goes on
    side_line_finished(&l);
    assert_string_equal(story, "abAcBCaA");
}

static void what_has_not_begun_can_be_taken_back(void **state) {
    (void)state;
    struct side_line l = {.run = run};
    struct task a = task('a'), b = task('b'), c = task('c'), d = task('d');
    *story = '\0';
    struct task *all[] = {&a, &b, &c, &d};
    for (size_t i = 0; i < 4; i++) assert_int_equal(side_line_add(&l, &all[i]->work), ERR_OK);
    assert_false(side_line_remove(&l, &a.work)); // it runs
    assert_true(side_line_remove(&l, &c.work));
    assert_false(side_line_remove(&l, &c.work));
    assert_true(side_line_remove(&l, &d.work)); // the last one
    assert_int_equal(l.n_waiting, 1);
    assert_int_equal(side_line_add(&l, &c.work), ERR_OK);
    for (int i = 0; i < 3; i++) side_line_finished(&l);
    assert_string_equal(story, "abAcBC");
    assert_int_equal(l.n_waiting, 0);
    assert_null(l.running);
}

static void the_line_is_bounded(void **state) {
    (void)state;
    struct side_line l = {.run = run};
    struct task tasks[N];
    *story = '\0';
    for (size_t i = 0; i < N; i++) tasks[i] = task('a');
    for (size_t i = 0; i < N - 1; i++) assert_int_equal(side_line_add(&l, &tasks[i].work), ERR_OK);
    assert_int_equal(side_line_add(&l, &tasks[N - 1].work), ERR_BUSY);
    side_line_finished(&l);
    assert_int_equal(side_line_add(&l, &tasks[N - 1].work), ERR_OK);
    while (l.running) side_line_finished(&l);
    assert_int_equal(strlen(story), 2 * N);
}

static void only_long_bodies_and_only_with_a_hook(void **state) {
    (void)state;
    struct side_line l = {0};
    assert_false(side_line_wants(&l, SIDE_WORK_MIN_BYTES + 1));
    l.run = run;
    assert_true(side_line_wants(&l, SIDE_WORK_MIN_BYTES + 1));
    assert_false(side_line_wants(&l, SIDE_WORK_MIN_BYTES));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_at_a_time_in_order),
        cmocka_unit_test(what_has_not_begun_can_be_taken_back),
        cmocka_unit_test(the_line_is_bounded),
        cmocka_unit_test(only_long_bodies_and_only_with_a_hook),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
