// SPDX-License-Identifier: MIT
/* cmocka.h: the few words of cmocka that the kernel tests use, for a CPU that the machine has no
 * cmocka for.
 *
 * It is no test framework: the first check that fails says where and ends the program. */
#ifndef TESTS_KERNELS_AARCH64_CMOCKA_H
#define TESTS_KERNELS_AARCH64_CMOCKA_H

#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
};

#define fail_msg(...)                                                                              \
    (fprintf(stderr, "%s:%d: ", __FILE__, __LINE__), fprintf(stderr, __VA_ARGS__),                 \
     fputc('\n', stderr), exit(1))

#define assert_true(x) ((x) ? (void)0 : fail_msg("not true: %s", #x))

#define assert_int_equal(a, b)                                                                     \
    ((intmax_t)(a) == (intmax_t)(b)                                                                \
         ? (void)0                                                                                 \
         : fail_msg("%s is %jd, not %jd", #a, (intmax_t)(a), (intmax_t)(b)))

#define assert_float_equal(a, b, bound)                                                            \
    (fabs((double)(a) - (double)(b)) <= (double)(bound)                                            \
         ? (void)0                                                                                 \
         : fail_msg("%s is %.9g, not %.9g", #a, (double)(a), (double)(b)))

#define assert_string_equal(a, b)                                                                  \
    (strcmp(a, b) == 0 ? (void)0 : fail_msg("%s is \"%s\", not \"%s\"", #a, a, b))

#define assert_memory_equal(a, b, n)                                                               \
    (memcmp(a, b, n) == 0 ? (void)0 : fail_msg("%s and %s differ", #a, #b))

#define assert_ptr_equal(a, b) assert_true((a) == (b))
#define assert_null(p)         assert_true((p) == NULL)
#define assert_non_null(p)     assert_true((p) != NULL)

#define cmocka_unit_test(function)                                                                 \
    { #function, function }

/* Runs all tests of an array; what would set up a group is not supported. */
#define cmocka_run_group_tests(tests, setup, teardown)                                             \
    cmocka_run(tests, sizeof(tests) / sizeof *(tests), setup, teardown)

static inline int cmocka_run(const struct CMUnitTest *tests, size_t count, void *setup,
                             void *teardown) {
    if (setup || teardown) fail_msg("no group can be set up here");
    for (size_t i = 0; i < count; i++) {
        void *state = NULL;
        printf("%s\n", tests[i].name);
        fflush(stdout);
        tests[i].run(&state);
    }
    return 0;
}

#endif
