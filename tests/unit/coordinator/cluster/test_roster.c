// SPDX-License-Identifier: MIT
/* test_roster.c: who is let in, who is refused with which values, who is missing. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/cluster/roster.h"

#define SECRET "00112233445566778899aabbccddeeff"

static struct wire_hello hello(uint32_t rank) {
    return (struct wire_hello){.protocol = WIRE_PROTOCOL_VERSION,
                               .build_id = "1+abc",
                               .secret = SECRET,
                               .epoch = 1,
                               .rank = rank,
                               .size = 3,
                               .host = rank == 2 ? "b" : "a",
                               .pid = 100 + rank,
                               .isa = "avx2",
                               .mpi = "Open MPI v4.1.4",
                               .transport = "vader",
                               .cpus = "0"};
}

static int setup(void **state) {
    static struct roster r;
    roster_init(&r, 3, SECRET, "1+abc", 1);
    *state = &r;
    return 0;
}

static int teardown(void **state) {
    roster_deinit(*state);
    return 0;
}

static void test_complete(void **state) {
    struct roster *r = *state;
    char why[512], name[96];
    for (uint32_t i = 0; i < 3; i++) {
        struct wire_hello h = hello(i);
        assert_int_equal(roster_judge(r, &h, why, sizeof why), HELLO_ACCEPT);
        assert_false(roster_is_complete(r));
        roster_add(r, &h);
    }
    assert_false(roster_is_complete(r)); // rank 0's link is missing
    struct wire_hello link = hello(0);
    link.is_link = true;
    assert_int_equal(roster_judge(r, &link, why, sizeof why), HELLO_ACCEPT);
    roster_add(r, &link);
    assert_true(roster_is_complete(r));
    assert_int_equal(roster_host_count(r), 2);
    assert_int_equal(roster_host_leader(r, 1), 0);
    assert_int_equal(roster_host_leader(r, 2), 2);
    roster_name(r, 2, name);
    assert_string_equal(name, "rank 2 on b");
}

static void test_strangers_learn_nothing(void **state) {
    struct roster *r = *state;
    char why[512];
    static const char *const wrong[] = {"", "0", "00112233445566778899aabbccddeefe", SECRET SECRET,
                                        "00112233445566778899aabbccddeeff0"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct wire_hello h = hello(0);
        h.secret = wrong[i];
        h.protocol = 99; // not even that is looked at
        assert_int_equal(roster_judge(r, &h, why, sizeof why), HELLO_STRANGER);
        assert_string_equal(why, "");
    }
}

/* Both values must be in the sentence. */
static void expect(const struct roster *r, const struct wire_hello *h, enum hello_verdict verdict,
                   const char *one, const char *other) {
    char why[512];
    assert_int_equal(roster_judge(r, h, why, sizeof why), verdict);
    if (!strstr(why, one) || !strstr(why, other))
        fail_msg("'%s' does not name '%s' and '%s'", why, one, other);
}

static void test_mismatches(void **state) {
    struct roster *r = *state;
    struct wire_hello h = hello(1);
    h.protocol = 7;
    expect(r, &h, HELLO_MISMATCH, "protocol 7", "speaks 1");
    h = hello(1);
    h.build_id = "2+def";
    expect(r, &h, HELLO_MISMATCH, "2+def", "1+abc");
    h = hello(1);
    h.size = 4;
    expect(r, &h, HELLO_MISMATCH, "job of 4", "waits for 3");
    h = hello(1);
    h.rank = 3;
    expect(r, &h, HELLO_MISMATCH, "rank 3", "of 3");
    h = hello(1);
    h.is_link = true; // only rank 0 has one
    expect(r, &h, HELLO_MISMATCH, "the link of rank 1", "of 3");
    h = hello(1);
    h.epoch = 2;
    expect(r, &h, HELLO_REFUSE, "launch 2", "is 1");
    struct wire_hello first = hello(0);
    roster_add(r, &first);
    h = hello(0);
    h.pid = 999;
    expect(r, &h, HELLO_REFUSE, "process 100", "process 999");
    h = hello(1);
    h.mpi = "Open MPI v5.0.3";
    expect(r, &h, HELLO_MISMATCH, "v5.0.3", "v4.1.4");
}

static void test_size_from_the_first(void **state) {
    (void)state;
    struct roster r;
    char why[512];
    roster_init(&r, 0, SECRET, "1+abc", 1);
    struct wire_hello h = hello(1);
    assert_int_equal(roster_judge(&r, &h, why, sizeof why), HELLO_ACCEPT);
    roster_add(&r, &h);
    assert_int_equal(r.size, 3);
    h = hello(2);
    h.size = 5;
    assert_int_equal(roster_judge(&r, &h, why, sizeof why), HELLO_MISMATCH);
    roster_deinit(&r);
}

static void missing(const struct roster *r, const char *text) {
    struct buf b;
    buf_init(&b, 0);
    roster_describe_missing(r, &b);
    assert_string_equal(b.data, text);
    buf_deinit(&b);
}

static void test_missing(void **state) {
    struct roster *r = *state;
    missing(r, "ranks 0, 1 and 2 of 3 did not report");
    struct wire_hello h = hello(1);
    roster_add(r, &h);
    missing(r, "ranks 0 and 2 of 3 did not report");
    h = hello(0);
    roster_add(r, &h);
    missing(r, "rank 2 of 3 did not report");
    h = hello(2);
    roster_add(r, &h);
    missing(r, "rank 0 has not opened its second connection");
    struct roster many;
    roster_init(&many, 40, SECRET, "x", 1);
    missing(&many, "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 32 more of 40 did not report");
    roster_deinit(&many);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_complete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_strangers_learn_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mismatches, setup, teardown),
        cmocka_unit_test(test_size_from_the_first),
        cmocka_unit_test_setup_teardown(test_missing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
