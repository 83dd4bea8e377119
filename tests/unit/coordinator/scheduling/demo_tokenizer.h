/* demo_tokenizer.h: the demo model's tokenizer, for tests that need real pieces. */
// SPDX-License-Identifier: MIT
#ifndef TESTS_DEMO_TOKENIZER_H
#define TESTS_DEMO_TOKENIZER_H

#include <stdio.h>
#include <stdlib.h>

#include "common/tokenizer.h"

static inline struct tokenizer *demo_tokenizer(void) {
    const char *source = getenv("LOCKSTEP_SOURCE");
    char path[1024];
    snprintf(path, sizeof path, "%s/configs/demo/demo-q8_0.gguf", source ? source : ".");
    struct gguf *g;
    struct tokenizer *t;
    if (gguf_open(&g, path) != ERR_OK || tokenizer_create(&t, g) != ERR_OK) {
        fprintf(stderr, "the demo model: %s\n", error_message());
        abort();
    }
    gguf_close(g);
    return t;
}

/* Set-up and tear-down of a group of tests whose state it is. */
static inline int demo_tokenizer_open(void **state) {
    *state = demo_tokenizer();
    return 0;
}

static inline int demo_tokenizer_close(void **state) {
    tokenizer_free(*state);
    return 0;
}

#endif
