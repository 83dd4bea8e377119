// SPDX-License-Identifier: MIT
/* fuzz_api_request.c: bodies of completions made of whatever libFuzzer finds.
 *
 * The first byte chooses completions or chats.  What is accepted must keep the promises that the
 * rest of the gateway builds on; what is refused has a status and a sentence.  LOCKSTEP_SOURCE
 * names the source tree, for the demo model's tokenizer. */

#include <string.h>

#include "coordinator/gateway/api_request.h"
#include "tests/unit/coordinator/scheduling/demo_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_accepted(const struct api_request *r, size_t n_vocab) {
    const struct request_params *p = &r->params;
    CHECK(r->n_prompts >= 1 && r->n_prompts <= API_MAX_PROMPTS);
    for (size_t i = 0; i < r->n_prompts; i++) {
        CHECK(r->prompts[i].count >= 1);
        for (size_t k = 0; k < r->prompts[i].count; k++)
            CHECK(r->prompts[i].ids[k] >= 0 && (size_t)r->prompts[i].ids[k] < n_vocab);
    }
    CHECK(p->n >= 1 && p->n <= REQUEST_MAX_CHOICES);
    CHECK(p->top_n <= REQUEST_MAX_TOP && p->prompt_top_n <= REQUEST_MAX_TOP);
    CHECK(p->sampling.temperature >= 0 && p->sampling.temperature <= 2);
    CHECK(p->sampling.top_p >= 0 && p->sampling.top_p <= 1);
    CHECK(p->max_tokens > 0 || r->echo);
    CHECK(p->n_stops <= REQUEST_MAX_STOPS && p->n_bias <= REQUEST_MAX_BIAS);
    for (size_t i = 0; i < p->n_stops; i++) {
        size_t length = strlen(p->stops[i]);
        CHECK(length >= 1 && length <= REQUEST_MAX_STOP_BYTES);
    }
    for (size_t i = 0; i < p->n_bias; i++)
        CHECK(p->bias[i].token >= 0 && (size_t)p->bias[i].token < n_vocab);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static struct tokenizer *tokenizer;
    if (!tokenizer) tokenizer = demo_tokenizer();
    if (n == 0) return 0;
    struct api_request r;
    struct api_error e;
    if (api_request_parse(&r, data[0] & 1, (const char *)data + 1, n - 1, tokenizer, NULL, "demo",
                          &e)) {
        check_accepted(&r, tokenizer_vocab_size(tokenizer));
        api_request_deinit(&r);
    } else {
        CHECK((e.status == 400 || e.status == 404) && *e.message);
    }
    return 0;
}
