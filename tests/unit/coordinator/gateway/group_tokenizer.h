/* group_tokenizer.h: the demo model's tokenizer, one for all tests of a file.
 *
 * cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer). */
// SPDX-License-Identifier: MIT
#ifndef TESTS_UNIT_COORDINATOR_GATEWAY_GROUP_TOKENIZER_H
#define TESTS_UNIT_COORDINATOR_GATEWAY_GROUP_TOKENIZER_H

#include "tests/unit/coordinator/scheduling/demo_tokenizer.h"

static struct tokenizer *tokenizer;

static int open_tokenizer(void **state) {
    (void)state;
    tokenizer = demo_tokenizer();
    return 0;
}

static int close_tokenizer(void **state) {
    (void)state;
    tokenizer_free(tokenizer);
    return 0;
}

#endif
